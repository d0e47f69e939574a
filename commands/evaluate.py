"""``bchisto evaluate``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from ..core import OutputError, from_options
from ..core.jobs import NOTHING_NEW, Work, key_of
from .ending import done, echo, reported_last, results
from .options import OUT_FOLDER, PATH, Command, argument, flag, options_of


def _options() -> Iterator[click.Parameter]:
    from ..evaluate import Aggregation, TableChoice, TwoClassView

    yield argument("sources", nargs=-1, required=True, type=PATH, metavar="RUN|PREDICTIONS.csv...")
    yield flag("--out", group="Output", type=OUT_FOLDER, required=True, help="Folder for metrics and report.")
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
    yield flag("--overwrite", group="Output", is_flag=True, help="Replace an evaluation that is there.")
    yield from options_of(Work, "checks")


@click.command(cls=Command, options=_options, first=("out", "positive", "levels", "by", "against"))
def evaluate(sources: tuple[Path, ...], out: Path, **options: Any) -> None:
    """Evaluate prediction tables, of runs or from anywhere.

    \b
    Example: bchisto evaluate run predictions.csv --out evaluation --positive malignant
    """
    from ..core.formats import file_sha256
    from ..core.runs import read_run, record_run
    from ..evaluate import Aggregation, TableChoice, TwoClassView, read_predictions, tables_of
    from ..evaluate import evaluate as run
    from ..evaluate.report import comparison_lines, headline, wrapped, write_evaluation

    if not options.pop("overwrite") and is_evaluated(out):
        raise OutputError(f"{out / 'metrics.json'}: exists already; use --overwrite or another --out")
    view, checks = from_options(TwoClassView, options), options.pop("checks")
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()}
    plain["against"] = [str(path) for path in options["against"]]
    config = {"sources": [str(path) for path in sources], "out": str(out), **plain}
    choice, aggregation = from_options(TableChoice, options), from_options(Aggregation, options)
    read = [path for path, _ in tables_of((*sources, *options["against"]))]
    contents = key_of("tables 1", tables=[file_sha256(path) for path in read if path.is_file()])
    if checks:
        for path in read:
            for table in read_predictions(path, classes=choice.classes):
                view.check(table.classes)
        last = read_run(out)[-1] if is_evaluated(out) else None
        same = last is not None and last.config == config and last.notes.get("tables_sha256") == contents
        click.get_current_context().exit(NOTHING_NEW if same else 0)
    rest = {"tables": choice, "aggregation": aggregation, "bootstrap": options["bootstrap"]}
    with record_run(out, command="evaluate", config=config) as record:
        record.note(tables_sha256=contents)
        evaluation = run(sources, out=out, view=view, against=options["against"], **rest)
        _, failed = reported_last(lambda: write_evaluation(evaluation))
        result = evaluation.result
        if failed is not None:
            record.note(unwritten=str(failed))
        tables = result["tables"].items()
        record.note(results={name: {"accuracy": metrics["accuracy"]["value"]} for name, metrics in tables})
    printed: set[str] = set()
    for name, metrics in tables:
        results(headline(name, metrics), printed)
    echo(*comparison_lines(result))
    for note in result["notes"]:
        echo(*wrapped(note), err=True)
    if failed is not None:
        raise failed
    done([out / "metrics.json", out / "tables.csv", out / "report.html"])


def is_evaluated(out: Path) -> bool:
    """Return whether a folder contains a finished evaluation."""
    from ..core.runs import read_run

    if not ((out / "metrics.json").is_file() and (out / "run.json").is_file()):
        return False
    last = read_run(out)[-1]
    return (last.command, last.status) == ("evaluate", "ok")
