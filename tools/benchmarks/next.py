"""Do images that `bchisto next` chooses teach more than images drawn at random?

    python tools/benchmarks/next.py --shared ../shared --cache next-cache --seeds 40

IDC: 2,564 patches of 19 slides. Of the four slides that hold both classes, two are held out for test, another two for
each seed in turn. Labels of the others begin with 20 drawn at random, two of each class among them, which both ways
share, and grow by 20 a round to 200, a fifth of each round at random. Rounds, choices and the model (`logistic`) are
those of the command. BreakHis: 104 images of 19 patients, a third of whom are held out; it is too small to tell
anything, and is run to show that.

The interval is that of the mean over seeds (Student's t). Seeds share their slides, so it says how sure the figure is
for these slides, and nothing of others. With --write the figures are put into docs/results/samples.csv.
"""

import argparse
import datetime
import itertools
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
from bchisto.apps.next import NextSettings
from bchisto.apps.next.choice import _Round
from bchisto.apps.next.images import RunImages
from bchisto.boost import TrainingPart, fit_head, get_head
from bchisto.core import InputError
from bchisto.core.jobs import write_rows
from bchisto.core.runs import science
from bchisto.core.runs.record import as_text
from bchisto.featurize import load_features
from ledger import LedgerRow, read_ledger

REPOSITORY = Path(__file__).resolve().parents[2]
LEDGER = REPOSITORY / "docs" / "results" / "samples.csv"
STEP = 20
AT = 100
MOST = 200
PAIRS = 6
"""Pairs of the four slides that hold both classes."""
RANDOM = "random"


def features(images, view, weights, out):
    """Return the features of images by the command line; those that are in `out` are not computed again."""
    words = (
        *("featurize", "--images", images, "--out", out, "--view", view),
        *("--encoder", "mobilenetv2", "--weights", f"mobilenetv2={weights}", "--stain", "none"),
        *("--crops", "grid", "--augmentations", 1, "--color-range", 1, 1, "--pad", "reflect"),
    )
    subprocess.run([sys.executable, "-m", "bchisto", *map(str, words)], check=True)
    return load_features(out)


def table_of(matrix, rows, labelled):
    """Return the images of a pool as the command reads them; only `labelled` have their label."""
    names = matrix.names[rows].tolist()
    truth = dict(zip(names, matrix.y[rows].tolist(), strict=True))
    cells = {
        "label": {name: truth[name] for name in labelled},
        "group": dict(zip(names, matrix.groups[rows].tolist(), strict=True)),
        "path": dict.fromkeys(names, ""),
        "chosen": {},
        "why": {},
    }
    twins = [{place} for place in range(len(names))]
    return RunImages(names, matrix.X[rows], twins, (), cells), truth


def balanced(matrix, table, test):
    """Return the balanced accuracy on the test images of a model of all labels."""
    classes = np.unique(matrix.y)
    positions = [place for place, name in enumerate(table.names) if name in table.cells["label"]]
    names = [table.names[place] for place in positions]
    part = TrainingPart(
        table.rows[positions][:, None],
        np.searchsorted(classes, [table.cells["label"][name] for name in names]),
        [table.cells["group"][name] for name in names],
        len(classes),
        0,
        0,
    )
    (fitted,) = fit_head("logistic", part, params=[{}])
    model = get_head("logistic").parse(fitted.data)
    predicted = model.predict_proba(matrix.X[test][:, None]).argmax(axis=1)
    truth = np.searchsorted(classes, matrix.y[test])
    assert {*truth.tolist()} == {*range(len(classes))}, "the test slides hold every class"
    return float(np.mean([(predicted[truth == k] == k).mean() for k in range(len(classes))]))


