"""``bchisto predict``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from .ending import done, echo, quoted
from .options import OUT_FILE, PATH, Command, bundle_options, flag, options_of


def _options() -> Iterator[click.Parameter]:
    from ..core.jobs import Work
    from ..predict import PredictSettings

    yield from bundle_options()
    yield flag("--out", group="Output", type=OUT_FILE, required=True, help="The CSV table to write.")
    yield flag(
        "--features",
        group="Input",
        multiple=True,
        type=PATH,
        help="Embeddings instead of images: .npz, .h5, or a folder of .h5; repeatable, one for each feature set.",
    )
    yield from options_of(PredictSettings)
    yield from options_of(Work, "skip_errors", "overwrite", "dask", "jobs")


@click.command(cls=Command, options=_options, first=("images", "out", "html", "threshold", "jobs"))
def predict(model: Path, **options: Any) -> None:
    """Predict new images with a model file, or with a run's.

    \b
    Example: bchisto predict run/boost/10-lightgbm/model.bchisto --images new --out predictions.csv
    """
    from ..core import counted, from_options
    from ..core.jobs import Work
    from ..predict import PredictSettings
    from ..predict import predict as run

    chosen = (*options["images"], *options["more_images"])
    if not chosen and not options["features"]:
        raise click.UsageError("give --images DIR or image files, or --features FILE")
    result = run(
        model,
        chosen,
        features=options["features"],
        out=options["out"],
        weights=options["weights"],
        settings=from_options(PredictSettings, options),
        work=from_options(Work, options),
    )
    echo(*result.banners)
    counts = ", ".join(f"{name} {count}" for name, count in result.counts.items())
    echo(f"{counted(result.images, 'image')} predicted: {counts}")
    if result.called:
        echo(result.called)
    if result.outliers:
        echo(result.outliers)
    if result.unsure is not None:
        echo(f"uncertain: {result.unsure} of {counted(result.images, 'image')}, see {result.sheet}")
    done(
        [result.path, *([result.sheet] if result.sheet else [])],
        then=f"bchisto evaluate {quoted(result.path)} --out {quoted(result.path.with_suffix('.evaluation'))}"
        if result.labelled > 1
        else (),
        failures=len(result.failures),
        listed=f"{result.path}.failures.csv",
    )
