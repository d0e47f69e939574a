"""Copies of one picture: found in every format, orientation and crop, and no others."""

import cv2
import numpy as np
import pytest
from bchisto.data import ImageRecord, decode_record, find_copies, fingerprint
from bchisto.data.images import copies
from PIL import Image
from written_tables import findings_of


def tissue(rng, shape=(240, 300)):
    """Return a picture of blobs in two stains, uint8 RGB."""
    coarse = cv2.GaussianBlur(rng.random(shape, dtype=np.float32), (0, 0), 3)
    coarse = (coarse - coarse.mean()) / coarse.std()
    fine = cv2.GaussianBlur(rng.random(shape, dtype=np.float32), (0, 0), 1.2)
    fine = (fine - fine.mean()) / fine.std()
    density = np.clip(0.5 + 0.35 * coarse, 0, 2)[..., None] * [0.65, 0.7, 0.29] + np.clip(
        0.3 + 0.08 * fine, 0, 1
    )[..., None] * [0.2, 0.9, 0.4]
    return np.clip(245 * np.exp(-density), 0, 255).astype(np.uint8)


def pair(copy):
    return copy.first, copy.second


MADE = {
    "other-format.tif": (lambda image: image, {}),
    "encoded.jpg": (lambda image: image, {"quality": 60}),
    "mirrored.png": (lambda image: image[:, ::-1], {}),
    "turned.png": (lambda image: np.rot90(image), {}),
    "turned-mirrored.jpg": (lambda image: np.rot90(image[::-1], 3), {"quality": 80}),
    "crop.png": (lambda image: image[31:201, 47:259], {}),
    "small-crop.png": (lambda image: image[100:221, 7:158], {}),
    "turned-crop.jpg": (lambda image: np.rot90(image[20:190, 60:270], 2), {"quality": 75}),
}


@pytest.fixture
def pictures(tmp_path, rng):
    """Return a function that writes pictures and gives their records."""

    def write(images):
        for name, (image, options) in images.items():
            Image.fromarray(np.ascontiguousarray(image)).save(tmp_path / name, **options)
        return [ImageRecord(name, tmp_path / name, None) for name in images]

    return write


def test_every_kind_of_copy_is_found_and_nothing_else(pictures, rng):
    original = tissue(rng)
    others = {f"other{k}.png": (tissue(rng), {}) for k in range(6)}
    made = {name: (change(original), options) for name, (change, options) in MADE.items()}
    records = pictures({"a.png": (original, {}), **others, **made})
    found = find_copies(records)
    # some of another scale
    kept = {record.image_id: fingerprint(decode_record(record)) for record in records}
    assert find_copies(records, known=kept) == found
    of_original = {copy.second for copy in found if copy.first == "a.png"}
    assert of_original == set(MADE)
    assert not {name for copy in found for name in pair(copy)} & set(others)
    crop = next(copy for copy in found if pair(copy) == ("a.png", "crop.png"))
    assert crop.share == pytest.approx(1.0, abs=0.02)
    assert crop.correlation > 0.99


def test_a_whole_picture_at_another_size_is_found_among_few(pictures, rng):
    made = {f"{k}.png": (tissue(rng, (128, 128)), {}) for k in range(8)}
    small = {f"{k}-small.png": (cv2.resize(made[f"{k}.png"][0], (96, 96)), {}) for k in range(4)}
    found = find_copies(pictures({**made, **small}))
    assert [pair(copy) for copy in found] == [(f"{k}-small.png", f"{k}.png") for k in range(4)]


def test_fields_that_overlap_are_found_with_their_share(pictures, rng):
    slide = tissue(rng, (240, 500))
    (copy,) = find_copies(pictures({"a.png": (slide[:, :300], {}), "b.png": (slide[:, 200:], {})}))
    assert pair(copy) == ("a.png", "b.png")
    assert copy.share == pytest.approx(1 / 3, abs=0.02)


def test_blank_patches_and_edges_are_no_copies(pictures, rng):
    """Glass is alike everywhere, and the edge of a slide along itself; neither is a copy."""
    noise = {
        f"glass{k}.png": ((240 + rng.integers(-3, 4, (120, 120, 3))).astype(np.uint8), {})
        for k in range(4)
    }
    step = np.where(np.arange(120) < 60, 90, 230)[:, None, None] + np.zeros((1, 120, 3))
    edges = {
        f"edge{k}.png": (
            np.clip(step + rng.normal(0, 4, (120, 120, 1)), 0, 255).astype(np.uint8),
            {},
        )
        for k in range(4)
    }
    assert find_copies(pictures({**noise, **edges})) == ()
    assert find_copies(pictures({"a.png": (edges["edge0.png"][0][:30, :30], {}), **noise})) == ()


