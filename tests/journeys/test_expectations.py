"""Journeys of newcomers by the command line: what each expected is its docstring.

Small images and an encoder of NumPy, since none is about networks. Elsewhere: stains that turn tissue white, and what a
report says of images without them (featurize/test_stain_checks.py), tables of predictions in other spellings
(evaluate/test_spellings.py), patients in columns of other names (data/test_columns.py), and beside embeddings
(featurize/test_embedding_names.py), images without a label (commands/test_unlabelled.py), parts as folders
(data/test_given_split.py), a home that cannot be written (encoders/test_encoder.py), the first line of progress
(jobs/test_progress.py), and models that learnt nothing (boost/test_learning.py).
"""

import csv
import json
import re
import shlex
import shutil

import numpy as np
import pytest
from conftest import write_tissue
from PIL import Image

BOOST = ("--seeds", 1, "--param", "num_iterations=3", "--param", "min_data_in_leaf=2", "--jobs", 1)


@pytest.fixture
def images(tmp_path):
    return write_tissue(tmp_path / "images", per_class=8)


@pytest.fixture
def manifest(tmp_path, images):
    """A function that writes a manifest: cells of further columns from the number of an image."""

    def write(header, *cells, between=","):
        paths = sorted(images.rglob("*.png"))
        rows = [[str(path), path.parent.name, *(cell(number) for cell in cells)] for number, path in enumerate(paths)]
        path = tmp_path / "table.csv"
        path.write_text("\n".join(between.join(row) for row in [header, *rows]) + "\n", encoding="utf-8")
        return path

    return write


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def figures(folder):
    return json.loads((folder / "metrics.json").read_text())["tables"]["p"]


def groups_of(cli, table, *words):
    """Return patient by image, as `data list` prints them, and what was printed beside."""
    code, out, err = cli("data", "list", "--images", table, *words)
    assert code == 0, err
    return [row["group"] for row in csv.DictReader(out.splitlines())], err


def test_one_picture_of_two_patients(manifest, cli):
    """I named one file twice with two patients by mistake, and expect to be told which, not that the first wins."""
    table = manifest(["path", "label", "patient"], lambda number: f"P{number // 2}")
    first = table.read_text().splitlines()[1]
    table.write_text(table.read_text() + first.replace("P0", "P9") + "\n")
    code, _, err = cli("data", "list", "--images", table)
    assert code == 2
    (line,) = re.findall(r"^error: .+", err, flags=re.MULTILINE)
    assert "P0" in line
    assert "P9" in line


def test_patients_under_another_name_count(cli, tmp_path):
    """My table of predictions has a column Patient ID, and I expect intervals over patients as with `group`."""
    rng = np.random.default_rng(0)
    rows = [
        (f"i{k}", "ab"[k % 2], f"P{k // 6}", round(0.2 + 0.6 * (rng.random() < 0.8) * (k % 2), 2)) for k in range(60)
    ]
    found = []
    for name in ("group", "Patient ID"):
        folder = tmp_path / name
        folder.mkdir()
        lines = [f"image_id,label,{name},p_a,p_b", *(f"{i},{label},{who},{1 - p:.2f},{p}" for i, label, who, p in rows)]
        (folder / "p.csv").write_text("\n".join(lines) + "\n")
        code, out, err = cli("evaluate", folder / "p.csv", "--out", folder / "e", "--bootstrap", 20)
        assert code == 0, err
        assert "PATIENTS UNKNOWN" not in out + err
        found.append(figures(folder / "e"))
    assert found[0] == found[1]
    assert (found[0]["units"]["kind"], found[0]["units"]["count"]) == ("group", 10)


def test_a_table_from_a_german_excel(manifest, cli):
    """My table has semicolons and German names, and I expect to say once which column is which."""
    table = manifest(["Bildpfad", "Befund", "Fall"], lambda number: f"F{number // 2}", between=";")
    code, _, err = cli("data", "list", "--images", table)
    assert code == 2
    assert "--path-column" in err
    groups, _ = groups_of(
        cli, table, "--path-column", "Bildpfad", "--label-column", "Befund", "--group-column", "Fall"
    )  # fmt: skip
    assert groups == [f"F{number // 2}" for number in range(16)]


