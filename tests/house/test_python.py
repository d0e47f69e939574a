"""The library takes what a Python user passes, and the examples of docs/python.md run."""

import json
import logging
import pickle
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bchisto.apps.recipes import Scope, reproduce, trial
from bchisto.apps.recipes.reproduce import _prepared
from bchisto.apps.recipes.trial import _quick_settings
from bchisto.boost import BoostSettings, FeatureChoice, get_head, train
from bchisto.core import Banner, InputError, MissingInputError, OutputError, WeightsError, converted
from bchisto.core.formats import read_header
from bchisto.core.jobs import Work
from bchisto.core.models import open_bundle
from bchisto.core.runs import read_run
from bchisto.data import (
    FoldChoice,
    ImageSelection,
    decode_image,
    fold_plan,
    read_dataset,
    read_splits,
)
from bchisto.encoders import Encoder, EncoderChoice, open_encoder
from bchisto.evaluate import TableChoice, TwoClassView, evaluate, measure, read_predictions
from bchisto.evaluate.conclusions import verdict_of
from bchisto.featurize import FeaturizeSettings, View, featurize, load_features, open_store
from bchisto.finetune import FinetuneSettings
from bchisto.predict import Predictor, PredictSettings, predict
from bchisto.stains import augment_he
from conftest import REPOSITORY, needs_repository
from documented import text_of
from own_process import run_process
from packs import ONE_JOB
from refusals import refusing
from written_tables import read_json, rows_of, write_lines


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
        (Path, "", "x='': give a path"),
        (str, 2.5, "x=2.5: give a text, a path or a whole number"),
        (int, "3", "x='3': give a whole number"),
        (float, "a", "x='a': give a number"),
        (float, float("nan"), "`x` nan: give a finite number"),
        (tuple[int, int], 4, "`x`: give 2 values, not 1"),
    ],
)
def test_what_is_refused(kind, value, message):
    with refusing(re.escape(message)):
        converted(value, "x", kind)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FoldChoice(folds=None), "folds=None: give a text"),
        (
            lambda: ImageSelection("images", magnifications=None),
            "magnifications=None: give a whole number",
        ),
        (lambda: FeatureChoice(features=None), "features=None: give a path"),
        (lambda: Scope(variants=None), "variants=None: give a text"),
    ],
)
def test_none_is_taken_only_where_it_is_the_default(make, message):
    with refusing(re.escape(message)):
        make()
    assert Work(jobs=None, threads=None).jobs is None
    assert FeatureChoice(labels=None).labels is None
    assert FoldChoice(test_list=None).test_list is None


def bundle_of(path):
    with open_bundle(path) as archive:
        return archive.manifest


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (
            lambda run, _: bundle_of("text"),
            MissingInputError,
            "text: no such model file",
        ),
        (lambda run, _: open_store("gone"), MissingInputError, "gone: no such feature file"),
        (lambda run, _: read_splits("gone", []), MissingInputError, "gone/folds.csv: no such file"),
        (
            lambda run, table: measure(read_predictions(table)),
            InputError,
            "`table`: give one table of read_predictions, not a list",
        ),
        (
            lambda run, _: predict(run, "images", out="p.XLSX"),
            InputError,
            "`out` p.XLSX: the table is written as CSV; name it .csv",
        ),
        (
            lambda run, _: PredictSettings(sensitivity=95),
            InputError,
            "`sensitivity` 95.0: give 0 to 1",
        ),
        (
            lambda run, _: ImageSelection(np.zeros((9, 9))),
            InputError,
            "images=ndarray(...): give a path, as text or as pathlib.Path",
        ),
    ],
)
def test_mistakes_are_one_line_of_a_class(boosted, call, kind, message, boosted_result):
    table = boosted_result / "predictions.csv"
    with refusing("^" + re.escape(message), kind):
        call(boosted, table)


def test_a_model_file_is_opened_by_its_name_as_text(boosted_model):
    assert bundle_of(str(boosted_model))["classes"] == ["benign", "malignant"]


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


