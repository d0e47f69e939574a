"""``bchisto explain``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .ending import counted, done, echo
from .images import bundle_options
from .options import common_options, overwrite_option


@click.command()
@bundle_options
@click.option(
    "--method",
    required=True,
    help="Of boosted ensembles: map, contributions, channels. Of networks: gradient, gradcam, occlusion, filters, "
    "activations, masking, deconvnet, lrp, taylor, maximisation, smoothgrad, integrated, and of those of patches map.",
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
@click.option(
    "--top",
    type=int,
    default=20,
    show_default=True,
    help="contributions, channels, filters, activations: how many are shown.",
)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder to write into.")
@click.option("--skip-errors", is_flag=True, help="Leave out images that cannot be used, and exit with 1.")
@overwrite_option("Remove what this method left there first; default: resume.")
@common_options
@click.pass_context
def explain(
    context: click.Context,
    /,
    model: Path,
    images: tuple[Path, ...],
    more_images: tuple[Path, ...],
    **options: Any,
) -> None:
    """Show why a model bundle says what it says of images, as pictures with what they are not.

    \b
    Example: bchisto explain run --images new --method map --class malignant --out why
    """
    from ..experiment import Work
    from ..explain import ExplainSettings
    from ..explain import explain as run
    from ..options import from_options

    result = run(
        model,
        (*images, *more_images),
        out=options["out"],
        settings=from_options(ExplainSettings, options),
        weights=options["weights"],
        work=from_options(Work, options),
    )
    for banner in result.banners:
        echo(banner)
    echo(f"{counted(result.images, 'picture')} of the method {options['method']}")
    done(
        context,
        wrote=[result.page, result.sheet, result.folder / "arrays"],
        then=None,
        failures=len(result.failures),
        listed=result.folder / "failures.csv",
    )
