"""The predictor of Python says what the command says, of files and of arrays."""

import csv
import html
import io
import json
import logging
import pickle
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from bchisto.boost import Bundle
from bchisto.core import (
    BundleError,
    ImageError,
    InputError,
    MissingInputError,
)
from bchisto.core.formats import file_sha256, read_header
from bchisto.core.jobs import Work
from bchisto.data import ImageRecord, decode_image
from bchisto.predict import Outliers, Predictor, PredictSettings, predict
from numpy.testing import assert_allclose, assert_array_equal
from packs import predict_here
from PIL import Image
from written_tables import read_json, rows_of

COLUMNS = ("image_id", "predicted")
"""Of the challenge's rows, which have no header."""


SMALL = np.zeros((40, 40, 3), np.uint8)
WHITE = np.full((96, 96, 3), 255, np.uint8)


@pytest.fixture
def cut(tmp_path, one_file):
    """The beginning of an image."""
    path = tmp_path / "cut.png"
    path.write_bytes(one_file.read_bytes()[:4000])
    return path


@pytest.fixture(scope="module")
def predictor(boosted_model):
    return Predictor(boosted_model)


def shares(table):
    return {
        row["image_id"]: [float(row["p_benign"]), float(row["p_malignant"])]
        for row in rows_of(table)
    }


def test_files_and_arrays_get_what_the_command_gives(
    predictor, boosted_model, tissue, tmp_path, tissue_files
):
    predict_here(boosted_model, tissue, tmp_path / "p.csv")
    expected = shares(tmp_path / "p.csv")
    files = tissue_files[4:8]
    found = predictor.predict([files[1], decode_image(files[0]), str(files[3])])
    assert found.image_ids == (files[1].name, "array1", files[3].name)
    for row, file in zip(found.probabilities, (files[1], files[0], files[3]), strict=True):
        assert_array_equal(row, expected[file.relative_to(tissue).as_posix()])
    assert found.probabilities.dtype == np.float64
    assert found.trained.tolist() == [True] * 3


def test_one_many_folders_and_stacks(predictor, tissue, one_file):
    one = decode_image(one_file)
    changed = one.copy()
    changed[0, 0] ^= 1
    assert predictor.predict(one_file).image_ids == ("benign00.png",)
    assert len(predictor.predict(one)) == 1
    stack = predictor.predict(np.stack([one, changed]))
    assert stack.trained.tolist() == [True, False]
    assert len(predictor.predict(tissue)) == 12


def test_calibrated(boosted_model, one_file):
    raw = Predictor(boosted_model).predict(one_file).probabilities ** (
        1 / Bundle.load(Predictor(boosted_model).path).temperature
    )
    assert_allclose(
        Predictor(boosted_model, calibrated=True).predict(one_file).probabilities,
        raw / raw.sum(),
        rtol=1e-9,
    )


def test_files_of_one_name_go_by_their_paths(predictor, tmp_path, one_file):
    (tmp_path / "a").mkdir()
    twin = shutil.copy(one_file, tmp_path / "a" / one_file.name)
    assert predictor.predict([one_file, twin]).image_ids == (str(one_file), str(twin))
    again = predictor.predict([one_file, decode_image(twin), one_file])
    assert again.image_ids == (one_file.name, "array1", one_file.name)
    assert len({*map(tuple, again.probabilities)}) == 1
    (tmp_path / "a" / "list.csv").write_text(f"path,mpp\n{one_file.name},0.5\n")
    with pytest.raises(InputError, match=r"benign00\.png: is given twice, and not alike"):
        predictor.predict([twin, tmp_path / "a" / "list.csv"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            np.zeros((96, 96, 3)),
            r"^array0: an array of float64 and shape \(96, 96, 3\); give uint8",
        ),
        ([np.zeros((96, 96), np.uint8)], r"^array0: an array of uint8 and shape \(96, 96\)"),
        (np.zeros((96, 90), np.uint8), r"^array0: an array of uint8 and shape \(96, 90\)"),
        (3, "images=3: give a path"),
        (
            SMALL,
            r"^array0: 40x40 at scale 1\.0 is smaller than the crop of 64$",
        ),
        ([], "`images`: there is none"),
        ([3], "images=3: give a path"),
        ("gone.png", r"gone\.png: no such image, folder or manifest"),
        ("a" * 5000, r"a: no such image, folder or manifest"),
        ("", "images='': give a path"),
    ],
)
def test_what_is_refused(predictor, given, message):
    """A bad image is told from a bad option by its class, and both are input that was refused."""
    with pytest.raises(InputError, match=message) as refusal:
        predictor.predict(given)
    assert isinstance(refusal.value, ImageError) == message.startswith("^array0")
    assert refusal.value.exit_code == 2