def curve(matrix, test, *, strategy, seed, step, most):
    """Return the balanced accuracy by the number of labels, after each round."""
    rows = np.flatnonzero(~np.isin(np.arange(len(matrix.y)), test))
    assert set(matrix.groups[rows]).isdisjoint(matrix.groups[test])
    order = np.random.default_rng(seed).permutation(rows)
    # two of each class, with which the command begins, then as they come
    first = [row for name in sorted(set(matrix.y)) for row in order[matrix.y[order] == name][:2]]
    count = step
    labelled = [*first, *(row for row in order if row not in first)][:count]
    table, truth = table_of(matrix, rows, matrix.names[labelled].tolist())
    values = {count: balanced(matrix, table, test)}
    while count < most:
        settings = NextSettings(
            count=min(step, most - count), strategy=strategy, seed=seed, random_share=0.2
        )
        current = _Round(table, settings)
        current.choose()
        assert current.notes == [], current.notes
        methods = [image.chosen.split()[0] for image in current.images]
        share = 1.0 if strategy == RANDOM else 0.2
        assert methods.count(RANDOM) == round(settings.count * share)
        for image in current.images:
            table.cells["label"][image.image_id] = truth[image.image_id]
        count += len(current.images)
        assert count == len(table.cells["label"])
        values[count] = balanced(matrix, table, test)
    return values


def reached(values, target):
    """Return the number of labels at which a curve first reaches a value, between its points; infinite if never."""
    points = sorted(values.items())
    if points[0][1] >= target:
        return float(points[0][0])
    for (left, low), (right, high) in itertools.pairwise(points):
        if high >= target:
            return left + (right - left) * (target - low) / (high - low)
    return float("inf")


def interval(differences):
    """Return the mean, and its 95 % interval over seeds."""
    from scipy import stats

    mean = np.mean(differences)
    error = stats.sem(differences) * stats.t.ppf(0.975, len(differences) - 1)
    return mean, mean - error, mean + error


def mean_curve(curves):
    """Return the mean of curves at the numbers of labels that all have."""
    shared = set.intersection(*(set(one) for one in curves))
    return {count: float(np.mean([one[count] for one in curves])) for count in sorted(shared)}


def idc_tests(matrix, seeds):
    """Yield the held-out images of each seed: two of the slides that hold both classes."""
    both = [
        slide
        for slide in np.unique(matrix.groups)
        if len(set(matrix.y[matrix.groups == slide])) == 2
    ]
    assert len(both) == 4
    pairs = [*itertools.combinations(both, 2)]
    assert len(pairs) == PAIRS
    for seed in range(seeds):
        yield np.flatnonzero(np.isin(matrix.groups, pairs[seed % len(pairs)]))


