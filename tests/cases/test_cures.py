"""What a refusal advises is possible and true, and leads on: where it names an option, the option is tried."""

import bz2
import csv
import gzip
import io
import lzma
import pickle
import re
import tarfile
import zipfile

import h5py
import numpy as np
import pytest
from conftest import TINY, typed

BOOST = typed("--head prototype --seeds 1 --jobs 1")


def error_of(err):
    """Return the line of the error."""
    (line,) = [
        line for line in " ".join(err.split("\n ")).splitlines() if line.startswith("error: ")
    ]
    return line


def embeddings(path, owners):
    """Write embeddings of images, given as (label, patient or None)."""
    rng = np.random.default_rng(0)
    labels, groups = zip(*owners, strict=True)
    rows = rng.normal(size=(len(owners), 5)) + np.array([[len(label)] for label in labels])
    columns = {"group": list(groups)} if all(groups) else {}
    np.savez(
        path,
        features=rows,
        image_id=[f"im{n}" for n in range(len(owners))],
        label=list(labels),
        **columns,
    )
    return path


# --- folds -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("folds", "lonely"), [("2", "pos"), ("10", "Lobular carcinoma"), ("60/20/20", "pos")]
)
def test_a_class_of_one_patient_needs_a_second_patient(tmp_path, refused, completed, folds, lonely):
    owners = [("neg", f"P{n % 6}") for n in range(24)] + [(lonely, "Q1")] * 5
    file = embeddings(tmp_path / "set.npz", owners)
    error = error_of(refused("boost --features {} --out T/run", file, *BOOST, "--folds", folds))
    assert f"all 5 images of class {lonely} are of one patient (Q1)" in error
    assert f"add images of a second patient with class {lonely}" in error
    assert "fewer" not in error
    advised = re.search(r"use (--group-by none)(?: and (--folds \S+?))?, with results", error)
    options = [part for option in advised.groups() if option for part in option.split()]
    kept = options if "--folds" in options else [*options, "--folds", folds]
    completed("boost --features {} --out T/by --check", file, *BOOST, *kept)
    both = embeddings(tmp_path / "both.npz", [*owners, *[(lonely, "Q2")] * 5])
    completed("boost --features {} --out T/both --check", both, *BOOST, "--folds", "2")


@pytest.mark.parametrize(
    ("owners", "folds", "reason"),
    [
        (
            [("a", None)] * 9 + [("bb", None)] * 3,
            "9",
            "class bb has 3 images, fewer than the 9 folds",
        ),
        (
            [("a", f"p{n % 3}") for n in range(12)] + [("bb", f"p{n % 3}") for n in range(12)],
            "8",
            "3 groups, fewer",
        ),
        (
            [("a", f"p{n}") for n in range(9)] + [("bb", "q"), ("bb", "r")] * 6,
            "11",
            "class a has 9 images",
        ),
        (
            [("a", None)] * 12 + [("bb", None)] * 3,
            "60/20/20",
            "class bb has 3 images; a balanced split",
        ),
    ],
)
def test_other_folds_that_are_suggested_can_be_drawn(
    tmp_path, refused, completed, owners, folds, reason
):
    file = embeddings(tmp_path / "set.npz", owners)
    error = error_of(refused("boost --features {} --out T/run", file, *BOOST, "--folds", folds))
    assert reason in error
    suggested = re.search(r"use --folds (\S+?),", error)[1]
    completed("boost --features {} --out T/run --check", file, *BOOST, "--folds", suggested)


