import hashlib

import numpy as np
import pytest
from bchisto.core import ImageError
from bchisto.featurize import crop_boxes, cut_crop, draw_augmentation
from bchisto.featurize.crops import GRID


def draw(image="b001.tif", number=0, seed=0):
    return draw_augmentation(image, number, seed=seed, color_range=(0.7, 1.3))


def test_random_numbers_are_those_of_the_interface():
    words = [
        int.from_bytes(hashlib.sha256(b"b001.tif").digest()[k : k + 4], "big")
        for k in range(0, 32, 4)
    ]
    rng = np.random.default_rng(np.random.SeedSequence([5, *words, 2], spawn_key=(0,)))
    expected = rng.uniform(0.7, 1.3, size=2)
    found = draw(number=2, seed=5)
    assert (found.hematoxylin, found.eosin) == tuple(expected)


def test_each_of_seed_image_and_augmentation_changes_them():
    drawn = {(draw(i, n, s).hematoxylin) for i in ("a", "b") for n in (0, 1) for s in (0, 1)}
    assert len(drawn) == 8
    assert draw() == draw()
    assert all(0.7 <= value < 1.3 for value in drawn)


def test_crops_of_a_size_do_not_depend_on_other_sizes():
    first = crop_boxes(draw(), height=300, width=400, crop=100, count=5)
    crop_boxes(draw(), height=300, width=400, crop=50, count=5)
    assert crop_boxes(draw(), height=300, width=400, crop=100, count=5) == first


def test_crops_cover_the_image_and_all_turns():
    boxes = crop_boxes(draw(), height=120, width=140, crop=100, count=3000)
    assert {box.top for box in boxes} == set(range(21))
    assert {box.left for box in boxes} == set(range(41))
    assert {(box.turns, box.flip_rows, box.flip_columns) for box in boxes} == {
        (t, r, c) for t in range(4) for r in (False, True) for c in (False, True)
    }


def test_a_crop_is_the_turned_piece(rng):
    image = rng.integers(0, 256, (60, 80, 3)).astype(np.uint8)
    for box in crop_boxes(draw(), height=60, width=80, crop=32, count=20):
        expected = np.rot90(image[box.top : box.top + 32, box.left : box.left + 32], box.turns)
        expected = np.flip(
            expected, [axis for axis, flip in ((0, box.flip_rows), (1, box.flip_columns)) if flip]
        )
        np.testing.assert_array_equal(cut_crop(image, box, crop=32), expected)


def test_an_image_of_just_the_crop_and_one_too_small():
    assert {(b.top, b.left) for b in crop_boxes(draw(), height=64, width=64, crop=64, count=9)} == {
        (0, 0)
    }
    with pytest.raises(
        ImageError, match="64x63 pixels after scaling is smaller than the crop of 64"
    ):
        crop_boxes(draw(), height=63, width=64, crop=64, count=1)


@pytest.mark.parametrize(
    ("height", "width", "crop"), [(64, 64, 64), (65, 64, 64), (200, 333, 50), (192, 256, 100)]
)
def test_a_grid_covers_the_image_with_the_fewest_crops(height, width, crop):
    drawn = draw_augmentation("a", 0, seed=0, color_range=(1.0, 1.0))
    boxes = crop_boxes(drawn, height=height, width=width, crop=crop, count=GRID)
    seen = np.zeros((height, width), int)
    for box in boxes:
        assert (box.turns, box.flip_rows, box.flip_columns) == (0, False, False)
        seen[box.top : box.top + crop, box.left : box.left + crop] += 1
    assert seen.min() == 1
    assert len(boxes) == -(-height // crop) * -(-width // crop)
    assert boxes[0].top == boxes[0].left == 0
    assert (boxes[-1].top, boxes[-1].left) == (height - crop, width - crop)
