"""Options of a map, and the size of tiles that suits a model: that of its training images, as far as its file tells."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from pathlib import Path

from ...core import InputError, Message, Settings, limited, option
from ...data import BACH_MPP, BACH_SIZE, ImageRecord
from ...predict import BoostedModel, Model
from .cut import CutSettings

_log = logging.getLogger(__name__)

_SIDES = {"bach": min(BACH_SIZE), "breakhis": 460}
"""Shorter sides of the images of published data sets, in pixels."""

_RULE = "Patient by the path of a slide: a level of folders, or a regular expression, as in featurize."


@dataclass(frozen=True, kw_only=True)
class MapSettings(Settings):
    """Which tiles of a slide are predicted, and what is known of the slides."""

    field: float | None = option(None, group="Input", least=10, help="Micrometres of a side; default: as in training.")
    scale: float | None = option(None, group="Input", least=0.02, help="Micrometres a pixel; default: as in training.")
    tissue: float = option(0.5, group="Input", least=0, most=1, help="Share of tissue that a tile needs.")
    mpp: float | None = option(None, group="Input", least=0.02, help="Micrometres per pixel, if a slide states none.")
    labels: Path | None = option(None, group="Evaluation", decides=False, help="Table with columns slide and label.")
    patients: Path | None = option(None, group="Evaluation", decides=False, help="Table of slide and patient.")
    group_from: str | None = option(None, group="Evaluation", metavar="LEVEL|PATTERN", decides=False, help=_RULE)


def tile_settings(model: Model, settings: MapSettings) -> CutSettings:
    """Return how fields are cut for a model. What its file does not tell is warned of.

    Tiles have the scale of the training images, and their shorter side if they are of a published data set, or else the
    side of the largest view.

    Raises
    ------
    InputError
        Tiles are too small for the model, or of too many pixels.
    """
    if isinstance(model, BoostedModel):
        header = next(iter(model.bundle.stores.values()))
        dataset, known = header["dataset"], [header[name] for name in ("mpp_least", "mpp_most") if name in header]
        views = [view for own in model.settings.values() for view in own.views]
        known = known or [view.scale for view in views if view.unit]
    else:
        dataset, views = model.bundle.dataset, []
        known = [BACH_MPP] if dataset == "bach" else []
    mean = float(f"{math.sqrt(min(known) * max(known)):.3g}") if known else CutSettings.scale
    scale = settings.scale or mean
    side = _SIDES.get(dataset) or math.ceil(max((view.crop / view.factor(scale) for view in views), default=0))
    field = settings.field or side * scale or CutSettings.field
    if (settings.scale is None and len({*known}) != 1) or (settings.field is None and dataset not in _SIDES):
        text = "the model file does not tell size and scale of its images exactly; tiles have {field:{}} and {scale:{}}"
        _log.warning(Message(text, f"{field:.4g}", f"{scale:.4g}"))
    chosen = CutSettings(field=field, scale=scale, tissue=settings.tissue, mpp=settings.mpp)
    for need in model.needs:
        tile = ImageRecord("", Path("a tile"), None, mpp=scale)
        if (misfit := need.misfit(tile, width=chosen.pixels, height=chosen.pixels)) is not None:
            raise InputError("{field:{}}: {}; give a larger {field}", f"{field:.4g}", limited(misfit, {"field"}))
    return chosen
