"""Annotations of several programs: each file is read, or refused with what to do."""

import gzip
import json

import pytest
from bchisto.apps.slides import Slide
from bchisto.apps.slides.annotation_files import class_colours, read_file
from bchisto.apps.slides.files import list_slides
from bchisto.apps.slides.regions import annotations_of, read_annotations
from bchisto.core import InputError
from conftest import typed
from shapely.geometry import Polygon
from shapely.ops import unary_union
from slide_files import box, draw, outline, patch, table, tissue_slide, write_slide, zipped

SQUARE = box(400, 300, 1200, 1100)
TWO = [(0, 0), (200, 100)]
"""The two corners by which some programs write a rectangle or an ellipse."""

ASAP = """<?xml version="1.0"?>
<ASAP_Annotations>
  <Annotations>
    <Annotation Name="Annotation 0" Type="Polygon" PartOfGroup="invasive tumour &amp; ö" Color="#F4FA58">
      <Coordinates>
        <Coordinate Order="0" X="400" Y="300" /><Coordinate Order="2" X="1200" Y="1100" />
        <Coordinate Order="1" X="1200,0" Y="300.0" /><Coordinate Order="3" X="400" Y="1100" />
      </Coordinates>
    </Annotation>
    <Annotation Name="1" Type="Rectangle" PartOfGroup="None" Color="#64FE2E">
      <Coordinates>
        <Coordinate Order="0" X="10" Y="10" /><Coordinate Order="1" X="20" Y="10" />
        <Coordinate Order="2" X="20" Y="20" /><Coordinate Order="3" X="10" Y="20" />
      </Coordinates>
    </Annotation>
    <Annotation Name="2" Type="Dot" PartOfGroup="lymphocyte" Color="#64FE2E">
      <Coordinates><Coordinate Order="0" X="5" Y="5" /></Coordinates>
    </Annotation>
    <Annotation Name="3" Type="PointSet" PartOfGroup="lymphocyte" Color="#64FE2E">
      <Coordinates>
        <Coordinate Order="0" X="5" Y="5" /><Coordinate Order="1" X="50" Y="5" /><Coordinate Order="2" X="5" Y="50" />
      </Coordinates>
    </Annotation>
  </Annotations>
  <AnnotationGroups>
    <Group Name="invasive tumour &amp; ö" PartOfGroup="None" Color="#0a0b0c"><Attributes /></Group>
  </AnnotationGroups>
</ASAP_Annotations>
"""


def vertices(*points, tag="Vertex"):
    return "".join(f'<{tag} X="{x}" Y="{y}" Z="0"/>' for x, y in points)


def layers(*texts, of="ImageScope"):
    """Return a file of ImageScope or HALO: layers are a head and its regions."""
    start = '<Annotations MicronsPerPixel="0.2520">' if of == "ImageScope" else "<Annotations>"
    return start + "".join(texts) + "</Annotations>"


def layer(head, *regions, attribute=""):
    return (
        f"<Annotation {head}><Attributes>{attribute}</Attributes>"
        f"<Regions><RegionAttributeHeaders/>{''.join(regions)}</Regions></Annotation>"
    )


def region(points, kind="0", *, negative="0", text="", tag="Vertex", more=""):
    head = f'<Region Id="1" Type="{kind}" NegativeROA="{negative}" Text="{text}" {more}>'
    return f"{head}<Vertices>{vertices(*points, tag=tag)}</Vertices></Region>"


def areas(annotations):
    """Return class, area and colour of each, as ``T 100 #ff0000``."""
    return [
        f"{each.label} {each.area.area:.0f}{f' #{bytes(each.colour).hex()}' if each.colour else ''}"
        for each in annotations
    ]


def test_asap_as_in_tiger_and_camelyon(tmp_path):
    path = tmp_path / "Schnitt ä 1.xml"
    path.write_text(ASAP)
    assert areas(read_file(path)) == [
        "invasive tumour & ö 640000 #0a0b0c",
        " 100 #64fe2e",
        "lymphocyte 0 #64fe2e",
        "lymphocyte 0 #64fe2e",
    ]
    path.write_text(ASAP.replace("utf-8", "utf-16"), encoding="utf-16")
    assert areas(read_file(path))[0] == "invasive tumour & ö 640000 #0a0b0c"
    assert class_colours(path) == {
        "invasive tumour & ö": (10, 11, 12),
        "lymphocyte": (100, 254, 46),
    }


