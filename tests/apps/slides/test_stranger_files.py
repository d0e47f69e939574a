"""Files as strangers have them, by the command line: nothing is lost, no label is read, and each cure helps."""

import numpy as np
import pytest
import tifffile
from PIL import Image
from slide_files import patch, table, write_slide

pytest.importorskip("openslide")

SIZE = (1024, 768)


@pytest.fixture(scope="module")
def image():
    return patch(*SIZE)


@pytest.fixture
def cut(tmp_path, completed):
    """Cut fields of 100 um, which are to be written; returns the rows of the manifest, what is printed and warned."""

    def run(*words):
        words = (*words, "--field", 100, "--overwrite", "--out", tmp_path / "out")
        printed, err = completed("slides", "cut", *words)
        return table(tmp_path / "out" / "manifest.csv"), printed, err

    return run


@pytest.mark.parametrize(
    "header",
    [
        "slide,Fallnummer",
        "Slide,MRN",
        "slide_id,Kennung",
        "slide,diagnosis",
        "slide,mpp",
        "image_id,slide",
        "filename,slide,Proband",
    ],
)
def test_a_table_without_patients_is_refused(tmp_path, image, refused, header):
    path = write_slide(tmp_path / "ü 1.tif", SIZE, {(0, 0): image})
    rows = tmp_path / "t.csv"
    rows.write_text(f"{header}\nü 1{',0.5' * header.count(',')}\n", encoding="utf-8")
    err = refused("slides", "cut", path, "--patients", rows, "--dry-run", "--out", tmp_path / "out")
    there = header.replace(",", ", ")
    assert (
        f"{rows}: the header must have a column `patient` (slide,patient); there are {there}" in err
    )


@pytest.mark.parametrize("header", ["slide,case no.", "image,slide,Patient-Nr", "slide,group"])
def test_two_slides_of_a_patient_in_a_table(tmp_path, completed, header):
    for name, seed in (("ü 1", 1), ("b", 2)):
        write_slide(tmp_path / f"{name}.tif", SIZE, {(0, 0): patch(*SIZE, seed)})
    rows = tmp_path / "t.csv"
    middle = ",x" * (header.count(",") - 1)
    rows.write_text(f"{header}\nü 1{middle},A\nb{middle},A\n", encoding="utf-8")
    words = ("slides", "cut", tmp_path, "--patients", rows, "--dry-run", "--out", tmp_path / "out")
    assert completed(*words)[0].startswith("2 slides of 1 patient,")


LABEL = np.full((512, 640, 3), (200, 120, 160), np.uint8)
"""As pink as tissue, so that it would be cut."""

TILED = {"tile": (256, 256), "photometric": "rgb", "compression": "deflate"}


def write_ome(path, *images):
    """Write images in OME-TIFF: each a name, its micrometres and its pixels, of which the large ones have a level."""
    with tifffile.TiffWriter(path, ome=True) as writer:
        for name, mpp, values in images:
            sizes = {f"PhysicalSize{axis}": mpp for axis in "XY"}
            levels = int(values.shape[1] >= SIZE[0])
            writer.write(values, subifds=levels, metadata={"Name": name, **sizes}, **TILED)
            if levels:
                writer.write(np.ascontiguousarray(values[::2, ::2]), subfiletype=1, **TILED)
    return path


def write_pages(path, *pages):
    """Write pages of a TIFF at 0.5 um: each its pixels, its mark, and whether it is tiled."""
    words = {"metadata": None, "resolution": (2e4, 2e4), "resolutionunit": "CENTIMETER"}
    with tifffile.TiffWriter(path) as writer:
        for values, mark, tiled, *own in pages:
            own = {"subfiletype": mark, **words, **TILED, **(own[0] if own else {})}
            if not tiled:
                own["tile"] = None
            writer.write(np.ascontiguousarray(values), **own)
    return path


