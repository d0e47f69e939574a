"""``bchisto features``: export, show."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

from .ending import counted, done, echo, quoted
from .options import OUT_FILE, PATH, Group


@click.group(cls=Group)
def features() -> None:
    """Export descriptors, and show what a file of embeddings holds."""


@features.command()
@click.argument("source", type=PATH)
@click.option("--out", type=OUT_FILE, required=True, help=".npz, .parquet or .h5.")
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
def export(source: Path, out: Path, overwrite: bool) -> None:
    """Write the descriptors of SOURCE, a store or embeddings of any format, into a file.

    \b
    Example: bchisto features export run/features/resnet50-0.5-400.h5 --out resnet50.npz
    """
    from ..featurize import export_features

    found = export_features(source, out, overwrite=overwrite)
    echo(_said(found))
    done([out], then=f"bchisto boost --out RUN --features {quoted(out)}")


@features.command()
@click.argument("source", type=PATH)
def show(source: Path) -> None:
    """Say what SOURCE holds: images, numbers, labels, and what is known of the encoder.

    \b
    Example: bchisto features show features_uni_v1
    """
    from ..encoders import card_of
    from ..featurize import read_embeddings

    found = read_embeddings(source)
    echo(_said(found))
    card = card_of(found.facts)
    told = {"pooled"} if card is None else {"pooled", "card"}
    for name, value in found.facts.items():
        if name not in told:
            echo(f"{name}: {', '.join(map(str, value)) if isinstance(value, list) else value}")
    if card is not None:
        echo(f"licence of the weights: {card.terms()}")
        if card.source:
            echo(f"source of the weights: {card.source}{f' at {card.revision}' if card.revision else ''}")
    for label, count in sorted(Counter(filter(None, found.labels)).items()):
        echo(f"label {label}: {counted(count, 'image')}")


def _said(found: object) -> str:
    from ..featurize import Embeddings

    assert isinstance(found, Embeddings)
    images, rows, dim = found.features.shape
    each = f", {counted(rows, 'row')} each" if rows > 1 else ""
    pooled = f", {found.pooled}" if found.pooled else ""
    labelled, groups = sum(map(bool, found.labels)), len(set(filter(None, found.groups)))
    return (
        f"{counted(images, 'image')}{each}, {dim} numbers{pooled}, encoder {found.encoder}, {labelled} with a label, "
        f"{counted(groups, 'group')}"
    )
