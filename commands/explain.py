"""``bchisto explain``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .ending import counted, done, echo
from .images import bundle_options, skip_errors_option
from .options import OUT_FOLDER, Command, option, overwrite_option


@click.command(cls=Command)
@bundle_options
@option(
    "--method",
    "method",
    multiple=True,
    help="Of boosted ensembles: map (default), contributions, channels. Of networks: gradcam (default), gradient, "
    "occlusion, filters, activations, masking, deconvnet, lrp, taylor, maximisation, smoothgrad, integrated, and of "
    "those of patches map; repeatable.",
)
@click.option("--layer", default="", help="Layer to look at; default: the last feature map.")
@click.option(
    "--class",
    "target",
    default="",
    metavar="CLASS",
    help="Class to explain; default: the likeliest; of map, the positive one of two.",
)
@click.option(
    "--window",
    type=int,
    default=0,
    help="map: side of what each place sees, pixels of the image; default: that of the model's crops.",
)
@option("--top", type=int, default=20, help="contributions, channels, filters, activations: how many are shown.")
@option("--out", type=OUT_FOLDER, required=True, help="Folder to write into.")
@skip_errors_option
@overwrite_option("Remove what this method left there first; default: resume.")
def explain(model: Path, **options: Any) -> None:
    """Show why a model bundle says what it says of images, as pictures with what they are not.

    \b
    Example: bchisto explain run --images new --class malignant --out why
    """
    from ..crossval import bundle_road
    from ..explain import explain_methods, settings_of
    from ..jobs import Work
    from ..options import from_options
    from ..predict import find_bundle

    methods = options["method"] or ("map" if bundle_road(find_bundle(model)) == "boosted" else "gradcam",)
    asked = {name: options[name] for name in ("layer", "target", "window", "top")}
    results = explain_methods(
        model,
        (*options["images"], *options["more_images"]),
        out=options["out"],
        settings=settings_of(methods, **asked),
        weights=options["weights"],
        work=from_options(Work, options),
    )
    echo(*results[0].banners)
    for method, result in zip(dict.fromkeys(methods), results, strict=True):
        echo(f"{counted(result.images, 'picture')} of the method {method}")
    failed = max(results, key=lambda result: len(result.failures))
    done(
        [path for one in results for path in (one.page, one.sheet, one.folder / "arrays")],
        failures=len(failed.failures),
        listed=failed.folder / "failures.csv",
    )