def check_fields(out, rows, image, factor=1):
    """Check that fields show their places in an image, and cover all of it."""
    height, width = image.shape[:2]
    assert len(rows) == (width // 200) * (height // 200)
    for row in rows:
        left, top = int(float(row["x"])), int(float(row["y"]))
        right = image[top : top + 200 : factor, left : left + 200 : factor]
        field = np.asarray(Image.open(out / row["path"]).convert("RGB")).astype(int)
        assert np.abs(field - right).mean() < 12


@pytest.mark.parametrize(
    ("names", "own"),
    [
        (("Overview 3", "S 1", "slide_label"), True),
        (("Etikett", "macroglobulin", "Übersicht"), True),
        (("LABEL IMAGE", "Thumbnail", "scan (40x)"), True),
        (("a", "b", "c"), False),
    ],
)
def test_a_label_before_the_slide_is_not_read(tmp_path, image, cut, names, own):
    """Named as such, or only smaller; the micrometres are those of the slide."""
    first, *others = [(name, 9.0, LABEL) for name in names]
    images = [first, *others]
    place = next(
        (at for at, name in enumerate(names) if name in ("S 1", "macroglobulin", "scan (40x)")), 2
    )
    images[place] = (names[place], 0.5, image)
    path = write_ome(tmp_path / "ü 1.ome.tif", *images)
    rows, _, err = cut(path, "--tissue", 0)
    check_fields(tmp_path / "out", rows, image)
    line = (
        f"{path}: the image of 1024 x 768 pixels is read, its others are not: 640 x 512, 640 x 512"
    )
    assert (line in err) != own
    rows, _, _ = cut(path, "--tissue", 0, "--scale", 1)
    check_fields(tmp_path / "out", rows, image, 2)


def test_a_label_as_large_as_the_slide_is_not_read(tmp_path, image, cut):
    label = np.resize(LABEL, (768, 1024, 3))
    path = write_ome(tmp_path / "S1.ome.tif", ("Label", 0.5, label), ("x", 0.5, image))
    rows, _, err = cut(path, "--tissue", 0)
    check_fields(tmp_path / "out", rows, image)
    assert "its others" not in err


def test_only_a_label(tmp_path, refused):
    path = write_ome(tmp_path / "S1.ome.tif", ("macro image", 0.5, LABEL))
    err = refused("slides", "cut", path, "--out", tmp_path / "out")
    assert f"{path}: only labels or overviews, by their names; copy the slide again" in err


def test_pages_that_are_no_levels(tmp_path, image, cut):
    """Labels that are marked as smaller, thumbnails before the slide, and levels of another slide."""
    small, other, portrait = image[::2, ::2], image[::-1], LABEL[:, :400]
    scanner = {"description": "Aperio Image Library v12\nlabel 640x512"}
    marked = {"description": "<Q><ImageType>Label</ImageType></Q>"}
    for number, (pages, said) in enumerate(
        (
            ([(image, 0, True), (portrait, 1, True), (small, 1, True)], ""),
            ([(image, 0, True), (small, 1, True), (LABEL, 1, True)], ""),
            ([(image[::8, ::8], 0, False), (image, 0, True), (small, 1, True)], "128 x 96"),
            ([(LABEL, 0, True), (image, 0, True), (small, 1, True)], "640 x 512"),
            ([(LABEL, 0, True, scanner), (image, 0, True), (small, 1, True)], ""),
            ([(image, 0, False), (LABEL, 0, False, marked)], ""),
            ([(portrait, 1, False), (image, 0, False)], ""),
            ([(image, 0, True), (other, 0, True), (other[::2, ::2], 1, True)], "1024 x 768"),
        )
    ):
        path = write_pages(tmp_path / f"{number}.tif", *pages)
        for scale in (1, 2):
            rows, _, err = cut(path, "--tissue", 0, "--scale", scale / 2)
            check_fields(tmp_path / "out", rows, image, scale)
            line = f"{path}: the image of 1024 x 768 pixels is read, its others are not: {said}\n"
            assert (line in err) == bool(said), (number, err)
            assert ("its others" in err) == bool(said)


@pytest.mark.parametrize("turn", [2, 6, 8])
def test_a_turned_slide_is_refused(tmp_path, image, refused, turn):
    turned = {"extratags": [(274, 3, 1, turn, True)]}
    path = write_pages(tmp_path / "S1.tif", (image, 0, True, turned))
    err = refused("slides", "cut", path, "--out", tmp_path / "out")
    assert f"{path}: stored turned or mirrored, which is not read; save it upright" in err


@pytest.mark.parametrize("colours", [{"photometric": "cielab"}, {"photometric": "separated"}])
def test_other_colours_are_not_called_grey(tmp_path, image, refused, colours):
    values = image
    if colours["photometric"] == "separated":
        values = np.concatenate([image, image[..., :1]], axis=2)
    path = write_pages(tmp_path / "S1.tif", (values, 0, True, colours))
    err = refused("slides", "cut", path, "--out", tmp_path / "out")
    assert (
        f"{path}: not in RGB of 8 or 16 bits; if it is stained with dyes, save it as RGB (in" in err
    )