def test_functions_of_every_room(boosted, tissue, tmp_path, tissue_files, boosted_model):
    file = str(tissue_files[0])
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
    predicted = predict(str(boosted_model), file, out=str(tmp_path / "p.csv"), work=ONE_JOB)
    assert predicted.images == 1


@needs_repository
def test_the_examples_run(tissue, tmp_path, monkeypatch, tissue_files):
    """As they stand, but for a small encoder, few models, and one process."""
    rows = ["path,label,patient"]
    for label in ("benign", "malignant"):
        for number, path in enumerate(sorted((tissue / label).glob("*.png"))):
            rows.append(f"{path},{label},patient {number}")
    write_lines(tmp_path / "images.csv", *rows)
    shutil.copy(tissue_files[0], tmp_path / "a.png")
    (tmp_path / "new").mkdir()
    for path in tissue.rglob("*.png"):  # no class is known of these
        shutil.copy(path, tmp_path / "new")
    monkeypatch.chdir(tmp_path)
    blocks = python_of("python.md")
    assert len(blocks) == 11
    pytest.importorskip("pandas")
    names = {}
    monkeypatch.setattr(logging.getLogger("bchisto"), "level", logging.NOTSET)
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
    assert set(names["new"].y) == {""}
    assert {*names["classifier"].predict(names["new"].X)} <= {"benign", "malignant"}
    assert {*names["pipeline"].predict([names["image"]])} <= {"benign", "malignant"}
    assert names["features"].shape == (1, names["X"].shape[1])
    assert names["predictions"].failures == {}
    assert set(names["both"].comparisons_to_pandas().metric) >= {"accuracy", "auc"}
    assert len(names["new"].names) == 12
    assert (tmp_path / "night.csv").is_file()
    assert names["darker"].dtype == np.uint8
    assert names["result"].folder.name == "5-grouped-lightgbm"
    assert set(names["metrics"]["tables"]) == {"mine"}
    assert (tmp_path / "evaluation" / "report.html").is_file()
    assert (tmp_path / "sheet.html").is_file()
    assert names["predictions"].trained.tolist() == [True, True]  # a copy of an image that trained
    np.testing.assert_array_equal(
        names["predictions"].probabilities[0], names["predictions"].probabilities[1]
    )
    assert names["frame"].shape[0] == 12
    figures = names["measured"]
    assert figures["units"]["kind"] == "group"
    assert figures["folds"] == [1, 2, 3, 4, 5]
    assert figures["accuracy"].interval
    fold_of = {
        row["image_id"]: int(row["fold"])
        for row in rows_of(tmp_path / "run" / "boost" / "5-grouped-lightgbm" / "predictions.csv")
    }
    for fold, (train_rows, test_rows) in enumerate(names["same_folds"], start=1):
        assert {fold_of[names["names"][row]] for row in test_rows} == {fold}
        assert fold not in {fold_of[names["names"][row]] for row in train_rows}
        assert len(train_rows) + len(test_rows) == 12
    assert names["X"].shape[0] == len(names["y"]) == len(set(names["names"])) == 12
    assert len(set(names["groups"])) == 6


def python_of(page):
    """Return the blocks of Python of a page of the documents."""
    text = text_of(f"docs/{page}")
    return re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)


FURTHER = """
from bchisto.apps.explain import ExplainSettings
from bchisto.apps.recipes import Scope, reproduce, trial
from bchisto.boost import FeatureChoice
from bchisto.data import FoldChoice
from bchisto.evaluate import Aggregation, TableChoice
from bchisto.finetune import FinetuneSettings
from pathlib import Path

from bchisto.evaluate import Figure
from PIL import Image as Pillow

figures: dict[str, Figure] = panel.figures
predictor.predict([Pillow.new("RGB", (96, 96)), "a.png"], mpp=0.5).to_pandas()
Predictor("run", weights={"resnet50": Path("x.h5")})
predict("run", "new", out="p.csv", weights={"resnet50": "x.h5"})
train("run", folds=5)
folders: tuple[Path, ...] = FeatureChoice("features", labels="labels.csv").features
protocols: tuple[str, ...] = FoldChoice(folds=[5, "70/30"], test_list="test.csv").folds
pixels: tuple[int, ...] = ImageSelection(Path("x"), magnifications=40).magnifications
shares: tuple[float, ...] = TwoClassView(thresholds=[0.5, 0.6]).thresholds
FeaturizeSettings(weights={"resnet50": Path("x.h5")}, views=["0.5:400", View(0.5, 650)])
crops: int = FeaturizeSettings(crops="grid").crops
BoostSettings(heads=["svm", "lightgbm"], seeds=2)
Scope(variants="one", encoders=["resnet50"], test_images="test")
Aggregation("group", ["vote", "sum"]), TableChoice(by="site"), ExplainSettings("map")
FinetuneSettings("alexnet", augmentations="mirror", fresh="top")
"""

