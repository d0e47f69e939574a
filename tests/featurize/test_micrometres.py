"""Views in micrometres: images of several resolutions seen at one scale, by what is known of each."""

import numpy as np
import pytest
from bchisto.core import InputError
from bchisto.featurize import View, open_store
from conftest import refuses, typed
from numpy.testing import assert_array_equal
from written_tables import lines

HEADER = ("path", "label", "um_per_px")

OPTIONS = typed("--encoder tiny --weights random --augmentations 2 --crops 3 --stain none --jobs 1")


@pytest.mark.parametrize(
    ("text", "view"),
    [
        ("0.5um:224", View(0.5, 224, "um")),
        ("112um:224", View(0.5, 224, "um")),
        ("20um:64", View(20.0, 64, "um")),
        ("21um:64", View(0.328125, 64, "um")),
        ("0.5µm:224", View(0.5, 224, "um")),
        ("100um:300", View(0.333333, 300, "um")),
    ],
)
def test_micrometres_of_a_pixel_and_of_a_crop(text, view):
    assert View.parse(text) == view
    assert View.parse(str(view)) == view


def test_no_such_view():
    for text in ("0.5 um:224", "um:224", "0.5mm:224", "0.001um:224", "100000um:224", "0um:64"):
        refuses(InputError, "views", View.parse, text)


@pytest.fixture
def manifest(tmp_path, tissue):
    """Six images of 96 pixels in a table with their micrometres, of which those of one class are twice as fine."""
    paths = sorted(tissue.rglob("*0[0-2].png"))
    rows = [
        [path, path.parent.name, 0.5 if path.parent.name == "benign" else 0.25] for path in paths
    ]
    return lines(tmp_path / "images.csv", HEADER, rows)


def described(cli, images, run, view, *more):
    code, _, err = cli(
        "featurize --images {} --out {} --view {}", images, run, view, *OPTIONS, *more
    )
    assert code == 0, err
    (path,) = (run / "features").glob(f"tiny-{view.replace(':', '-')}.h5")
    with open_store(path) as store:
        labels = np.array(store.labels)
        return store.features(), labels, store.keys, store.images("look")[:, 3], store.header


def test_rows_are_those_of_the_factor_of_each_image(cli, manifest, tmp_path):
    rows, labels, _, mpp, header = described(cli, manifest, tmp_path / "um", "0.5um:32")
    whole, *_ = described(cli, manifest, tmp_path / "whole", "1.0:32")
    half, *_ = described(cli, manifest, tmp_path / "half", "0.5:32")
    assert_array_equal(rows[labels == "benign"], whole[labels == "benign"])
    assert_array_equal(rows[labels == "malignant"], half[labels == "malignant"])
    assert_array_equal(mpp, np.where(labels == "benign", 0.5, 0.25))
    assert (header["unit"], header["scale"]) == ("um", 0.5)


def test_a_corrected_number_describes_its_image_anew_and_nothing_else(cli, manifest, tmp_path):
    before, _, keys, *_ = described(cli, manifest, tmp_path / "run", "0.5um:32")
    _, _, pixel_keys, *_ = described(cli, manifest, tmp_path / "run", "1.0:32")
    rows = [line.split(",") for line in manifest.read_text().splitlines()[1:]]
    rows[0][2] = "0.3"
    lines(manifest, HEADER, rows)
    after, _, corrected, mpp, _ = described(cli, manifest, tmp_path / "run", "0.5um:32")
    assert mpp[0] == 0.3
    assert [keys[image] == corrected[image] for image in keys] == [False] + [True] * 5
    assert not np.array_equal(before[0], after[0])
    assert_array_equal(before[1:], after[1:])
    _, _, same, mpp, _ = described(cli, manifest, tmp_path / "run", "1.0:32")
    assert (same, mpp[0]) == (pixel_keys, 0.3)


def test_an_image_of_unknown_scale_is_refused_with_what_says_it(
    refused, completed, tissue, tmp_path
):
    line = typed(
        "featurize --images {} --out {} --view 0.5um:32", tissue, tmp_path / "run", *OPTIONS
    )
    err = refused(*line)
    assert (
        "benign00.png: its micrometres per pixel are not known, which the view 0.5um:32 needs; --mpp gives"
        in err
    )
    completed(*line, "--mpp", 0.5)
    assert "--mpp 300.0: give 0.02 to 20" in refused(*line, "--mpp", 300)
    assert "its pixels of 10 um show nothing at the 0.02 of --view 0.02um:64" in refused(
        "featurize --images {} --out {} --view 0.02um:64", tissue, tmp_path, *OPTIONS, "--mpp", 10
    )
