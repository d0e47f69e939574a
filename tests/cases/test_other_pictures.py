"""Pictures that are not images of the set are named by every command; the cure leaves them out and not their sign."""

import numpy as np
import pytest
from conftest import TINY, typed, write_tissue
from PIL import Image, ImageDraw
from sample_trees import tree
from written_tables import checked, findings_of, listed, write_lines

NAMED = "named as masks, annotations or thumbnails of other images"
DRAWN = "a few flat colours"
CHECK = typed("--view 1.0:64 --encoder tiny")


def warned(cli, images, *options):
    """Return what a listing of images warns of."""
    _, err = listed(cli, images, *options)
    return [line for line in err.splitlines() if NAMED in line]


@pytest.mark.parametrize(
    ("images", "others"),
    [
        ("gut/testA_1.png|schlecht/testA_2.png", "gut/testA_1_anno.png"),
        ("a/S1.tif|b/S2.tif", "a/S1-Maske.png|b/S2-Maske 2.png"),
        ("a/x.jpg|b/y.jpg", "a/x_máscara.png|b/y_masque.png|b/y (mask).png"),
        ("0/images/1.png|1/images/2.png", "0/masks/1.png|1/Masken/2_umriss.png"),
        ("N/7.png|T/8.png", "N/overlay-7.png|T/thumb_8.png|T/8.thumbnail.jpg"),
        ("N/c7.png|T/c8.png", "ground_truth/c7.png|ground_truth/c8.png"),
        ("ROI 1/he.png|ROI 2/he2.png", "ROI 1/he_heatmap.png|ROI 2/he2_SEG.png"),
        ("a/1.png|b/2.png", "b/Screenshot 2024-01-01 at 10.11.png"),
        ("a/1.png|b/2.png", "a/Bildschirmfoto vom 1.5.png"),
    ],
)
def test_other_pictures_by_name(cli, tmp_path, images, others):
    images, others = images.split("|"), others.split("|")
    root = tree(tmp_path / "set", *images, *others)
    options = ("--label-from", 1)
    (line,) = warned(cli, root, *options)
    assert all(name in line for name in others)
    assert not any(f"{name}," in line or f"{name}:" in line for name in images)
    rows = [f"set/{name},ab"[: -1 - place % 2] for place, name in enumerate((*images, *others))]
    write_lines(tmp_path / "m.csv", "path,label", *rows)
    assert len(warned(cli, tmp_path / "m.csv")) == 1
    for name in others:
        (root / name).unlink()
    assert not warned(cli, root, *options)


@pytest.mark.parametrize(
    "images",
    [
        "label_0/1.png|label_1/1.png|label_0/1_2.png",
        "mask/mask_1.png|mask/mask_2.png|clear/1a.png",
        "a/P1.png|a/P1_2.png|b/P1_HE.png|b/P1_left.png",
        "benign/1.png|malignant/1.png|segment 1/1.png",
        "a/Screenshot 1.png|b/Screenshot 2.png",
        "a/SOB_B_A-14-22549AB-40-001.png|a/SOB_B_A-14-22549AB-40-002.png",
    ],
)
def test_images_of_the_set_are_not_named(cli, tmp_path, images):
    assert not warned(cli, tree(tmp_path / "set", *images.split("|")), "--label-from", 1)