@pytest.mark.parametrize(
    "folds", ["rakhlin10", "official", "folder", "site:hospital", "LIST", "ONE"]
)
def test_fixed_folds_that_do_not_fit_say_which_can_be_drawn(
    tmp_path, refused, completed, calm, folds
):
    lists = {"LIST": "image_id,fold\nnone.png,1\nnothing.png,2\n"}
    names = [f"{label}/{label}0{n}.png" for label in ("calm", "wild") for n in range(4)]
    lists["ONE"] = "image_id,fold\n" + "".join(
        f"{name},{1 + name.startswith('wild')}\n" for name in names
    )
    if folds in lists:
        (tmp_path / "mine.csv").write_text(lists[folds])
        folds = tmp_path / "mine.csv"
    features = ("--features", calm / "R" / "features")
    error = error_of(refused("boost --out T/run", *features, *BOOST, "--folds", folds))
    assert "fewer folds" not in error
    suggested = re.search(r"or draw folds, such as --folds (\d+)$", error)[1]
    completed("boost --out T/run --check", *features, *BOOST, "--folds", suggested)


def test_a_test_list_of_a_whole_class(tmp_path, refused, calm):
    (tmp_path / "test.csv").write_text(
        "image_id\n" + "".join(f"wild/wild0{n}.png\n" for n in range(4))
    )
    options = typed("--folds none --test-list T/test.csv --network speck --weights random")
    err = refused("finetune --images {} --out T/run", calm / "P", *options)
    assert (
        "no image of class wild trains in fold 1; --test-list holds all of them; take some off it"
        in error_of(err)
    )


# --- files in the place of others ----------------------------------------------------------------------------------


def _zip(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/").replace("_DOT_", "."), content)
    return buffer.getvalue()


def _tar():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.png"))
    return buffer.getvalue()


def _npz(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _npy():
    buffer = io.BytesIO()
    np.save(buffer, np.ones((3, 4)))
    return buffer.getvalue()


def _h5(**arrays):
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for name, array in arrays.items():
            file[name] = array
    return buffer.getvalue()


PIXELS = np.zeros((2, 9, 9, 3), np.uint8)
OTHERS = {
    "data.zip": (_zip(a_DOT_png=b"x"), "a ZIP archive; unpack it"),
    "data.tar": (_tar(), "a TAR archive; unpack it"),
    "data.tar.gz": (gzip.compress(_tar()), "packed with gzip; unpack it"),
    "set.tbz": (bz2.compress(_tar()), "packed with bzip2; unpack it"),
    "set.txz": (lzma.compress(_tar()), "packed with xz; unpack it"),
    "images.rar": (b"Rar!\x1a\x07\x01\x00" + bytes(99), "a RAR archive; unpack it"),
    "images.7z": (b"7z\xbc\xaf\x27\x1c" + bytes(99), "a 7z archive; unpack it"),
    "pcam.h5": (_h5(x=PIXELS), "an HDF5 file; --features of bchisto boost"),
    "pathmnist.npz": (
        _npz(train_images=PIXELS),
        "a NumPy archive (.npz); --features of bchisto boost",
    ),
    "features.npy": (
        _npy(),
        "a NumPy array (.npy); for `bchisto boost`, write embeddings as .npz: numpy.savez",
    ),
    "svm.pkl": (pickle.dumps([1], protocol=2), "a pickle; it can run code"),
    "svm.joblib": (pickle.dumps({"a": 1}), "a pickle; it can run code"),
    "net.pt": (_zip(archive__data_DOT_pkl=b"x"), "a checkpoint of PyTorch; it can run code"),
    "net.keras": (
        _zip(model_DOT_weights_DOT_h5=b"x", config_DOT_json=b"{}"),
        "a network of Keras; bchisto pre",
    ),
    "net.onnx": (
        b"\x08\x07\x12\x07pytorch",
        "a network in ONNX; `bchisto featurize --encoder onnx:FILE`",
    ),
    "net.safetensors": (b"\x0a" + bytes(7) + b'{"a":{}}  ', "weights (safetensors)"),
    "rows.parquet": (b"PAR1\x15\x04\x15" + bytes(50), "a Parquet table; save a table as CSV"),
    "paper.pdf": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3", "a PDF document; save the images in it"),
    "notes.docx": (_zip(word__document_DOT_xml=b"x"), "a Word document; save the images in it"),
    "slides.pptx": (
        _zip(ppt__presentation_DOT_xml=b"x"),
        "a PowerPoint file; save the images in it",
    ),
    "labels.ods": (_zip(content_DOT_xml=b"x"), "an OpenDocument file; save its table"),
    "labels.csv.xlsx.bak": (
        _zip(xl__workbook_DOT_xml=b"x"),
        "an Excel workbook; give its name the ending .xlsx",
    ),
    "db.sqlite": (b"SQLite format 3\x00\xff", "a SQLite database; export its table"),
    "run.json": (b'{\n "a": "\xc3\xa9"}', "a JSON file; give a folder of images"),
    "report.html": (b"<!DOCTYPE html><html>\xc3\xa9</html>", "a web page; give the file itself"),
    "film.mp4": (b"\0\0\0\x20ftypisom\xff", "a video; save frames"),
}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("layers.h5", _h5(features=np.zeros((14, 1, 768), np.float32)), "(14, 1, 768)"),
        ("pathmnist.npz", _npz(train_images=PIXELS), "train_images"),
        ("bag.npy", _npy(), "embeddings as .npz"),
        ("bag.csv", b"id,f0,f1\na,1,2\n", ".npz and .h5"),
        ("pcam.h5", _h5(x=PIXELS), "HDF5"),
        (
            "data.zip",
            OTHERS["data.zip"][0],
            "not a file of embeddings (.npz, .h5), but a ZIP archive",
        ),
        ("film.mp4", OTHERS["film.mp4"][0], "not a file of embeddings (.npz, .h5), but a video"),
    ],
)
def test_other_arrays_that_are_given_as_features(tmp_path, refused, name, content, words):
    (tmp_path / name).write_bytes(content)
    err = refused("boost --features {} --folds 2 --out T/run", tmp_path / name)
    assert (name in err, words in err, "Traceback" in err) == (True, True, False), err


