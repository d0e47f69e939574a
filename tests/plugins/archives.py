"""Altered copies of bundles."""

import zipfile


def rewrite(source, target, change):
    """Copy a bundle, passing its members through `change`."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        members = {name: old.read(name) for name in old.namelist()}
        for name, data in change(members).items():
            new.writestr(name, data)
    return target
