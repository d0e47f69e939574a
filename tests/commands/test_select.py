"""`--select DATASET:KEY=VALUE`: what only one data set has, checked, recorded by its field, and handed on."""

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


def listed(cli, images, *selected):
    words = [word for text in selected for word in ("--select", text)]
    code, out, err = cli("data", "list", "--images", images, *words)
    assert code == 0, err
    return list(csv.DictReader(io.StringIO(out)))


def test_images_of_breakhis(breakhis, cli):
    assert len(listed(cli, breakhis)) == 8
    rows = listed(cli, breakhis, "breakhis:magnification=200")
    assert {row["magnification"] for row in rows} == {"200"}
    assert len(rows) == 4
    assert len(listed(cli, breakhis, "breakhis:magnification=200", "breakhis:magnification=40")) == 8
    assert {row["label"] for row in listed(cli, breakhis, "breakhis:label=type")} == {"A", "DC"}


@pytest.mark.parametrize("dataset", ["cbis-ddsm", "ddsm"])
def test_mammograms(dataset, mammograms, cli):
    images = mammograms[dataset]
    assert len(listed(cli, images, f"{dataset}:lesion=mass")) == len(listed(cli, images)) > 0
    code, out, _ = cli("data", "list", "--images", images, "--select", f"{dataset}:lesion=calcification")
    assert code == 2 or len(out.splitlines()) == 1  # no row
    large = listed(cli, images, f"{dataset}:context=large")
    assert len(large) == len(listed(cli, images))


@pytest.mark.parametrize(
    ("selected", "message"),
    [
        (["breakhis"], "--select breakhis: write DATASET:KEY=VALUE, for example breakhis:magnification=200"),
        (["breakhis:magnification="], "write DATASET:KEY=VALUE"),
        (["breakhs:label=type"], "did you mean breakhis? Choose one of breakhis, cbis-ddsm, ddsm"),
        (["bach:label=type"], "choose one of breakhis, cbis-ddsm, ddsm"),
        (["breakhis:magnificaton=40"], "did you mean magnification? Choose one of label, magnification"),
        (["breakhis:context=large"], "choose one of label, magnification"),
        (["breakhis:magnification=50"], "choose one of 40, 100, 200, 400"),
        (["breakhis:label=type", "breakhis:label=class"], "--select breakhis:label=class: and label=type; give one"),
        (["breakhis:label=type", "ddsm:lesion=mass"], "names another data set than breakhis; give one"),
        (["ddsm:lesion=mass"], "no "),  # these images are none of the DDSM
    ],
)
def test_refusals(selected, message, breakhis, cli):
    words = [word for text in selected for word in ("--select", text)]
    code, out, err = cli("data", "list", "--images", breakhis, *words)
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1
