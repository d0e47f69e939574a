"""What a person must know of files and pictures is printed by every command that reads them."""

import numpy as np
import pytest
import tifffile
from command_line import check_here, with_file
from conftest import TINY, typed, write_tissue
from packs import model_file
from PIL import Image
from written_tables import findings_of

TWO, FIVE = "2 pages, only the first is used", "5 pages, only the first is used"
JOINED, CLEAR = (
    "3 grey channels are read as red, green and blue",
    "its alpha channel is 0 everywhere",
)
BLANK = "so that it shows nothing"
NETWORK = typed(
    "--network speck --patches sliding:48:0.5 --epochs 1 --folds 2 --no-validation --jobs 1"
)


def said(err, text):
    """Return the lines that contain a text."""
    return [line for line in err.splitlines() if text in line]


@pytest.fixture(scope="module")
def paged(tmp_path_factory):
    """Tissue; two TIFFs of five grey pages, one of three channels, PNGs of two pages and of empty alpha."""
    root = write_tissue(
        tmp_path_factory.mktemp("paged") / "Schnitte 7", classes=("Adenom", "Krebs")
    )
    rng = np.random.default_rng(3)
    for name in ("z 1.tif", "z 2.TIFF"):
        stack = rng.integers(60, 250, (5, 96, 96), dtype=np.uint8)
        tifffile.imwrite(root / "Krebs" / name, stack, photometric="minisblack")
    first, other = (
        Image.fromarray(rng.integers(60, 250, (96, 96, 3), dtype=np.uint8)) for _ in range(2)
    )
    first.save(root / "Adenom" / "film.png", save_all=True, append_images=[other])
    pink = np.asarray(Image.open(root / "Krebs" / "Krebs00.png"))[::-1]
    tifffile.imwrite(
        root / "Krebs" / "c y x.tif",
        np.moveaxis(pink, 2, 0).copy(),
        imagej=True,
        metadata={"axes": "CYX"},
    )
    Image.fromarray(np.dstack([pink[:, ::-1], np.zeros((96, 96), np.uint8)])).save(
        root / "Adenom" / "clear.png"
    )
    return root


def assert_paged(code, err, *, expected=0):
    """Check that one line names both stacks, and others name the other files."""
    assert code == expected, err
    for text, name in ((JOINED, "c y x.tif"), (CLEAR, "clear.png")):
        (line,) = said(err, text)
        assert name in line
    (stacks,), (film,) = said(err, FIVE), said(err, TWO)
    assert "z 1.tif" in stacks
    assert "z 2.TIFF" in stacks
    assert "film.png" in film


def test_pages_are_named_before_training(cli, paged, tmp_path, monkeypatch):
    check_here(cli, monkeypatch)
    code, out, _ = cli("data check --no-timing --images {} --no-copies", paged)
    assert_paged(code, out, expected=1)
    options = typed("--images {} --stain none", paged, *TINY)
    assert_paged(*cli("featurize", *options, "--out", tmp_path / "run")[::2])
    # headers come from the cache
    assert_paged(*cli("featurize", *options, "--out", tmp_path / "run")[::2])
    words = typed("--out T/trial --encoder tiny --weights random --jobs 1")
    assert_paged(*cli("trial --images {}", paged, *words)[::2])
    words = typed("submit --scheduler local --dry-run --tasks 2 -- featurize")
    words += (*options[:-2], "--out", tmp_path / "later")
    assert_paged(*cli(*words)[::2])


@pytest.mark.slow
def test_pages_are_named_by_finetune(cli, paged, tmp_path):
    words = ("--images", paged, "--out", tmp_path / "run", *NETWORK)
    assert_paged(*cli(*with_file(tmp_path / "options.json", "finetune", *words))[::2])


def test_pages_are_named_with_new_images(cli, paged, boosted_model, boosted_maps):
    assert_paged(*cli("predict {} --images {} --out T/p.csv", boosted_model, paged)[::2])
    words = typed("--method map --out T/why")
    assert_paged(
        *cli(
            "explain {} --images {} --images {}",
            model_file(boosted_maps),
            paged / "Krebs",
            paged / "Adenom",
            *words,
        )[::2]
    )
    words = typed("stain {} {} --out T/stained --skip-errors", paged / "Krebs", paged / "Adenom")
    assert_paged(*cli(*words)[::2], expected=1)  # Macenko's method leaves out the grey ones


def test_pages_are_a_note_beside_the_image(page, paged):
    for path in (
        paged / "Krebs" / "z 1.tif",
        paged / "Adenom" / "film.png",
        paged / "Krebs" / "Krebs00.png",
    ):
        page.add(path.name, path.read_bytes())
    images = page.wait()
    assert [line for line in images["z 1.tif"]["notes"] if FIVE in line] == [FIVE]
    assert [line for line in images["film.png"]["notes"] if TWO in line] == [TWO]
    assert images["Krebs00.png"]["notes"] == []
    shown = page.client.get(f"/image?number={images['z 1.tif']['number']}").text
    assert FIVE in shown


EMPTY = {
    "white.png": lambda rng: np.full((96, 96, 3), 255),
    "black.tif": lambda rng: np.zeros((96, 96, 3)),
    "pink.jpg": lambda rng: np.full((96, 96, 3), (233, 170, 200)),
    "glass.jpeg": lambda rng: rng.normal(244, 1.5, (96, 96, 3)),
    "dark.tiff": lambda rng: rng.integers(0, 6, (96, 96)),
    "deep.png": lambda rng: np.full((96, 96), 40_000, np.uint16),
}