def test_single_objects_on_a_plain_ground_are_no_copies(pictures):
    """Two nuclei and their noise fit each other at some place of most pictures, over a third of them."""
    rows, columns = np.mgrid[:96, :96]

    def discs(seed):
        rng = np.random.default_rng(seed)
        image = np.full((96, 96, 3), [225, 190, 215], float)
        for _ in range(6):
            (x, y), radius = rng.integers(0, 96, 2), rng.uniform(2, 5)
            image[(columns - x) ** 2 + (rows - y) ** 2 < radius**2] = [90, 40, 130]
        return (image + rng.normal(0, 8, image.shape)).clip(0, 255).astype(np.uint8)

    made = {f"{seed}.png": (discs(seed), {}) for seed in (3, 6, 8, 43, 51, 87, 133)}
    assert find_copies(pictures(made)) == ()
    (copy,) = find_copies(pictures({**made, "crop.png": (made["3.png"][0][10:, 5:90], {})}))
    assert pair(copy) == ("3.png", "crop.png")


def test_small_patches(pictures, rng):
    patches = {f"p{k}.png": (tissue(rng, (50, 50)), {}) for k in range(20)}
    first = patches["p0.png"][0]
    copied = {"q.jpg": (first[::-1], {"quality": 80}), "r.png": (first[3:45, 5:50], {})}
    found = find_copies(pictures({**patches, **copied}))
    assert {pair(copy) for copy in found} >= {
        ("p0.png", "q.jpg"),
        ("p0.png", "r.png"),
    }
    assert {copy.first for copy in found} == {"p0.png", "q.jpg"}


def test_too_many_images_are_not_compared(pictures, rng, monkeypatch):
    monkeypatch.setattr(copies, "MOST_COMPARED", 1)
    records = pictures({"a.png": (tissue(rng, (60, 60)), {}), "b.png": (tissue(rng, (60, 60)), {})})
    assert find_copies(records) is None
    assert find_copies(records[:1]) == ()


def test_check_names_copies_and_what_contradicts(tmp_path, rng, cli):
    image = tissue(rng, (160, 160))
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    Image.fromarray(image).save(tmp_path / "a" / "one.png")
    Image.fromarray(np.ascontiguousarray(image[:, ::-1])).save(
        tmp_path / "b" / "two.jpg", quality=85
    )
    Image.fromarray(tissue(rng, (160, 160))).save(tmp_path / "b" / "three.png")
    code, (finding,) = findings_of(cli, "the same pixels", tmp_path)
    assert (code, finding["level"], finding["file"]) == (1, "warning", "b/two.jpg")
    message = finding["message"]
    assert message.startswith("seems to show the same pixels as a/one.png (correlation 1.00")
    assert message.endswith("over 100% of the smaller), under another label (a and b)")


def changed(image, number):
    """Return a picture that is turned, zoomed, sheared, or in every other round mirrored."""
    turn, zoom, shear = CHANGES[number % len(CHANGES)]
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), turn, zoom)
    matrix[:, 1] += shear * matrix[:, 0]
    if number // len(CHANGES) % 2:
        image = np.ascontiguousarray(image[:, ::-1])
    return cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REFLECT)


CHANGES = [(turn, 1, 0) for turn in (0, 2, 5, 10, 15, 25, 45)] + [
    (0, 1.1, 0),
    (0, 0.9, 0),
    (0, 1, 0.1),
]


@pytest.mark.slow
def test_changed_copies_of_real_images_are_found_and_no_two_slides(shared, pictures):
    """200 pairs among pictures of 37 slides: squares of BreakHis fields, and patches of IDC."""
    fields = sorted((shared / "data" / "breakhis").rglob("*.png"))[:100]
    patches = sorted((shared / "data" / "idc").rglob("*.png"))[::25][:100]
    made = {}
    for number, path in enumerate([*fields, *patches]):
        image = np.asarray(Image.open(path).convert("RGB"))[:224, :224]
        slide = path.name.split("-")[2] if number < 100 else path.name.partition("_")[0]
        made[f"{number}-{slide}.png"] = (image, {})
        made[f"{number}-{slide}-changed.png"] = (changed(image, number), {})
    ids = [[name.split("-") for name in pair(copy)] for copy in find_copies(pictures(made))]
    assert sum(left[0] == right[0] for left, right in ids) >= 190
    assert [names for names in ids if names[0][1].strip(".png") != names[1][1].strip(".png")] == []