MISTAKES = """
ImageSelection(3)
FeaturizeSettings(encoders=2.5)
PredictSettings(html=1)
TwoClassView("malignant", thresholds="0.5")
BoostSettings(heads=3)
"""


@pytest.mark.slow
@needs_repository
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
    write_lines(packages / "others.pth", *others)
    imports = "from bchisto.featurize import View\n"
    calls = "".join(python_of("python.md")) + imports + FURTHER
    assert checked(tmp_path, calls, environment) == []
    wrong = checked(tmp_path, calls + MISTAKES, environment)
    last = calls.count("\n")
    errors = [re.match(r"guide.py:(\d+): error: Argument ", line) for line in wrong]
    assert [int(error[1]) - last for error in errors if error] == [2, 3, 4, 5, 6]


def checked(folder, source, environment):
    """Return what mypy finds in a script; libraries without types are no matter."""
    (folder / "guide.py").write_text(source)
    options = ["--strict", "--ignore-missing-imports", "--config-file=", "--no-error-summary"]
    command = [sys.executable, "-m", "mypy", *options, "--python-executable"]
    done = run_process(*command, environment / "bin" / "python", "guide.py", cwd=folder)
    assert not done.stderr
    return done.stdout.splitlines()


def test_the_types_of_settings_are_read_in_their_docstrings():
    assert "\nimages : Path\n" in ImageSelection.__doc__
    assert "\nviews : tuple[View, ...]\n" in FeaturizeSettings.__doc__
    assert "\nlabels : Path | None\n" in FeatureChoice.__doc__


def test_weights_by_encoder(boosted_model, tmp_path):
    """A mapping is read wherever weights are given."""
    by_encoder = FeaturizeSettings(weights={"resnet50": Path("x.h5"), "vgg16": "imagenet"})
    assert by_encoder.weights == ("resnet50=x.h5", "vgg16=imagenet")
    weights = {"tiny": tmp_path / "other.h5"}
    weights["tiny"].write_bytes(b"other")
    for call in (
        lambda: Predictor(boosted_model, weights=weights),
        lambda: predict(boosted_model, tmp_path, out=tmp_path / "p.csv", weights=weights),
    ):
        with refusing(r"needs the weights of sha256 .*other\.h5 has", WeightsError):
            call()
    settings, _ = _quick_settings("tiny", weights)
    assert settings.weights == (f"tiny={tmp_path / 'other.h5'}",)
    _, request = _prepared("rakhlin2018", scope=None, weights=weights)
    assert request.weights == (f"tiny={tmp_path / 'other.h5'}",)


def test_settings_of_another_class_are_refused_by_name(boosted):
    for call, message in (
        (lambda: train(boosted, settings=FeaturizeSettings()), "give BoostSettings, not Featurize"),
        (lambda: predict(boosted, "x", out="p", settings=Work()), "give PredictSettings, not Work"),
        (lambda: evaluate("x.csv", out="e", view=Work()), "give TwoClassView, not Work"),
    ):
        with refusing(message):
            call()


