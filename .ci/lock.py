"""Write tools/requirements.lock (versions with hashes) and docs/licences.md (licences) from a report of pip."""

import contextlib
import json
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
LOCK, PAGE = ROOT / "tools/requirements.lock", ROOT / "docs" / "licences.md"

EXTRAS = ("", "excel", "dask", "jax", "onnx", "test", "docs", "lint")
"""Extras whose packages are pinned, those that users need first; "" is what bchisto itself needs."""

NAMED = {
    "Apache Software License": "Apache-2.0", "MIT License": "MIT", "BSD License": "BSD",
    "Python Software Foundation License": "PSF-2.0", "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "ISC License (ISCL)": "ISC",
}  # fmt: skip

HEAD = """# Licences of what bchisto needs

bchisto itself is under the Apache License 2.0. It contains none of the packages below: pip installs them. They are
those of `tools/constraints.txt`, with the licence that each declares. Made by `make lock`; *needed by* is `bchisto`,
or the extra of it that needs the package (`bchisto[dask]`). The extra `staintools` is not among them: spams-bin is
GPL-3.0-or-later, see NOTICE. Neither is the extra `torch`, whose files differ by machine, nor the weights of networks,
which have [licences of their own](weights.md).

| package | version | licence | needed by |
| --- | --- | --- | --- |
"""

SAID = """# Made by `make lock` from tools/constraints.txt, for Python 3.11 on Linux (x86-64).
# pip install --require-hashes -r tools/requirements.lock
"""


def licence(found: dict) -> str:
    """Return what a package says of its licence, in few words; older pips leave its expression out of their report."""
    with contextlib.suppress(metadata.PackageNotFoundError):
        found = {"license_expression": metadata.metadata(found["name"]).get("License-Expression"), **found}
    if found.get("license_expression"):
        return found["license_expression"]
    classes = [one.rpartition(" :: ")[2] for one in found.get("classifier", ()) if one.startswith("License :: ")]
    classes = [NAMED.get(one, one) for one in classes if one != "OSI Approved"]
    first, *_ = [*(found.get("license") or "").strip().splitlines(), ""]
    said = first if re.fullmatch(r"(?!Copyright)[A-Za-z0-9].{1,58}", first) else ""
    return said if said and classes in ([], ["BSD"]) else " or ".join(classes) or "see its files"


def needed(packages: dict) -> dict[str, str]:
    """Return what needs each package: the first of `EXTRAS` that leads to it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    by: dict[str, str] = {}
    for extra in EXTRAS:
        wanted = project["optional-dependencies"][extra] if extra else project["dependencies"]
        waiting = [Requirement(one) for one in wanted]
        while waiting:
            one = waiting.pop()
            name = canonicalize_name(one.name)
            if name not in packages or name in by:
                continue
            by[name] = f"bchisto[{extra}]" if extra else "bchisto"
            for text in packages[name]["requires_dist"]:
                further = Requirement(text)
                marks = [{"extra": mark} for mark in (*one.extras, "")]
                if further.marker is None or any(further.marker.evaluate(mark) for mark in marks):
                    waiting.append(further)
    return by


def main(report: str) -> None:
    """Write both files."""
    packages, lines = {}, []
    for one in json.loads(Path(report).read_text())["install"]:
        found = one["metadata"]
        name = canonicalize_name(found["name"])
        packages[name] = {"requires_dist": (), **found}
        digest = one["download_info"]["archive_info"]["hashes"]["sha256"]
        lines.append(f"{name}=={found['version']} --hash=sha256:{digest}\n")
    LOCK.write_text(SAID + "".join(sorted(lines)))
    by = needed(packages)
    rows = []
    for name, found in sorted(packages.items()):
        said = licence(found).replace("|", "/")
        rows.append(f"| {found['name']} | {found['version']} | {said} | {by.get(name, 'bchisto[test]')} |\n")
    PAGE.write_text(HEAD + "".join(rows))


if __name__ == "__main__":
    main(sys.argv[1])
