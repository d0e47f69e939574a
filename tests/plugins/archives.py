"""Altered copies of bundles."""

import hashlib
import io
import json
import zipfile

import numpy as np

RULE = {
    "below": 0.6,
    "share": 0.2,
    "calibrated": True,
    "unit": "image",
    "sure": {"n": 80, "right": 72, "interval": [0.81, 0.95]},
    "unsure": {"n": 20, "right": 11, "interval": [0.32, 0.77]},
}
"""Which predictions of a model are marked as uncertain."""


def rewrite(source, target, change):
    """Copy a bundle, passing its members through `change`."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        members = {name: old.read(name) for name in old.namelist()}
        for name, data in change(members).items():
            new.writestr(name, data)
    return target


def altered(source, target, **facts):
    """Copy a bundle whose manifest says something else."""
    return rewrite(source, target, said(**facts))


def said(**changes):
    """A manifest that says something else; `...` for what it says no more."""

    def change(members):
        content = {**json.loads(members["manifest.json"]), **changes}
        content = {name: value for name, value in content.items() if value is not ...}
        return {**members, "manifest.json": json.dumps(content).encode()}

    return change


def hashed(members):
    """Members with a manifest whose hashes fit them."""
    hashes = {
        name: hashlib.sha256(data).hexdigest()
        for name, data in members.items()
        if name != "manifest.json"
    }
    return said(members=hashes)(members)


def model(alter, *, every=False):
    """The first model altered as bytes, or every one."""

    def change(members):
        names = [name for name in members if name.startswith("models/")]
        return hashed(
            {**members, **{name: alter(members[name]) for name in (names if every else names[:1])}}
        )

    return change


def arrays(*, every=False, **changes):
    """The first model, or every one, with other arrays: each is a value, or made of the one that was there."""

    def alter(data):
        with np.load(io.BytesIO(data)) as file:
            found = {name: file[name] for name in file.files}
        for name, value in changes.items():
            if not callable(value):
                found[name] = value
            elif name in found:
                found[name] = value(found[name])
        buffer = io.BytesIO()
        np.savez(buffer, **found)
        return buffer.getvalue()

    return model(alter, every=every)