def test_missing_patients_are_not_one_patient(manifest, cli):
    """R wrote NA for patients that I do not know, and I expect these images to have none, not all the same one."""
    table = manifest(["path", "label", "patient"], lambda number: "NA" if number % 2 else f"P{number // 2}")
    groups, err = groups_of(cli, table)
    assert groups[::2] == [f"P{number}" for number in range(8)]
    assert set(groups[1::2]) == {""}
    assert "NA" in err


def test_labels_in_a_column_called_diagnosis(manifest, cli):
    """My label column is called Diagnosis, and I expect the classes to be there without an option."""
    table = manifest(["path", "Diagnosis"])
    code, out, err = cli("data", "check", "--images", table, "--no-copies", "--json")
    assert code == 0, err
    assert json.loads(out)["classes"] == {"benign": 8, "malignant": 8}


def test_a_patient_written_in_two_ways(manifest, cli):
    """Somebody typed p1 for P1, and I expect to hear of it before one patient trains and tests."""
    table = manifest(["path", "label", "patient"], lambda number: f"{'pP'[number % 2]}{number // 2}")
    groups, err = groups_of(cli, table)
    assert len(set(groups)) in (8, 16)
    assert re.search(r"warning: .*\bp0\b.*\bP0\b|warning: .*\bP0\b.*\bp0\b", err), err


def test_a_tiff_of_floating_point_numbers(images, cli, tmp_path):
    """My microscope writes floating-point TIFF, and I expect to read what to export instead, not to copy it again."""
    values = np.random.default_rng(0).random((96, 96), dtype=np.float32)
    Image.fromarray(values).save(images / "benign" / "float.tif")
    code, out, _ = cli("data", "check", "--images", images, "--no-copies")
    assert code == 1
    (line,) = [line for line in out.splitlines() if "float.tif" in line and line.startswith("error")]
    assert "download the file again" not in line
    assert re.search("8 or 16 bits|8-bit|8 bit", line)


def test_a_camera_of_twelve_bits(images, cli):
    """My camera puts 12 bits into 16, and I expect a warning before everything is nearly black."""
    for path in images.rglob("*0*.png"):
        grey = np.asarray(Image.open(path).convert("L")).astype(np.uint16) * 16
        Image.fromarray(grey).save(path)
    code, out, _ = cli("data", "check", "--images", images, "--no-copies")
    assert code == 1
    assert re.search(r"^warning .*bits", out, flags=re.MULTILINE), out


def test_pictures_that_lie_in_two_classes(images, cli):
    """Three pictures were saved into both classes, and I expect to learn of all three at once."""
    for number in range(3):
        shutil.copy(images / "benign" / f"benign0{number}.png", images / "malignant" / f"copy{number}.png")
    code, out, _ = cli("data", "check", "--images", images, "--no-copies")
    assert code == 1
    for number in range(3):
        assert f"copy{number}.png" in out


def test_arrays_under_the_names_of_scikit_learn(cli, tmp_path):
    """I saved X and y as I do for scikit-learn, and expect them to be read as features and labels."""
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "Xy.npz", X=rng.normal(size=(12, 4)).astype(np.float32), y=np.arange(12) % 2,
             ids=np.array([f"i{k}" for k in range(12)]))  # fmt: skip
    code, out, err = cli(
        "boost", "--out", tmp_path / "run", "--features", tmp_path / "Xy.npz", "--folds", 2, *BOOST
    )  # fmt: skip
    assert code == 0, err
    assert "of 12 images right" in out


