"""A layout of another package, for the tests: grey tiles of 40x30 pixels, of which a part is marked."""

import re

NAME = re.compile(r"tile-(p\d+)-(\d+)-(wild|calm)\.png")


def read(root):
    from bchisto.data import Finding, ImageRecord, walk_files

    findings, records = [], []
    for path in sorted(walk_files(root, findings)):
        match = NAME.fullmatch(path.name)
        if match is None:
            findings.append(Finding("warning", path.name, "not a tile, left out"))
            continue
        records.append(
            ImageRecord(
                image_id=path.name,
                path=path,
                label=match[3],
                group=match[1],
                source="tiles",
                box=(10, 10, 20, 25),
            )
        )
    return records, findings


def layout():
    from bchisto.data import LayoutSpec

    return LayoutSpec(
        name="tiles",
        read=read,
        recognise_name=lambda name: NAME.fullmatch(name) is not None,
        classes=("wild", "calm"),
        positive=("wild",),
        size=(40, 30),
        stained=False,
        options=frozenset({"context"}),
    )
