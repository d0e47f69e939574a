"""Do images that `bchisto next` chooses teach more than images drawn at random?

    python tools/benchmarks/next.py --shared ../shared --cache next-cache --seeds 24 --write

Models learn from labels: the first drawn at random, the same for all strategies, then a few more each round, a fifth of
them at random. They are tested on slides or patients of which nothing could be chosen. Rounds, choices and the model
(`logistic`) are those of the command. TypiClust (Hacohen et al. 2022) and ProbCover (Yehuda et al. 2022), published for
few labels, are those of scikit-activeml; they measure distances along the components of `diversity`, ProbCover between
vectors of length 1.

A strategy that balances the classes among the labels moves the threshold of the model. So there are three figures: AUC,
which has no threshold; balanced accuracy; and balanced accuracy if the class is called whose probability over its share
among the labels is largest (Saerens, Latinne and Decaestecker 2002, Neural Computation). Two more say what the labels
are: the share of the class that is rarer in the pool, and of the images that a strategy chose, those that the model had
called wrong before they got their label.

Samples: IDC, 2,564 patches of 19 slides, of which two of the four that hold both classes are held out; BreakHis, 104
images of 19 patients, a third of whom are held out; both by MobileNetV2 and by 57 numbers of colour and texture; and
synthetic tables, another for each seed.

Intervals are those of the mean over seeds (Student's t). Seeds share their images, but for the synthetic ones, so they
say how sure a figure is for these images, and nothing of others. With --write the figures are put into
docs/results/samples.csv.
"""

import argparse
import datetime
import functools
import itertools
import shlex
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import numpy as np
from bchisto.apps.next import choice
from bchisto.apps.next.curve import train_model
from bchisto.apps.next.images import RunImages
from bchisto.apps.next.strategies import Strategy, _components
from bchisto.core import InputError
from bchisto.core.jobs import write_rows
from bchisto.core.runs import science
from bchisto.core.runs.record import as_text
from bchisto.data import ImageSelection, decode_image
from bchisto.featurize import FeatureMatrix, load_features
from ledger import LedgerRow, read_ledger

REPOSITORY = Path(__file__).resolve().parents[2]
LEDGER = REPOSITORY / "docs" / "results" / "samples.csv"
PAIRS = 6
"""Pairs of the four slides that hold both classes."""
RANDOM = "random"
RANDOM_SHARE = 0.2
COMPARED = ("doubt", "diversity", "typiclust", "probcover")
"""Strategies that are compared with random; `margin` chooses as `doubt` does if there are two classes."""
AUC = "AUC"
BALANCED = "balanced accuracy"
CORRECTED = "balanced accuracy, corrected for the labels"
RARER = "share of the rarer class among the labels"
WRONG = "share of the chosen that the model had called wrong"
RING = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))
"""The eight neighbours of a pixel, in turn."""


PARTS = ("features", "metrics", "models")
"""Parts of the science on which figures rest."""
BY_NETWORK = "mobilenetv2, weights file, scale 1, stain none"


class Sample(NamedTuple):
    """Where strategies are compared.

    Attributes
    ----------
    name : str
        With which the names of rows begin.
    matrix : FeatureMatrix
        Its features; of the synthetic ones, those of the first seed.
    cases : callable
        Of a number of seeds; yields a matrix and the positions that are held out, for each.
    step : int
        Number of the first labels, and of those of a round.
    most : int
        Number of labels at the end.
    unit, protocol, settings : str
        For the rows.
    rests_on : tuple of str
        Parts of the science.
    """

    name: str
    matrix: FeatureMatrix
    cases: Callable[[int], Iterator[tuple[FeatureMatrix, np.ndarray]]]
    step: int
    most: int
    unit: str
    protocol: str
    settings: str
    rests_on: tuple[str, ...] = PARTS


class Wanted(NamedTuple):
    """What a round of the command reads of its settings."""

    count: int
    strategy: str
    seed: int
    random_share: float = RANDOM_SHARE


def features(images, view, weights, out):
    """Return the features of images by the command line; those that are in `out` are not computed again."""
    words = (
        *("featurize", "--images", images, "--out", out, "--view", view, "--jobs", 1),
        *("--encoder", "mobilenetv2", "--weights", f"mobilenetv2={weights}", "--stain", "none"),
        *("--crops", "grid", "--augmentations", 1, "--color-range", 1, 1, "--pad", "reflect"),
    )
    subprocess.run([sys.executable, "-m", "bchisto", *map(str, words)], check=True)
    return load_features(out)


