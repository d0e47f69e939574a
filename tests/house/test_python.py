"""The library takes what a Python user passes, and the examples of docs/python.md run."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from bchisto.apps.recipes import Scope
from bchisto.boost import BoostSettings, FeatureChoice, train
from bchisto.core import InputError, OutputError, converted
from bchisto.core.formats import read_header
from bchisto.core.jobs import Work
from bchisto.data import FoldChoice, ImageSelection, decode_image, fold_plan, read_dataset
from bchisto.encoders import Encoder, EncoderChoice
from bchisto.evaluate import TwoClassView, evaluate, read_predictions
from bchisto.evaluate.conclusions import verdict_of
from bchisto.featurize import FeaturizeSettings, View, open_store
from bchisto.finetune import FinetuneSettings
from bchisto.predict import predict

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (("/a/b.tif", [Path("/a/b.tif")]), tuple[Path, ...], (Path("/a/b.tif"),)),
        ((4, np.int64(4), "4", iter(["4"])), tuple[str, ...], ("4",)),
        ((Path("f.csv"),), tuple[str, ...], ("f.csv",)),
        ((np.float32(0.5), [0.5]), tuple[float, ...], (0.5,)),
        ((np.True_, True), bool | None, True),
        (([1.0, 2],), tuple[float, float], (1.0, 2.0)),
    ],
)
def test_one_or_many(values, kind, expected):
    for value in values:
        given = converted(value, "x", kind)
        assert given == expected
        assert type(given) is type(expected)


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        (Path, 3, "x=3: give a path"),
        (Path, b"a", "x=b'a': give a path"),
        (str, 2.5, "x=2.5: give a text, a path or a whole number"),
        (int, "3", "x='3': give a whole number"),
        (float, "a", "x='a': give a number"),
        (float, float("nan"), "`x` nan: give a finite number"),
        (tuple[int, int], 4, "`x`: give 2 values, not 1"),
    ],
)
def test_what_is_refused(kind, value, message):
    with pytest.raises(InputError, match=re.escape(message)):
        converted(value, "x", kind)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FoldChoice(folds=None), "folds=None: give a text"),
        (lambda: FoldChoice(repeats=None), "repeats=None: give a whole number"),
        (lambda: ImageSelection("images", classes=None), "classes=None: give a text"),
        (
            lambda: ImageSelection("images", magnifications=None),
            "magnifications=None: give a whole number",
        ),
        (lambda: BoostSettings(seeds=None), "seeds=None: give a whole number"),
        (lambda: FeaturizeSettings(crops=None), "crops=None: give a whole number"),
        (lambda: FeatureChoice(features=None), "features=None: give a path"),
        (lambda: Scope(variants=None), "variants=None: give a text"),
    ],
)
def test_none_is_taken_only_where_it_is_the_default(make, message):
    with pytest.raises(InputError, match=re.escape(message)):
        make()
    assert Work(jobs=None, threads=None).jobs is None
    assert FeatureChoice(labels=None).labels is None
    assert FoldChoice(test_list=None).test_list is None


def test_settings():
    made = FeaturizeSettings(
        encoders="tiny", views="1.0:64", weights="x.h5", crops=np.int64(3), seed=np.int32(1)
    )
    assert made.encoders == (EncoderChoice("tiny"),)
    assert made.views == (View(1.0, 64),)
    assert made.weights == ("x.h5",)
    assert type(made.crops) is int
    assert type(made.seed) is int
    assert FeaturizeSettings(weights=[Path("x.h5")]).weights == ("x.h5",)
    tuned = FinetuneSettings(
        "alexnet", augmentations="mirror", weights=Path("w.npz"), epochs=np.int64(2)
    )
    assert tuned.augmentations == ("mirror",)
    assert tuned.weights == "w.npz"
    assert type(tuned.epochs) is int


def test_functions_of_every_room(boosted, run_copy, tissue, tmp_path):
    file = str(sorted(tissue.rglob("*.png"))[0])
    assert decode_image(file).shape == (96, 96, 3)
    assert read_header(file).width == 96
    data = read_dataset(str(tissue), classes=["benign", "malignant"])
    ids = [record.image_id for record in data.records]
    labels = [record.label for record in data.records]
    plan = fold_plan(np.int64(3), image_ids=ids, labels=labels, groups=[None] * len(ids))
    assert plan.folds == [1, 2, 3]
    store = boosted / "features" / "tiny-1.0-64.h5"
    with open_store(str(store)) as found:
        assert len(found.image_ids) == 12
    weights = tmp_path / "tiny.weights.h5"
    Encoder("convs", weights="random", seed=np.int64(0), layers="middle").model.save_weights(
        weights
    )
    assert Encoder("convs", weights=weights, layers="middle").weights == "file"
    model = boosted / "boost" / "3-lightgbm" / "model.bchisto"
    predicted = predict(str(model), file, out=str(tmp_path / "p.csv"), work=Work(jobs=1))
    assert predicted.images == 1
    run = run_copy(boosted)
    small = {"min_data_in_leaf": 2, "num_iterations": 2}
    (result,) = train(
        out=str(run),
        features=str(run / "features" / store.name),
        folds=np.int64(4),
        settings=BoostSettings(heads="lightgbm", seeds=np.int64(1), params=small),
        work=Work(jobs=1),
    )
    assert result.folder.name == "4-lightgbm"
    table = str(boosted / "boost" / "3-lightgbm" / "predictions.csv")
    view = TwoClassView("malignant", thresholds=0.5)
    evaluated = evaluate(table, out=tmp_path / "e", view=view, bootstrap=0)
    assert evaluated.result["tables"]


@pytest.mark.skipif(not (REPOSITORY / "pyproject.toml").is_file(), reason="needs the repository")
def test_the_examples_run(tissue, tmp_path, monkeypatch):
    """As they stand, but for a small encoder, few models, and one process."""
    rows = ["path,label,patient"]
    for label in ("benign", "malignant"):
        for number, path in enumerate(sorted((tissue / label).glob("*.png"))):
            rows.append(f"{path},{label},patient {number}")
    (tmp_path / "images.csv").write_text("\n".join(rows))
    shutil.copy(sorted(tissue.rglob("*.png"))[0], tmp_path / "a.png")
    shutil.copytree(tissue, tmp_path / "new")
    monkeypatch.chdir(tmp_path)
    blocks = python_of("python.md")
    assert len(blocks) == 7
    pytest.importorskip("pandas")
    names = {}
    for block in blocks:
        for there, here in (
            ("new/a.png", "a.png"),
            ("GroupKFold(5)", "GroupKFold(2)"),
            ('encoders="resnet50"', 'encoders="tiny", weights="random"'),
            ("0.5:400", "1.0:64"),
            ("seeds=2", 'seeds=1, params={"num_iterations": 2, "min_data_in_leaf": 2}'),
            ("jobs=4", "jobs=1"),
        ):
            block = block.replace(there, here)
        exec(compile(block, "docs/python.md", "exec"), names)
    assert names["darker"].dtype == np.uint8
    assert names["result"].folder.name == "5-grouped-lightgbm"
    assert set(names["metrics"]["tables"]) == {"mine"}
    assert (tmp_path / "evaluation" / "report.html").is_file()
    assert (tmp_path / "sheet.html").is_file()
    assert names["found"].trained == (True, True)  # a copy of an image that trained
    np.testing.assert_array_equal(names["found"].probabilities[0], names["found"].probabilities[1])
    assert names["frame"].shape[0] == 12
    assert names["X"].shape[0] == len(names["y"]) == len(set(names["names"])) == 12
    assert len(set(names["groups"])) == 6


def python_of(page):
    """Return the blocks of Python of a page of the documents."""
    text = (REPOSITORY / "docs" / page).read_text()
    return re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)


FURTHER = """
from bchisto.apps.explain import ExplainSettings
from bchisto.apps.recipes import Scope
from bchisto.boost import FeatureChoice
from bchisto.data import FoldChoice
from bchisto.evaluate import Aggregation, TableChoice
from bchisto.finetune import FinetuneSettings
from pathlib import Path

