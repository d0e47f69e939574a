"""Altered copies of bundles."""

import json
import zipfile


def rewrite(source, target, change):
    """Copy a bundle, passing its members through `change`."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        members = {name: old.read(name) for name in old.namelist()}
        for name, data in change(members).items():
            new.writestr(name, data)
    return target


def altered(source, target, **facts):
    """Copy a bundle whose manifest says something else."""

    def change(members):
        content = {**json.loads(members["manifest.json"]), **facts}
        return {**members, "manifest.json": json.dumps(content).encode()}

    return rewrite(source, target, change)