def texture(grey, distance):
    """Return twelve numbers: mean steps along both axes, and the shares of ten local binary patterns.

    These are the uniform ones that no rotation changes, of Ojala, Pietikäinen and Mäenpää 2002 (IEEE PAMI).
    """
    steps = [np.abs(grey[distance:] - grey[:-distance]).mean()]
    steps.append(np.abs(grey[:, distance:] - grey[:, :-distance]).mean())
    inner = grey[distance:-distance, distance:-distance]
    neighbours = [
        np.roll(grey, (-down * distance, -right * distance), (0, 1))[
            distance:-distance, distance:-distance
        ]
        for down, right in RING
    ]
    brighter = np.array(neighbours) >= inner
    changes = (brighter != np.roll(brighter, 1, axis=0)).sum(axis=0)
    patterns = np.where(changes <= 2, brighter.sum(axis=0), 9)
    return [*steps, *np.bincount(patterns.ravel(), minlength=10) / patterns.size]


def colour_and_texture(pixels):
    """Return 57 numbers of an image: mean, spread and five quantiles of each colour, and texture at three distances."""
    values = pixels.astype(np.float64) / 255
    numbers = []
    for channel in np.moveaxis(values, 2, 0):
        quantiles = np.quantile(channel, [0.1, 0.25, 0.5, 0.75, 0.9])
        numbers += [channel.mean(), channel.std(), *quantiles]
    for distance in (1, 2, 4):
        numbers += texture(values.mean(axis=2), distance)
    return numbers


def by_hand(images, matrix, file):
    """Return numbers of colour and texture of the same images; those that are in `file` are not computed again."""
    if not file.is_file():
        paths = {record.image_id: record.path for record in ImageSelection(images).read().records}
        rows = [colour_and_texture(decode_image(paths[name])) for name in matrix.names.tolist()]
        np.save(file, np.array(rows, dtype=np.float32))
    return FeatureMatrix(np.load(file), matrix.y, matrix.groups, matrix.names)


def made(seed):
    """Return a table of 1,000 images of 20 patients, a quarter of them positive; patients differ, too."""
    rng = np.random.default_rng(seed)
    patients = np.repeat(np.arange(20), 50)
    positive = rng.random(1000) < 0.25
    rows = rng.normal(size=(1000, 50)) + rng.normal(0, 0.7, (20, 50))[patients]
    rows[positive, :10] += 0.6
    return FeatureMatrix(
        rows.astype(np.float32),
        np.where(positive, "positive", "negative"),
        np.array([f"P{patient}" for patient in patients]),
        np.array([f"image {place}" for place in range(1000)]),
    )


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


def baseline(name, rows, *, batch, seed):
    """Return a published strategy that chooses a number of images, by scikit-activeml."""
    from skactiveml.pool import ProbCover, TypiClust

    points = _components(rows)
    query = TypiClust(random_state=seed).query
    if name == "probcover":
        points /= np.linalg.norm(points, axis=1, keepdims=True)
        query = ProbCover(n_classes=2, random_state=seed).query

    def rank(candidates):
        labels = np.full(len(points), np.nan)
        labels[candidates.covered] = 0
        free = np.array(candidates.free)
        yield from query(points, labels, candidates=free, batch_size=batch).tolist()

    return Strategy(name, rank, "")


def figures_of(model, truth, matrix, test):
    """Return AUC and both balanced accuracies on the test images of a model of all labels."""
    from sklearn.metrics import balanced_accuracy_score, roc_auc_score

    probabilities = model.predict_proba(matrix.X[test][:, None])
    shares = np.bincount(truth.labels) / len(truth.labels)
    is_second = (matrix.y[test] == truth.classes[1]).astype(int)
    assert {*matrix.y[test]} == {*truth.classes}, "the test images hold both classes"
    return {
        AUC: roc_auc_score(is_second, probabilities[:, 1]),
        BALANCED: balanced_accuracy_score(is_second, probabilities.argmax(axis=1)),
        CORRECTED: balanced_accuracy_score(is_second, (probabilities / shares).argmax(axis=1)),
    }


def first_labels(matrix, rows, count, seed):
    """Return the images that have their label at first: two of each class, and others as they are drawn."""
    order = np.random.default_rng(seed).permutation(rows)
    first = [row for name in sorted(set(matrix.y)) for row in order[matrix.y[order] == name][:2]]
    return [*first, *(row for row in order if row not in first)][:count]


