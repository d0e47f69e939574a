"""Files as strangers have them, by the command line: nothing is lost, no label is read, and each cure helps."""

import gzip

import numpy as np
import pytest
import tifffile
from bchisto.apps.slides import Slide
from slide_files import box, collection, outline, patch, table, tissue_slide, zipped

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
        printed, err = completed("slides cut", *words)
        return table(tmp_path / "out" / "manifest.csv"), printed, err

    return run


@pytest.mark.parametrize(
    "header",
    [
        "Slide,MRN",
        "slide_id,Kennung",
        "slide,mpp",
        "image_id,slide",
        "filename,slide,Proband",
    ],
)
def test_a_table_without_patients_is_refused(tmp_path, refused, header):
    path = tissue_slide(tmp_path / "ü 1.tif", *SIZE)
    rows = tmp_path / "t.csv"
    rows.write_text(f"{header}\nü 1{',0.5' * header.count(',')}\n")
    err = refused("slides cut {} --patients {} --dry-run --out T/out", path, rows)
    there = header.replace(",", ", ")
    assert (
        f"{rows}: the header must have a column `patient` (slide,patient); there are {there}" in err
    )


@pytest.mark.parametrize("header", ["slide,case no.", "image,slide,Patient-Nr", "slide,group"])
def test_two_slides_of_a_patient_in_a_table(tmp_path, completed, header):
    for name, seed in (("ü 1", 1), ("b", 2)):
        tissue_slide(tmp_path / f"{name}.tif", *SIZE, seed)
    rows = tmp_path / "t.csv"
    middle = ",x" * (header.count(",") - 1)
    rows.write_text(f"{header}\nü 1{middle},A\nb{middle},A\n")
    words = ("slides cut {} --patients {} --dry-run --out T/out", tmp_path, rows)
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


