"""Write the model card, a summary in Markdown next to a model file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..core.formats import file_sha256
from ..core.jobs import atomic_output
from ..core.models import BundleFacts, bundle_lines
from ..evaluate.report import model_card

_NOTE = (
    "Made with bchisto, for research only. It is not a medical device, and nothing that it predicts is a diagnosis. "
    "It was not tested on images of other laboratories unless the sections below state it."
)


def write_card(path: Path, *, model: Path, bundle: BundleFacts, metrics: Mapping[str, Any] | None) -> None:
    """Write the card of a model.

    Parameters
    ----------
    path : Path
        The card to write.
    model : Path
        The model file.
    bundle : BundleFacts
        Facts from the model file.
    metrics : mapping or None
        Content of the ``metrics.json`` next to it.
    """
    card = model_card(
        name=model.absolute().parent.name or model.stem,
        file=model.name,
        note=_NOTE,
        classes=bundle.classes,
        licences=list(bundle.licences()),
        facts=bundle_lines(bundle, file_sha256(model)),
        banners=bundle.banners,
        metrics=metrics,
    )
    with atomic_output(path) as temporary:
        temporary.write_text(card, encoding="utf-8")