def test_a_notebook_shows_what_it_is(predictor, boosted_model, tmp_path, one_file):
    name = tmp_path / "<i>&.png"
    shutil.copy(one_file, name)
    shown = predictor.predict(name)._repr_html_()
    assert "&lt;i&gt;&amp;.png" in shown
    assert "<i>" not in shown
    assert "RANDOM WEIGHTS" in shown
    assert "SEEN IN TRAINING: 1 of 1 images trained this model" in shown
    mixed = "the folds mixed patients, or may have: of new patients expect fewer right"
    assert shown.count(mixed) == 1
    assert "classes=('benign', 'malignant')" in repr(predictor)
    result = predict_here(boosted_model, [name], tmp_path / "p.csv")
    shown = result._repr_html_()
    assert "&lt;i&gt;&amp;.png" in shown
    assert "p_malignant" in shown
    assert shown.count(mixed) == 1
    for column in ("predicted", "confidence", "uncertain"):
        assert f">{column}</th>" in shown
    assert str(tmp_path / "p.csv") in shown


@pytest.mark.parametrize("form", ["bchisto", "iciar2018"])
def test_a_result_is_told_as_lines_and_as_a_frame(boosted_model, tissue, tmp_path, completed, form):
    out = tmp_path / "p.csv"
    settings = PredictSettings(format=form, threshold=0.5)
    result = predict_here(boosted_model, tissue, out, settings=settings)
    table = (
        rows_of(out)
        if form == "bchisto"
        else list(csv.DictReader(out.read_text().splitlines(), COLUMNS))
    )
    counts = [
        f"{name} {sum(row['predicted'] == name for row in table)}"
        for name in ("benign", "malignant")
    ]
    lines = result.summary()
    assert lines[0] == f"12 images predicted: {', '.join(counts)}"
    assert lines[1].startswith("predicted positive: ")
    further = [result.called, result.outliers, result.sureness, *result.banners]
    assert lines[1:] == [part for part in further if part]
    (tmp_path / "options.yaml").write_text(f"format: {form}")
    line = "predict {} --images {} --config T/options.yaml --threshold 0.5 --out T/q.csv"
    printed, _ = completed(line, boosted_model, tissue)
    assert printed.splitlines()[: len(lines)] == lines
    frame = result.to_pandas()
    assert list(frame.columns) == list(table[0])
    for index, row in enumerate(table):
        for name, cell in row.items():
            shown = frame[name][index]
            if name in ("confidence", "outlier_percentile") or name.startswith("p_"):
                assert shown == float(cell)
                assert isinstance(shown, float)
            else:
                assert shown == {"yes": True, "no": False}.get(cell, cell)
    settings = replace(settings, update=True)
    again = predict_here(boosted_model, tissue, tmp_path / "u.csv", settings=settings)
    assert again.summary() == lines
    again = predict_here(boosted_model, tissue, tmp_path / "u.csv", settings=settings)
    assert again.summary() == [f"nothing new for {tmp_path / 'u.csv'}"]
    assert len(again.to_pandas()) == 12