def test_imagescope_names_holes_and_shapes(tmp_path):
    path = tmp_path / "a.xml"
    whole = region(SQUARE)
    hole = region(box(500, 400, 600, 500), negative="1")
    away = region(box(5000, 400, 5100, 500), negative="1")
    description = '<Attribute Id="0" Name="Description" Value="In situ"/>'
    path.write_text(
        layers(
            # a negative region is a hole in those around it, and in no other layer
            layer(
                'Id="1" Name="Tumor" LineColor="255"', whole, hole, away, region(box(0, 0, 10, 10))
            ),
            layer('Id="2" Name="" LineColor="65280"', whole, attribute=description),
            layer('Id="3" Name=""', whole, attribute='<Attribute Name="Epithelial" Value=""/>'),
            layer('Id="4" LineColor="?"', region(SQUARE, text="Stroma"), region([])),
            # ellipse and rectangle by two corners, arrow, ruler and pin
            layer('Name="s"', region(TWO, "2"), region(TWO, "1")),
            layer('Name="l"', region(TWO, "3"), region([(0, 0), (9, 9)], "4"), hole),
            layer(
                'Name="p"', region([(7, 7)], "5"), region([], "2"), region([], "2", negative="1")
            ),
        )
    )
    annotations = read_file(path)
    assert areas(annotations) == [
        "Tumor 630000 #ff0000",
        "Tumor 100 #ff0000",
        "In situ 640000 #00ff00",
        "Epithelial 640000",
        "Stroma 640000",
        " 0",
        # a polygon in the place of the ellipse, which has 15708
        "s 15688",
        "s 20000",
        "l 0",
        "l 0",
        "p 0",
        "p 0",
    ]


def test_negative_regions_are_taken_out_wherever_they_lie(tmp_path):
    """Across the border, over one another, and with a centre of their points outside of the outline."""
    path = tmp_path / "a.xml"
    ell = [(0, 0), (1000, 0), (1000, 100), (100, 100), (100, 1000), (0, 1000)]
    negative = (box(900, 20, 1200, 80), box(20, 500, 60, 700), box(40, 600, 80, 800))
    holes = [region(points, negative="1") for points in negative]
    path.write_text(layers(layer('Name="T"', region(ell), *holes)))
    (annotation,) = read_file(path)
    left = Polygon(ell).difference(unary_union([Polygon(points) for points in negative]))
    assert annotation.area.equals(left)


def test_halo_is_read_as_imagescope(tmp_path):
    path = tmp_path / "a.annotations"
    shapes = (
        region(SQUARE, "Polygon", tag="V", more='HasEndcaps="0"'),
        region(box(500, 400, 600, 500), "Polygon", negative="1", tag="V"),
        region(TWO, "Rectangle", tag="V"),
        region(TWO, "Ellipse", tag="V"),
        region(TWO, "Ruler", tag="V"),
        region([(0, 0), (90, 5), (200, 100)], "Polygon", tag="V", more='HasEndcaps="1"'),
        region([(7, 7)], "Pin", tag="V"),
    )
    path.write_text(layers(layer('Name="Layer 1" LineColor="5634047"', *shapes), of="HALO"))
    assert [each for each in areas(read_file(path)) if " 0 #" not in each] == [
        "Layer 1 630000 #fff755",
        "Layer 1 20000 #fff755",
        "Layer 1 15688 #fff755",
    ]


