"""``bchisto featurize``."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..core import counted
from .encoder import fetch_missing, yes_flag
from .ending import done, echo, quoted
from .options import OUT_FOLDER, PRESET_HELP, Command, Offered, flag, options_of, preset_flag
from .then import LINEAR, fewer_folds, given_options, typed_names

if TYPE_CHECKING:
    from ..core.jobs import Work
    from ..data import ImageSelection
    from ..featurize import FeaturizeSettings

_log = logging.getLogger(__name__)

_LONG = 3600
"""Estimated seconds above which the preset quick is suggested."""

_DESCRIBING = (
    "images", "out", "preset", "encoders", "weights", "views", "augmentations", "crops", "pool", "color_range", "pad",
    "precision", "mode", "engine", "batch_size",
)  # fmt: skip
"""Options that the suggested command does not repeat: a preset replaces them, or they are written out anyway."""


def _options() -> Iterator[click.Parameter]:
    from ..core.jobs import Work
    from ..data import ImageSelection
    from ..featurize import PRESETS, FeaturizeSettings, preset_options

    yield from options_of(ImageSelection, "images")
    yield flag("--out", group="Output", type=OUT_FOLDER, required=True, help="The run folder.")
    yield flag(
        "--preset",
        group="Features",
        type=Offered(tuple(PRESETS)),
        help=PRESET_HELP,
        **preset_flag(preset_options),
    )
    yield from options_of(ImageSelection, but=("images", "only"))
    yield from options_of(FeaturizeSettings, "encoders")
    yield from options_of(FeaturizeSettings, "views", "augmentations", "crops", "pool", "color_range", "pad")
    yield from options_of(ImageSelection, "only")
    yield from options_of(
        FeaturizeSettings, "stain", "stain_fallback", "weights", "precision", "mode", "engine", "batch_size", "seed"
    )
    yield from options_of(Work, "skip_errors", "jobs", "shard", "dask", "overwrite")
    yield yes_flag()


def _planned(
    context: click.Context, selection: ImageSelection, settings: FeaturizeSettings, work: Work, *, fit: bool
) -> FeaturizeSettings:
    """Return the settings with views that fit, and print the estimated time; if that is long, also a quick command."""
    from ..apps.check import duration, plan_describing
    from ..featurize import preset_options, resolve_settings

    whole = (work.shard is None or work.checks) and work.dask is None
    if not fit and not whole:  # shards do not read every header only for an estimate
        return settings
    settings, cost = plan_describing(selection, settings, fit=fit, keep=typed_names(context), work=work)
    if fit:
        _log.info("views that fit the images: %s", ", ".join(map(str, settings.views)))
    if cost is None or not whole:
        return settings
    of = f"{counted(cost.images, 'image')} on {counted(cost.processes, 'core')}"
    between = f"between {duration(cost.shortest)} and {duration(cost.longest)}"
    _log.info("extracting features of %s takes about %s in all (%s)", of, duration(cost.seconds), between)
    if cost.seconds > _LONG:
        quick, _ = resolve_settings(preset_options("quick"), here=False)
        _, cheap = plan_describing(selection, quick, work=work)
        if cheap is not None and cheap.seconds < cost.seconds / 2:
            line = f"{context.command_path} --images {quoted(selection.images)} --out {quoted(context.params['out'])}"
            given = given_options(context, context.command, but=_DESCRIBING)
            _log.info("in about %s: %s%s --preset quick", duration(cheap.seconds), line, given)
    return settings


@click.command(cls=Command, options=_options, first=("images", "out", "preset", "encoders", "jobs"))
@click.pass_context
def featurize(context: click.Context, /, preset: str | None, yes: bool, **options: Any) -> None:
    """Stage 1: extract features of images, into RUN/features.

    \b
    Example: bchisto featurize --images ICIAR2018_BACH_Challenge --out run --preset quick
    """
    from ..core import from_options
    from ..core.jobs import Work
    from ..data import ImageSelection
    from ..featurize import FeaturizeSettings, defaults_text, encoder_defaults, resolve_settings
    from ..featurize import featurize as run

    out: Path = options["out"]
    work = from_options(Work, options)
    selection = from_options(ImageSelection, options).read_once()
    named = from_options(FeaturizeSettings, {name: options[name] for name in ("encoders", "weights")})
    fetch_missing(named.encoders, named.weights, yes=yes)
    brought = encoder_defaults(options, keep=typed_names(context))
    settings, automatic = resolve_settings(options, brought=brought)
    if brought:
        _log.info("%s", defaults_text(brought, settings))
    settings = _planned(context, selection, settings, work, fit=automatic)
    result = run(selection, out=out, settings=settings, work=work)
    if result.merged:
        described = result.images - len(result.failures)
        echo(f"{counted(described, 'image')} with features in {counted(len(result.stores), 'file')}")
        wrote = list(result.stores)
        then = f"bchisto boost --out {quoted(out)}" + (f" --preset {preset}" if preset else "")
        then += fewer_folds(selection.table()) + (LINEAR if brought else "")
        if not result.trainable:
            then = "label images of two classes or more, then this command again"
    else:
        echo(str(result.share))
        wrote, then = [], "the other shards, then the same command without --shard, which merges"
    done(wrote, then=then, failures=len(result.failures), listed=out / "failures.csv")
