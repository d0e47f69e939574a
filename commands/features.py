"""``bchisto features``: export, show."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

from ..core import counted
from .ending import done, echo, quoted
from .help import GroupedOption
from .options import OUT_FILE, PATH, Group


@click.group(cls=Group)
def features() -> None:
    """Export features, or show what a file of embeddings holds."""


@features.command()
@click.argument("source", type=PATH)
@click.option("--out", cls=GroupedOption, group="Output", type=OUT_FILE, required=True, help=".npz or .h5.")
@click.option("--overwrite", cls=GroupedOption, group="Output", is_flag=True, help="Replace an existing file.")
def export(source: Path, out: Path, overwrite: bool) -> None:
    """Write the features of SOURCE, a feature file or embeddings of any format, into a file.

    \b
    Example: bchisto features export run/features/resnet50-0.5-400.h5 --out resnet50.npz
    """
    from ..featurize import export_features

    embeddings = export_features(source, out, overwrite=overwrite)
    echo(_summary(embeddings))
    done([out], then=f"bchisto boost --out RUN --features {quoted(out)}")


@features.command()
@click.argument("source", type=PATH)
def show(source: Path) -> None:
    """Show what SOURCE holds: images, number of features, labels, encoder.

    \b
    Example: bchisto features show features_uni_v1
    """
    from ..encoders import card_of
    from ..featurize import read_embeddings

    embeddings = read_embeddings(source)
    echo(_summary(embeddings))
    card = card_of(embeddings.facts)
    hidden = {"pooled"} if card is None else {"pooled", "card"}
    for name, value in embeddings.facts.items():
        if name not in hidden:
            echo(f"{name}: {', '.join(map(str, value)) if isinstance(value, list) else value}")
    if card is not None:
        echo(f"licence of the weights: {card.terms()}")
        if card.source:
            echo(f"source of the weights: {card.source}{f' at {card.revision}' if card.revision else ''}")
    for label, count in sorted(Counter(filter(None, embeddings.labels)).items()):
        echo(f"label {label}: {counted(count, 'image')}")


def _summary(embeddings: object) -> str:
    from ..featurize import Embeddings

    assert isinstance(embeddings, Embeddings)
    images, rows, dim = embeddings.features.shape
    each = f", {counted(rows, 'row')} each" if rows > 1 else ""
    pooled = f", {embeddings.pooled}" if embeddings.pooled else ""
    labelled, groups = sum(map(bool, embeddings.labels)), len(set(filter(None, embeddings.groups)))
    return (
        f"{counted(images, 'image')}{each}, {dim} numbers{pooled}, encoder {embeddings.encoder}, "
        f"{labelled} with a label, {counted(groups, 'group')}"
    )