def check_slide(path, image):
    """Check that a slide of 0.5 um shows an image, at two scales."""
    height, width = image.shape[:2]
    with Slide(path) as slide:
        for factor in (1, 2):
            found = slide.read(0, 0, width // factor, height // factor, factor / 2).astype(int)
            assert np.abs(found - image[::factor, ::factor]).mean() < 12


@pytest.mark.parametrize(
    ("names", "own"),
    [
        (("Overview 3", "S 1", "slide_label"), True),
        (("Etikett", "macroglobulin", "Übersicht"), True),
        (("LABEL IMAGE", "Thumbnail", "scan (40x)"), True),
        (("a", "b", "c"), False),
    ],
)
def test_a_label_before_the_slide_is_not_read(tmp_path, image, caplog, names, own):
    """Named as such, or only smaller; the micrometres are those of the slide."""
    first, *others = [(name, 9.0, LABEL) for name in names]
    images = [first, *others]
    place = next(
        (at for at, name in enumerate(names) if name in ("S 1", "macroglobulin", "scan (40x)")), 2
    )
    images[place] = (names[place], 0.5, image)
    path = write_ome(tmp_path / "ü 1.ome.tif", *images)
    check_slide(path, image)
    line = (
        f"{path}: the image of 1024 x 768 pixels is read, its others are not: 640 x 512, 640 x 512"
    )
    assert (line in caplog.text) != own


def test_a_label_as_large_as_the_slide_is_not_read(tmp_path, image, caplog):
    label = np.resize(LABEL, (768, 1024, 3))
    path = write_ome(tmp_path / "S1.ome.tif", ("Label", 0.5, label), ("x", 0.5, image))
    check_slide(path, image)
    assert "its others" not in caplog.text


def test_only_a_label(tmp_path, refused):
    path = write_ome(tmp_path / "S1.ome.tif", ("macro image", 0.5, LABEL))
    err = refused("slides cut {} --out T/out", path)
    assert f"{path}: only labels or overviews, by their names; copy the slide again" in err


def test_pages_that_are_no_levels(tmp_path, image, caplog, completed):
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
        caplog.clear()
        check_slide(path, image)
        line = f"{path}: the image of 1024 x 768 pixels is read, its others are not: {said}\n"
        assert (line in caplog.text) == bool(said), (number, caplog.text)
        assert ("its others" in caplog.text) == bool(said)
    # the command tells it, too
    assert line in completed("slides cut {} --field 100 --scale 2 --dry-run --out T/out", path)[1]


@pytest.mark.parametrize("turn", [2, 6, 8])
def test_a_turned_slide_is_refused(tmp_path, image, refused, turn):
    turned = {"extratags": [(274, 3, 1, turn, True)]}
    path = write_pages(tmp_path / "S1.tif", (image, 0, True, turned))
    err = refused("slides cut {} --out T/out", path)
    assert f"{path}: stored turned or mirrored, which is not read; save it upright" in err


@pytest.mark.parametrize("colours", [{"photometric": "cielab"}, {"photometric": "separated"}])
def test_other_colours_are_not_called_grey(tmp_path, image, refused, colours):
    values = image
    if colours["photometric"] == "separated":
        values = np.concatenate([image, image[..., :1]], axis=2)
    path = write_pages(tmp_path / "S1.tif", (values, 0, True, colours))
    err = refused("slides cut {} --out T/out", path)
    assert (
        f"{path}: not in RGB of 8 or 16 bits; if it is stained with dyes, save it as RGB (in" in err
    )


WHOLE = box(0, 0, 1000, 700)


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    return tissue_slide(tmp_path_factory.mktemp("slide") / "ü 1.tif", *SIZE)


@pytest.fixture
def drawn(tmp_path, slide, cut):
    """Cut a slide with a file of annotations; returns rows and what is warned."""

    def run(name, content):
        given = tmp_path / name
        if isinstance(content, str):
            content = content.encode()
        given.write_bytes(content)
        rows, _, err = cut(slide, "--annotations", given)
        return rows, err

    return run


def layer(name, *regions):
    """Return a layer of ImageScope; each region is attributes and a ring."""
    texts = [
        f"<Region {words}><Vertices>"
        + "".join(f'<Vertex X="{x}" Y="{y}"/>' for x, y in ring)
        + "</Vertices></Region>"
        for words, ring in regions
    ]
    return f'<Annotation Id="1" Name="{name}"><Regions>{"".join(texts)}</Regions></Annotation>'


@pytest.mark.parametrize(
    ("properties", "names"),
    [
        ([{"name": "Läsion A"}, {"name": "Läsion B"}], "Läsion A, Läsion B"),
        ([{"label": "in situ", "group": 2}], "in situ"),
        ([{"class_name": "DCIS"}, {"classification": {"name": "T"}, "name": "T 1"}], "DCIS"),
        ([{"category": 7}], "7"),
    ],
)
def test_names_in_geojson_are_not_classes(drawn, properties, names):
    objects = [outline("", WHOLE) for _ in properties]
    for each, own in zip(objects, properties, strict=True):
        each["properties"] |= own
    rows, err = drawn("a.geojson", collection(*objects))
    number = names.count(",") + 1
    line = (
        f"a.geojson: what {number} region{'s' * (number > 1)} are called is not read as a class: {names}; "
        "set classes in QuPath, or rename their layer by its class, or that property to classification"
    )
    assert line in err
    assert rows


def test_names_beside_classes_are_not_warned_of(drawn):
    content = collection(outline("T", WHOLE, name="Läsion A"), outline("", box(0, 0, 9, 9)))
    assert "called" not in drawn("a.geojson", content)[1]


@pytest.mark.parametrize(
    ("name", "texts", "names"),
    [
        ("Layer 12", ("DCIS", "LCIS"), "DCIS, LCIS"),
        ("Annotation", ("DCIS", ""), "DCIS"),
        ("", ("", ""), "a layer without a name"),
        ("Carcinoma", ("DCIS", "LCIS"), ""),
        ("", ("DCIS", "LCIS"), ""),
    ],
)
def test_texts_in_layers_without_a_name_of_a_class(drawn, name, texts, names):
    regions = [(f'Type="0" Text="{text}"', WHOLE) for text in texts]
    _, err = drawn("a.xml", f"<Annotations>{layer(name, *regions)}</Annotations>")
    assert (f"called is not read as a class: {names}; " in err) == bool(names)
    assert ("called" in err) == bool(names)


@pytest.mark.parametrize("value", ["1", "True", " TRUE", "0", "False"])
def test_negative_regions_however_they_are_marked(drawn, value):
    outer, hole = ('Type="0"', WHOLE), (f'Type="0" NegativeROA="{value}"', box(0, 0, 600, 700))
    rows, _ = drawn("a.xml", f"<Annotations>{layer('T', outer, hole)}</Annotations>")
    labels = [row["label"] for row in rows]
    assert labels.count("T") == (6 if value.strip()[0] in "1T" else 15)


def test_what_is_neither_negative_nor_positive(tmp_path, drawn):
    content = "<Annotations>" + layer("T", ('NegativeROA="-1"', WHOLE)) + "</Annotations>"
    with pytest.raises(AssertionError, match="NegativeROA is '-1', not 0 or 1"):
        drawn("a.xml", content)


@pytest.mark.parametrize(
    "text",
    ["{'name': 'Krebs: ü', 'color': [200, 0, 0]}", "{'names': ['Krebs', 'ü']}"],
)
def test_a_class_that_is_the_text_of_a_dict(drawn, text):
    rows, _ = drawn("a.geojson", collection(outline("", WHOLE, classification=text)))
    assert {row["label"] for row in rows} == {"Krebs: ü"}


@pytest.mark.parametrize(
    "broken",
    [
        outline("", WHOLE, classification="{'name': 'T"),
        outline("", WHOLE, classification="{'a': " * 9999),
        outline("T", [[1, 2], 3, [4, 5]]),
        outline("T", [["a", "b"]] * 4),
    ],
)
def test_no_talk_of_python(drawn, broken):
    with pytest.raises(AssertionError) as caught:
        drawn("a.geojson", collection(outline("T", WHOLE), broken))
    text = str(caught.value)
    assert "(feature 2: its class or geometry cannot be read, or is off all slides); export" in text


@pytest.mark.parametrize(
    ("content", "number", "left"),
    [
        (collection(*[outline("", WHOLE, objectType="detection")] * 3), "0 regions", "3 objects"),
        (
            collection(outline("T", WHOLE), outline("", WHOLE, objectType="tile")),
            "1 region",
            "1 object",
        ),
        (collection(), "0 regions", "0 objects"),
        ("[]", "0 regions", "0 objects"),
        ("<Annotations><Annotation/></Annotations>", "0 regions", "0 objects"),
    ],
)
def test_what_is_left_out_is_counted(drawn, content, number, left):
    _, err = drawn("a.json", content)
    assert f"a.json: {number}, and {left} left out that are cells or without an area" in err


GEOJSON = collection(outline("Drüse", WHOLE)).replace("\\u00fc", "ü")
AGAIN = "; copy it again, or export it again"


@pytest.mark.parametrize(
    ("name", "content", "cure"),
    [
        ("a.geojson", GEOJSON[:-30], AGAIN),
        ("a.geojson", b"\n \n", AGAIN),
        ("a.geojson.gz", gzip.compress(GEOJSON.encode())[:-20], AGAIN),
        ("a.geojson.gz", gzip.compress(GEOJSON.encode())[:-8] + bytes(8), AGAIN),
        ("a.zip", zipped(GEOJSON, "a.geojson")[:-40], AGAIN),
        ("a.xml", "<Annotations>" + layer("T", ("", WHOLE)), AGAIN),
        ("a.geojson", GEOJSON.encode("cp1252"), "not in UTF-8; save it in UTF-8"),
        ("a.json", "label;x;y\nT;1;2\n", "(not JSON); export GeoJSON"),
        ("a.json", "MULTIPOLYGON (((0 0, 9 0, 9 9)))", "(not JSON); export GeoJSON"),
        ("a.geojson", b"II*\0" + bytes(99), "(not JSON); export GeoJSON"),
    ],
)
def test_a_cure_fits_its_reason(drawn, name, content, cure):
    with pytest.raises(AssertionError) as caught:
        drawn(name, content)
    text = str(caught.value)
    assert cure in text
    assert text.count(";") == 1
    assert "codec" not in text


def test_annotations_that_are_not_there(tmp_path, refused):
    path = tissue_slide(tmp_path / "a.tif", *SIZE)
    err = refused("slides cut {} --annotations {} --out T/out", path, tmp_path / "ü")
    assert f"--annotations {tmp_path / 'ü'}: no such file or folder" in err


def test_folders_that_are_links(tmp_path, completed):
    """Also one that leads back to the folder that it is in, and two that lead to one."""
    far, near = tmp_path / "archive", tmp_path / "slides"
    tissue_slide(far / "2024" / "ü 1.tif", *SIZE)
    near.mkdir()
    (near / "old").symlink_to(far, target_is_directory=True)
    (near / "older").symlink_to(far, target_is_directory=True)
    (far / "2024" / "back").symlink_to(near, target_is_directory=True)
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "ü 1.geojson").write_text(collection(outline("T", WHOLE)))
    (tmp_path / "drawn").mkdir()
    (tmp_path / "drawn" / "y").symlink_to(tmp_path / "x")
    printed, _ = completed("slides cut {} --annotations T/drawn --field 100 --out T/out", near)
    assert printed.startswith("1 slide of 1 patient,")
    assert {row["label"] for row in table(tmp_path / "out" / "manifest.csv")} == {"T"}


def test_a_slide_in_dicom_that_is_not_whole(tmp_path, refused):
    (tmp_path / "A").mkdir()
    (tmp_path / "A" / "1.dcm").write_bytes(b"")
    err = refused("slides cut T/A --out T/out")
    assert "; copy the slide again, all its files, with the folder beside it if there is one" in err
    assert err.count(";") == 1
