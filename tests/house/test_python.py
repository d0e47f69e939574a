"""The library takes what a Python user passes, and the examples of docs/python.md run."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from bchisto.apps.recipes import Scope
from bchisto.boost import BoostSettings, FeatureChoice, train
from bchisto.core import InputError, converted
from bchisto.core.formats import read_header
from bchisto.core.jobs import Work
from bchisto.data import FoldChoice, ImageSelection, decode_image, fold_plan, read_dataset
from bchisto.encoders import Encoder, EncoderChoice
from bchisto.evaluate import TwoClassView, evaluate
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
    shutil.copytree(tissue, tmp_path / "images")
    shutil.copy(sorted(tissue.rglob("*.png"))[0], tmp_path / "images" / "a.png")
    (tmp_path / "images" / "a.png").rename(tmp_path / "a.png")
    shutil.copytree(tissue, tmp_path / "new")
    monkeypatch.chdir(tmp_path)
    page = (REPOSITORY / "docs" / "python.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
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
    assert (tmp_path / "evaluation" / "metrics.json").is_file()
    assert (tmp_path / "sheet.html").is_file()
    assert names["found"].trained == (True, True)  # a copy of an image that trained
    np.testing.assert_array_equal(names["found"].probabilities[0], names["found"].probabilities[1])
    assert names["frame"].shape[0] == 12
    assert names["X"].shape[0] == len(names["y"]) == len(set(names["names"])) == 12


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


def test_a_data_frame_is_not_taken_for_its_columns():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"image_id": range(100)})
    with pytest.raises(InputError, match=r"^features=image_id 0 0 1 1.{,60}: give a path, as text"):
        converted(frame, "features", tuple[Path, ...])