def test_what_options_say_holds_in_python():
    """Nothing that only a command does, and no form that only a command reads."""
    assert "auto" not in FeaturizeSettings.__doc__.partition("views :")[2].partition("\naugment")[0]
    with refusing("write SCALE:CROP"):
        FeaturizeSettings(views="auto")
    assert BoostSettings(preset="quick").heads == BoostSettings().heads
    assert "KEY=VALUE" not in BoostSettings.__doc__
    grid = FeaturizeSettings(crops="grid")
    assert grid.crops == 0
    assert "'crops': 'grid'" in repr(grid)
    assert eval(repr(grid)) == replace(pickle.loads(pickle.dumps(grid)), seed=0) == grid
    with refusing("^`crops` 0: give at least 1, or grid$"):
        FeaturizeSettings(crops=0)
    assert "N|grid." in FeaturizeSettings.__doc__


def test_help_says_what_only_commands_do():
    """Views that fit, what a preset sets, and several classes in one text."""
    from bchisto.boost import PRESET_OPTIONS
    from command_line import EVERY

    helps = {
        (name, parameter.name): parameter
        for name in ("featurize", "boost")
        for parameter in EVERY[name].params
    }
    assert "Or auto, two views that fit" in helps["featurize", "views"].help
    said = helps["boost", "preset"].help
    assert "They also set classifiers (svm and lightgbm) and seeds (2 and 1)" in said
    presets = [PRESET_OPTIONS[name] for name in ("standard", "quick")]
    assert [preset["seeds"] for preset in presets] == [2, 1]
    assert {head for preset in presets for head in preset["heads"]} == {"svm", "lightgbm"}
    assert helps["boost", "classes"].metavar == "A,B,..."


@pytest.fixture
def evaluated(tmp_path):
    """Evaluate without draws into a folder of the test."""

    def evaluated_into(sources, name="e", **options):
        return evaluate(sources, out=tmp_path / name, bootstrap=0, **options)

    return evaluated_into


@pytest.fixture
def frame(boosted_result, pandas):
    """The predictions of a run."""
    return pandas.read_csv(boosted_result / "predictions.csv")


def test_a_second_call(tmp_path, tissue_files, boosted_model, evaluated):
    """It is refused by `predict` and overwrites with `evaluate`."""
    file = tissue_files[0]
    predict(boosted_model, file, out=tmp_path / "p.csv", work=ONE_JOB)
    with refusing(r"p\.csv: exists already", OutputError):
        predict(boosted_model, file, out=tmp_path / "p.csv", work=ONE_JOB)
    table = boosted_model.with_name("predictions.csv")
    evaluated(table)
    metrics = tmp_path / "e" / "metrics.json"
    before = metrics.read_bytes()
    view = TwoClassView("malignant", thresholds=0.9)
    evaluated(table, view=view)
    assert metrics.read_bytes() != before


def test_what_values_hold_is_said_in_a_line(boosted, run_copy, boosted_result):
    table = read_predictions(boosted_result / "predictions.csv")[0]
    assert repr(read_run(boosted)[0]).startswith("RunEntry(featurize, ok, 20")
    assert repr(get_head("svm")) == "HeadSpec('svm')"
    assert repr(table) == "PredictionTable('predictions', 12 rows, classes=('benign', 'malignant'))"
    selection = ImageSelection("images", classes=["a", "b"], mpp=0.5)
    assert repr(selection) == "ImageSelection('images', classes=('a', 'b'), mpp=0.5)"
    assert repr(selection.read_once()) == repr(selection)
    run = run_copy(boosted)
    small = {"min_data_in_leaf": 2, "num_iterations": 2}
    settings = BoostSettings(heads="lightgbm", seeds=np.int64(1), params=small)
    (result,) = train(
        out=str(run),
        features=str(run / "features"),
        folds=np.int64(4),
        settings=settings,
        work=ONE_JOB,
    )
    folder = str(run / "boost" / "4-lightgbm")
    assert (
        repr(result.panel)
        == "Panel(PredictionTable('4-lightgbm', 12 rows, classes=('benign', 'malignant')))"
    )
    assert repr(result) == f"CrossValidation({folder!r}, {result.models} models, assembled=True)"