def test_the_result_of_a_first_night_without_images(boosted_model, tmp_path):
    (tmp_path / "new").mkdir()
    settings = PredictSettings(update=True)
    result = predict(boosted_model, tmp_path / "new", out=tmp_path / "p.csv", settings=settings)
    assert not result.path.exists()
    assert result.unchanged
    assert result.summary() == [f"nothing new for {result.path}"]
    assert f"nothing new for {result.path}" in result._repr_html_()
    assert len(result.to_pandas()) == 0


def test_pictures_of_pillow_and_arrays_of_paths(predictor, tissue_files, pandas):
    files = tissue_files[:2]
    expected = predictor.predict_proba(files)
    with Image.open(files[1]) as picture:
        assert_array_equal(predictor.predict_proba(picture)[0], expected[1])
        pair = predictor.predict([files[0], picture])
        assert pair.image_ids == (files[0].name, "array1")
        assert_array_equal(pair.probabilities, expected)
    paths = np.array([str(file) for file in files])
    assert_array_equal(predictor.predict_proba(paths), expected)
    assert_array_equal(predictor.predict_proba(pandas.Series(paths)), expected)
    with pytest.raises(InputError, match="mpp='x': give a number"):
        predictor.predict(files, mpp="x")
    with pytest.raises(InputError, match="`mpp` 300.0: give 0.02 to 20"):
        predictor.predict(files, mpp=300)


def test_as_scikit_learn_has_it(predictor, tissue_files):
    """Names of classes, and predictions as an array of them."""
    from sklearn.metrics import accuracy_score, log_loss

    labels = [file.parent.name for file in tissue_files]
    assert predictor.classes_.tolist() == ["benign", "malignant"]
    found = predictor.predict(tissue_files)
    assert np.asarray(found).tolist() == list(found.predicted)
    hits = [label == name for label, name in zip(labels, found.predicted, strict=True)]
    assert accuracy_score(labels, found) == np.mean(hits)
    shares = predictor.predict_proba(tissue_files)
    assert log_loss(labels, shares, labels=predictor.classes_) > 0


def test_predictions_are_compared_as_objects(predictor, one_file):
    """Comparing their arrays raised an error of NumPy, as in a list or as keys of a cache."""
    first, second = predictor.predict(one_file), predictor.predict(one_file)
    assert [first, second].index(second) == 1
    assert len({first, second, first}) == 2


def test_a_pickled_predictor_loads_its_file_again(boosted_model, one_file):
    calibrated = Predictor(boosted_model, calibrated=True)
    data = pickle.dumps(calibrated)
    assert len(data) < 1000
    again = pickle.loads(data)
    assert again.path == calibrated.path
    assert_array_equal(again.predict_proba(one_file), calibrated.predict_proba(one_file))


def test_an_operating_point_of_the_callers_choice(boosted_model, tissue, tmp_path):
    """Marks, and facts of the model, as the command has them; also after pickling."""
    predict_here(boosted_model, tissue, tmp_path / "p.csv", settings=PredictSettings(threshold=0.9))
    expected = [row["called"] == "positive" for row in rows_of(tmp_path / "p.csv")]
    predictor = Predictor(boosted_model, threshold=0.9)
    for again in (predictor, pickle.loads(pickle.dumps(predictor))):
        found = again.predict(tissue)
        assert found.called.tolist() == list(expected)
        assert again.threshold == 0.9
    assert (found.probabilities[:, 1] >= 0.9).tolist() == expected
    assert predictor.positive == ("malignant",)
    bundle = Bundle.load(predictor.path)
    assert predictor.temperature == bundle.temperature
    assert predictor.sha256 == file_sha256(predictor.path)
    assert Predictor(boosted_model).predict(tissue).called.tolist() != found.called.tolist()
    with pytest.raises(InputError, match="`threshold` and `sensitivity`: give one of them"):
        Predictor(boosted_model, threshold=0.5, sensitivity=0.9)
    with pytest.raises(InputError, match=r"has no threshold for the `sensitivity` 0\.123"):
        Predictor(boosted_model, sensitivity=0.123)


