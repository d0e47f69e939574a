"""``bchisto predict``, ``bchisto explain``, ``bchisto serve``, ``bchisto export`` and ``bchisto evaluate``."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import click

from ..core import InputError, Message, OutputError, counted, from_options, plain_value
from ..core.jobs import NOTHING_NEW, Work
from .ending import done, echo, end_check, quoted, reported_last, results, room_above
from .options import (
    OUT_FILE,
    OUT_FOLDER,
    PATH,
    Options,
    argument,
    bundle_options,
    command,
    flag,
    images_of,
    options_of,
    out_flag,
    weights_flag,
)
from .terminal import is_logged


def _explain_options() -> Options:
    from ..apps.explain import ExplainSettings

    yield from bundle_options()
    yield from options_of(ExplainSettings, method={"multiple": True, "required": False})
    yield flag(
        "--fields",
        group="Input",
        type=PATH,
        help="In place of images: the folder of slides cut, for a model of slides.",
    )
    yield flag("--features", group="Input", type=PATH, help="The feature file of --fields.")
    yield out_flag("Folder to write into.")
    yield from options_of(Work, "skip_errors", "overwrite", "dask", "checks")


@command(options=_explain_options, first=("images", "out", "method", "target"))
def explain(model: Path, **options: Any) -> None:
    """Explain predictions with heat maps; of a model of slides, by what each field adds.

    A model of slides is a linear one, of features that were pooled by their mean.

    \b
    Example: bchisto explain run --images new --target malignant --out why
    """
    from ..apps.explain import ExplainSettings, default_method, settings_of
    from ..apps.explain import explain as run

    inputs = (options["fields"], options["features"])
    if any(inputs):
        if not all(inputs) or images_of(options) or options["method"]:
            raise InputError(Message("give {fields} with {features}, without {images} or {method}"))
        from ..apps.slides import contributions

        done(from_options(contributions, options, model=model))
        return
    methods = options["method"] or (default_method(model),)
    settings = settings_of(methods, from_options(ExplainSettings, options, method=methods))
    explanations = from_options(
        run, options, model=model, images=images_of(options), settings=settings
    )
    end_check(unchanged=all(result.unchanged for result in explanations))
    echo(*explanations[0].banners)
    for method, result in zip(dict.fromkeys(methods), explanations, strict=True):
        count = f"{counted(result.images, 'image')} of the method {method}"
        echo(": ".join(filter(None, [count, result.legend])))
    worst = max(explanations, key=lambda result: len(result.failures))
    outputs = [result.folder / "arrays" for result in explanations]
    outputs += [result.page for result in explanations]
    done(outputs, failures=len(worst.failures), listed=worst.folder / "failures.csv")


def _export_options() -> Options:
    yield argument("model", type=PATH, metavar="MODEL|RUN")
    yield flag("--to", group="Output", type=OUT_FOLDER, required=True, help="The new folder.")


@command(options=_export_options)
def export(model: Path, to: Path) -> None:
    """Put a model into a folder that can be published: the file, and a model card.

    What only you know is a marked blank in the card.

    \b
    Example: bchisto export run/boost/10-lightgbm --to published
    """
    from ..predict import export as run

    card = run(model, to=to)
    done([card], then=f"fill in the blanks of {quoted(card)}")


def _serve_options() -> Options:
    from ..apps.serve import ServeSettings

    yield argument("models", nargs=-1, required=True, type=PATH, metavar="MODEL|RUN...")
    yield weights_flag()
    yield from options_of(ServeSettings)


@command(options=_serve_options, first=("keep", "port"))
def serve(**options: Any) -> int:
    """Show a web page on this machine: drop images, get classes, maps and the table.

    Open the address that it prints; Ctrl-C ends it. No image leaves the machine, and none is kept without --keep.

    \b
    Example: bchisto serve run/boost/10-lightgbm/model.bchisto
    """
    from ..apps.serve import serve as run

    def ready(address: str) -> None:
        echo(address)
        echo("open this address in a browser; Ctrl-C ends the page", err=True)

    ended_well = from_options(run, options, ready=ready)
    return 0 if ended_well else 1


def _options() -> Options:
    from ..predict import PredictSettings

    yield from bundle_options()
    yield out_flag("The CSV table to write.", type=OUT_FILE)
    yield flag(
        "--features",
        group="Input",
        multiple=True,
        type=PATH,
        help="Embeddings instead of images: .npz, .h5, or a folder of .h5; repeatable, one for each feature set.",
    )
    yield from options_of(PredictSettings, in_file=("format",))
    yield from options_of(Work, "skip_errors", "overwrite", "dask", "jobs", "checks")


@command(options=_options, first=("images", "out", "html", "threshold", "jobs"))
def predict(model: Path, **options: Any) -> None:
    """Predict new images with a model file, or with a run's.

    Exit code 0: done; 1: failed, or images were left out; 2: refused; with --update also 3: another call works on the
    table; 4: nothing new.

    \b
    Example: bchisto predict run/boost/10-lightgbm/model.bchisto \\
        --images new --out predictions.csv
    """
    from ..evaluate.report import known_of
    from ..predict import TESTED, find_bundle
    from ..predict import predict as run

    images = images_of(options)
    if not images and not options["features"]:
        raise InputError(Message("give {images:DIR} or image files, or {features:FILE}"))
    bundle = find_bundle(model)
    known = known_of(bundle)
    result = from_options(run, options, model=bundle, images=images)
    if result.unchanged:
        echo(*result.summary())
        click.get_current_context().exit(NOTHING_NEW)
    end_check()
    echo(*result.summary())
    for meaning in known["lines"][1:2]:
        echo(f"the model's training: {meaning}")
    outputs = [result.path]
    if result.sheet:
        outputs.append(result.sheet)
    advice = []
    if result.labelled > 1:
        evaluation = result.path.with_suffix(".evaluation")
        table = bundle.with_name(TESTED)
        flags = f" --against {quoted(table)}" if table.is_file() else ""
        advice = [f"bchisto evaluate {quoted(result.path)}{flags} --out {quoted(evaluation)}"]
    done(outputs, then=advice, failures=len(result.failures), listed=f"{result.path}.failures.csv")


def _evaluate_options() -> Options:
    from ..evaluate import Aggregation, TableChoice, TwoClassView

    yield argument("sources", nargs=-1, required=True, type=PATH, metavar="RUN|PREDICTIONS.csv...")
    yield out_flag("Folder for metrics and report.")
    yield from options_of(TwoClassView, in_file=("rule",))
    yield flag(
        "--bootstrap",
        type=int,
        default=2000,
        help="Bootstrap samples for confidence intervals of metrics of other packages, up to 100,000; 0 for none.",
    )
    yield from options_of(Aggregation, in_file=("rules",))
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


@command(options=_evaluate_options, first=("out", "positive", "levels", "by", "against"))
def evaluate(overwrite: bool, checks: bool, **options: Any) -> None:
    """Evaluate prediction tables, of runs or from anywhere.

    \b
    Example: bchisto evaluate run predictions.csv --out evaluation \\
        --positive malignant
    """
    from ..evaluate.report import (
        RecordedEvaluation,
        answer_lines,
        comparison_lines,
        drops,
        is_evaluated,
        warnings,
        wrapped,
    )

    out = options["out"]
    if not overwrite and is_evaluated(out):
        text = "{}: exists already; use {overwrite} or another {out}"
        raise OutputError(text, out / "metrics.json")
    record = from_options(
        RecordedEvaluation,
        options,
        config={name: plain_value(value) for name, value in options.items()},
    )
    if checks:
        click.get_current_context().exit(NOTHING_NEW if record.is_done() else 0)
    evaluation, error = reported_last(record.run)
    panels = evaluation.panels
    result = evaluation.result
    for text in drops(result.get("external", ())):
        results(wrapped(text))
    compared = comparison_lines(result, panels, few=not is_logged(logging.DEBUG))
    room = room_above([*record.outputs, *compared])
    notes = evaluation.notes
    if room or len(panels) > 1:
        notes = warnings(panels, notes)
    shown = notes if room else ()
    results(answer_lines(panels, result["comparisons"], shown, room=room))
    echo(*compared)
    if not room:
        for note in notes:
            echo(*wrapped(note), err=True)
    if error is not None:
        raise error
    done(record.outputs)
