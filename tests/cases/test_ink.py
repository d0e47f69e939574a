"""Ink, black and single-coloured areas beside tissue: the same tissue gets the same colours with and without them."""

import csv
import functools
import io
import re
import shutil

import cv2
import numpy as np
import pytest
from bchisto.data import decode_image
from bchisto.data.synthetic import make_tissue
from bchisto.stains import foreign_pixels
from conftest import typed
from PIL import Image
from written_tables import checked, findings_of

MOST = 5
"""Largest mean difference in grey levels of untouched pixels."""

INKS = {
    "blue": (30, 60, 180),
    "dark blue": (25, 35, 120),
    "black": (20, 20, 25),
    "grey black": (60, 60, 62),
    "green": (20, 120, 60),
    "light green": (60, 170, 60),
    "teal": (0, 120, 120),
    "red": (200, 20, 30),
    "orange": (230, 110, 20),
    "violet": (110, 40, 150),
    "magenta": (190, 20, 110),
    "brown": (110, 60, 30),
}


@pytest.fixture(scope="module")
def clean():
    return make_tissue("Benign", seed=3, index=2, size=(512, 384))


def blended(image, mask, colour, opacity=1.0):
    share = mask[..., np.newaxis] * (opacity / 255)
    return np.rint(image * (1 - share) + np.array(colour) * share).astype(np.uint8)


def stroked(image, colour, *, width=18, opacity=1.0, multiply=False):
    mask = np.zeros(image.shape[:2], np.uint8)
    cv2.polylines(
        mask, [np.array([(40, 90), (200, 250), (430, 200)])], False, 255, width, cv2.LINE_AA
    )
    if not multiply:
        return blended(image, mask, colour, opacity)
    return np.rint(image * (1 - mask[..., np.newaxis] / 255 * (1 - np.array(colour) / 255))).astype(
        np.uint8
    )


def framed(image, colour):
    inside = np.zeros(image.shape[:2], bool)
    inside[30:, :-40] = True
    return np.where(inside[..., np.newaxis], image, colour).astype(np.uint8)


def eyepiece(image, blur=2):
    mask = np.full(image.shape[:2], 255, np.uint8)
    cv2.circle(mask, (250, 190), 230, 0, -1, cv2.LINE_AA)
    return blended(image, cv2.GaussianBlur(mask, (0, 0), blur), (3, 3, 4))


def scaled(image, colour):
    marked = cv2.rectangle(image.copy(), (380, 340), (480, 346), colour, -1)
    return cv2.putText(
        marked, "100 um", (380, 330), cv2.FONT_HERSHEY_SIMPLEX, 0.7, colour, 2, cv2.LINE_AA
    )


KINDS = {
    **{
        f"{name} pen": lambda image, colour=colour: stroked(image, colour)
        for name, colour in INKS.items()
    },
    "thin pen": lambda image: stroked(image, (30, 60, 180), width=4),
    "pale pen": lambda image: stroked(image, (0, 70, 190), opacity=0.8),
    "blue marker": lambda image: stroked(image, (60, 110, 220), width=30, multiply=True),
    "yellow marker": lambda image: stroked(image, (250, 240, 80), width=30, multiply=True),
    "black border": lambda image: framed(image, (0, 0, 0)),
    "noisy border": lambda image: framed(
        image, np.random.default_rng(0).integers(0, 12, image.shape)
    ),
    "noisy grey border": lambda image: framed(
        image, np.random.default_rng(0).integers(120, 136, image.shape)
    ),
    "eyepiece": eyepiece,
    "eyepiece out of focus": lambda image: eyepiece(image, 8),
    "blue scale bar": lambda image: scaled(image, (0, 0, 255)),
    "red scale bar": lambda image: scaled(image, (255, 0, 0)),
    "black scale bar": lambda image: scaled(image, (0, 0, 0)),
    "yellow scale bar": lambda image: scaled(image, (255, 255, 0)),
    "white scale bar": lambda image: scaled(image, (255, 255, 255)),
    "white padding": lambda image: framed(image, (255, 255, 255)),
    "grey padding": lambda image: framed(image, (128, 128, 128)),
    "pink padding": lambda image: framed(image, (230, 150, 190)),
    "green padding": lambda image: framed(image, (0, 255, 0)),
}