def test_whether_the_model_is_better_than_chance(boosted_model, tmp_path, one_file):
    """As its page says, also of a model file without metrics beside it."""
    predictor = Predictor(boosted_model)
    settings = PredictSettings(html=tmp_path / "p.html")
    result = predict_here(boosted_model, one_file, tmp_path / "p.csv", settings=settings)
    assert "chance" in predictor.verdict
    assert html.escape(predictor.verdict, quote=False) in (tmp_path / "p.html").read_text()
    assert result.verdict == predictor.verdict
    bare = shutil.copy(predictor.path, tmp_path)
    result = predict(
        bare, one_file, out=tmp_path / "q.csv", settings=settings, work=Work(jobs=1, overwrite=True)
    )
    page = re.sub("<[^>]*>", "", (tmp_path / "p.html").read_text())
    assert Predictor(bare).verdict == result.verdict
    assert result.verdict in page
    assert "is not known: there is no metrics.json" in result.verdict


def test_a_bundle_without_a_temperature(tmp_path, boosted_model):
    from archives import altered

    model = altered(boosted_model, tmp_path / "m.bchisto", calibration=None)
    with pytest.raises(BundleError, match="has no temperature, since .*; leave out `calibrated`"):
        Predictor(model, calibrated=True)


def test_outliers_in_a_frame(predictor, tissue_files):
    """Marks as True and False, and percentiles as numbers."""
    pytest.importorskip("pandas")
    found = predictor.predict(tissue_files[:2])
    outliers = Outliers(np.array([99.5, 12.25]), ("a", "b"))
    columns = dict(outliers.columns)
    frame = replace(found, outlier_percentile=outliers.percentiles, columns=columns).to_pandas()
    assert frame["outlier"].tolist() == outliers.marked.tolist() == [True, False]
    assert frame["outlier_percentile"].tolist() == [99.5, 12.25]
    assert frame["nearest_training_images"].tolist() == ["a", "b"]


def test_frames(predictor, boosted_model, tissue, tmp_path, pandas):
    found = predictor.predict(tissue)
    frame = found.to_pandas()
    shares = ["p_benign", "p_malignant"]
    said = ["predicted", "confidence", "uncertain"]
    assert list(frame) == ["image_id", *shares, *said, "trained", "called", "blank", "warnings"]
    assert_array_equal(frame[shares].to_numpy(), found.probabilities)
    result = predict_here(boosted_model, tissue, tmp_path / "p.csv")
    written = pandas.read_csv(tmp_path / "p.csv")
    assert_allclose(written["p_benign"], found.probabilities[:, 0], rtol=1e-12)
    for mark in ("uncertain", "trained"):
        of_table = result.to_pandas()[mark]
        assert frame[mark].dtype == of_table.dtype == bool
        assert of_table.tolist() == frame[mark].tolist() == (written[mark] == "yes").tolist()


def test_a_data_frame_in_place_of_a_manifest(
    boosted_model, predictor, tissue, tmp_path, monkeypatch, tissue_files, pandas
):
    """With the columns of a manifest, and paths from the working folder; an error names the row."""
    monkeypatch.chdir(tissue)
    files = [str(path.relative_to(tissue)) for path in tissue_files[4:8]]
    columns = {"path": files, "mpp": 0.5, "patient": list("aabb"), "label": "benign"}
    frame = pandas.DataFrame(columns)
    settings = PredictSettings(update=True)
    result = predict_here(boosted_model, frame, tmp_path / "p.csv", settings=settings)
    rows = rows_of(tmp_path / "p.csv")
    assert [row["label"] for row in rows] == ["benign"] * 4
    assert [row["group"] for row in rows] == list("aabb")
    assert predict_here(boosted_model, frame, tmp_path / "p.csv", settings=settings).unchanged
    record = read_json(tmp_path / "p.csv.run.json")
    assert record["records"][-1]["config"]["images"] == ["data frame"]
    answer = predictor.predict(frame)
    assert list(answer.image_ids) == [row["image_id"] for row in rows]
    assert_array_equal(answer.probabilities, predictor.predict_proba(files))
    assert predictor.predict([frame, files[0]]).image_ids[:4] == answer.image_ids
    assert result.images == 4
    wrong = frame.assign(path=[*files[:2], "gone.png", files[3]])
    for call in (
        predictor.predict,
        lambda bad: predict(boosted_model, bad, out=tmp_path / "q.csv"),
    ):
        with pytest.raises(InputError, match=r"^data frame, in row 2: .*gone.png"):
            call(wrong)
    with pytest.raises(
        InputError, match="the 5 rows of the data frame are of 4 images; give a row"
    ):
        predictor.predict(pandas.concat([frame, frame[:1]]))


