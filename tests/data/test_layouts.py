"""Layouts: every spec of ours is complete, and other packages add theirs by an entry point alone."""

import logging

import numpy as np
import pytest
from bchisto.core import InputError
from bchisto.data import ImageRecord, decode_record, get_layout, list_layouts, read_dataset
from bchisto.data.layouts.registry import built_in_layouts, recognise_layout
from offers import offer
from PIL import Image
from sample_trees import picture

DATASET_NAMES = tuple(spec.name for spec in built_in_layouts())
BREAKHIS = "SOB_B_A-14-22549AB-100-001.png"


@pytest.fixture
def tiles(tmp_path):
    """Four images of the layout that the package in tests/plugins adds."""
    for number, (patient, label) in enumerate(
        [("p1", "calm"), ("p1", "wild"), ("p2", "calm"), ("p3", "wild")]
    ):
        picture(tmp_path / "images" / "deeper" / f"tile-{patient}-{number}-{label}.png", number)
    return tmp_path / "images"


# ours


# other packages come behind ours
# nothing is listed there
@pytest.mark.parametrize(
    ("files", "name"),
    [
        (("Photos/Benign/b001.tif", "Photos/Normal/n001.tif", BREAKHIS), "bach"),
        (("a/x.ics", "b/100X/" + BREAKHIS), "ddsm"),  # the first file that is known decides
        (("SOB_M_DC_14-2523/100X/" + BREAKHIS, "c/x.ics"), "breakhis"),
        (
            ("a/tile-p1-1-calm.png", "SOB_M_DC_14-2523/100X/" + BREAKHIS),
            "breakhis",
        ),
        ((BREAKHIS,), "breakhis"),  # in no folder, its name is all there is
        (("benign/" + BREAKHIS,), "folder"),  # in folders of the user's own
        (("mine/8863_idx5_x1_y51_class0.png",), "folder"),
        (("8863/0/8863_idx5_x1_y51_class0.png",), "idc"),
        (
            ("medicalreports/x.ics", "medicalreports/tile-p1-1-calm.png", "a/1.png"),
            "folder",
        ),
    ],
)
def test_which_layout_comes_first(tmp_path, caplog, files, name):
    for file in files:
        picture(tmp_path / file) if file.endswith(".png") else (tmp_path / file).parent.mkdir(
            parents=True, exist_ok=True
        )
        (tmp_path / file).touch()
    assert recognise_layout(tmp_path).name == name


# a layout of another package


def test_another_package_adds_a_layout(tiles, caplog):
    caplog.set_level(logging.INFO, "bchisto")
    dataset = read_dataset(tiles)
    assert "detected as dataset tiles" in caplog.text
    assert (dataset.name, dataset.classes, len(dataset)) == ("tiles", ("wild", "calm"), 4)
    assert all(record.group for record in dataset.records)
    assert read_dataset(tiles, dataset="tiles") == dataset
    assert "tiles" in list_layouts()
    assert list_layouts()[: len(DATASET_NAMES)] == list(DATASET_NAMES)
    assert "tiles" not in DATASET_NAMES
    assert get_layout("tiles").size == (40, 30)
    # options that it does not take change nothing, and are errors, as with ours
    others = read_dataset(tiles, label_level="type", magnifications=40, lesions="mass")
    assert (others.records, len(others.findings)) == (dataset.records, len(dataset.findings) + 3)
    with pytest.raises(
        InputError, match="`label_level` is not for images of the layout tiles; leave it out"
    ):
        others.raise_errors()
    assert decode_record(dataset.records[0]).shape == (15, 10, 3)
    assert read_dataset(tiles, context="large").records[0].box == (5, 2, 25, 30)


def test_a_layout_that_is_read_from_a_file(tmp_path, monkeypatch):
    picture(tmp_path / "one.png")
    (tmp_path / "list.slides").write_text("one.png\n")
    code = (
        "from bchisto.data import ImageRecord, LayoutSpec\n"
        "def read(root):\n"
        "    names = root.read_text().split()\n"
        "    return [ImageRecord(image_id=n, path=root.parent / n, label='a') for n in names], []\n"
        "def knows(name): return name.endswith('.slides')\n"
        "layout = LayoutSpec(name='slides', read=read, manifest=True, recognise_name=knows)\n"
    )
    (tmp_path / "package").mkdir()
    offer(tmp_path / "package", "datasets", "read_slides", code, slides="read_slides:layout")
    monkeypatch.syspath_prepend(str(tmp_path / "package"))
    dataset = read_dataset(tmp_path / "list.slides")
    assert (dataset.name, [record.image_id for record in dataset.records]) == (
        "slides",
        ["one.png"],
    )
    (tmp_path / "list.csv").write_text("path\none.png\n")
    assert read_dataset(tmp_path / "list.csv").name == "csv"
    with pytest.raises(InputError, match='`dataset="slides"` reads a manifest file'):
        read_dataset(tmp_path, dataset="slides")


def test_sixteen_bits_are_stretched_where_a_layout_says_so(tmp_path):
    deep = np.linspace(0, 4095, 30 * 40).reshape(30, 40).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    plain = ImageRecord("deep.png", tmp_path / "deep.png", None, source="ddsm")
    stretched = ImageRecord("deep.png", tmp_path / "deep.png", None, stretch=True)
    assert decode_record(plain).max() == 16
    assert decode_record(stretched).max() == 255


def of_folders(root, *folders, images):
    for folder in folders:
        (root / folder).mkdir(parents=True)
        for number in range(images):
            picture(root / folder / f"Bild {number}.png")
    return root


@pytest.mark.parametrize(
    ("folders", "images", "warned"),
    [
        (("Huber", "Frei", "Meier"), 2, True),  # more than images in any
        (("Huber", "Frei", "Meier"), 3, False),
        (("H21-0345", "H21-0346"), 3, True),  # numbered as patients are
        (("benign", "malignant", "normal"), 1, False),  # of which at least half are known
        (("grade1", "grade2", "grade3"), 1, False),
    ],
)
def test_folders_of_patients_that_are_taken_for_classes_are_warned_of(
    tmp_path, folders, images, warned
):
    """The options that it names take the patients from the folders, and the classes from a table."""
    root = of_folders(tmp_path / "images", *folders, images=images)
    dataset = read_dataset(root)
    assert len(dataset.classes) == len(folders)
    warnings = [str(finding.message) for finding in dataset.findings if finding.level == "warning"]
    assert len(warnings) == warned
    if not warned:
        return
    assert warnings[0].startswith(f"{len(folders)} folders are taken for classes (")
    assert warnings[0].endswith(
        f', the largest of {images} images; if they are patients, `labels="TABLE"` '
        "`group_from=1` takes classes from a table"
    )
    table = tmp_path / "labels.csv"
    rows = [f"{record.image_id},{'ab'[i % 2]}" for i, record in enumerate(dataset.records)]
    table.write_text("\n".join(["image_id,label", *rows]))
    dataset = read_dataset(root, labels=table, group_from="1")
    assert {record.group for record in dataset.records} == {*folders}
    assert dataset.classes == ("a", "b")
    assert not any("taken for classes" in finding.message for finding in dataset.findings)
