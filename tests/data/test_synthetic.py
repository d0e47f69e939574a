import numpy as np
import pytest
from bchisto.core import InputError, OutputError
from bchisto.data import make_bach, read_dataset
from bchisto.data.synthetic import make_tissue
from PIL import Image

SMALL = (192, 144)


def test_an_image_is_a_function_of_its_seed():
    first = make_tissue("InSitu", seed=0, index=1, size=SMALL)
    assert first.shape == (144, 192, 3)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, make_tissue("InSitu", seed=0, index=1, size=SMALL))
    assert (first != make_tissue("InSitu", seed=0, index=2, size=SMALL)).any()
    assert (first != make_tissue("InSitu", seed=1, index=1, size=SMALL)).any()


def test_the_official_layout_is_written(tmp_path):
    root = make_bach(tmp_path, images_per_class=2, size=SMALL, seed=5, jobs=2)
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
    np.testing.assert_array_equal(
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


def test_what_is_drawn_in_a_part_of_the_canvas_is_that_of_the_whole():
    """Contours inside, across the edges and beside the canvas, against drawing over all of it."""
    import cv2
    from bchisto.data.canvas import Canvas

    rng = np.random.default_rng(3)
    for place in range(40):
        canvas = Canvas(160, 120, mpp=0.5, rng=rng)
        canvas.haem += rng.random(canvas.haem.shape, dtype=np.float32)
        middle = (rng.uniform(-20, 100), rng.uniform(-20, 80)) if place else (500.0, 500.0)
        outline = canvas.outline(middle, rng.uniform(3, 25), roughness=0.2, stretch=1.3)
        points, plain = np.rint(outline / 0.5 * 16).astype(np.int32), np.zeros((120, 160), np.uint8)
        inside = (
            cv2.fillPoly(plain.copy(), [points], 255, cv2.LINE_AA, 4).astype(np.float32) / 255.0
        )
        line = (
            cv2.polylines(plain.copy(), [points], True, 255, 5, cv2.LINE_AA, 4).astype(np.float32)
            / 255.0
        )
        blurred = cv2.GaussianBlur(inside, (0, 0), 2.4)
        np.testing.assert_array_equal(canvas.mask(outline), inside)
        np.testing.assert_array_equal(canvas.mask(outline, blur=1.2), blurred)
        np.testing.assert_array_equal(canvas.mask(outline, line=2.5), line)
        expected = canvas.haem + blurred * (np.float32(0.3) - canvas.haem)
        canvas.paint(canvas.mask(outline, blur=1.2), haem=0.3, eosin=inside)
        np.testing.assert_array_equal(canvas.haem, expected)
        np.testing.assert_array_equal(canvas.eosin, blurred * inside)