folders: tuple[Path, ...] = FeatureChoice("features", labels="labels.csv").features
protocols: tuple[str, ...] = FoldChoice(folds=[5, "70/30"], test_list="test.csv").folds
pixels: tuple[int, ...] = ImageSelection(Path("x"), magnifications=40).magnifications
shares: tuple[float, ...] = TwoClassView(thresholds=[0.5, 0.6]).thresholds
FeaturizeSettings(weights={"resnet50": Path("x.h5")}, views=["0.5:400", View(0.5, 650)])
Scope(variants="one", encoders=["resnet50"], test_images="test")
Aggregation("group", ["vote", "sum"]), TableChoice(by="site"), ExplainSettings("map")
FinetuneSettings("alexnet", augmentations="mirror", fresh="top")
"""

MISTAKES = """
ImageSelection(3)
FeaturizeSettings(encoders=2.5)
PredictSettings(html=1)
TwoClassView("malignant", thresholds="0.5")
"""


@pytest.mark.slow
@pytest.mark.skipif(not (REPOSITORY / "Makefile").is_file(), reason="needs the repository")
def test_a_stranger_checks_the_types_of_the_guide(tmp_path):
    """In an environment that `make` created, where bchisto is found only by the link for mypy."""
    pytest.importorskip("mypy")
    environment = tmp_path / "environment"
    made = [f"VENV={environment}", f"PYTHON={sys.executable}", f"{environment}/created"]
    subprocess.run(["make", "-C", REPOSITORY, *made], check=True, capture_output=True)
    packages = next(environment.glob("lib/python3*/site-packages"))
    assert (packages / "bchisto-stubs").resolve() == REPOSITORY
    # the other packages, as if they were installed here; the finder of an editable install says nothing to mypy
    others = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "others.pth").write_text("\n".join(others))
    imports = "from bchisto.featurize import View\n"
    calls = "".join(python_of("python.md")) + imports + FURTHER
    assert checked(tmp_path, calls, environment) == []
    wrong = checked(tmp_path, calls + MISTAKES, environment)
    last = calls.count("\n")
    errors = [re.match(r"guide.py:(\d+): error: Argument ", line) for line in wrong]
    assert [int(error[1]) - last for error in errors if error] == [2, 3, 4, 5]


def checked(folder, source, environment):
    """Return what mypy finds in a script; libraries without types are no matter."""
    (folder / "guide.py").write_text(source)
    options = ["--strict", "--ignore-missing-imports", "--config-file=", "--no-error-summary"]
    command = [sys.executable, "-m", "mypy", *options, "--python-executable"]
    done = subprocess.run(
        [*command, environment / "bin" / "python", "guide.py"],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert not done.stderr
    return done.stdout.splitlines()


def test_the_types_of_settings_are_read_in_their_docstrings():
    assert "\nimages : Path\n" in ImageSelection.__doc__
    assert "\nviews : tuple[View, ...]\n" in FeaturizeSettings.__doc__
    assert "\nlabels : Path | None\n" in FeatureChoice.__doc__


def test_weights_by_encoder():
    by_encoder = FeaturizeSettings(weights={"resnet50": Path("x.h5"), "vgg16": "imagenet"})
    assert by_encoder.weights == ("resnet50=x.h5", "vgg16=imagenet")


def test_a_second_call(boosted, tissue, tmp_path):
    """It is refused by `predict` and overwrites with `evaluate`."""
    model = boosted / "boost" / "3-lightgbm" / "model.bchisto"
    file = sorted(tissue.rglob("*.png"))[0]
    predict(model, file, out=tmp_path / "p.csv", work=Work(jobs=1))
    with pytest.raises(OutputError, match=r"p\.csv: exists already"):
        predict(model, file, out=tmp_path / "p.csv", work=Work(jobs=1))
    table = model.with_name("predictions.csv")
    evaluate(table, out=tmp_path / "e", bootstrap=0)
    metrics = tmp_path / "e" / "metrics.json"
    before = metrics.read_bytes()
    view = TwoClassView("malignant", thresholds=0.9)
    evaluate(table, out=tmp_path / "e", bootstrap=0, view=view)
    assert metrics.read_bytes() != before


def test_what_values_hold_is_said_in_a_line(boosted, run_copy):
    table = read_predictions(boosted / "boost" / "3-lightgbm" / "predictions.csv")[0]
    assert repr(table) == "PredictionTable('predictions', 12 rows, classes=('benign', 'malignant'))"
    selection = ImageSelection("images", classes=["a", "b"], mpp=0.5)
    assert repr(selection) == "ImageSelection('images', classes=('a', 'b'), mpp=0.5)"
    assert repr(selection.read_once()) == repr(selection)
    run = run_copy(boosted)
    small = {"min_data_in_leaf": 2, "num_iterations": 2}
    settings = BoostSettings(seeds=1, params=small)
    (result,) = train(out=run, folds=4, settings=settings, work=Work(jobs=1))
    folder = str(run / "boost" / "4-lightgbm")
    assert repr(result) == f"CrossValidation({folder!r}, {result.models} models, assembled=True)"


def test_a_data_frame_is_evaluated_as_its_file_is(boosted, tmp_path):
    pandas = pytest.importorskip("pandas")
    table = boosted / "boost" / "3-lightgbm" / "predictions.csv"
    frame = pandas.read_csv(table)
    copy = tmp_path / "frame-1.csv"
    frame.to_csv(copy, index=False)
    of_file = evaluate(copy, out=tmp_path / "a", bootstrap=0).result
    of_frame = evaluate(frame, out=tmp_path / "b ü", bootstrap=0).result
    assert of_frame == of_file
    two = evaluate([frame, copy, frame], out=tmp_path / "c", bootstrap=0)
    assert [path.name for path in two.sources] == ["frame-1.csv", "frame-1.csv", "frame-3.csv"]
    assert len(two.result["comparisons"]) == 3


def test_data_frames_by_name(boosted, tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_csv(boosted / "boost" / "3-lightgbm" / "predictions.csv")
    evaluation = evaluate({"mine": frame, "theirs": frame}, out=tmp_path / "a", bootstrap=0)
    assert list(evaluation.result["tables"]) == ["mine", "theirs"]
    assert [path.name for path in evaluation.sources] == ["mine.csv", "theirs.csv"]
    (tmp_path / "b").mkdir()
    mine = tmp_path / "b" / "mine.csv"
    mine.write_text("of a user")
    evaluate({"mine": frame}, out=tmp_path / "b", bootstrap=0)
    assert mine.read_text() == "of a user"
    for name, value in (("a/b", frame), ("..", "x.csv"), ("x", "x.csv")):
        with pytest.raises(InputError, match="give a data frame by a name without slash"):
            evaluate({name: value}, out=tmp_path / "c", bootstrap=0)


def test_a_frame_that_is_refused_leaves_no_file(boosted, tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_csv(boosted / "boost" / "3-lightgbm" / "predictions.csv")
    damaged = frame.drop(columns="label")
    for sources in ([frame, damaged], {"good": frame, "bad": damaged}):
        with pytest.raises(InputError):
            evaluate(sources, out=tmp_path / "e", bootstrap=0)
        assert [path for path in (tmp_path / "e").rglob("*") if path.is_file()] == []
    evaluate(frame, out=tmp_path / "e", bootstrap=0)
    before = (tmp_path / "e" / "metrics.json").read_bytes()
    with pytest.raises(InputError):
        evaluate([frame, damaged], out=tmp_path / "e", bootstrap=0)
    assert (tmp_path / "e" / "frame-1.csv").is_file()
    assert (tmp_path / "e" / "metrics.json").read_bytes() == before


def test_an_evaluation_says_what_it_shows(tmp_path):
    rows = {"good": [], "bad": [], "chance": [], "alike": [], "close": []}
    for number in range(80):
        label = "ab"[number % 2]
        other = "ba"[number % 2]
        rows["good"].append((number, number, label, label if number % 20 else other))
        rows["bad"].append((number, number, label, other if number % 20 else label))
        rows["chance"].append((number, number, label, "ab"[number // 2 % 2]))
        rows["alike"].append((number, "p", label, label))
        rows["close"].append((number, number, label, label if number % 19 else other))
    tables = []
    for name, lines in rows.items():
        tables.append(tmp_path / f"{name}.csv")
        text = "\n".join(",".join(map(str, line)) for line in lines)
        tables[-1].write_text(f"image_id,group,label,predicted\n{text}\n")
    evaluation = evaluate(tables[:3], out=tmp_path / "e", bootstrap=0)
    good, bad, chance, *notes = evaluation.summary()
    figure = evaluation.result["tables"]["good"]["accuracy"]
    low, high = figure["interval"]
    assert good.startswith(f"good: accuracy {figure['value']:.3f} [{low:.3f}, {high:.3f}]; ")
    assert good.endswith("], shown to be better than chance")
    assert bad.endswith("], shown to be worse than chance")
    assert chance.endswith("], not shown to be better than chance")
    assert notes == evaluation.result["notes"]
    close = evaluate([tables[0], tables[4]], out=tmp_path / "g", bootstrap=0)
    corrected = verdict_of(close.panels[0].metrics).figure
    assert corrected.value < close.panels[0].metrics["balanced_accuracy"].value
    words = f" {corrected.value:.3f} [{corrected.low:.3f}, {corrected.high:.3f}], corrected for the choice, "
    assert words in close.summary()[0]
    alone = evaluate(tables[3], out=tmp_path / "f", bootstrap=0)
    line = alone.summary()[0]
    assert line.endswith("without an interval, so not compared with chance")
    assert "[" not in line
    assert line in alone._repr_html_()


def test_a_data_frame_is_not_taken_for_its_columns():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"image_id": range(100)})
    with pytest.raises(InputError, match=r"^features=image_id 0 0 1 1.{,60}: give a path, as text"):
        converted(frame, "features", tuple[Path, ...])