def test_the_order_of_rows_is_kept(predictor, tmp_path, tissue_files, pandas):
    """Of data frames and manifests, whatever the names: their probabilities come without names, too."""
    files = tissue_files[:5]
    shuffled = [files[position] for position in (3, 0, 4, 1, 2)]
    frame = pandas.DataFrame({"path": list(map(str, shuffled))}, index=list("zyxwv"))
    frame.to_csv(tmp_path / "m.csv", index=False)
    expected = predictor.predict_proba(shuffled)
    assert len(np.unique(expected[:, 0])) == 5
    for images in (frame, tmp_path / "m.csv"):
        assert_array_equal(predictor.predict_proba(images), expected)


def test_pictures_are_converted_as_files_are(predictor, tmp_path, one_file):
    """Alpha over WHITE, palettes and grey as colours, and the orientation of a camera."""
    rgb = Image.open(one_file)
    clear = rgb.convert("RGBA")
    alpha = np.full((96, 96), 255, np.uint8)
    alpha[:48] = 0
    clear.putalpha(Image.fromarray(alpha))
    deep = Image.fromarray(np.asarray(rgb.convert("L")).astype(np.uint16) * 257)
    pictures = {
        "rgba.png": clear,
        "l.png": rgb.convert("L"),
        "la.png": clear.convert("LA"),
        "p.png": rgb.quantize(16),
        "1.png": rgb.convert("1"),
        "deep.png": deep,
    }
    for name, picture in pictures.items():
        picture.save(tmp_path / name)
    turned = Image.Exif()
    turned[274] = 6
    rgb.save(tmp_path / "turned.png", exif=turned)
    for name in (*pictures, "turned.png"):
        with Image.open(tmp_path / name) as picture:
            expected = predictor.predict_proba(tmp_path / name)
            assert_array_equal(predictor.predict_proba(picture), expected, name)
    for mode in ("HSV", "F"):
        text = f"^array0: a picture of kind {mode} is not read; convert it to RGB$"
        with pytest.raises(ImageError, match=text):
            predictor.predict(Image.new(mode, (96, 96)))


def test_threads_may_share_a_predictor(predictor, tissue_files):
    arrays = [decode_image(file) for file in tissue_files[:4]]
    expected = [predictor.predict_proba(array) for array in arrays]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(predictor.predict_proba, arrays * 2))
    assert_array_equal(together, expected * 2)


def test_a_message_comes_once_from_a_predictor(tmp_path, caplog, one_file):
    """Whatever it counts; of something else it is another message."""
    from bchisto.predict.images import TrainingLooks, _warn

    ends = {"class": "a", "least": 0.5, "most": 0.5}
    bundle = SimpleNamespace(looks=[{"what": what, **ends} for what in ("mpp", "bits")])
    warned = {}
    images = [ImageRecord(name, tmp_path / name, None) for name in "ab"]
    looks = TrainingLooks(SimpleNamespace(bundle=bundle, rescales=True))
    for count in (1, 2, 1):
        _warn({image.image_id: looks.unlike(image) for image in images[:count]}, warned)
    assert [record.getMessage() for record in caplog.records] == list(warned.values())
    assert len(warned) == 1
    header = read_header(one_file)
    assert "bits" not in looks.unlike(replace(images[0], mpp=0.5))
    _warn({"a": looks.unlike(replace(images[0], header=header))}, warned)
    assert len(caplog.records) == len(warned) == 2


