"""What tells the classes apart and is not the tissue: said by the command line, and only then."""

import json
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from bchisto.core.formats import read_header
from bchisto.data import read_dataset, with_headers
from bchisto.data.check import sign_findings
from bchisto.data.dataset import ImageRecord
from bchisto.data.images import ImageFiles
from conftest import TINY
from PIL import Image
from written_tables import lines, rows_of


def pictures(root, number=8, *, classes=("luminal", "basal"), save=None, seed=3):
    """Write so many pictures of each class; `save` writes one: picture, path without suffix, whether of the last."""
    rng = np.random.default_rng(seed)
    rows = []
    for label in classes:
        for index in range(number):
            pixels = rng.integers(90, 240, (96, 96, 3), dtype=np.uint8)
            path = root / label / f"{label[0]}{index}"
            path.parent.mkdir(parents=True, exist_ok=True)
            save_as = save or as_png
            written = save_as(Image.fromarray(pixels), path, label == classes[-1])
            rows.append((f"{label}/{written.name}", label, f"{label[0].upper()}{index}"))
    return rows


def as_png(picture, path, last, **options):
    path = path.with_name(f"{path.name}.png")
    picture.save(path, **options)
    return path


def as_jpeg(usual, other):
    """Return how pictures are saved: the last class with other options."""

    def save(picture, path, last):
        path = path.with_name(f"{path.name}.jpg")
        picture.save(path, **(usual, other)[last])
        return path

    return save


def resized(usual, other):
    def save(picture, path, last):
        number = int(path.name[1:])
        return as_png(picture.resize((usual, other)[last](number)), path, last)

    return save


def deep(picture, path, last):
    if not last:
        return as_png(picture, path, last)
    path = path.with_name(f"{path.name}.png")
    import imagecodecs

    path.write_bytes(imagecodecs.png_encode(np.asarray(picture).astype(np.uint16) * 257))
    return path


def as_tiff(usual, other):
    def save(picture, path, last):
        path = path.with_name(f"{path.name}.tif")
        options = (usual, other)[last]
        tifffile.imwrite(path, np.asarray(picture), photometric="rgb", metadata=None, **options)
        return path

    return save


def said(images):
    """Return the findings on signs: level and message."""
    dataset = read_dataset(images)
    dataset = replace(dataset, records=tuple(with_headers(dataset.records)))
    return [(finding.level, finding.message) for finding in sign_findings(dataset)]


EXPORTS = {
    "twice as large": (
        resized(lambda n: (96, 96), lambda n: (192, 192)),
        "the size",
        "96x96 (8); basal 192x192 (8)",
    ),
    "each of its own size, but larger": (
        resized(lambda n: (90 + n, 90 + n), lambda n: (140 + n, 140 + n)),
        "the size",
        "luminal 90x90 (1), 91x91 (1), 92x92 (1) and 5 more",
    ),
    "another shape": (
        resized(lambda n: (90 + 10 * n, 90 + 10 * n), lambda n: (90 + 10 * n, 60 + 7 * n)),
        "the shape",
        "luminal 1.00 (8)",
    ),
    "quality": (
        as_jpeg({"quality": 92}, {"quality": 60}),
        "the codec",
        "luminal quality 92 (8); basal quality 60 (8)",
    ),
    "named as the others": (
        as_jpeg({"format": "PNG"}, {"format": "JPEG"}),
        "the format",
        "luminal PNG (8); basal JPEG (8)",
    ),
    "16 bits": (deep, "the kind of pixels", "luminal RGB (8); basal RGB of 16 bits (8)"),
    "compression": (
        as_tiff({}, {"compression": "lzw"}),
        "the codec",
        "luminal NONE (8); basal LZW (8)",
    ),
    "micrometres": (
        as_tiff(
            {"resolution": (20000, 20000), "resolutionunit": "CENTIMETER"},
            {"resolution": (40000, 40000), "resolutionunit": "CENTIMETER"},
        ),
        "the micrometres per pixel",
        "luminal 0.5 (8); basal 0.25 (8)",
    ),
    "program": (
        as_tiff({"software": "Scanner A 1.2"}, {"software": "ImageJ"}),
        "the scanner",
        "luminal Scanner A 1.2 (8); basal ImageJ (8)",
    ),
    "day": (
        as_tiff({"datetime": "2019:03:04 10:00:00"}, {"datetime": "2022:11:05 10:00:00"}),
        "the date",
        "luminal 2019:03:04 (8); basal 2022:11:05 (8)",
    ),
}


@pytest.mark.parametrize(
    ("name", "patients"),
    [
        *((name, True) for name in EXPORTS),
        *(
            (name, False)
            for name in ("twice as large", "each of its own size, but larger", "quality")
        ),
    ],
)
def test_a_class_of_another_export(tmp_path, name, patients):
    save, sign, counts = EXPORTS[name]
    rows = pictures(tmp_path / "set", save=save)
    images = tmp_path / "set"
    if patients:
        images = lines(tmp_path / "set" / "m.csv", ("path", "label", "patient"), rows)
    ((level, message),) = said(images)
    assert message.startswith(sign)
    assert "export the images of all classes in the same way" in message
    if "own size" in name and not patients:
        # images of one patient might be alike
        assert level == "note"
        return
    assert level == "warning"
    for label in counts.split("; "):
        assert label in message


