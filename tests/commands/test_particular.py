"""Options that only particular data sets have: checked, and refused for others."""

import csv
import io

import miniatures
import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="module")
def breakhis(tmp_path_factory):
    """Two types of two patients, at two magnifications, in the official folders."""
    root = tmp_path_factory.mktemp("select") / "BreaKHis_v1"
    rng = np.random.default_rng(3)
    for letter, word, tumour in (("B", "benign", "A"), ("M", "malignant", "DC")):
        for patient in range(2):
            for magnification in (40, 200):
                slide = f"SOB_{letter}_{tumour}_14-100{patient}{letter}"
                folder = root / "histology_slides/breast" / word / "SOB/x" / slide / f"{magnification}X"
                folder.mkdir(parents=True)
                name = f"SOB_{letter}_{tumour}-14-100{patient}{letter}-{magnification}-001.png"
                Image.fromarray(rng.integers(60, 220, (96, 96, 3), dtype=np.uint8)).save(folder / name)
    return root


@pytest.fixture(scope="module")
def mammograms(tmp_path_factory):
    """CBIS-DDSM and DDSM, small."""
    root = tmp_path_factory.mktemp("mammograms")
    cases = [(f"P_{n:05d}", "train", ("BENIGN", "MALIGNANT")[n % 2]) for n in range(3)]
    miniatures.write_cbis(root / "CBIS-DDSM", cases)
    for number in range(2):
        mark = (miniatures.MASS, ("BENIGN", "MALIGNANT")[number], [miniatures.SQUARE])
        miniatures.write_ddsm(
            root / "DDSM" / f"case{number}", f"B-{number:04d}-1", {"LEFT_CC": miniatures.overlay(mark)}, seed=number,
            shape=(160, 120),
        )  # fmt: skip
    return {"cbis-ddsm": root / "CBIS-DDSM", "ddsm": root / "DDSM"}


def listed(cli, images, *words):
    code, out, err = cli("data", "list", "--images", images, *words)
    assert code == 0, err
    return list(csv.DictReader(io.StringIO(out)))


def test_images_of_breakhis(breakhis, cli):
    assert len(listed(cli, breakhis)) == 8
    rows = listed(cli, breakhis, "--magnification", "200")
    assert {row["magnification"] for row in rows} == {"200"}
    assert len(rows) == 4
    assert len(listed(cli, breakhis, "--magnification", "200", "--magnification", "40")) == 8
    assert {row["label"] for row in listed(cli, breakhis, "--label-level", "type")} == {"A", "DC"}


@pytest.mark.parametrize("dataset", ["cbis-ddsm", "ddsm"])
def test_mammograms(dataset, mammograms, cli):
    images = mammograms[dataset]
    assert len(listed(cli, images, "--lesion", "mass")) == len(listed(cli, images)) > 0
    code, out, _ = cli("data", "list", "--images", images, "--lesion", "calcification")
    assert code == 2 or len(out.splitlines()) == 1  # no row
    large = listed(cli, images, "--context", "large")
    assert len(large) == len(listed(cli, images))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--magnification", "50"], "--magnification 50: choose one of 40, 100, 200, 400"),
        (["--label-level", "types"], "--label-level types: did you mean type?"),
        (["--context", "large"], "--context is not for images of the layout breakhis; leave it out"),
        (["--lesion", "mass"], "--lesion is not for images of the layout breakhis; leave it out"),
    ],
)
def test_refusals(words, message, breakhis, cli):
    code, out, err = cli("data", "list", "--images", breakhis, *words)
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) <= 2  # after the layout that was detected