def log_of(caplog):
    """Return what was logged of images that were left out."""
    return [text for text in caplog.messages if text.startswith("left out: ")]


def test_one_bad_image_does_not_lose_the_others(
    predictor, boosted_model, tmp_path, caplog, tissue_files, cut
):
    """Images that cannot be used are left out and named, as the command does it."""
    files = tissue_files[:2]
    (tmp_path / "text.png").write_text("no image")
    images = [files[0], tmp_path / "text.png", SMALL, SMALL[..., 0], cut, decode_image(files[1])]
    for bad in images[1:5]:
        with pytest.raises(ImageError, match="^none of .*images? can be used; first: "):
            predictor.predict([bad, SMALL], skip_errors=True)
    caplog.clear()
    kept = predictor.predict(images, skip_errors=True)
    assert sorted(log_of(caplog)) == sorted(f"left out: {text}" for text in kept.failures.values())
    assert kept.image_ids == (files[0].name, "array5")
    assert_array_equal(kept.probabilities, predictor.predict_proba(files))
    assert len(kept.blank) == len(kept.trained) == len(kept.to_pandas()) == 2
    assert set(kept.failures) == {"text.png", "array2", "array3", "cut.png"}
    assert kept.failures["array2"] == "array2: 40x40 at scale 1.0 is smaller than the crop of 64"
    assert "bchisto-" not in " ".join(kept.failures.values())
    work = Work(jobs=1, skip_errors=True)
    caplog.clear()
    result = predict(boosted_model, [*images[:2], cut], out=tmp_path / "p.csv", work=work)
    assert len(log_of(caplog)) == len(result.failures)
    for image, reason in result.failures.items():
        assert kept.failures[image] == reason
    assert len(result.failures) == 2
    with pytest.raises(ImageError, match="^none of the images can be used; first: gone.png: no"):
        predictor.predict("gone.png", skip_errors=True)
    with pytest.raises(MissingInputError, match="gone"):
        predictor.predict([files[0], "gone.png"])