def test_objects_of_qupath_and_plain_geojson(tmp_path):
    inner = outline("T", box(0, 0, 10, 10))
    cell = outline("C", box(0, 0, 10, 10), objectType="cell")
    core = {
        "geometry": {"type": "Polygon", "coordinates": [SQUARE]},
        "properties": {"objectType": "tmaCore", "childObjects": [inner, cell]},
    }
    several = {"type": "MultiPolygon", "coordinates": [[SQUARE], [box(0, 0, 10, 10)]]}
    square = {"type": "Polygon", "coordinates": [SQUARE]}
    point = {"type": "Point", "coordinates": [3, 4]}
    mixed = {"type": "GeometryCollection", "geometries": [point, square, several]}
    text = '{ "name": "T", "colorRGB": -3670016 }'
    cases = (
        (core, [" 0", "T 100 #c80000", " 0"]),
        (
            [outline("P", SQUARE, children=[inner])],
            ["P 640000 #c80000", "T 100 #c80000"],
        ),
        ({"geometry": square, "properties": {"type": "detection"}}, [" 0"]),
        ({"geometry": square, "properties": {"type": "annotation"}}, [" 640000"]),
        ({"geometry": square, "properties": {"object_type": "tma_core"}}, [" 0"]),
        ({"geometry": square, "id": "PathCellObject"}, [" 0"]),
        (square, [" 640000"]),
        (mixed, [" 640000", " 640000", " 100"]),
        ([several, several], [" 640000", " 100"] * 2),
        # TRIDENT and others write by GDAL
        ({"geometry": square, "properties": {"tissue_id": 0}}, [" 640000"]),
        (
            {"geometry": square, "properties": {"classification": text}},
            ["T 640000 #c80000"],
        ),
        ({"geometry": square, "properties": {"classification": "T"}}, ["T 640000"]),
        ({"geometry": None, "properties": {}}, [" 0"]),
    )
    path = tmp_path / "a.json"
    for content, expected in cases:
        path.write_text(json.dumps(content))
        # of polygons of one object, the order is none
        assert sorted(areas(read_file(path)), key=str) == sorted(expected, key=str), content
    ignored = draw(tmp_path, outline("Ignore*", SQUARE), outline("T", SQUARE), outline("", SQUARE))
    assert class_colours(ignored) == {"T": (200, 0, 0)}


def test_packed_files(tmp_path):
    text = json.dumps([outline("T", SQUARE)]).encode()
    expected = ["T 640000 #c80000"]
    for name, data in (("a.geojson", text), ("a.geojson.gz", gzip.compress(text))):
        (tmp_path / name).write_bytes(data)
        assert areas(read_file(tmp_path / name)) == expected
    path = tmp_path / "a.zip"

    path.write_bytes(zipped(text, "a.geojson", "__MACOSX/._a.geojson", "read me.txt"))
    assert areas(read_file(path)) == expected
    for names, why in (
        (("a.geojson", "b.geojson"), "a zip of 2 such files, not of one; unpack it into a folder"),
        (("a.txt",), "a zip of 0 such files"),
    ):
        path.write_bytes(zipped(text, *names))
        with pytest.raises(InputError, match=why):
            read_file(path)


def test_a_file_that_unpacks_to_more_than_the_limit_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr("bchisto.core.formats.limits.JSON_BYTES", 2**20)
    monkeypatch.setattr("bchisto.core.formats.limits.XML_TAGS", 20)
    path = tmp_path / "a.geojson"
    spaces = b" " * 2**21 + b"[]"
    for data in (spaces, gzip.compress(spaces), zipped(spaces, "a.geojson")):
        path.write_bytes(data)
        with pytest.raises(InputError, match="more than 1 MiB"):
            read_file(path)
    path.write_text(ASAP)
    with pytest.raises(InputError, match="more than 20 tags"):
        read_file(path)


COCO = {"images": [{"id": 1}], "annotations": [{"segmentation": [[0, 0, 9, 0, 9, 9]]}]}
CYTOMINE = [{"id": 1, "location": "POLYGON ((1 1, 2 1, 2 2, 1 1))", "term": [7]}]
LABEL_STUDIO = [{"id": 1, "annotations": [{"result": [{"type": "polygonlabels"}]}]}]
EXPORT = "export GeoJSON, or draw its regions in QuPath and choose File > Export objects as GeoJSON"


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        (
            "a.json",
            json.dumps(COCO),
            f"(feature 1: its class or geometry cannot be read, or is off all slides); {EXPORT}",
        ),
        ("a.json", json.dumps(CYTOMINE), EXPORT),
        ("a.json", json.dumps(LABEL_STUDIO), EXPORT),
        ("a.csv", "x,y\n1,2\n", EXPORT),
        ("a.png", b"\x89PNG\r\n\x1a\n", EXPORT),
        ("a.sqlite", b"SQLite format 3\0", EXPORT),
        ("a.xml", "<html></html>", f"(XML of another program, html); {EXPORT}"),
        ("a.xml", ASAP.replace('X="10"', 'X="ten"'), EXPORT),
        ("a.xml", ASAP.replace('X="10"', 'X="nan"'), "a coordinate that no slide has"),
        (
            "a.ndpa",
            "<annotations></annotations>",
            "open it with its slide in ASAP, and save it there as .xml",
        ),
        (
            "a.qpdata",
            b"\0",
            "open its slide in QuPath, and choose File > Export objects as GeoJSON",
        ),
    ],
)
def test_other_files_are_refused_with_a_cure(tmp_path, name, content, why, refused):
    path = tmp_path / "a folder" / name
    slide = write_slide(tmp_path / "a folder" / "a.tif", (600, 600), {})
    if isinstance(content, str):
        content = content.encode()
    path.write_bytes(content)
    words = ("slides cut {} --out T/out --annotations", slide)
    line = refused(*words, path)
    assert f"{path}: no annotations of QuPath, ASAP, Im" in line
    assert why in line
    # in a folder, only files of such names are read
    if path.suffix not in (".json", ".xml"):
        why = "give a folder with a file a slide (a.geojson)"
    assert why in refused(*words, path.parent)


