"""``bchisto evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .options import common_options, done, split_names


@click.command()
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN|PREDICTIONS.csv...")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for metrics and report.")
@click.option(
    "--positive",
    multiple=True,
    metavar="CLASS",
    help="Positive class of a two-class view; repeatable; default: those of the run, else of a known dataset.",
)
@click.option(
    "--two-class",
    type=click.Choice(["sum", "max"]),
    help="Add the probabilities of a side, or take its largest and renormalise; default: as the run of a table did, "
    "else sum.",
)
@click.option(
    "--threshold",
    "thresholds",
    multiple=True,
    type=float,
    help="Operating point; repeatable; default: those of the run, else 0.33 and 0.5.",
)
@click.option("--bootstrap", type=int, default=2000, show_default=True, help="Replicates of the intervals; 0 for none.")
@click.option(
    "--level",
    "levels",
    multiple=True,
    type=click.Choice(["row", "image", "group"]),
    default=("row",),
    show_default=True,
    help="One prediction per row (patch), image, or group (patient, slide); repeatable.",
)
@click.option(
    "--aggregate",
    "rules",
    multiple=True,
    type=click.Choice(["average", "sum", "vote", "exist", "exist-n"]),
    default=("average",),
    show_default=True,
    help="How rows become one at the levels above the row; repeatable.",
)
@click.option("--classes", callback=split_names, help="Class order.")
@common_options
@click.pass_context
def evaluate(context: click.Context, /, sources: tuple[Path, ...], out: Path, **options: Any) -> None:
    """Evaluate prediction tables, of runs or from anywhere, side by side.

    \b
    Example: bchisto evaluate run predictions.csv --out evaluation --positive InSitu --positive Invasive
    """
    from ..errors import ReportError
    from ..evaluate import TwoClassChoice, headline
    from ..evaluate import evaluate as run
    from ..options import from_options
    from ..runs import record_run

    failed: ReportError | None = None
    view = from_options(TwoClassChoice, options)
    config = {"sources": [str(path) for path in sources], "out": str(out), **_plain(options)}
    rest = {name: options[name] for name in ("bootstrap", "classes", "levels", "rules")}
    with record_run(out, command="evaluate", config=config) as record:
        try:
            result = run(sources, out=out, view=view, **rest)
        except ReportError as error:
            failed, result = error, error.results
            record.note(unwritten=str(error))
        record.note(results={name: {"accuracy": metrics["accuracy"]} for name, metrics in result["tables"].items()})
    for name, metrics in result["tables"].items():
        for line in headline(name, metrics):
            click.echo(line)
    for row in result["comparisons"]:
        test = row["mcnemar"]
        limits = [f"{100 * limit:+.1f}" for limit in row["interval"] or []]
        between = f" ({' to '.join(limits)})" if limits else ""
        click.echo(
            f"{row['second']} against {row['first']}: {100 * row['difference']:+.1f} points{between}, only one right "
            f"{test['only_second']} / {test['only_first']}, McNemar p {test['p']:.4f}"
        )
    for note in result["notes"]:
        click.echo(note, err=True)
    if failed is not None:
        raise failed
    done(context, wrote=[out / "metrics.json", out / "tables.csv", out / "tables.tex", out / "report.html"], then=None)


def _plain(options: dict[str, Any]) -> dict[str, Any]:
    """Return options as ``--config`` takes them back."""
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()}
    return {**plain, "classes": ",".join(options["classes"]) or None}