def save(path, image, quality=None):
    path.parent.mkdir(exist_ok=True)
    if quality is not None:
        encoded = io.BytesIO()
        Image.fromarray(image).save(encoded, "JPEG", quality=quality)
        image = np.array(Image.open(encoded))
    Image.fromarray(image).save(path)
    return image


def rows_of(folder):
    with (folder / "stains.csv").open() as handle:
        return {row["image"]: row for row in csv.DictReader(handle)}


@pytest.mark.parametrize(
    ("stain", "quality", "step"),
    [
        ("macenko", None, 2),
        *(
            pytest.param(stain, quality, 1, marks=pytest.mark.slow)
            for stain in ("macenko", "macenko-robust")
            for quality in (None, 80)
        ),
    ],
)
def test_tissue_beside_them_gets_the_colours_that_it_had(
    completed, clean, tmp_path, stain, quality, step
):
    """Of every second kind, or of all."""
    before = {
        name: save(tmp_path / "in" / f"{name}.png", KINDS[name](clean), quality)
        for name in [*KINDS][::step]
    }
    reference = save(tmp_path / "in" / "clean.png", clean, quality)
    _, err = completed("stain T/in --out T/out --stain {}", stain)
    after = {
        name: decode_image(tmp_path / "out" / f"{name}.png").astype(int)
        for name in ("clean", *before)
    }
    far = {}
    for name, image in before.items():
        untouched = (image == reference).all(axis=2)
        assert 0.3 < untouched.mean() < 1
        far[name] = np.abs(after[name] - after["clean"])[untouched].mean()
    assert {name: difference for name, difference in far.items() if difference > MOST} == {}
    assert "ink, black or single-coloured areas are left as they are" in err
    shares = {
        name.removesuffix(".png"): float(row["foreign"])
        for name, row in rows_of(tmp_path / "out").items()
    }
    assert shares["clean"] == 0
    assert all(
        share > 0 for name, share in shares.items() if name not in ("clean", "white scale bar")
    )


def test_they_keep_their_pixels_and_are_counted(completed, clean, tmp_path):
    border = framed(clean, (0, 0, 0))
    save(tmp_path / "border.png", border)
    _, err = completed("stain T/border.png --out T/out")
    left = np.ones(clean.shape[:2], bool)
    left[32:, :-42] = False  # the border and two pixels of its edge
    after = decode_image(tmp_path / "out" / "border.png")
    np.testing.assert_array_equal(after[left], border[left])
    share = float(rows_of(tmp_path / "out")["border.png"]["foreign"])
    assert share == pytest.approx(left.mean(), abs=2e-3)  # a few dark pixels touch it
    said = re.search(r"([\d.]+) % of the pixels at most: border.png", err)
    assert float(said[1]) == pytest.approx(100 * share, abs=0.06)


def test_the_statistics_are_those_of_all_pixels_farther_than_16(cli, clean, tmp_path):
    save(tmp_path / "padded.png", framed(clean, (0, 255, 0)))
    assert cli("stain T/padded.png --out T/out")[0] == 0
    counted = -np.log((clean[48:, :-58].reshape(-1, 3).astype(float) + 1) / 240)
    tissue = counted[(counted >= 0.15).all(axis=1)]
    values, vectors = np.linalg.eigh(np.cov(tissue.T))
    plane = vectors[:, np.argsort(values)[::-1][:2]]
    plane = plane * np.where((tissue @ plane).mean(axis=0) < 0, -1, 1)
    angle = np.arctan2(*(tissue @ plane).T[::-1])
    ends = sorted(
        (plane @ [np.cos(a), np.sin(a)] for a in np.percentile(angle, [1, 99])), key=lambda v: -v[0]
    )
    stains = np.stack(ends, axis=1)
    maxima = np.percentile(np.linalg.lstsq(stains, counted.T, rcond=None)[0], 99, axis=1)
    od = -np.log((clean[32:, :-42].reshape(-1, 3).astype(float) + 1) / 240)
    c = (
        np.linalg.lstsq(stains, od.T, rcond=None)[0]
        * (np.array([1.9705, 1.0308]) / maxima)[:, None]
    )
    out = 240 * np.exp(-(np.array([[0.5626, 0.2159], [0.7201, 0.8012], [0.4062, 0.5581]]) @ c))
    after = decode_image(tmp_path / "out" / "padded.png")[32:, :-42].reshape(-1, 3)
    # but dark pixels at the edge
    assert (np.abs(after - np.clip(out, 0, 255).T).max(axis=1) <= 2).mean() >= 0.998
    row = rows_of(tmp_path / "out")["padded.png"]
    shown = [
        float(row[f"{name}_{channel}"])
        for name in ("hematoxylin", "eosin")
        for channel in ("red", "green", "blue")
    ]
    # dark pixels that touch the border widen it
    np.testing.assert_allclose(shown, stains.T.ravel(), atol=2e-3)


