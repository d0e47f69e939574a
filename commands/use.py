"""``bchisto predict``, ``bchisto explain``, ``bchisto serve``, ``bchisto export`` and ``bchisto evaluate``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from ..core import OutputError, counted, from_options
from ..core.jobs import NOTHING_NEW, Work, key_of
from .ending import done, echo, quoted, reported_last, results
from .options import (
    OUT_FILE,
    OUT_FOLDER,
    PATH,
    Command,
    argument,
    bundle_options,
    flag,
    options_of,
    weights_flag,
)


def _explain_options() -> Iterator[click.Parameter]:
    from ..apps.explain import ExplainSettings

    yield from bundle_options()
    yield from options_of(ExplainSettings, method={"multiple": True, "required": False})
    yield flag(
        "--out", group="Output", type=OUT_FOLDER, required=True, help="Folder to write into."
    )
    yield from options_of(Work, "skip_errors", "overwrite", "dask", "checks")


@click.command(cls=Command, options=_explain_options, first=("images", "out", "method", "target"))
def explain(model: Path, **options: Any) -> None:
    """Explain predictions with heat maps.

    \b
    Example: bchisto explain run --images new --target malignant --out why
    """
    from ..apps.explain import explain as run
    from ..apps.explain import settings_of
    from ..core.models import bundle_kind
    from ..predict import find_bundle

    methods = options["method"] or (
        "map" if bundle_kind(find_bundle(model)) == "boosted" else "gradcam",
    )
    asked = {name: options[name] for name in ("layer", "target", "mpp", "window")}
    images, settings = (*options["images"], *options["more_images"]), settings_of(methods, **asked)
    given = {name: options[name] for name in ("out", "weights")}
    work = from_options(Work, options)
    results = run(model, images, settings=settings, work=work, **given)
    if work.checks:
        code = 0
        if all(result.unchanged for result in results):
            code = NOTHING_NEW
        click.get_current_context().exit(code)
    echo(*results[0].banners)
    for method, result in zip(dict.fromkeys(methods), results, strict=True):
        echo(f"{counted(result.images, 'image')} of the method {method}")
    failed = max(results, key=lambda result: len(result.failures))
    wrote = [path for result in results for path in (result.page, result.folder / "arrays")]
    done(wrote, failures=len(failed.failures), listed=failed.folder / "failures.csv")


def _export_options() -> Iterator[click.Parameter]:
    yield argument("model", type=PATH, metavar="MODEL|RUN")
    yield flag("--to", group="Output", type=OUT_FOLDER, required=True, help="The new folder.")


@click.command(cls=Command, options=_export_options)
def export(model: Path, to: Path) -> None:
    """Put a model into a folder that can be published: the file, and a model card.

    What only you know is a marked blank in the card.

    \b
    Example: bchisto export run/boost/10-lightgbm --to published
    """
    from ..predict import export as run

    card = run(model, to=to)
    done([card], then=f"fill in the blanks of {quoted(card)}")


def _serve_options() -> Iterator[click.Parameter]:
    from ..apps.serve import ServeSettings

    yield argument("models", nargs=-1, required=True, type=PATH, metavar="MODEL|RUN...")
    yield weights_flag()
    yield from options_of(ServeSettings)


@click.command(cls=Command, options=_serve_options, first=("keep", "port"))
def serve(models: tuple[Path, ...], weights: tuple[str, ...], **options: Any) -> int:
    """Show a web page on this machine: drop images, get classes, maps and the table.

    Open the address that it prints; Ctrl-C ends it. No image leaves the machine, and none is kept without --keep.

    \b
    Example: bchisto serve run/boost/10-lightgbm/model.bchisto
    """
    from ..apps.serve import ServeSettings
    from ..apps.serve import serve as run

    def ready(address: str) -> None:
        echo(address)
        echo("open this address in a browser; Ctrl-C ends the page", err=True)

    return int(
        not run(models, weights=weights, settings=from_options(ServeSettings, options), ready=ready)
    )


def _options() -> Iterator[click.Parameter]:
    from ..predict import PredictSettings

    yield from bundle_options()
    yield flag(
        "--out", group="Output", type=OUT_FILE, required=True, help="The CSV table to write."
    )
    yield flag(
        "--features",
        group="Input",
        multiple=True,
        type=PATH,
        help="Embeddings instead of images: .npz, .h5, or a folder of .h5; repeatable, one for each feature set.",
    )
    yield from options_of(PredictSettings)
    yield from options_of(Work, "skip_errors", "overwrite", "dask", "jobs", "checks")


@click.command(cls=Command, options=_options, first=("images", "out", "html", "threshold", "jobs"))
def predict(model: Path, **options: Any) -> None:
    """Predict new images with a model file, or with a run's.

    Exit code 0: done; 1: failed, or images were left out; 2: refused; with --update also 3: another call works on the
    table; 4: nothing new.

    \b
    Example: bchisto predict run/boost/10-lightgbm/model.bchisto --images new --out predictions.csv
    """
    from ..predict import PredictSettings
    from ..predict import predict as run

    chosen = (*options["images"], *options["more_images"])
    if not chosen and not options["features"]:
        raise click.UsageError("give --images DIR or image files, or --features FILE")
    settings, work = from_options(PredictSettings, options), from_options(Work, options)
    given = {name: options[name] for name in ("features", "out", "weights")}
    result = run(model, chosen, **given, settings=settings, work=work)
    if result.unchanged:
        echo(f"nothing new for {result.path}")
        click.get_current_context().exit(NOTHING_NEW)
    if work.checks:
        return
    echo(*result.banners)
    counts = ", ".join(f"{name} {count}" for name, count in result.counts.items())
    echo(f"{counted(result.images, 'image')} predicted: {counts}")
    if result.called:
        echo(result.called)
    if result.outliers:
        echo(result.outliers)
    if result.unsure is not None:
        echo(f"uncertain: {result.unsure} of {counted(result.images, 'image')}, see {result.sheet}")
    wrote = [result.path, *([result.sheet] if result.sheet else [])]
    scored = f"bchisto evaluate {quoted(result.path)} --out {quoted(result.path.with_suffix('.evaluation'))}"
    then = scored if result.labelled > 1 else ()
    done(wrote, then=then, failures=len(result.failures), listed=f"{result.path}.failures.csv")


def _evaluate_options() -> Iterator[click.Parameter]:
    from ..evaluate import Aggregation, TableChoice, TwoClassView

    yield argument("sources", nargs=-1, required=True, type=PATH, metavar="RUN|PREDICTIONS.csv...")
    yield flag(
        "--out",
        group="Output",
        type=OUT_FOLDER,
        required=True,
        help="Folder for metrics and report.",
    )
    yield from options_of(TwoClassView)
    yield flag(
        "--bootstrap",
        type=int,
        default=2000,
        help="Bootstrap samples for confidence intervals of metrics of other packages, up to 100,000; 0 for none.",
    )
    yield from options_of(Aggregation)
    yield flag(
        "--against",
        group="Evaluation",
        multiple=True,
        type=PATH,
        metavar="RUN|PREDICTIONS.csv",
        help="Tables of the images that the models come from: how much less the sources reach, as an external "
        "validation.",
    )
    yield from options_of(TableChoice)
    yield flag(
        "--overwrite", group="Output", is_flag=True, help="Replace an evaluation that is there."
    )
    yield from options_of(Work, "checks")


@click.command(
    cls=Command, options=_evaluate_options, first=("out", "positive", "levels", "by", "against")
)
def evaluate(sources: tuple[Path, ...], out: Path, **options: Any) -> None:
    """Evaluate prediction tables, of runs or from anywhere.

    \b
    Example: bchisto evaluate run predictions.csv --out evaluation --positive malignant
    """
    from ..core.formats import file_sha256
    from ..core.runs import read_run, record_run
    from ..evaluate import (
        Aggregation,
        TableChoice,
        TwoClassView,
        inputs_of,
        read_predictions,
        tables_of,
    )
    from ..evaluate import evaluate as run
    from ..evaluate.report import (
        comparison_lines,
        headline,
        overview,
        warnings,
        wrapped,
        write_evaluation,
    )

    if not options.pop("overwrite") and is_evaluated(out):
        raise OutputError(
            f"{out / 'metrics.json'}: exists already; use --overwrite or another --out"
        )
    view, checks = from_options(TwoClassView, options), options.pop("checks")
    plain = {
        name: list(value) if isinstance(value, tuple) else value for name, value in options.items()
    }
    plain["against"] = [str(path) for path in options["against"]]
    config = {"sources": [str(path) for path in sources], "out": str(out), **plain}
    choice, aggregation = from_options(TableChoice, options), from_options(Aggregation, options)
    read, wrote = (*sources, *options["against"]), [out / name for name in _EVALUATED]
    contents = key_of(
        "tables 1", tables=[file_sha256(path) for path in inputs_of(read) if path.is_file()]
    )
    if checks:
        for path, _ in tables_of(read):
            for table in read_predictions(path, classes=choice.classes):
                view.check(table.classes)
        last = read_run(out)[-1] if is_evaluated(out) else None
        same = (
            last is not None
            and last.config == config
            and last.notes.get("tables_sha256") == contents
        )
        click.get_current_context().exit(
            NOTHING_NEW if same and all(path.is_file() for path in wrote) else 0
        )
    rest = {"tables": choice, "aggregation": aggregation, "bootstrap": options["bootstrap"]}
    with record_run(out, command="evaluate", config=config) as record:
        record.note(tables_sha256=contents)
        evaluation = run(sources, out=out, view=view, against=options["against"], **rest)
        _, failed = reported_last(lambda: write_evaluation(evaluation))
        result = evaluation.result
        if failed is not None:
            record.note(unwritten=str(failed))
        tables = result["tables"].items()
        record.note(
            results={name: {"accuracy": metrics["accuracy"]["value"]} for name, metrics in tables}
        )
    several = len(evaluation.panels) > 1
    results(overview(evaluation.panels) if several else headline(*next(iter(tables))))
    echo(*comparison_lines(result, evaluation.panels))
    for note in warnings(evaluation.panels, result["notes"]) if several else result["notes"]:
        echo(*wrapped(note), err=True)
    if failed is not None:
        raise failed
    done(wrote)


_EVALUATED = ("metrics.json", "tables.csv", "report.html")


def is_evaluated(out: Path) -> bool:
    """Return whether a folder contains a finished evaluation."""
    from ..core.runs import read_run

    if not ((out / "metrics.json").is_file() and (out / "run.json").is_file()):
        return False
    last = read_run(out)[-1]
    return (last.command, last.status) == ("evaluate", "ok")
