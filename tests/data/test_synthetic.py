import numpy as np
import pytest
from bchisto.core import InputError, OutputError
from bchisto.data import make_bach, read_dataset
from bchisto.data.synthetic import make_tissue
from numpy.testing import assert_array_equal
from PIL import Image

SMALL = (192, 144)


def test_the_official_layout_is_written(tmp_path):
    root = make_bach(tmp_path, images_per_class=2, size=SMALL, seed=5, jobs=1)
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    assert names == [
        "Photos/Benign/b001.tif",
        "Photos/Benign/b002.tif",
        "Photos/InSitu/is001.tif",
        "Photos/InSitu/is002.tif",
        "Photos/Invasive/iv001.tif",
        "Photos/Invasive/iv002.tif",
        "Photos/Normal/n001.tif",
        "Photos/Normal/n002.tif",
        "Photos/microscopy_ground_truth.csv",
        "bchisto-synthetic.json",
    ]
    assert (root / "Photos" / "microscopy_ground_truth.csv").read_text().splitlines()[
        0
    ] == "n001.tif,Normal"
    dataset = read_dataset(root)
    assert dataset.synthetic
    assert dataset.findings == ()
    assert_array_equal(
        np.array(Image.open(root / "Photos" / "Normal" / "n002.tif")),
        make_tissue("Normal", seed=5, index=2, size=SMALL),
    )


def test_existing_images_are_kept_and_others_refused(tmp_path):
    root = make_bach(tmp_path / "a", images_per_class=1, size=SMALL, jobs=1)
    stamp = (root / "Photos" / "Normal" / "n001.tif").stat().st_mtime_ns
    make_bach(tmp_path / "a", images_per_class=2, size=SMALL, jobs=1)
    assert (root / "Photos" / "Normal" / "n001.tif").stat().st_mtime_ns == stamp
    assert len(read_dataset(root)) == 8
    with pytest.raises(OutputError, match="holds a synthetic dataset with other settings"):
        make_bach(tmp_path / "a", images_per_class=2, size=SMALL, seed=9)
    (root / "bchisto-synthetic.json").unlink()
    with pytest.raises(OutputError, match="holds images that are not synthetic"):
        make_bach(tmp_path / "a", images_per_class=2, size=SMALL)


def test_numbers_out_of_range(tmp_path):
    with pytest.raises(InputError, match="`images_per_class` 0: give 1 to 999"):
        make_bach(tmp_path, images_per_class=0)
    with pytest.raises(InputError, match="no synthetic tissue of class 'Malign'"):
        make_tissue("Malign", seed=0, index=0)
    with pytest.raises(InputError, match="give at least 64 pixels a side"):
        make_tissue("Normal", seed=0, index=0, size=(10, 10))
    with pytest.raises(InputError, match="give at least 64 pixels a side"):
        make_bach(tmp_path, size=(10, 99))
    assert not any(tmp_path.iterdir())
