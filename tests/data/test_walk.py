"""Trees that cannot be read whole: each loss is refused or said."""

import itertools
import os
import socket

import pytest
from bchisto.core import InputError
from bchisto.data import read_dataset, report_findings
from conftest import TINY
from sample_trees import findings, told, tree
from written_tables import checked

BREAKHIS = "SOB_B_A-14-22549AB-100-002.png"
IDC = "8863_idx5_x1_y51_class0.png"
LAYOUTS = [
    ("folder", ("benign/1.png", "malignant/2.png")),
    ("bach", ("Photos/Benign/b001.tif", "Photos/Normal/n001.tif")),
    (
        "breakhis",
        (f"SOB_B_A_14-22549AB/100X/{BREAKHIS}", "SOB_M_DC_14-2523/40X/SOB_M_DC-14-2523-40-001.png"),
    ),
    ("idc", (f"8863/0/{IDC}", "9/1/9_idx5_x1_y1_class1.png")),
]


@pytest.mark.parametrize(("name", "files"), LAYOUTS)
def test_a_folder_that_cannot_be_listed_is_refused(tmp_path, monkeypatch, name, files):
    """Root may list every folder, so that the refusal of the file system is put in its place here."""
    root = tree(tmp_path / "images", *files)
    closed = (root / files[0]).parent
    scan = os.scandir

    def refuse(path):
        if os.fspath(path) == str(closed):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    dataset = read_dataset(root, dataset=name)
    shown = closed.relative_to(root / "Photos" if name == "bach" else root).as_posix()
    with pytest.raises(
        InputError, match=f"{shown}: cannot be read \\(Permission denied\\); correct it"
    ):
        report_findings(dataset.findings)


@pytest.mark.parametrize(("name", "files"), LAYOUTS)
def test_dangling_links_are_refused(tmp_path, cli, refused, name, files):
    root = tree(tmp_path / "images", *files)
    gone = root / files[0]
    gone.unlink()
    gone.symlink_to(tmp_path / "nowhere.png")
    text = f"{gone.name}: a link that leads nowhere; correct or remove it"
    assert text in refused("featurize --images {} --dataset {} --out T/r", root, name, *TINY)
    code, out = checked(cli, root, "--dataset", name)
    assert (code, "a link that leads nowhere; correct" in out) == (1, True)


@pytest.mark.parametrize(("name", "files"), LAYOUTS)
def test_link_loops_end_and_are_refused(tmp_path, name, files):
    root = tree(tmp_path / "images", *files)
    folder = (root / files[0]).parent
    (folder / "again").symlink_to(root / "Photos" if name == "bach" else root)
    (folder / "self").symlink_to(folder / "self")
    nowhere = "self: a link that leads nowhere (Too many levels of symbolic links)"
    told(read_dataset(root, dataset=name), "error", "again: a circular link", nowhere)


def test_a_class_folder_that_is_a_link_is_read(tmp_path):
    tree(tmp_path / "elsewhere", "1.png", "2.png")
    root = tree(tmp_path / "images", "benign/1.png")
    (root / "malignant").symlink_to(tmp_path / "elsewhere")
    dataset = read_dataset(root)
    assert dataset.class_counts() == {"benign": 1, "malignant": 2}
    assert dataset.findings == ()


def test_a_dangling_class_folder_is_refused(tmp_path):
    root = tree(tmp_path, "benign/1.png", "malignant/2.png")
    (root / "normal").symlink_to(tmp_path / "not mounted")
    (root / "old.txt").symlink_to(tmp_path / "gone.txt")
    dataset = read_dataset(root)
    gone = "a link that leads nowhere (No such file or directory); correct it, or remove it from the images"
    assert findings(dataset, "error") == [f"normal: {gone}"]
    assert findings(dataset, "warning") == [f"old.txt: {gone}"]


def test_what_is_no_file_is_said(tmp_path):
    root = tree(tmp_path, "benign/1.png", "malignant/2.png")
    (root / ".cache").mkdir()
    (root / "lost+found").mkdir()
    os.mkfifo(root / "benign" / "3.png")
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(os.path.relpath(root / "benign" / "4.png"))  # the length of such a path is limited
    assert sorted(findings(read_dataset(root), "warning")) == [
        "benign/3.png: a pipe, socket or device and no file, left out",
        "benign/4.png: a pipe, socket or device and no file, left out",
    ]


OTHERS = {
    "inbreast": "INbreast.csv",
    "cbis-ddsm": "mass_case_description_train_set.csv",
    "ddsm": "B.ics",
}


def mammograms(root, name):
    """Write a folder that holds a table or text alone, and nothing that belongs to it."""
    root.mkdir()
    (root / OTHERS[name]).write_text("")
    return root


@pytest.mark.parametrize(("name", "files"), [*LAYOUTS, *((name, ()) for name in OTHERS)])
def test_links_that_fan_out_end(tmp_path, name, files):
    """25 folders, each with two links to the next: 2 to the 24th ways, and no circle."""
    root = tree(tmp_path / "images", *files) if files else mammograms(tmp_path / "images", name)
    start = root / "Photos" / "Benign" if name == "bach" else root
    steps = [start, *(start / f"d{number}" for number in range(24))]
    for step, after in itertools.pairwise(steps):
        after.mkdir()
        (step / "a").symlink_to(after)
        (step / "b").symlink_to(after)
    if files:
        errors = findings(read_dataset(root, dataset=name), "error")
        assert any(
            "links lead to this folder more than 32 times; remove some" in text for text in errors
        )
    else:  # it has no image, which is said first
        with pytest.raises(InputError) as error:
            report_findings(read_dataset(root, dataset=name).findings)
        assert "\n" not in str(error.value)
