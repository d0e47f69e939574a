"""``bchisto evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .options import common_options, done, split_names


@click.command()
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN|PREDICTIONS.csv...")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for metrics and report.")
@click.option("--positive", multiple=True, metavar="CLASS", help="Positive class of a two-class view; repeatable.")
@click.option(
    "--two-class",
    type=click.Choice(["sum", "max"]),
    default="sum",
    show_default=True,
    help="Add the probabilities of a side, or take its largest and renormalise.",
)
@click.option(
    "--threshold",
    "thresholds",
    multiple=True,
    type=float,
    default=(0.33, 0.5),
    show_default=True,
    help="Set point; repeatable.",
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
    from ..evaluate import evaluate as run

    result = run(sources, out=out, **options)
    for name, metrics in result["tables"].items():
        interval = (metrics["intervals"] or {}).get("accuracy")
        spread = ""
        if metrics["accuracy_mean"] is not None:
            spread = f", {100 * metrics['accuracy_mean']:.1f} +- {100 * metrics['accuracy_std']:.1f} over folds"
        between = f" ({100 * interval[0]:.1f} to {100 * interval[1]:.1f})" if interval else ""
        accuracy = f"{100 * metrics['accuracy']:.2f} %{between} of {metrics['n']}{spread}"
        click.echo(f"{name}: accuracy {accuracy}; {metrics['protocol']}")
        if metrics["intervals"].get("warning"):
            click.echo(f"{name}: {metrics['intervals']['warning']}", err=True)
        view = metrics.get("two_class")
        if view:
            auc = "" if view["auc"] is None else f", AUC {view['auc']:.3f}"
            if view["auc_mean"] is not None:
                auc += f" (folds {view['auc_mean']:.3f} +- {view['auc_std']:.3f})"
            click.echo(f"  {' + '.join(view['positive'])} against the rest: {100 * view['accuracy']:.2f} %{auc}")
            for point in view["thresholds"]:
                sides = [
                    f"{100 * point[s]:.1f}" if point[s] is not None else "-" for s in ("sensitivity", "specificity")
                ]
                click.echo(f"  set point {point['threshold']:g}: sensitivity {sides[0]}, specificity {sides[1]}")
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
    done(context, wrote=[out / "metrics.json", out / "tables.csv", out / "tables.tex", out / "report.html"], then=None)