@pytest.mark.parametrize("name", OTHERS)
def test_what_a_file_is_that_is_given_as_images_or_model(tmp_path, refused, calm, name):
    content, what = OTHERS[name]
    file = tmp_path / name
    file.write_bytes(content)
    model = calm / "R" / "boost" / "2-prototype" / "model.bchisto"
    picture = calm / "P" / "calm" / "calm00.png"
    every = name in ("data.zip", "pcam.h5", "rows.parquet")  # what a file is, one function says
    for arguments, wanted in (
        (("data check --no-timing --images {}", file), "a folder or a manifest of images"),
        (
            ("featurize --images {} --out T/run", file, *TINY),
            "a folder or a manifest of images",
        ),
        (
            ("predict {} --images {} --out T/p.csv", model, file),
            "a TIFF, PNG or JPEG image",
        ),
        (
            ("predict {} --images {} --out T/p.csv", file, picture),
            "a model file of bchisto",
        ),
        (
            ("explain {} --images {} --out T/maps", file, picture),
            "a model file of bchisto",
        ),
    )[: 5 if every else 1]:
        err = refused(*arguments)
        assert f"error: {file}: not {wanted}, but {what}" in error_of(err)
        assert "CSV UTF-8" not in err
        assert not (tmp_path / "p.csv").exists()