def test_warnings_of_an_image_stand_in_its_answer(boosted_model, tmp_path, caplog, one_file):
    """The texts that are logged of the image by itself, whatever the logger's level, and each time."""
    import cv2

    cv2.imwrite(
        str(tmp_path / "deep.png"), (cv2.imread(str(one_file)) // 16).astype(np.uint16) * 100
    )
    large = np.kron(decode_image(one_file), np.ones((2, 2, 1), np.uint8))
    images = [one_file, tmp_path / "deep.png", large, WHITE]
    quiet = Predictor(boosted_model)
    with caplog.at_level(logging.ERROR, "bchisto"):
        found = quiet.predict(images)
        assert quiet.predict(images).warnings == found.warnings
    assert not caplog.records
    for place, image in enumerate(images):
        caplog.clear()
        Predictor(boosted_model).predict([image])
        name = found.image_ids[place]
        logged = [
            text.removeprefix("1 image: ").removesuffix(": array0").removesuffix(f": {name}")
            for text in (
                record.getMessage().removeprefix("array0: ").removeprefix(f"{name}: ")
                for record in caplog.records
            )
        ]
        assert sorted(found.warnings[place]) == sorted(logged), name
    sound, deep, of_large, of_white = map(" ".join, found.warnings)
    assert sound == ""
    assert "of 16 bits, so that it is read as nearly black" in deep
    sizes = "other sizes than those of training (96x96): 192x192; export in the same way"
    assert of_large == sizes
    assert "shows nothing" in of_white
    assert of_white.endswith("too little tissue, used without stain normalisation")
    json.dumps(found.warnings)
    pytest.importorskip("pandas")
    assert found.to_pandas()["warnings"].tolist() == ["; ".join(of) for of in found.warnings]


def test_an_image_is_decoded_once(predictor, monkeypatch, one_file):
    from bchisto.data.images import decode

    decoded = []

    def counted(path, real=decode.decode_image, **options):
        decoded.append(path.name)
        return real(path, **options)

    monkeypatch.setattr(decode, "decode_image", counted)
    assert predictor.predict([one_file, WHITE]).blank.tolist() == [
        False,
        True,
    ]
    assert decoded == ["benign00.png"]


def test_a_predictor_says_what_the_table_says(boosted_model, tmp_path, tissue_files):
    """Columns of the table, among them the decision at the operating point of the model, and which images are blank."""
    files = tissue_files[:3]
    predict_here(boosted_model, files, tmp_path / "p.csv")
    rows = rows_of(tmp_path / "p.csv")
    found = Predictor(boosted_model).predict([*files, WHITE])
    assert {*found.columns} >= {"called", "trained"}
    assert found.columns.pop("blank") == ["no"] * 3 + ["yes"]
    assert found.columns.pop("warnings") == ["; ".join(texts) for texts in found.warnings]
    for name, cells in found.columns.items():
        assert [row[name] for row in rows] == cells[:3], name
    assert found.blank.tolist() == [False, False, False, True]
    pytest.importorskip("pandas")
    assert not {"label", "group", "fold"} & {*found.to_pandas()}


@pytest.mark.parametrize("suffix", ["png", "jpeg"])
def test_half_an_upload_and_a_closed_picture_are_errors_of_the_image(predictor, suffix, one_file):
    stream = io.BytesIO()
    with Image.open(one_file) as picture:
        picture.convert("RGB").save(stream, suffix)
    content = stream.getvalue()
    half = Image.open(io.BytesIO(content[: len(content) // 2]))
    with pytest.raises(ImageError, match="array0: damaged or closed: "):
        predictor.predict(half)
    closed = Image.open(io.BytesIO(content))
    closed.close()
    whole = Image.open(io.BytesIO(content))
    answer = predictor.predict([half, closed, whole], skip_errors=True)
    assert answer.image_ids == ("array2",)
    assert [*answer.failures] == ["array0", "array1"]


def test_images_go_by_the_names_that_the_caller_gives(
    boosted_model, tmp_path, caplog, monkeypatch, one_file, cut
):
    """In answers, errors, log lines and failures; no name is a path."""
    monkeypatch.chdir(tmp_path)
    bad = [SMALL, SMALL[..., 0], cut, Path("gone.png"), Image.new("HSV", (96, 96))]
    images = [one_file, WHITE, Image.open(one_file), *bad]
    names = [
        "a/../b.png",
        "cut.png",
        "C:\\1",
        "/tmp/x",
        "array0",
        "gone.png",
        "late",
        "\N{DEGREE SIGN}",
    ]
    predictor = Predictor(boosted_model)
    expected = predictor.predict(images, skip_errors=True)
    predictor = Predictor(boosted_model)
    caplog.clear()
    found = predictor.predict(images, names=names, skip_errors=True)
    assert found.image_ids == tuple(names[:3])
    assert_array_equal(found.probabilities, expected.probabilities)
    assert {*found.failures} == {*names[3:]}
    for name, text in found.failures.items():
        assert text.startswith(f"{name}: "), text
    assert "array1" not in str(found.warnings[1])
    assert "cut.png" not in str(found.warnings[1])
    assert "without stain normalisation: cut.png" in caplog.text
    assert "left out: /tmp/x: 40x40" in caplog.text
    assert "array1" not in caplog.text + str(found)
    assert "bchisto-" not in caplog.text + str(found)
    for image, name in zip(bad, names[3:], strict=True):
        with pytest.raises((ImageError, MissingInputError)) as refusal:
            predictor.predict([image, one_file], names=[name, "other"])
        assert str(refusal.value).startswith(f"{name}: ")
    assert [path.name for path in tmp_path.iterdir()] == ["cut.png"]


def test_a_file_with_several_names_fails_under_each(predictor, tmp_path, one_file, cut):
    """Each reason names its own image, in the order of the images, whether a file is there, a header, or decoded."""
    bad = tmp_path / "bad.png"
    bad.write_text("no image")
    images = [cut, bad, "gone.png", one_file, bad, SMALL, cut, "gone.png"]
    names = ["c1", "b1", "g1", str(bad), "b2", "gone.png", "c2", "g2"]
    answer = predictor.predict(images, names=names, skip_errors=True)
    assert [*answer.failures] == [name for name in names if name != str(bad)]
    for name, text in answer.failures.items():
        assert text.startswith(f"{name}: "), text
    assert answer.image_ids == (str(bad),)
    with pytest.raises(ImageError, match="^none of 2 images can be used; first: b1: "):
        predictor.predict([bad, bad], names=["b1", "b2"], skip_errors=True)


@pytest.mark.parametrize("names", [[], ["a"], ["a", "a"], ["a", ""], ["a", "b\n"], ["a", "b", "c"]])
def test_names_are_a_text_for_each_image(predictor, tissue, names, tissue_files):
    files = tissue_files[:2]
    text = f"^`names`: give a different printable text for each of 2 images, not {len(names)} "
    with pytest.raises(InputError, match=text):
        predictor.predict(files, names=names)
    with pytest.raises(InputError, match="12 images, and `names` name single ones"):
        predictor.predict(tissue, names=["a"])
    with pytest.raises(InputError, match="^names=None: give a text|^names="):
        predictor.predict(files, names=[None, "a"])


def test_a_picture_in_place_of_a_model_file(one_file):
    with pytest.raises(BundleError, match="but a picture; give it as `images`: for a prediction"):
        Predictor(one_file)


def test_bytes_are_opened_by_pillow(predictor, one_file):
    """As the message says."""
    data = one_file.read_bytes()
    for given in (data, [data], io.BytesIO(data)):
        text = r"^`images`: bytes; give PIL\.Image\.open\(io\.BytesIO\(\.\.\.\)\) of them$"
        with pytest.raises(InputError, match=text):
            predictor.predict(given)
    answer = predictor.predict_proba(Image.open(io.BytesIO(data)))
    assert_array_equal(answer, predictor.predict_proba(one_file))


def test_an_answer_is_rows_for_json(boosted_model, one_file):
    """A dict for each image, with what the arrays have at its position."""
    answer = Predictor(boosted_model).predict([one_file, WHITE])
    rows = json.loads(json.dumps(list(answer)))
    for mark in (answer.called, answer.uncertain, answer.trained, answer.blank):
        assert mark.dtype == bool  # a mask: a tuple would choose rows 0 and 1
    keys = "image_id predicted confidence called_from uncertain called outlier outlier_percentile blank trained"
    for index, row in enumerate(rows):
        assert list(row) == [*keys.split(), "probabilities", "warnings"]
        shares = answer.probabilities[index]
        assert row["probabilities"] == dict(zip(answer.classes, shares, strict=True))
        assert row["confidence"] == answer.confidence[index]
        assert row["image_id"] == answer.image_ids[index]
        for name in ("predicted", "uncertain", "called", "blank", "trained"):
            assert row[name] == getattr(answer, name)[index]
        assert row["warnings"] == list(answer.warnings[index])
        assert row["outlier"] is row["outlier_percentile"] is None
    assert rows[1]["blank"] is True
    marked = replace(
        answer,
        outlier=np.array([False, True]),
        outlier_percentile=np.array([0.0, 99.5]),
        called=None,
    )
    rows = json.loads(json.dumps(list(marked)))
    assert [row["outlier"] for row in rows] == [False, True]
    assert [row["outlier_percentile"] for row in rows] == [0.0, 99.5]
    assert [row["called"] for row in rows] == [None, None]