@pytest.mark.parametrize(
    ("column", "usual", "other"),
    [
        ("hospital", lambda n: "Essen", lambda n: "Köln"),
        ("Scanner-Model", lambda n: "AT2", lambda n: f"GT{n % 2}"),
        ("scan date", lambda n: f"2020-03-{n + 1:02d}", lambda n: f"2021-07-{n + 1:02d}"),
        ("Datum", lambda n: f"{n + 10}.11.2020", lambda n: f"{n + 10}.02.2021"),
        ("Zentrum", lambda n: f"Z{n % 2}", lambda n: f"Z{2 + n % 2}"),
    ],
)
def test_a_column_of_where_and_when(tmp_path, column, usual, other):
    rows = []
    for path, label, patient in pictures(tmp_path):
        number = int(patient[1:])
        rows.append((path, label, patient, (usual, other)[label == "basal"](number)))
    ((level, message),) = said(
        lines(tmp_path / "m.csv", ("path", "label", "patient", column), rows)
    )
    assert level == "warning"
    assert "add images of each class with each of its values" in message


def test_folders_of_sites(tmp_path):
    pictures(tmp_path / "set" / "Lab 1", classes=("benign", "normal"))
    pictures(tmp_path / "set" / "Lab 2", classes=("malignant",), seed=4)
    ((level, message),) = said(tmp_path / "set")
    assert level == "warning"
    assert "the column set, which is not the tissue, tells the classes apart" in message
    assert "malignant Lab 2 (8)" in message


@pytest.mark.parametrize("patients", [1, 2, 3])
def test_few_patients_are_a_note(tmp_path, patients):
    save = EXPORTS["twice as large"][0]
    rows = [
        (path, label, f"{label}{int(patient[1:]) % patients}")
        for path, label, patient in pictures(tmp_path, save=save)
    ]
    ((level, message),) = said(lines(tmp_path / "m.csv", ("path", "label", "patient"), rows))
    assert level == "note"
    assert "the size, which is not the tissue, may tell the classes apart" in message


def test_only_the_images_of_one_of_three_classes(tmp_path):
    rows = pictures(
        tmp_path, classes=("G1", "G2", "G3"), save=as_jpeg({"quality": 90}, {"quality": 50})
    )
    ((level, message),) = said(lines(tmp_path / "m.csv", ("path", "label", "case"), rows))
    assert level == "warning"
    assert "G1 quality 90 (8); G2 quality 90 (8); G3 quality 50 (8)" in message


def some_large(n):
    side = 96 + 48 * (n % 2)
    return side, side


def test_what_is_no_sign(tmp_path):
    rows = []
    rng = np.random.default_rng(5)
    for path, label, patient in pictures(tmp_path, save=resized(some_large, some_large)):
        number = int(patient[1:])
        day = f"2020-{rng.integers(1, 13):02d}-{rng.integers(1, 29):02d}"
        site = f"S{number % 3}"
        rows.append((path, label, patient, day, site, f"born {label}", label, "left", label))
    header = (
        "path",
        "label",
        "patient",
        "scan date",
        "site",
        "date of birth",
        "tumour site",
        "side",
        "grade",
    )
    assert said(lines(tmp_path / "m.csv", header, rows)) == []


def test_sizes_of_each_patient_by_chance(tmp_path):
    rng = np.random.default_rng(8)

    def any_size(n):
        side = int(rng.integers(80, 140))
        return side, side

    rows = pictures(tmp_path, save=resized(any_size, any_size))
    assert said(tmp_path) == []
    assert said(lines(tmp_path / "m.csv", ("path", "label", "patient"), rows)) == []


def test_training_says_it_too(tmp_path, completed):
    pictures(tmp_path / "set", save=EXPORTS["twice as large"][0])
    _, err = completed("featurize --images T/set --out T/run", *TINY, "--stain", "none")
    assert "warning" in err
    assert "the size, which is not the tissue, tells the classes apart" in " ".join(err.split())


def test_headers_of_an_earlier_version_are_read_again(tmp_path):
    (name, *_), *_ = pictures(tmp_path / "set", 1, save=EXPORTS["program"][0])
    record = ImageRecord(name, tmp_path / "set" / name, "luminal")
    cache = tmp_path / "images.csv"
    for fields in (13, 10, 0):
        files = ImageFiles(cache)
        assert files.header(record.path) == read_header(record.path)
        files.hashes([record])
        rows = rows_of(cache)
        *values, remarks = json.loads(rows[0]["header"])
        assert len(values) == 12
        rows[0]["header"] = json.dumps([*values[: fields - 1], remarks])
        lines(cache, rows[0].keys(), [rows[0].values()])


@pytest.mark.parametrize("columns", [("hospital",), ("scanner", "Scan date"), ("lab", "batch no")])
def test_further_columns_of_the_same_division_do_not_hide_it(tmp_path, columns):
    save = EXPORTS["twice as large"][0]
    rows = [
        (path, label, patient, *(f"{column} {label[0]}" for column in columns))
        for path, label, patient in pictures(tmp_path, 5, save=save)
    ]
    header = ("path", "label", "patient", *columns)
    ((level, message),) = said(lines(tmp_path / "m.csv", header, rows))
    assert level == "warning"
    assert all(
        f"and the column {column.lower().replace(' ', '_')}" in message for column in columns
    )