def breakhis_tests(matrix, seeds):
    """Yield the held-out images of each seed: those of a third of the patients, with both classes on both sides."""
    patients = np.unique(matrix.groups)
    rng = np.random.default_rng(0)
    for _ in range(seeds):
        while True:
            held = np.isin(matrix.groups, rng.choice(patients, len(patients) // 3, replace=False))
            smallest = min((matrix.y[~held] == name).sum() for name in set(matrix.y))
            if len(set(matrix.y[held])) == 2 and smallest >= 8 and (~held).sum() >= 60:
                break
        yield np.flatnonzero(held)


def compare(name, matrix, tests, *, strategies, step, at, most, cycle=0):
    """Print the curves of a sample, and return the rows of its figures; every `cycle`-th test is of the same images."""
    curves = {strategy: [] for strategy in (RANDOM, *strategies)}
    for seed, test in enumerate(tests):
        for strategy, of_strategy in curves.items():
            try:
                of_strategy.append(
                    curve(matrix, test, strategy=strategy, seed=seed, step=step, most=most)
                )
            except InputError as error:  # too few patients for the folds of the classifier
                print(f"{name}: seed {seed} left out: {error}")
                for other in curves.values():
                    del other[len(of_strategy) :]
                break
    seeds = len(curves[RANDOM])
    means = {strategy: mean_curve(of_strategy) for strategy, of_strategy in curves.items()}
    for strategy, values in means.items():
        shown = "  ".join(f"{count}: {value:.3f}" for count, value in values.items())
        print(f"{name} {strategy}: {shown}")
    target = means[RANDOM][most]
    rows = [(f"{name} random", f"balanced accuracy at {at}", means[RANDOM][at], "", "")]
    for strategy in strategies:
        pairs = zip(curves[strategy], curves[RANDOM], strict=True)
        differences = [chosen[at] - drawn[at] for chosen, drawn in pairs]
        mean, low, high = interval(differences)
        behind = sum(difference < 0 for difference in differences)
        print(
            f"{name} {strategy} against random at {at} labels, {seeds} seeds: {mean:+.3f} ({low:+.3f} to {high:+.3f}), "
            f"behind in {behind}; by what was held out: "
            f"{', '.join(f'{np.mean(differences[first::cycle]):+.3f}' for first in range(cycle))}"
        )
        needed = reached(means[strategy], target)
        single = np.quantile([reached(one, target) for one in curves[strategy]], [0.25, 0.5, 0.75])
        halves = [
            reached(mean_curve(curves[strategy][start::2]), target)
            for start in range(min(2, seeds))
        ]
        print(
            f"{name} {strategy}: {needed:.0f} labels reach {target:.3f}, what random reaches with {most}; of halves of "
            f"the seeds {', '.join(f'{one:.0f}' for one in halves)}; quartiles of single seeds "
            f"{', '.join(f'{one:.0f}' for one in single)}"
        )
        pair = f"{name} {strategy} against random"
        rows += [
            (f"{name} {strategy}", f"balanced accuracy at {at}", means[strategy][at], "", ""),
            (pair, f"difference of balanced accuracy at {at}", mean, low, high),
        ]
        if np.isfinite(needed):
            rows.append((pair, f"labels for what random reaches with {most}", needed, "", ""))
    return rows, seeds


def record(rows, seeds, matrix, protocol):
    """Put figures into the table of samples; those of an earlier run are replaced."""
    names = {row[0] for row in rows}
    kept = [row for row in read_ledger(LEDGER) if row.name not in names]
    git = subprocess.run(
        ["git", "rev-parse", "--short=8", "HEAD"], cwd=REPOSITORY, capture_output=True, text=True
    )
    rests_on = science()
    for part in ("stains", "folds"):  # none, and drawn here
        del rests_on[part]
    for name, figure, *values in rows:
        value, low, high = (
            number if number == "" else round(float(number), 4) for number in values
        )
        kept.append(
            LedgerRow(
                name,
                figure,
                value,
                low,
                high,
                images=len(matrix.y),
                units=len(set(matrix.groups)),
                unit="slide",
                protocol=protocol,
                seeds=seeds,
                settings="head logistic; mobilenetv2, weights file, scale 1, stain none; random share 0.2",
                command=shlex.join(
                    ["python", f"tools/benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]]
                ),
                date=datetime.datetime.now(datetime.UTC).date().isoformat(),
                version=git.stdout.strip(),
                science=as_text(rests_on),
            )
        )
    write_rows(LEDGER, LedgerRow._fields, kept)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, required=True, help="the folder of real data")
    parser.add_argument("--cache", type=Path, required=True, help="a folder for features")
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--strategy", nargs="+", default=["doubt"])
    parser.add_argument("--sample", nargs="+", default=["idc", "breakhis"])
    parser.add_argument("--write", action="store_true", help="put figures into samples.csv")
    options = parser.parse_args()
    weights = options.shared / "data" / "weights" / "mobilenetv2_imagenet.weights.h5"
    data = options.shared / "data"
    if "idc" in options.sample:
        matrix = features(data / "idc", "1.0:50", weights, options.cache / "idc")
        assert matrix.X.shape == (2564, 1280)
        assert len(set(matrix.groups)) == 19
        tests = idc_tests(matrix, options.seeds)
        rows, seeds = compare(
            "idc next",
            matrix,
            tests,
            strategies=options.strategy,
            step=STEP,
            at=AT,
            most=MOST,
            cycle=PAIRS,
        )
        assert seeds == options.seeds
        if options.write:
            protocol = "two of the four slides that hold both classes held out; 20 labels at random, then 20 a round"
            record(rows, seeds, matrix, protocol)
    if "breakhis" in options.sample:
        matrix = features(data / "breakhis", "1.0:224", weights, options.cache / "breakhis")
        largest = max(map(matrix.groups.tolist().count, set(matrix.groups)))
        tests = breakhis_tests(matrix, options.seeds)
        compare(
            "breakhis next", matrix, tests, strategies=options.strategy, step=10, at=20, most=40
        )
        print(
            f"breakhis cannot tell: {len(matrix.y)} images of {len(set(matrix.groups))} patients, {largest} of them of "
            "one; none of its figures is recorded"
        )


if __name__ == "__main__":
    main()