def test_a_tangle_is_refused_at_once(tmp_path, rng):
    """Its area would take hours; a scribble of a hand has one."""
    path = tmp_path / "a.geojson"
    path.write_text(json.dumps([outline("T", rng.integers(0, 10_000, (5000, 2)).tolist())]))
    with pytest.raises(InputError, match="feature 1: its class or geometry cannot be read"):
        read_file(path)
    path.write_text(json.dumps([outline("T", rng.integers(0, 10_000, (60, 2)).tolist())]))
    assert sum(part.area.area for part in read_file(path)) > 10_000_000


def test_entities_are_refused_whatever_the_encoding(tmp_path):
    path = tmp_path / "a.xml"
    laugh = '<!DOCTYPE x [<!ENTITY a "b">]>' + ASAP.partition("?>")[2].replace("invasive", "&a;")
    for encoding in ("utf-8", "utf-16"):
        path.write_text(laugh, encoding=encoding)
        with pytest.raises(InputError, match="XML with a document type"):
            read_file(path)


def test_xml_counts_from_the_corner_of_the_whole_image(tmp_path):
    """QuPath counts from the corner of what was scanned."""
    image = patch(2048, 1536)
    path = write_slide(
        tmp_path / "one.tif", (60_000, 40_000), {(25_600, 12_800): image}, factors=(1,), whole=False
    )
    corners = {"a.geojson": (0, 0), "a.xml": (25_600, 12_800), "a.annotations": (25_600, 12_800)}
    for name, (x, y) in corners.items():
        drawn = box(x + 100, y + 200, x + 300, y + 400)
        text = layers(layer('Name="T"', region(drawn)))
        if name == "a.geojson":
            text = json.dumps([outline("T", drawn)])
        (tmp_path / name).write_text(text)
        with Slide(path) as slide:
            (annotation,) = read_annotations(tmp_path / name, slide)
        assert annotation.area.bounds == (100, 200, 300, 400)


def test_a_stray_region_is_left_out_and_named(tmp_path, caplog):
    good, away = outline("T", box(0, 0, 300, 300)), outline("N ä", box(900, 0, 950, 300))
    above = outline("", box(0, -90, 300, -5))
    with Slide(write_slide(tmp_path / "a.tif", (600, 500), {})) as slide:
        annotations = read_annotations(draw(tmp_path, good, away, above), slide)
        assert [each.label for each in annotations] == ["T"]
        assert (
            "left out, outside a.tif (600 x 500 pixels): N ä at x 900, y 0, unnamed at x 0, y -90; "
            "delete what was not meant"
        ) in caplog.text
        with pytest.raises(InputError, match="is outside a.tif .*give the annotations of this"):
            read_annotations(draw(tmp_path, away, outline("Region*", box(0, 0, 9, 9))), slide)