def test_a_data_frame_of_images_is_read_as_its_manifest_in_the_working_folder(
    tissue, tmp_path, monkeypatch, tiny_settings, pandas
):
    """Its paths start there, and a run of one resumes with another, which is a file of another name."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tissue, "t")
    files = sorted(Path("t").rglob("*.png"))
    frame = pandas.DataFrame({"path": [str(file) for file in files]})
    frame["label"] = [file.parent.name for file in files]
    frame["patient"] = [f"p{number // 2}" for number in range(len(files))]
    frame.to_csv("images.csv", index=False)
    options = {"classes": ["malignant", "benign"], "label_from": 2}
    of_file = ImageSelection("images.csv", **options).read()
    of_frame = ImageSelection(frame, **options).read()
    assert (of_frame.records, of_frame.classes) == (of_file.records, of_file.classes)
    again = pickle.loads(pickle.dumps(ImageSelection(frame, **options))).read()
    assert again.records == of_frame.records
    assert len(of_frame.records) == 12
    shutil.move("images.csv", "away.csv")
    work = ONE_JOB
    options = {"out": "run", "settings": tiny_settings, "work": work}
    made = featurize(ImageSelection(frame), **options)
    before = made.stores[0].stat().st_mtime_ns
    again = featurize(ImageSelection(frame.copy()), **options)
    assert again.stores == made.stores
    assert again.stores[0].stat().st_mtime_ns == before
    (result,) = train(out="run", folds=3, settings=BoostSettings(seeds=1), work=work)
    assert len(result.panel.table) == 12
    # no record names its temporary file
    assert {
        entry.config["images"] for entry in read_run("run") if entry.command == "featurize"
    } == {"data frame"}
    assert repr(ImageSelection(frame)) == "ImageSelection('data frame')"
    assert repr(ImageSelection(frame).read()).startswith("Dataset('csv', 'data frame', {")


def test_images_become_a_data_frame_and_return_with_other_labels(tissue):
    pytest.importorskip("pandas")
    dataset = read_dataset(tissue)
    frame = dataset.to_pandas()
    again = ImageSelection(frame).read()
    assert list(again.records) == [
        replace(record, source="csv", line=line)
        for line, record in enumerate(dataset.records, start=2)
    ]
    frame.loc[3, "label"] = "malignant"
    frame.loc[2, "group"] = "P7"
    changed = ImageSelection(frame).read().records
    assert (changed[3].label, changed[2].group, changed[0].group) == ("malignant", "P7", None)


def test_errors_name_the_rows_of_a_data_frame(tissue):
    """Also if a cell has several lines, so that its file has more lines than rows."""
    pytest.importorskip("pandas")
    frame = read_dataset(tissue).to_pandas()
    frame["note"] = "two\nlines"
    frame.loc[3, "path"] = "gone.png"
    with refusing("^data frame, in row 3: there is no file gone.png"):
        ImageSelection(frame).read()
    with refusing("^data frame: the header must have a column `path`"):
        ImageSelection(frame[["label", "group"]]).read()


def test_a_data_frame_is_evaluated_as_its_file_is(tmp_path, boosted_result, frame, evaluated):
    table = boosted_result / "predictions.csv"
    copy = tmp_path / "frame-1.csv"
    frame.to_csv(copy, index=False)
    of_file = evaluated(copy, "a").result
    of_frame = evaluated(frame, "b ü").result
    assert of_frame == of_file
    (in_memory,) = read_predictions(frame)
    assert measure(in_memory) == measure(*read_predictions(table))
    with refusing("^frame-1, in row 2: .* sum to"):
        read_predictions(frame.assign(p_benign=[0.5, 0.5, *frame.p_benign[2:]], p_malignant=0.5))
    two = evaluated([frame, copy, frame], "c")
    assert [path.name for path in two.sources] == ["frame-1.csv", "frame-1.csv", "frame-3.csv"]
    assert len(two.result["comparisons"]) == 3


def test_a_frame_without_folds_is_told_and_compared(tmp_path, caplog, frame, evaluated):
    evaluated({"theirs": frame}, "a")
    said = "no column fold, so rows count as one test set"
    assert said not in caplog.text
    frames = {"mine": frame.drop(columns="fold"), "theirs": frame}
    evaluation = evaluated(frames, "b")
    assert caplog.text.count(said) == 1
    mine, theirs, *_ = evaluation.summary()
    assert mine.endswith(f"; {said}")
    assert theirs.endswith("; 3 folds of the table")
    assert len(evaluation.result["comparisons"]) == 1
    assert evaluation.notes[0] == f"mine: {said}"
    written = read_json(tmp_path / "b" / "metrics.json")
    assert list(map(Banner.read, written["notes"])) == evaluation.notes


def test_data_frames_by_name(tmp_path, frame, evaluated):
    evaluation = evaluated({"mine": frame, "theirs": frame}, "a")
    assert list(evaluation.result["tables"]) == ["mine", "theirs"]
    assert [path.name for path in evaluation.sources] == ["mine.csv", "theirs.csv"]
    (tmp_path / "b").mkdir()
    mine = tmp_path / "b" / "mine.csv"
    mine.write_text("of a user")
    evaluated({"mine": frame}, "b")
    assert mine.read_text() == "of a user"
    for value in (frame, mine):
        for name in ("a/b", "frames/b", ""):
            with refusing(f"`sources` {name or repr('')}: give this table a name without slash"):
                evaluated({name: value}, "c")
    with refusing("`sources`: give at least one table"):
        evaluated({}, "c")


def test_tables_files_and_folders_by_name(boosted, tmp_path, boosted_result, evaluated):
    """A mapping holds prediction tables, files and run folders beside frames; what a run knows of a file stays."""
    pytest.importorskip("pandas")
    file = boosted_result / "predictions.csv"
    (table,) = read_predictions(file)
    copy = shutil.copytree(boosted, tmp_path / "run")
    sources = {"frame": table.to_pandas(), "table": table, "file": file, "folder": str(copy)}
    evaluation = evaluated(sources, "a")
    tables = evaluation.result["tables"]
    assert list(tables) == list(sources)
    assert len({entry["accuracy"]["value"] for entry in tables.values()}) == 1
    assert [bool(panel.run) for panel in evaluation.panels] == [False, False, True, True]
    assert len(evaluation.result["comparisons"]) == 6
    runs = tmp_path / "runs"
    for name in ("a", "b"):
        shutil.copytree(file.parent, runs / name)
    several = evaluated({"mine": table, "theirs": runs}, "c")
    assert list(several.result["tables"]) == ["mine", "theirs a", "theirs b"]


def test_errors_name_rows_of_frames_by_their_index(pandas, frame, evaluated):
    frame.index = [f"slide {number}" for number in range(len(frame))]
    wrong = frame.copy()
    wrong.loc["slide 4", "p_benign"] = 3.0
    texts = []
    for sources in ({"mine": wrong}, [frame, wrong], {"mine": frame.drop(columns="label")}):
        with pytest.raises(InputError) as caught:
            evaluated(sources)
        texts.append(str(caught.value))
    assert texts[0] == "mine, in row slide 4: p_benign is 3.0, not a probability between 0 and 1"
    assert texts[1].startswith("frame-2, in row slide 4: p_benign is 3.0")
    assert texts[2].startswith("mine: the header must have a column `label`")
    frame = frame.assign(group="a patient")
    twice = pandas.concat([frame, frame.iloc[[2]].assign(group="another patient", fold=9)])
    with refusing(r"^mine, in row slide 2: .* in row slide 2; an image has"):
        evaluated({"mine": twice})
    # the lines of a file would then not be the rows
    broken = wrong.assign(note="two\nlines")
    with refusing("^mine, in row slide 4: p_benign is 3"):
        evaluated({"mine": broken})


def test_marks_of_a_frame_are_those_of_its_table(
    boosted_model, tmp_path, tissue_files, pandas, evaluated
):
    """Images and patients that trained are told of, whether they are marked with yes or with True; in a table, too."""
    frame = Predictor(boosted_model).predict(tissue_files).to_pandas()
    frame["label"] = [file.parent.name for file in tissue_files]
    frame["group"] = "a patient"
    frame["group_trained"] = "yes"
    in_words = frame.assign(trained="yes")
    in_words.to_csv(tmp_path / "t.csv", index=False)
    (table,) = read_predictions(tmp_path / "t.csv")
    for source in (frame, in_words, table):
        notes = evaluated({"t": source}).notes
        assert any("t: SEEN IN TRAINING: 12 of 12 images trained" in note for note in notes)
        assert any("t: PATIENTS SEEN IN TRAINING: 1 of 1" in note for note in notes)


def test_figures_as_rows(pandas, frame, evaluated):
    """One row for each figure of ``metrics.json``, with its interval; by name in `Panel.figures`."""
    view = TwoClassView("malignant", thresholds=0.4)
    frame = frame.assign(site=["A", "B"] * 6)
    choice = TableChoice(by="site")
    evaluation = evaluated({"mine": frame, "b": frame}, view=view, tables=choice)
    rows = evaluation.to_pandas()
    metrics = evaluation.result["tables"]["mine"]

    def figures(value):
        if isinstance(value, dict) and value.keys() >= {"value", "interval", "method"}:
            return [value]
        inner = value.values() if isinstance(value, dict) else value
        if not isinstance(value, (dict, list)):
            return []
        return [figure for part in inner for figure in figures(part)]

    mine = rows[rows.table == "mine"]
    expected = figures(metrics)
    assert len(mine) == len(expected) > 20
    assert not mine.duplicated(["part", "metric"]).any()
    for row, figure in zip(mine.itertuples(), expected, strict=True):
        assert row.value == figure["value"] or (row.value != row.value and figure["value"] is None)
        assert (figure["interval"] or []) == [end for end in (row.low, row.high) if end == end]
        assert row.method == figure["method"]
    by_name = evaluation.panels[0].figures
    assert by_name["accuracy"].value == metrics["accuracy"]["value"]
    point = metrics["two_class"]["thresholds"][0]
    assert by_name["two_class thresholds 0.4 sensitivity"].value == point["sensitivity"]["value"]
    site = metrics["subgroups"]["site"][1]
    assert by_name["subgroups site B accuracy"].value == site["accuracy"]["value"]
    pandas.testing.assert_frame_equal(evaluation.panels[0].to_pandas(), mine)
    json.dumps(evaluation.result)


def test_mistakes_of_scripts_are_told_in_words(
    boosted_model, tissue, tmp_path, tissue_files, boosted_result, frame, evaluated
):
    """Draws that are no number, an output that is a file, weights that no encoder takes, and negative stains."""
    table = boosted_result / "predictions.csv"
    with refusing("bootstrap='x': give a whole number"):
        evaluate(table, out=tmp_path / "e", bootstrap="x")
    (tmp_path / "file").touch()
    for sources in (table, frame, {"mine": frame}):
        with refusing("file.*: cannot create this folder", OutputError):
            evaluated(sources, "file")
    weights = {"mobilnetv2": "x.h5"}
    misspelt = "`weights` mobilnetv2=x.h5: no such encoder; did you mean mobilenetv2?"
    for call in (
        lambda: featurize(tissue, out=tmp_path / "r", settings={"weights": weights}),
        lambda: trial(tissue, out=tmp_path / "r", weights=weights),
        lambda: reproduce("bach", tissue, out=tmp_path / "r", weights=weights),
    ):
        with pytest.raises(InputError) as refusal:
            call()
        assert str(refusal.value).startswith(misspelt)
    for call in (
        lambda: train(out=tmp_path / "gone"),
        lambda: load_features(tmp_path / "gone"),
    ):
        with refusing("gone: no such run folder; run bchisto featurize", MissingInputError):
            call()
    with refusing("levels.*imago"):
        evaluated(table, "levels", aggregation="imago")
    with refusing("resnet51: no such encoder"):
        open_encoder("resnet51")
    text = "resnet50=x.h5: .* has no encoder of this name, but tiny"
    with refusing(text):
        Predictor(boosted_model, weights={"resnet50": "x.h5"})
    with refusing(text):
        predict(boosted_model, tissue, out=tmp_path / "p.csv", weights={"resnet50": "x.h5"})
    image = decode_image(tissue_files[0])
    with refusing("^factors -1 and 1: give none below 0$"):
        augment_he(image, hematoxylin=-1, eosin=1)


def test_a_frame_that_is_refused_leaves_no_file(tmp_path, frame, evaluated):
    damaged = frame.drop(columns="label")
    for sources in ([frame, damaged], {"good": frame, "bad": damaged}):
        with pytest.raises(InputError):
            evaluated(sources)
        assert [path for path in (tmp_path / "e").rglob("*") if path.is_file()] == []
    evaluated(frame)
    before = (tmp_path / "e" / "metrics.json").read_bytes()
    with pytest.raises(InputError):
        evaluated([frame, damaged])
    assert (tmp_path / "e" / "frame-1.csv").is_file()
    assert (tmp_path / "e" / "metrics.json").read_bytes() == before


def test_an_evaluation_says_what_it_shows(tmp_path, evaluated):
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
    evaluation = evaluated(tables[:3])
    good, bad, chance, *notes = evaluation.summary()
    figure = evaluation.result["tables"]["good"]["accuracy"]
    low, high = figure["interval"]
    assert good.startswith(f"good: accuracy {figure['value']:.3f} [{low:.3f}, {high:.3f}]; ")
    folds = "; no column fold, so rows count as one test set"
    assert good.endswith(f"], shown to be better than chance{folds}")
    assert bad.endswith(f"], shown to be worse than chance{folds}")
    assert chance.endswith(f"], not shown to be better than chance{folds}")
    assert notes == evaluation.notes
    close = evaluated([tables[0], tables[4]], "g")
    corrected = verdict_of(close.panels[0].metrics).figure
    assert corrected.value < close.panels[0].metrics["balanced_accuracy"].value
    measured = close.panels[0].metrics["balanced_accuracy"]
    words = " ".join(
        f"{figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}], {what}"
        for figure, what in ((measured, "corrected for the choice"), (corrected, "shown"))
    )
    assert words in close.summary()[0]
    alone = evaluated(tables[3], "f")
    line = alone.summary()[0]
    assert line.endswith(f"without an interval, so not compared with chance{folds}")
    assert "[" not in line
    cells = [f"<td>{cell}</td>" for cell in line.removeprefix("alike: accuracy ").split("; ")]
    assert all(text in alone._repr_html_() for text in [*cells, *alone.notes])


def test_comparisons_as_a_frame(frame, evaluated):
    """A row for each difference of two tables; p is of the accuracy."""
    shares = ["p_benign", "p_malignant"]
    frame = frame[["image_id", "label", "fold", *shares]]
    turned = frame.copy()
    turned[shares] = frame[shares[::-1]].to_numpy()
    evaluation = evaluated({"one": frame, "two": turned})
    rows = evaluation.comparisons_to_pandas()
    (pair,) = evaluation.result["comparisons"]
    assert list(rows.metric) == list(pair["differences"])
    assert {*rows["first"]} == {"one"}
    assert {*rows["second"]} == {"two"}
    for row in rows.itertuples():
        figure = pair["differences"][row.metric]
        assert row.value == figure["value"]
        assert (figure["interval"] or []) == [end for end in (row.low, row.high) if end == end]
    one, two = (panel.figures["accuracy"].value for panel in evaluation.panels)
    accuracy = rows[rows.metric == "accuracy"].iloc[0]
    assert accuracy.value == pytest.approx(two - one)
    assert [accuracy[key] for key in ("p", "p_holm", "verdict")] == [
        pair[key] for key in ("p", "p_holm", "verdict")
    ]
    assert rows[rows.metric != "accuracy"][["p", "p_holm", "verdict"]].isna().all(axis=None)
    alone = evaluated(frame, "f").comparisons_to_pandas()
    assert (len(alone), list(alone)) == (0, list(rows))


def test_a_data_frame_is_not_taken_for_its_columns(pandas):
    frame = pandas.DataFrame({"image_id": range(100)})
    with refusing(r"^features=DataFrame\(\.\.\.\): give a path, as text"):
        converted(frame, "features", tuple[Path, ...])