def test_other_images_keep_their_bytes_and_published_ones_all(cli, clean, tmp_path):
    save(tmp_path / "in" / "clean.png", clean)
    save(tmp_path / "in" / "pen.png", stroked(clean, (30, 60, 180)))
    for stain in ("macenko", "macenko-published"):
        assert cli("stain T/in --out {} --stain {}", tmp_path / stain, stain)[0] == 0
    of = {
        stain: {p.name: p.read_bytes() for p in (tmp_path / stain).glob("*.png")}
        for stain in ("macenko", "macenko-published")
    }
    assert of["macenko"]["clean.png"] == of["macenko-published"]["clean.png"]
    assert of["macenko"]["pen.png"] != of["macenko-published"]["pen.png"]
    doubts = {stain: rows_of(tmp_path / stain)["pen.png"]["doubt"] for stain in of}
    assert doubts["macenko"] == ""
    assert "its haematoxylin has the colour of an ink" in doubts["macenko-published"]


def dab(amounts):
    """An image of haematoxylin and the brown of immunohistochemistry (Ruifrok & Johnston 2001)."""
    stains = np.array([[0.65, 0.70, 0.29], [0.27, 0.57, 0.78]])
    return np.clip(240 * np.exp(-amounts @ stains) - 1, 0, 255).astype(np.uint8)


def blots(rng):
    noise = [cv2.GaussianBlur(rng.normal(0, 1, (96, 96)), (0, 0), 4) * 9 for _ in range(2)]
    return np.clip(np.stack(noise, axis=2), 0, 2) + 0.1


@functools.cache
def drawn(index):
    return make_tissue(("Benign", "Invasive")[index % 2], seed=5, index=index + 1, size=(96, 96))


def write_set(folder, number, change):
    """Twelve images of two classes; those below `number` are changed."""
    for index in range(12):
        image = drawn(index)
        target = folder / ("a", "b")[index % 2] / f"{index:02}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(
            change(image, np.random.default_rng(index)) if index < number else image
        ).save(target)


SETS = {
    "grey": (
        lambda image, rng: np.repeat(image[..., 1:2], 3, axis=2),
        "grey pictures (12): use --stain none",
    ),
    "brown": (lambda image, rng: dab(blots(rng)), "another stain (12): use --stain none"),
}
CHECK = typed("--encoder tiny --view 1.0:64 --no-copies")


@pytest.mark.parametrize("name", ["brown", pytest.param("grey", marks=pytest.mark.slow)])
def test_a_set_of_other_pictures_is_a_finding_with_a_remedy_that_helps(cli, tmp_path, name):
    change, text = SETS[name]
    write_set(tmp_path / "set", 12, change)
    code, (finding,) = findings_of(cli, "doubtful stains", tmp_path / "set", *CHECK)
    assert (code, finding["level"]) == (1, "warning")
    assert text in finding["message"]
    assert "macenko-robust" not in finding["message"]
    code, out = checked(cli, tmp_path / "set", *CHECK, "--stain", "none")
    assert code == 0
    assert "doubtful" not in out
    if name == "grey":
        _, out = checked(cli, tmp_path / "set", *CHECK, "--stain", "macenko")
        assert "too little tissue" not in out


