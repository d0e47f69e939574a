"""``bchisto featurize``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from .ending import counted, done, echo, quoted
from .options import OUT_FOLDER, Command, Offered, flag, options_of, preset_flag
from .then import fewer_folds, typed_names


def _options() -> Iterator[click.Parameter]:
    from ..data import ImageSelection
    from ..featurize import PRESETS, FeaturizeSettings, preset_options
    from ..jobs import Work

    yield from options_of(ImageSelection, "images")
    yield flag("--out", group="Output", type=OUT_FOLDER, required=True, help="The run folder.")
    yield flag(
        "--preset",
        group="Features",
        type=Offered(tuple(PRESETS)),
        help="Settings by one name, which other options change: quick takes minutes, standard is the most accurate "
        "that was measured, published is Rakhlin et al. 2018, which is also the default.",
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


@click.command(cls=Command, options=_options, first=("images", "out", "preset", "encoders", "jobs"))
@click.pass_context
def featurize(context: click.Context, /, preset: str | None, **options: Any) -> None:
    """Stage 1: turn images into descriptors, in RUN/features.

    \b
    Example: bchisto featurize --images ICIAR2018_BACH_Challenge --out run --preset quick
    """
    from ..core import from_options
    from ..data import ImageSelection
    from ..featurize import AUTO, FeaturizeSettings
    from ..featurize import featurize as run
    from ..jobs import Work
    from ..preflight import fit_settings

    out: Path = options["out"]
    work = from_options(Work, options)
    selection = from_options(ImageSelection, options).read_once()
    automatic = AUTO.get(options["views"][0]) if len(options["views"]) == 1 else None
    settings = from_options(FeaturizeSettings, {**options, "views": automatic or options["views"]})
    if automatic:
        settings = fit_settings(selection, settings, keep=typed_names(context))
        echo(f"views that fit the images: {', '.join(map(str, settings.views))}", err=True)
    result = run(selection, out=out, settings=settings, work=work)
    if result.merged:
        described = result.images - len(result.failures)
        echo(f"{counted(described, 'image')} described in {counted(len(result.stores), 'store')}")
        wrote = list(result.stores)
        then = f"bchisto boost --out {quoted(out)}" + (f" --preset {preset}" if preset else "")
        then += fewer_folds(selection.table())
        if not result.trainable:
            then = "label images of two classes or more, then this command again"
    else:
        echo(str(result.share))
        wrote, then = [], "the other shards, then the same command without --shard, which merges"
    done(wrote, then=then, failures=len(result.failures), listed=out / "failures.csv")
