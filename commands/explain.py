"""``bchisto explain``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from .ending import done, echo
from .options import OUT_FOLDER, Command, bundle_options, flag, options_of


def _options() -> Iterator[click.Parameter]:
    from ..apps.explain import ExplainSettings
    from ..core.jobs import Work

    yield from bundle_options()
    methods = {"multiple": True, "required": False}
    yield from options_of(ExplainSettings, method=methods)
    yield flag("--out", group="Output", type=OUT_FOLDER, required=True, help="Folder to write into.")
    yield from options_of(Work, "skip_errors", "overwrite", "dask")


@click.command(cls=Command, options=_options, first=("images", "out", "method", "target"))
def explain(model: Path, **options: Any) -> None:
    """Explain predictions with heat maps.

    \b
    Example: bchisto explain run --images new --target malignant --out why
    """
    from ..apps.explain import explain_methods, settings_of
    from ..core import counted, from_options
    from ..core.jobs import Work
    from ..core.models import bundle_kind
    from ..predict import find_bundle

    methods = options["method"] or ("map" if bundle_kind(find_bundle(model)) == "boosted" else "gradcam",)
    asked = {name: options[name] for name in ("layer", "target", "mpp", "window")}
    results = explain_methods(
        model,
        (*options["images"], *options["more_images"]),
        out=options["out"],
        settings=settings_of(methods, **asked),
        weights=options["weights"],
        work=from_options(Work, options),
    )
    if not results:  # the command only checked
        return
    echo(*results[0].banners)
    for method, result in zip(dict.fromkeys(methods), results, strict=True):
        echo(f"{counted(result.images, 'image')} of the method {method}")
    failed = max(results, key=lambda result: len(result.failures))
    done(
        [path for written in results for path in (written.page, written.sheet, written.folder / "arrays")],
        failures=len(failed.failures),
        listed=failed.folder / "failures.csv",
    )