def pen(image, rng):
    return cv2.line(image.copy(), (5, 20), (90, 70), (30, 60, 180), 8)


@pytest.mark.parametrize(
    ("number", "stain", "expected"),
    [
        (12, "macenko", 0),
        (12, "macenko-published", 1),
        (1, "macenko-published", 0),
        (2, "macenko-published", 1),
    ],
)
def test_a_tenth_of_doubtful_images_is_a_finding(cli, tmp_path, number, stain, expected):
    write_set(tmp_path / "set", number, pen)
    code, out = checked(cli, tmp_path / "set", *CHECK, "--stain", stain)
    assert code == expected
    assert (f"ink or black ({number}): crop it away" in out) == bool(expected)
    assert ("single-coloured areas are left as they are" in out) == (stain == "macenko")


def test_featurize_and_predict_name_them(cli, completed, tissue, tiny_options, tmp_path):
    images = shutil.copytree(tissue, tmp_path / "images")
    path = next((images / "benign").glob("*.png"))
    Image.fromarray(pen(decode_image(path), None)).save(path)
    text = "images: ink, black or single-coloured areas are left as they are"
    _, err = completed("featurize --images {} --out T/run", images, *tiny_options)
    assert f"1 of 12 {text}" in err
    assert path.name in err
    assert cli("boost --out T/run --folds 2 --head logistic")[0] == 0
    model = next((tmp_path / "run").rglob("model.bchisto"))
    _, err = completed("predict {} --images {} --out T/p.csv --jobs 1", model, path)
    assert text.replace("images", "1 image", 1) in err


@pytest.mark.parametrize("step", [15, pytest.param(1, marks=pytest.mark.slow)])
def test_real_tissue_is_not_ink(shared, tmp_path, step):
    images = {
        path.name: decode_image(path)
        for path in sorted((shared / "data" / "breakhis").rglob("*.png"))[::step]
    }
    assert [name for name, image in images.items() if foreign_pixels(image) is not None] == []
    compressed = {
        name: save(tmp_path / "compressed.png", image, 80) for name, image in images.items()
    }
    taken = [name for name, image in compressed.items() if foreign_pixels(image) is not None]
    assert len(taken) <= 1  # in one, glass along a side becomes even
    patches = sorted((shared / "data" / "idc").rglob("*.png"))[::20]
    assert sum(foreign_pixels(decode_image(path)) is not None for path in patches) <= 2


@pytest.mark.parametrize(("label", "index"), [("InSitu", 9), ("Benign", 2), ("Invasive", 9)])
def test_dark_nuclei_of_another_laboratory_are_not_ink(label, index):
    """Ruifrok's haematoxylin is a little bluer than the cone, which shows where it is dense."""
    assert foreign_pixels(make_tissue(label, seed=0, index=index, size=(1024, 768))) is None


@pytest.mark.parametrize("step", [104, pytest.param(40, marks=pytest.mark.slow)])
def test_inks_of_colours_that_stains_could_have_on_real_tissue(completed, shared, tmp_path, step):
    images = sorted((shared / "data" / "breakhis").rglob("*.png"))[::step]
    changes = {name: KINDS[f"{name} pen"] for name in ("blue", "violet", "magenta", "brown")}
    changes |= {
        "thin": lambda image: stroked(image, INKS["magenta"], width=6),
        "border": KINDS["noisy grey border"],
    }
    before = {}
    for path in images:
        before[path.stem] = save(tmp_path / "in" / path.name, decode_image(path))
        for name, change in changes.items():
            key = f"{path.stem} {name}"
            before[key] = save(tmp_path / "in" / f"{key}.png", change(before[path.stem]))
    completed("stain T/in --out T/out")
    after = {key: decode_image(tmp_path / "out" / f"{key}.png").astype(int) for key in before}
    for key, image in before.items():
        clean = key.split()[0]
        untouched = (image == before[clean]).all(axis=2)
        assert np.abs(after[key] - after[clean])[untouched].mean() <= MOST, key
