"""Write tools/requirements.lock (with hashes), tools/licences.csv and tools/licences.md from a report of pip."""

import contextlib
import csv
import json
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
LOCK, TABLE, PAGE = (
    ROOT / "tools/requirements.lock",
    ROOT / "tools/licences.csv",
    ROOT / "tools" / "licences.md",
)

EXTRAS = ("", "excel", "dask", "jax", "onnx", "slides", "test", "docs", "lint")
"""Extras whose packages are pinned, those that users need first; "" is what bchisto itself needs."""

NAMED = {
    "Apache Software License": "Apache-2.0",
    "MIT License": "MIT",
    "BSD License": "BSD",
    "Python Software Foundation License": "PSF-2.0",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "ISC License (ISCL)": "ISC",
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "BSD 3-Clause License": "BSD-3-Clause",
    "BSD 3-Clause": "BSD-3-Clause",
    "3-Clause BSD License": "BSD-3-Clause",
    "2-clause BSD": "BSD-2-Clause",
    "Public Domain or BSD or GNU General Public License (GPL)": "public domain, BSD or GPL",
}

HEAD = """# Licences of what bchisto needs

bchisto is under the Apache License 2.0. It contains none of the packages below: pip installs them. They are those of
`tools/constraints.txt`, with the licence that each declares; `tools/licences.csv` has their versions. `make lock`
writes this page.

Not listed: the extra `torch`, whose files differ by machine; the extra `staintools`, whose spams-bin is
GPL-3.0-or-later (see NOTICE); and the weights of networks, which have [licences of their own](../docs/encoders.md).
NOTICE names the weights and images that the wheel holds.
"""

PARTS = {
    "bchisto itself": ("bchisto",),
    "the extras excel, dask, jax, onnx and slides": tuple(
        f"bchisto[{name}]" for name in EXTRAS[1:6]
    ),
    "tests, documents and lint": ("bchisto[test]", "bchisto[docs]", "bchisto[lint]"),
}
"""Sections of the page, and what needs the packages of each."""

COMMENT = """# Made by `make lock` from tools/constraints.txt, for Python 3.11 on Linux (x86-64).
# pip install --require-hashes -r tools/requirements.lock
"""


def page(rows: list[list[str]]) -> str:
    """Return the page: of each part, the packages by their licence. Rows are package, version, licence, needed by."""
    parts = [HEAD]
    for title, by in PARTS.items():
        names_of: dict[str, list[str]] = {}
        for name, _, licence_name, needs in rows:
            if needs in by:
                names_of.setdefault(licence_name, []).append(name)
        parts.append(f"\n## For {title}\n\n")
        parts += [
            f"- **{licence_name}**: {', '.join(names)}\n"
            for licence_name, names in sorted(names_of.items())
        ]
    return "".join(parts)


def licence(package: dict) -> str:
    """Return what a package says of its licence, in few words; older pips leave its expression out of their report."""
    with contextlib.suppress(metadata.PackageNotFoundError):
        package = {
            "license_expression": metadata.metadata(package["name"]).get("License-Expression"),
            **package,
        }
    if package.get("license_expression"):
        return package["license_expression"]
    classes = [
        entry.rpartition(" :: ")[2]
        for entry in package.get("classifier", ())
        if entry.startswith("License :: ")
    ]
    classes = [NAMED.get(entry, entry) for entry in classes if entry != "OSI Approved"]
    first, *_ = [*(package.get("license") or "").strip().splitlines(), ""]
    name = first if re.fullmatch(r"(?!Copyright)[A-Za-z0-9].{1,58}", first) else ""
    name = name if name and classes in ([], ["BSD"]) else " or ".join(classes) or "see its files"
    return NAMED.get(name, name)


def needed(packages: dict) -> dict[str, str]:
    """Return what needs each package: the first of `EXTRAS` that leads to it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    by: dict[str, str] = {}
    for extra in EXTRAS:
        wanted = project["optional-dependencies"][extra] if extra else project["dependencies"]
        waiting = [Requirement(text) for text in wanted]
        while waiting:
            requirement = waiting.pop()
            name = canonicalize_name(requirement.name)
            if name not in packages or name in by:
                continue
            by[name] = f"bchisto[{extra}]" if extra else "bchisto"
            for text in packages[name]["requires_dist"]:
                further = Requirement(text)
                marks = [{"extra": mark} for mark in (*requirement.extras, "")]
                if further.marker is None or any(further.marker.evaluate(mark) for mark in marks):
                    waiting.append(further)
    return by


def main(report: str) -> None:
    """Write the three files."""
    packages, lines = {}, []
    for item in json.loads(Path(report).read_text())["install"]:
        facts = item["metadata"]
        name = canonicalize_name(facts["name"])
        packages[name] = {"requires_dist": (), **facts}
        digest = item["download_info"]["archive_info"]["hashes"]["sha256"]
        lines.append(f"{name}=={facts['version']} --hash=sha256:{digest}\n")
    LOCK.write_text(COMMENT + "".join(sorted(lines)))
    by = needed(packages)
    rows = [
        [facts["name"], facts["version"], licence(facts), by.get(name, "bchisto[test]")]
        for name, facts in sorted(packages.items())
    ]
    with TABLE.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(
            [["package", "version", "licence", "needed by"], *rows]
        )
    PAGE.write_text(page(rows))


if __name__ == "__main__":
    main(sys.argv[1])