def drawing(kind):
    """Return a picture without tissue."""
    rows, columns = np.mgrid[:160, :160]
    disc = (rows - 70) ** 2 + (columns - 60) ** 2 < 40**2
    if kind == "map":
        colours = np.array([(68, 1, 84), (33, 145, 140), (253, 231, 37)], np.uint8)
        return Image.fromarray(colours[disc + (columns > 120).astype(int)])
    picture = Image.fromarray(np.uint8(disc * 255))
    if kind == "chart":
        picture = Image.new("RGB", (160, 160), "white")
        for place, height in enumerate((30, 60, 45)):
            bar = (10 + 28 * place, 90 - height, 30 + 28 * place, 90)
            ImageDraw.Draw(picture).rectangle(bar, fill=(31, 119, 180))
    return picture


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Tissue, and drawings of four kinds under names of their own."""
    root = write_tissue(tmp_path_factory.mktemp("mixed") / "set", classes=("Adenom", "Krebs"))
    for name, kind in {
        "Adenom/q1.png": "map",
        "Krebs/q2.jpg": "mask",
        "Krebs/q3.png": "chart",
    }.items():
        drawing(kind).save(root / name)
    return root


@pytest.mark.parametrize("stain", ["none", "macenko"])
def test_drawings_are_named_whatever_the_stain(cli, mixed, stain):
    code, findings = findings_of(cli, "", mixed, *CHECK, "--stain", stain)
    assert code == 1
    drawn = sorted(finding["file"] for finding in findings if DRAWN in finding["message"])
    assert drawn == ["Adenom/q1.png", "Krebs/q2.jpg", "Krebs/q3.png"]
    cured = [finding for finding in findings if "use --stain none" in finding["message"]]
    assert not any("grey pictures" in finding["message"] for finding in cured)


def test_masks_among_coloured_images_are_not_cured_by_another_stain(cli, tmp_path):
    root = write_tissue(tmp_path / "set")
    for path in sorted(root.rglob("*.png")):
        grey = np.asarray(Image.open(path).convert("L"))
        noise = np.random.default_rng(1).integers(0, 9, grey.shape)
        Image.fromarray(np.uint8((grey < 150) * 90 + noise + 60)).save(
            path.with_name(f"{path.stem}-q.png")
        )
    code, (finding,) = findings_of(cli, "doubtful stains", root, *CHECK, "--stain", "macenko")
    assert code == 1
    message = finding["message"]
    assert "grey pictures (12): leave out masks and drawings" in message
    assert "--stain none" not in message


def test_only_leaves_them_out(completed, tmp_path):
    root = write_tissue(tmp_path / "set", per_class=3)
    drawing("mask").save(root / "benign" / "benign00_mask.png")
    names = [path.relative_to(root).as_posix() for path in sorted(root.rglob("*.png"))]
    options = ("featurize --images {}", root, *TINY, "--stain", "none", "--out")
    _, err = completed(*options, tmp_path / "all")
    assert "benign/benign00_mask.png: named as masks" in err
    assert "bchisto featurize --only LIST.csv" in err
    kept = [name for name in names if "mask" not in name]
    write_lines(tmp_path / "LIST.csv", "image_id", *kept)
    _, err = completed(*options, tmp_path / "kept", "--only", tmp_path / "LIST.csv")
    assert NAMED not in err


def chart(size, colour, jpeg, path):
    """Draw a line chart: axes, marks on them, and a curve."""
    picture = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(picture)
    width, height = size
    left, bottom = width // 8, height - height // 8
    draw.line([(left, 4), (left, bottom), (width - 6, bottom)], fill="black", width=2)
    for at in range(left, width - 8, 20):
        draw.line([(at, bottom), (at, bottom + 4)], fill="black")
    curve = [(x, bottom - 4 - (x * 7919) % (height // 2)) for x in range(left, width - 8, 9)]
    draw.line(curve, fill=colour)
    picture.save(path.with_suffix(".jpg" if jpeg else ".png"), quality=90)


@pytest.mark.parametrize(
    ("size", "colour", "jpeg"),
    [((320, 240), "blue", False), ((200, 300), "red", True), ((96, 96), "black", False)],
)
def test_line_charts(cli, tmp_path, size, colour, jpeg):
    root = write_tissue(tmp_path / "set", per_class=4, classes=("norm al", "krank"))
    chart(size, colour, jpeg, root / "krank" / "Verlauf 1")
    code, out = checked(cli, root, "--stain", "none", *CHECK)
    assert code == 1
    assert "krank/Verlauf 1" in out
    assert DRAWN in out


@pytest.mark.parametrize(
    ("per_class", "size", "small"), [(4, (256, 256), 64), (6, (300, 224), 96), (5, (210, 210), 70)]
)
def test_thumbnails_by_size(cli, tmp_path, per_class, size, small):
    classes = ("A b", "C")
    root = write_tissue(tmp_path / "set", per_class=per_class, classes=classes, size=size)
    pictures = sorted(root.rglob("*.png"))
    for number in (0, per_class):
        path = pictures[number]
        Image.open(path).resize((small, small)).save(path.with_name(f"t{number} neu.png"))
    options = ("--stain", "none", *CHECK)
    code, text = checked(cli, root, *options)
    assert code == 1
    assert f"A b/t0 neu.png, C/t{per_class} neu.png: at most a third as large as most" in text
    names = "\n".join(path.relative_to(root).as_posix() for path in pictures)
    (tmp_path / "others.csv").write_text(f"image_id\n{names}\n")
    code, text = checked(cli, root, "--only", tmp_path / "others.csv", *options)
    assert code == 0, text


@pytest.mark.parametrize("factor", [2, 3])
def test_sets_of_many_sizes_have_no_thumbnails(cli, tmp_path, factor):
    root = write_tissue(tmp_path / "set", per_class=4, size=(128, 128))
    for number, path in enumerate(sorted(root.rglob("*.png"))):
        side = 64 * factor ** (number % 3)
        Image.open(path).resize((side, side)).save(path)
    assert "at most a third" not in checked(cli, root, "--stain", "none", *CHECK)[1]