def save(pixels, path):
    if pixels.dtype != np.uint16:
        pixels = np.clip(pixels, 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """Tissue, and pictures without content in both classes."""
    root = write_tissue(tmp_path_factory.mktemp("empty") / "images", classes=("0", "1"))
    for number, (name, make) in enumerate(EMPTY.items()):
        save(make(np.random.default_rng(number)), root / str(number % 2) / name)
    return root


@pytest.mark.parametrize("option", ["--copies", "--no-copies", "--decode"])
def test_pictures_without_content_are_findings(cli, empty, option):
    code, findings = findings_of(cli, BLANK, empty, option)
    listed = {finding["file"] for finding in findings}
    assert (code, listed) == (1, {f"{number % 2}/{name}" for number, name in enumerate(EMPTY)})


@pytest.mark.parametrize("stain", ["none", "macenko"])
def test_featurize_and_boost_name_pictures_without_content(completed, empty, tmp_path, stain):
    options = ("--images", empty, "--out", tmp_path / "run", *TINY, "--stain", stain)
    for _ in range(2):  # a finished feature file names them again
        _, err = completed("featurize", *options)
        (line,) = said(err, BLANK)
        assert "and 3 more: white, black or of another single colour" in line
    _, err = completed("boost --out T/run --folds 2 --head logistic --jobs 1")
    assert len(said(err, BLANK)) == 1
    (report,) = (tmp_path / "run" / "boost").rglob("report.html")
    assert "In 6 of the 18 images there is nothing but a single colour." in report.read_text()


def test_tissue_and_specks_have_content(cli, tmp_path):
    """A picture that is white but for a cell is not empty, nor is pale tissue."""
    root = write_tissue(tmp_path / "images")
    pale = np.asarray(Image.open(root / "benign" / "benign00.png")) / 8 + 223
    save(pale, root / "benign" / "pale.png")
    cell = np.full((96, 96, 3), 255)
    cell[40:46, 40:46] = (120, 60, 140)
    save(cell, root / "malignant" / "cell.png")
    code, out, _ = cli("data check --no-timing --images {}", root)
    assert (code, BLANK in out) == (0, False), out


FORMS = {
    "copy.tif": {},
    "packed.tiff": {"compression": "tiff_lzw"},
    "named.png": {"dpi": (300, 300)},
    "loose.png": {"compress_level": 0},
}


@pytest.fixture(scope="module")
def twice(tmp_path_factory):
    """Tissue, of which one image of each class is there again in other files, of both classes."""
    root = write_tissue(tmp_path_factory.mktemp("twice") / "images", classes=("N", "T"))
    image = Image.open(root / "N" / "N03.png")
    for number, (name, options) in enumerate(FORMS.items()):
        image.save(root / "NT"[number % 2] / name, **options)
    white = Image.new("RGB", (96, 96), "white")
    for name, options in (("N/w.png", {}), ("N/w.tif", {}), ("T/w.png", {"compress_level": 0})):
        white.save(root / name, **options)
    return root


OTHER = "but labelled T, not N; remove one or correct it"


def test_the_same_pixels_in_other_files_are_findings(cli, twice):
    code, findings = findings_of(cli, "same pixels", twice)
    listed = {(finding["level"], finding["file"], finding["message"]) for finding in findings}
    assert (code, listed) == (
        1,
        {
            ("warning", "N/copy.tif", "the same pixels as N/N03.png in another file; remove one"),
            ("warning", "N/named.png", "the same pixels as N/N03.png in another file; remove one"),
            ("warning", "N/w.tif", "the same pixels as N/w.png in another file; remove one"),
            ("warning", "T/packed.tiff", f"the same pixels as N/N03.png in another file, {OTHER}"),
            ("warning", "T/loose.png", f"the same pixels as N/N03.png in another file, {OTHER}"),
            ("warning", "T/w.png", f"the same pixels as N/w.png in another file, {OTHER}"),
        },
    )


def test_featurize_and_boost_name_the_same_pixels(completed, twice, tmp_path):
    run = tmp_path / "run"
    for command in (
        ("featurize --images {} --out {}", twice, run, *TINY),
        ("boost --out {} --folds 2 --head logistic --jobs 1", run),
    ):
        _, err = completed(*command)
        one, two = sorted(said(err, "the same pixels as other images"))
        assert (
            "N/copy.tif, N/named.png, N/w.tif: the same pixels as other images in another file; remove one"
            in one
        )
        assert (
            f"T/loose.png, T/packed.tiff, T/w.png: the same pixels as other images in another file, {OTHER}"
            in two
        )


def test_two_files_of_one_patient_are_a_note(cli, tmp_path, he_image):
    Image.fromarray(he_image).save(tmp_path / "a.png")
    Image.fromarray(he_image).save(tmp_path / "b.tif")
    Image.fromarray(he_image).save(tmp_path / "c.tif", compression="tiff_lzw")
    (tmp_path / "table.csv").write_text("path,label,patient\na.png,x,1\nb.tif,x,1\nc.tif,x,2\n")
    _, findings = findings_of(cli, "same pixels as", tmp_path / "table.csv")
    assert [(finding["level"], finding["file"]) for finding in findings] == [
        ("note", "b.tif"),
        ("warning", "c.tif"),
    ]
    assert "but of group 2, not 1" in findings[1]["message"]