def curve(matrix, test, strategy, *, seed, step, most):
    """Return the figures by the number of labels, after each round; what the labels are, with the last.

    Raises
    ------
    InputError
        There are too few patients among the labels for the folds of the classifier.
    """
    rows = np.flatnonzero(~np.isin(np.arange(len(matrix.y)), test))
    assert set(matrix.groups[rows]).isdisjoint(matrix.groups[test])
    names, counts = np.unique(matrix.y[rows], return_counts=True)
    rarer = names[counts.argmin()]
    labelled = first_labels(matrix, rows, step, seed)
    table, truth = table_of(matrix, rows, matrix.names[labelled].tolist())
    batch = round(step * (1 - RANDOM_SHARE))
    baselines = {}
    if strategy in ("typiclust", "probcover"):
        baselines[strategy] = baseline(strategy, table.rows, batch=batch, seed=seed)
    values = {}
    wrong = []
    for count in range(step, most + 1, step):
        labels = table.labelled()
        assert len(labels) == count
        model = train_model(table.rows[np.isin(table.names, labels.image_ids)], labels, seed=0)
        values[count] = figures_of(model, labels, matrix, test)
        if count == most:
            values[count][RARER] = float(np.mean(np.array(labels.classes)[labels.labels] == rarer))
            values[count][WRONG] = float(np.mean(wrong))
            break
        called = np.array(labels.classes)[model.predict_proba(table.rows[:, None]).argmax(axis=1)]
        called = dict(zip(table.names, called.tolist(), strict=True))
        with patch.dict(choice.STRATEGIES, baselines):
            current = choice._Round(table, Wanted(step, strategy, seed))
            current.choose()
        if current.notes:
            raise InputError("; ".join(current.notes))
        methods = [image.chosen.split()[0] for image in current.images]
        assert methods.count(strategy) == (step if strategy == RANDOM else batch)
        for image, method in zip(current.images, methods, strict=True):
            if method == strategy:
                wrong.append(called[image.image_id] != truth[image.image_id])
            table.cells["label"][image.image_id] = truth[image.image_id]
    return values


def interval(differences):
    """Return the mean, and its 95 % interval over seeds."""
    from scipy import stats

    mean = np.mean(differences)
    error = stats.sem(differences) * stats.t.ppf(0.975, len(differences) - 1)
    return mean, mean - error, mean + error


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


def third_of_patients(matrix, seeds):
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


def held_out(tests, matrix, seeds):
    """Yield a matrix with what each seed holds out of it."""
    for test in tests(matrix, seeds):
        yield matrix, test


def made_cases(seeds):
    """Yield a synthetic table for each seed, with the images of a third of its patients."""
    for seed in range(seeds):
        matrix = made(seed)
        yield matrix, next(third_of_patients(matrix, 1))


def curves_of(sample, strategies, seeds):
    """Return the curves of each strategy; a seed of which one cannot be measured is left out, and another taken."""
    curves = defaultdict(list)
    count = 0
    for seed, (matrix, test) in enumerate(sample.cases(4 * seeds)):
        one = functools.partial(curve, matrix, test, seed=seed, step=sample.step, most=sample.most)
        try:
            of_seed = {strategy: one(strategy) for strategy in strategies}
        except InputError as error:
            print(f"{sample.name}: seed {seed} left out: {error}")
            continue
        for strategy, values in of_seed.items():
            curves[strategy].append(values)
        count += 1
        if count == seeds:
            return curves
    raise SystemExit(f"{sample.name}: only {count} seeds can be measured")


def compare(sample, strategies, seeds):
    """Print the figures of a sample, and return its rows: name, figure, value, and ends of the interval."""
    curves = curves_of(sample, (RANDOM, *strategies), seeds)
    most = sample.most
    rows = []
    for strategy, of_strategy in curves.items():
        name = f"{sample.name} next {strategy}"
        for figure in (AUC, BALANCED, CORRECTED):
            means = {
                count: np.mean([one[count][figure] for one in of_strategy])
                for count in of_strategy[0]
            }
            print(f"{name}: {figure}: {'  '.join(f'{n}: {mean:.3f}' for n, mean in means.items())}")
            if strategy == RANDOM:
                rows.append((name, f"{figure} at {most}", means[most], "", ""))
                continue
            pairs = zip(of_strategy, curves[RANDOM], strict=True)
            differences = [chosen[most][figure] - drawn[most][figure] for chosen, drawn in pairs]
            rows.append(
                (
                    f"{name} against random",
                    f"difference of {figure} at {most}",
                    *interval(differences),
                )
            )
            mean, low, high = rows[-1][2:]
            behind = sum(difference < 0 for difference in differences)
            print(
                f"{name} against random: {figure}: {mean:+.3f} ({low:+.3f} to {high:+.3f}), behind in {behind}"
            )
        for figure in (RARER, WRONG):
            mean = np.mean([one[most][figure] for one in of_strategy])
            print(f"{name}: {figure}: {mean:.3f}", flush=True)
            rows.append((name, f"{figure} at {most}", mean, "", ""))
    return rows


