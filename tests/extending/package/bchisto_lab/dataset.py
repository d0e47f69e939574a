"""The layout ``lab``: files like ``P07-2-tumour.png`` (patient, number, class), in any folders."""

import re

from bchisto.data import Finding, ImageRecord, LayoutSpec, walk_files

NAME = re.compile(r"(P\d+)-\d+-(normal|tumour)\.png")


def read(root):
    """Return a record of each image, and a finding of whatever is none."""
    findings, records = [], []
    for path in walk_files(root, findings):
        match = NAME.fullmatch(path.name)
        if match is None:
            findings.append(
                Finding("warning", path.name, "not named like P07-2-tumour.png, left out")
            )
            continue
        patient, label = match.groups()
        records.append(
            ImageRecord(
                image_id=path.name, path=path, label=label, group=patient, mpp=0.5, source="lab"
            )
        )
    return records, findings


LAB = LayoutSpec(
    name="lab",
    read=read,
    recognise_name=lambda name: NAME.fullmatch(name) is not None,
    classes=("normal", "tumour"),
    positive=("tumour",),
)
