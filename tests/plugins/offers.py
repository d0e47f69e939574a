"""Packages that offer something by an entry point, written for a test."""


def offer(folder, group, package, code, **places):
    """Install a package in a folder: its module, and the place of each name that it offers in a group of bchisto's.

    Names of packages should be those of one test, so that none is imported twice.
    """
    (folder / f"{package}.py").write_text(code)
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = [f"{name} = {place}" for name, place in places.items()]
    (info / "entry_points.txt").write_text("\n".join([f"[bchisto.{group}]", *lines]) + "\n")