def test_from_a_trial_to_labelled_new_images(images, cli, tmp_path):
    """I type what is printed, one command after the other, and expect to end with a report on my new images."""
    words = ("--encoder", "tiny", "--weights", "random", "--jobs", 1)
    code, out, err = cli("trial", "--images", images, "--out", tmp_path / "trial", *words)
    assert (code, "of 16 images right" in out) == (0, True), err
    new = write_tissue(tmp_path / "new", per_class=3, seed=5)
    for command, instead in (
        ("predict", {"DIR": str(new), "predictions.csv": str(tmp_path / "p.csv")}),
        ("evaluate", {}),
    ):
        (line,) = re.findall(rf"next\S*.*?(bchisto {command} .+)", err)
        typed = [instead.get(word, word) for word in shlex.split(line)[1:]]
        more = ("--weights", "random", "--jobs", 1) if command == "predict" else ("--bootstrap", 20)
        code, out, err = cli(*typed, *more)
        assert code == 0, err
    assert "of 6 images right" in out


def test_shares_of_train_validation_and_test(described, run_copy, cli):
    """I ask for 80/10/10 and expect about a tenth of the images to be tested, each once."""
    run = run_copy(described)
    code, out, err = cli("boost", "--out", run, "--folds", "50/25/25", *BOOST)
    assert code == 0, err
    (table,) = (run / "boost").glob("*/predictions.csv")
    rows = rows_of(table)
    assert len(rows) == len({row["image_id"] for row in rows})
    assert 2 <= len(rows) <= 4
    assert f"of {len(rows)} images right" in out


def test_folds_that_a_colleague_wrote(described, tissue, run_copy, cli, tmp_path):
    """My colleague sends a list of folds, and I expect exactly its division."""
    assert cli("data", "folds", "--images", tissue, "--folds", 3, "--seed", 4, "--out", tmp_path / "folds.csv")[0] == 0
    run = run_copy(described)
    code, _, err = cli("boost", "--out", run, "--folds", tmp_path / "folds.csv", *BOOST)
    assert code == 0, err
    wanted = {
        row["image_id"]: row["fold"] for row in rows_of(tmp_path / "folds.csv") if row.get("part", "test") == "test"
    }
    (table,) = (run / "boost").glob("*/predictions.csv")
    assert {row["image_id"]: row["fold"] for row in rows_of(table)} == wanted


def test_a_rare_class(cli, tmp_path):
    """Only 4 of 24 images are malignant, and I expect to read that calling all benign is right in 83 %."""
    images = write_tissue(tmp_path / "images", per_class=20)
    for path in sorted((images / "malignant").glob("*.png"))[4:]:
        path.unlink()
    words = ("--encoder", "tiny", "--weights", "random", "--jobs", 1)
    code, out, err = cli("trial", "--images", images, "--out", tmp_path / "trial", *words)
    assert code == 0, err
    assert re.search(r"Predicting benign, the largest class, for every image.*83\.3 %", out), out
    assert "balanced accuracy" in out


def test_a_run_and_its_images_on_another_disk(described, tissue, run_copy, cli, tmp_path):
    """I moved the run and copied the images, and expect predictions as before, and to hear that these are not new."""
    run = run_copy(described)
    assert cli("boost", "--out", run, "--folds", 2, *BOOST)[0] == 0
    moved = run.rename(tmp_path / "elsewhere")
    copied = shutil.copytree(tissue, tmp_path / "other disk")
    (model,) = (moved / "boost").glob("*/model.bchisto")
    code, out, err = cli("predict", model, "--images", copied, "--out", tmp_path / "p.csv", "--weights", "random")
    assert (code, "SEEN IN TRAINING: 12 of 12 images" in out + err) == (0, True), err


def test_more_images_of_next_month(images, cli, tmp_path, tiny_options):
    """I add four images and type the same command, and expect that only these are described."""
    words = ("featurize", "--images", images, "--out", tmp_path / "run", *tiny_options)
    assert cli(*words)[0] == 0
    write_tissue(tmp_path / "more", per_class=2, seed=9)
    for path in (tmp_path / "more").rglob("*.png"):
        shutil.copy(path, images / path.parent.name / f"new-{path.name}")
    code, out, err = cli(*words)
    assert (code, "20 images with features" in out) == (0, True), err
    grown = json.loads((tmp_path / "run" / "run.json").read_text())["records"][-1]["notes"]["grown"]
    assert "4" in json.dumps(grown)
