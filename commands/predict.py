"""``bchisto predict``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .ending import counted, done, echo, quoted
from .images import bundle_options, skip_errors_option
from .options import OUT_FILE, PATH, Command, choice_option, dask_option, jobs_option, option, overwrite_option


@click.command(cls=Command)
@bundle_options
@option("--out", type=OUT_FILE, required=True, help="The CSV table to write.")
@option(
    "--features",
    multiple=True,
    type=PATH,
    help="Embeddings in the place of images: .npz, .parquet, .h5, or a folder of .h5; repeatable, one for each store.",
)
@option(
    "--html",
    type=OUT_FILE,
    help="Also write a sheet: picture, class and confidence of each image on a page, the least sure first.",
)
@option("--xlsx", type=OUT_FILE, help="Also write the rows of the sheet as a workbook.")
@choice_option("--format", "output_format", choices=["bchisto", "iciar2018"], help="Table, or test0.tif,Benign.")
@option("--calibrated", is_flag=True, help="Scale the probabilities by the temperature of the bundle.")
@option("--threshold", type=float, help="Operating point of the column called; default: that of the bundle, else 0.5.")
@option("--sensitivity", type=float, help="Call by the threshold that the bundle holds for this wanted sensitivity.")
@skip_errors_option
@overwrite_option("Replace an existing table.")
@dask_option
@jobs_option
def predict(model: Path, **options: Any) -> None:
    """Predict new images with a model bundle, or with that of a run folder.

    \b
    Example: bchisto predict run/boost/10-lightgbm/model.bchisto --images new --out predictions.csv
    """
    from ..jobs import Work
    from ..options import from_options
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
    if result.unsure is not None:
        echo(f"unsure: {result.unsure} of {counted(result.images, 'image')}, see {result.sheets[0]}")
    done(
        [result.path, *result.sheets],
        then=f"bchisto evaluate {quoted(result.path)} --out DIR" if result.labelled > 1 else None,
        failures=len(result.failures),
        listed=f"{result.path}.failures.csv",
    )