def test_names_as_qupath_writes_them(tmp_path, completed):
    slides, drawn = tmp_path / "Schnitte ä", tmp_path / "drawn by hand"
    drawn.mkdir()
    names = {
        "S1.ome.tif": "S1.geojson",
        "S2.ome.tif": "S2.ome.tif.geojson.gz",
        "S3.v2.tif": "S3.v2.json",
        "S4 ü.tif": "S4 ü.zip",
        "S5.OME.TIFF": "S5.xml",
        "S6.tif": "S6.tif.geojson.zip",
        "S7.tif": "S7.annotations",
    }
    text = json.dumps([outline("T", box(0, 0, 512, 512))]).encode()
    for seed, (slide, name) in enumerate(names.items()):
        tissue_slide(slides / slide, 512, 512, seed, factors=(1,))
        data = text
        if name.endswith(".gz"):
            data = gzip.compress(text)
        elif name.endswith(".zip"):
            data = zipped(text, "x.geojson")
        elif name.endswith((".xml", ".annotations")):
            data = layers(layer('Name="T"', region(box(0, 0, 512, 512)))).encode()
        (drawn / name).write_bytes(data)
    (drawn / "._S1.geojson").write_bytes(b"\0")
    patients = tmp_path / "patients.csv"
    patients.write_text("slide,patient\n" + "".join(f"{name},P {name}\n" for name in names))
    words = typed("--field 256 --scale 0.5 --annotations {} --patients {}", drawn, patients)
    _, err = completed("slides cut", slides, *words, "--out", tmp_path / "out")
    assert "without annotations" not in err
    rows = table(tmp_path / "out" / "manifest.csv")
    assert {row["group"] for row in rows} == {f"P {name}" for name in names}
    assert {(row["wsi"], row["label"]) for row in rows} == {
        (name, "T") for name in ("S1", "S2", "S3.v2", "S4 ü", "S5", "S6", "S7")
    }


def test_two_files_of_a_slide_and_files_of_another_format(tmp_path, caplog):
    paths = [write_slide(tmp_path / "s" / f"{name}.tif", (300, 300), {}) for name in ("S1", "S2")]
    slides, drawn = list_slides(paths), tmp_path / "drawn"
    drawn.mkdir()
    (drawn / "S2.ndpi.ndpa").write_text("<annotations/>")
    (drawn / "S1.geojson").write_text("[]")
    assert annotations_of(slides, drawn) == {"S1": drawn / "S1.geojson"}
    assert "1 slide without annotations, and so without labels: S2" in caplog.text
    (drawn / "x").mkdir()
    (drawn / "x" / "S1.xml").write_text(ASAP)
    with pytest.raises(InputError, match="S1 has several files: .*S1.geojson, .*S1.xml; keep one"):
        annotations_of(slides, drawn)
    (drawn / "x" / "S1.xml").rename(drawn / "S1.tif.geojson.gz")
    with pytest.raises(
        InputError, match=r"S1 has several files: .*S1.geojson, .*S1.tif.geojson.gz"
    ):
        annotations_of(slides, drawn)


def test_forms_that_public_repositories_hold(tmp_path):
    """What is particular to each; the files are ours."""
    path = tmp_path / "a"
    square = {"type": "Polygon", "coordinates": [SQUARE]}
    named = {"objectType": "annotation", "name": "I", "color": [255, 0, 0]}
    many = [(x, y) for x, y in SQUARE for _ in range(3)]
    for content, expected in (
        # markowetzlab/geojson_xml: the kind counts, and not the id of QuPath 0.2; outlines of ASAP are not closed
        (
            [outline("artifact", SQUARE) | {"id": "PathDetectionObject"}],
            ["artifact 640000 #c80000"],
        ),
        # NKI-AI/dlup, QuPath 0.5: the name of an object is no class
        ([{"type": "Feature", "geometry": square, "properties": named}], [" 640000"]),
        # pjl54/WSI_handling: a rectangle of many points, which is none; inhuszar/xml2mask: a layer without any name
        (
            layers(layer('Id="1" Name="" LineColor="65280"', region(many, "1"))),
            [" 640000 #00ff00"],
        ),
        # rharkes/pyhaloxml: comments, and a region that begins left of the slide
        (
            layers(
                layer(
                    'Name="Layer 1"', region(box(-27865, 40907, -17161, 51611), "Polygon", tag="V")
                ),
                of="HALO",
            ).replace("</Region>", '<Comments><Comment Body="a square"/></Comments></Region>'),
            ["Layer 1 114575616"],
        ),
    ):
        text = content
        if not isinstance(content, str):
            text = json.dumps(content)
        path.write_text(text)
        assert areas(read_file(path)) == expected
    darwin = {"version": "2.0", "item": {"slots": []}, "annotations": [{"polygon": {"paths": []}}]}
    for text, why in (
        # NKI-AI/dlup: Darwin of V7, and its own XML
        (
            json.dumps(darwin),
            "feature 1: its class or geometry cannot be read, or is off all slides",
        ),
        (
            '<DlupAnnotations version="1.0"></DlupAnnotations>',
            "XML of another program, DlupAnnotations",
        ),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=why):
            read_file(path)