def test_bchistos_own_files_in_the_place_of_others(tmp_path, refused, completed, calm):
    run = calm / "R"
    model, features, picture = (
        run / "boost" / "2-prototype" / "model.bchisto",
        run / "features" / "tiny-1.0-64.h5",
        calm / "P" / "calm" / "calm00.png",
    )
    table = run / "boost" / "2-prototype" / "predictions.csv"
    for arguments, words in (
        (
            ("predict {} {} --out T/p.csv", model, model),
            f"{model}: not a TIFF, PNG or JPEG image, but a model file of bchisto;",
        ),
        (
            ("predict {} {} --out T/p.csv", picture, model),
            f"{picture}: not a model file of bchisto, but a picture; give it as --",
        ),
        (
            ("predict {} {} --out T/p.csv", features, picture),
            "but an HDF5 file; --features of bchisto boost and predict takes",
        ),
        (
            ("predict {} {} --out T/p.csv", table, picture),
            "but a table of predictions; `bchisto evaluate TABLE` reads it",
        ),
        (
            ("data check --no-timing --images {}", model),
            "but a model file of bchisto; `bchisto predict MODEL --images DIR",
        ),
        (
            ("evaluate {} --out T/e", model),
            "not a table, but a model file of bchisto; `bchisto",
        ),
        (
            ("boost --features {} --out T/r", model),
            "but a model file of bchisto; `bchisto predict MODEL",
        ),
        (
            ("boost --features {} --out T/r", run),
            f"no feature file (*.h5) in it; give {run / 'features'}",
        ),
        (
            ("boost --features {} --out T/r", picture.parent),
            "`bchisto featurize --images DIR --out RUN`",
        ),
        (
            ("boost --out {}", picture.parent),
            "a folder without features; run bchisto featurize --images DIR --out",
        ),
        (
            ("boost --out T/none",),
            f"run bchisto featurize --images DIR --out {tmp_path / 'none'} first",
        ),
    ):
        assert words in error_of(refused(*arguments))
    # nothing was left
    assert {path.name for path in picture.parent.iterdir()} == {f"calm0{n}.png" for n in range(4)}
    for arguments in (
        ("predict {} {} --out T/p.csv", model, picture),
        ("predict {} --features {} --out T/q.csv", model, features),
        ("evaluate {} --out T/e", table),
        ("boost --features {} --out T/r", run / "features", *BOOST, "--folds", "2"),
    ):
        completed(*arguments)


@pytest.mark.parametrize("name", ["model.bchisto", "renamed"])
def test_a_damaged_model_file_is_not_called_another(tmp_path, refused, calm, name):
    model = (calm / "R" / "boost" / "2-prototype" / "model.bchisto").read_bytes()
    cut = model if name == "renamed" else model[: len(model) // 2]
    with zipfile.ZipFile(tmp_path / name, "w") as archive:
        for info in zipfile.ZipFile(io.BytesIO(model)).infolist():
            content = zipfile.ZipFile(io.BytesIO(model)).read(info)
            archive.writestr(info.filename, re.sub(rb"\d,", b"x,", content, count=1))
    if cut is not model:
        (tmp_path / name).write_bytes(cut)
    err = refused("predict {} {} --out T/p.csv", tmp_path / name, calm / "P")
    assert re.search(
        r"not a bchisto model file, or damaged \(.+\); copy or train it again", error_of(err)
    )


# --- paths, and what no label or class is there for ----------------------------------------------------------------


@pytest.mark.parametrize("command", ["predict", "featurize", "boost"])
def test_a_name_that_is_too_long_is_to_be_shortened(tmp_path, refused, calm, command):
    long, run = tmp_path / ("x" * 300), calm / "R"
    arguments = {
        "predict": (run / "boost" / "2-prototype" / "model.bchisto", calm / "P"),
        "featurize": ("--images", calm / "P", *TINY),
        "boost": ("--features", run / "features", *BOOST, "--folds", "2"),
    }[command]
    assert "File name too long; give a shorter name" in error_of(
        refused(command, *arguments, "--out", long)
    )


def test_no_kind_is_mistaken_for_another(tmp_path, completed, calm):
    """A manifest, whatever its first column is called, is no other kind of file."""
    picture = calm / "P" / "calm" / "calm00.png"
    for header, row in (
        ("path,label,p_note", f"{picture},calm,1"),
        ("image_id,p_x,path", f"PK1,2,{picture}"),
        ("PK,path", f"1,{picture}"),
    ):
        with (tmp_path / "set.csv").open("w", newline="") as handle:
            csv.writer(handle).writerows([header.split(","), row.split(",")])
        out, _ = completed("data check --table - --images T/set.csv")
        assert "calm0" in out or "PK1" in out