def record(
    rows,
    seeds,
    matrix,
    protocol,
    *,
    unit="slide",
    settings=BY_NETWORK,
    more=f"; random share {RANDOM_SHARE}",
    rests_on=PARTS,
):
    """Put figures into the table of samples; those of an earlier run are replaced."""
    names = {row[0] for row in rows}
    kept = [row for row in read_ledger(LEDGER) if row.name not in names]
    git = subprocess.run(
        ["git", "rev-parse", "--short=8", "HEAD"], cwd=REPOSITORY, capture_output=True, text=True
    )
    parts = science()
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
                unit=unit,
                protocol=protocol,
                seeds=seeds,
                settings=f"head logistic; {settings}{more}",
                command=shlex.join(
                    ["python", f"tools/benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]]
                ),
                date=datetime.datetime.now(datetime.UTC).date().isoformat(),
                version=git.stdout.strip(),
                science=as_text({part: parts[part] for part in rests_on}),
            )
        )
    write_rows(LEDGER, LedgerRow._fields, kept)


def samples_of(wanted, data, cache):
    """Yield the samples whose names are wanted."""
    weights = data / "weights" / "mobilenetv2_imagenet.weights.h5"
    if any(name.startswith("idc") for name in wanted):
        matrix = features(data / "idc", "1.0:50", weights, cache / "idc")
        assert matrix.X.shape == (2564, 1280)
        assert len(set(matrix.groups)) == 19
        text = "two of the four slides that hold both classes held out"
        yield from of_images("idc", data / "idc", matrix, cache, idc_tests, 20, 100, "slide", text)
    if any(name.startswith("breakhis") for name in wanted):
        matrix = features(data / "breakhis", "1.0:224", weights, cache / "breakhis")
        text = "a third of the patients held out"
        images = data / "breakhis"
        yield from of_images(
            "breakhis", images, matrix, cache, third_of_patients, 10, 30, "patient", text
        )
    text = "a third of the patients held out; 20 labels at random, then 20 a round"
    settings = (
        "50 normal variables, ten of which differ between the classes, and all between patients"
    )
    yield Sample(
        "synthetic",
        made(0),
        made_cases,
        20,
        100,
        "patient",
        text,
        settings,
        ("metrics", "models"),
    )


def of_images(name, images, matrix, cache, tests, step, most, unit, text):
    """Yield a sample with the features of a network, and with numbers of colour and texture."""
    text += f"; {step} labels at random, then {step} a round"
    cases = functools.partial(held_out, tests, matrix)
    yield Sample(name, matrix, cases, step, most, unit, text, BY_NETWORK)
    numbers = by_hand(images, matrix, cache / f"{name}.npy")
    cases = functools.partial(held_out, tests, numbers)
    settings = "57 numbers of colour and texture"
    rests_on = ("metrics", "models")
    yield Sample(f"{name} by hand", numbers, cases, step, most, unit, text, settings, rests_on)


def main():
    names = ("idc", "idc by hand", "breakhis", "breakhis by hand", "synthetic")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, required=True, help="the folder of real data")
    parser.add_argument("--cache", type=Path, required=True, help="a folder for features")
    parser.add_argument("--seeds", type=int, default=24)
    parser.add_argument("--strategy", nargs="+", default=COMPARED, choices=COMPARED)
    parser.add_argument("--sample", nargs="+", default=names, choices=names)
    parser.add_argument("--write", action="store_true", help="put figures into samples.csv")
    options = parser.parse_args()
    for sample in samples_of(options.sample, options.shared / "data", options.cache):
        if sample.name not in options.sample:
            continue
        rows = compare(sample, options.strategy, options.seeds)
        if options.write:
            record(
                rows,
                options.seeds,
                sample.matrix,
                sample.protocol,
                unit=sample.unit,
                settings=sample.settings,
                rests_on=sample.rests_on,
            )


if __name__ == "__main__":
    main()
