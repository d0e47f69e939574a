"""Regions inside others, ignored ones and overlaps: against exact areas by shapely, and by the command."""

import time
from collections import Counter

import numpy as np
import pytest
from bchisto.apps.slides import annotation_files, positions
from bchisto.apps.slides.annotation_files import Annotation
from bchisto.apps.slides.regions import covering_classes
from slide_files import box, draw, field_classes, outline, table, tissue_slide

SIDE = 100


def drawn(label, *rings):
    return Annotation(label, annotation_files._area(*(np.array(ring, float) for ring in rings)))


def classes(*annotations, size=400, least=0.75):
    """Return the class of each field that has one, by its corner."""
    corners = positions(size, size, SIDE)
    names = field_classes(annotations, corners, SIDE, least=least)
    return {
        corner: name
        for corner, name in zip(map(tuple, corners.tolist()), names, strict=True)
        if name is not None
    }


def blob(rng, centre, radius):
    """Return an outline that does not cross itself."""
    turns = np.sort(rng.uniform(0, 2 * np.pi, 24))
    reach = radius * rng.uniform(0.6, 1, 24)
    return centre + np.stack([np.cos(turns), np.sin(turns)], axis=1) * reach[:, None]


def random_annotations(rng, *, count, size):
    """Return annotations, a third of them inside another one, some ignored, some without a class, some with a hole."""
    labels = ("T", "N", "S: ä", "", "Ignore*")
    found = []
    while len(found) < count:
        label = labels[rng.choice(5, p=(0.3, 0.25, 0.2, 0.1, 0.15))]
        centre, radius = rng.uniform(0, size, 2), rng.uniform(150, 900)
        rings = [blob(rng, centre, radius)]
        if rng.random() < 0.2:
            rings.append(centre + (rings[0] - centre) * 0.4)
        found.append(drawn(label, *rings))
        if rng.random() < 0.5:
            share = rng.uniform(0.5, 0.85)
            inner = labels[rng.choice(5, p=(0.3, 0.25, 0.2, 0.1, 0.15))]
            found.append(drawn(inner, centre + (rings[0] - centre) * share))
    return found


def clear_ones(annotations):
    """Return those that are inside others or not, and not inside but for a hand's breadth."""
    kept = []
    for annotation in annotations:
        shape = annotation.area
        reach = max(SIDE, *np.ptp(np.reshape(annotation.area.bounds, (2, 2)), axis=0)) / 64 * 3
        near = [other.area for other in kept]
        unclear = [
            other.buffer(reach).covers(shape) != other.covers(shape)
            or shape.buffer(reach).covers(other) != shape.covers(other)
            for other in near
        ]
        if not any(unclear):
            kept.append(annotation)
    return kept


def exact_shares(annotations, corners, side):
    """Yield the exact share of each class in each field, by the rule in words of geometry."""
    import shapely

    shapes = [annotation.area for annotation in annotations]

    def is_inside(one, other):
        return shapes[other].covers(shapes[one]) and not shapes[one].covers(shapes[other])

    def takes(one, other):
        if annotations[one].label.endswith("*"):
            return not annotations[other].label or not is_inside(other, one)
        return bool(annotations[one].label) and is_inside(one, other)

    left = {}
    for index, (shape, annotation) in enumerate(zip(shapes, annotations, strict=True)):
        if annotation.label.endswith("*"):
            continue
        taken = [
            other
            for number, other in enumerate(shapes)
            if annotations[number].label != annotation.label and takes(number, index)
        ]
        part = shape.difference(shapely.union_all(taken))
        left[annotation.label] = left.get(annotation.label, shapely.Polygon()).union(part)
    for shape in left.values():
        shapely.prepare(shape)
    for x, y in corners.tolist():
        field = shapely.box(x, y, x + side, y + side)
        yield {label: shape.intersection(field).area / side**2 for label, shape in left.items()}


def test_classes_are_those_of_exact_areas():
    rng = np.random.default_rng(0)
    size, least = 6000, 0.75
    annotations = clear_ones(random_annotations(rng, count=75, size=size))
    assert len(annotations) >= 60
    corners = positions(size, size, SIDE)
    covering = covering_classes(annotations, corners, SIDE, least=least)
    differ = 0
    seen = Counter()
    for found, shares in zip(covering, exact_shares(annotations, corners, SIDE), strict=True):
        rivals = sorted(name for name, share in shares.items() if name and share > 1 - least)
        expected = tuple(rivals)
        if not rivals and shares.get("", 0) >= least:
            expected = ("",)
        elif not any(shares[name] >= least for name in rivals):
            expected = ()
        seen[len(expected)] += 1
        if found != expected:
            differ += 1
            # only a field close to a limit may differ, by the size of a square of the raster
            nearest = min(
                abs(share - end) for share in shares.values() for end in (least, 1 - least)
            )
            assert nearest < 0.03, (found, expected, shares)
    assert differ < 0.02 * len(covering)
    # fields of none, of one and of several classes were there
    assert min(seen[0], seen[1], seen[2]) > 20


def test_fields_begin_at_the_nearest_pixel():
    assert positions(420, 101, 100.6).tolist() == [[0, 0], [101, 0], [201, 0], [302, 0]]


@pytest.mark.slow
def test_many_fields_take_seconds():
    rng = np.random.default_rng(1)
    annotations = random_annotations(rng, count=60, size=36_000)
    begun = time.process_time()
    covering_classes(annotations, positions(36_000, 36_000, SIDE), SIDE, least=0.75)
    assert time.process_time() - begun < 60


def test_the_innermost_wins_at_any_depth():
    tissue = drawn("Tissue", box(0, 0, 400, 400))
    tumour = drawn("T", box(0, 0, 400, 200))
    nest = drawn("N", box(0, 0, 200, 100))
    within = drawn("T", box(0, 0, 100, 100))
    expected = {(x, y): "Tissue" for x in range(0, 400, 100) for y in (200, 300)}
    expected |= {(x, y): "T" for x in range(0, 400, 100) for y in (0, 100)}
    expected[100, 0] = "N"
    # in whatever order they are in the file
    for order in ((tissue, tumour, nest, within), (within, nest, tissue, tumour)):
        assert classes(*order) == expected
    # a region that fills a hole is not inside; what lies in several is inside the smallest
    ring = drawn("S", box(0, 0, 400, 400), box(100, 100, 300, 300))
    assert Counter(classes(ring, drawn("T", box(100, 100, 300, 300))).values()) == {"S": 12, "T": 4}
    # hands that draw along a border overshoot it a little
    over = drawn("T", box(-4, -4, 200, 200))
    assert Counter(classes(tissue, over).values()) == {"Tissue": 12, "T": 4}


@pytest.mark.parametrize("rim", [3, 8, 15, 40])
def test_a_narrow_rim_is_a_region_around_another(rim):
    """As of a core of tissue with tumour up to its border, which QuPath counts as inside."""
    core = drawn("Core", box(0, 0, 1200, 1200))
    tumour = drawn("T", box(rim, rim, 1200 - rim, 1200 - rim))
    corners = positions(1200, 1200, 200)
    inside = Counter(covering_classes([core, tumour], corners, 200, least=0.75))
    assert inside[("T",)] >= 32
    assert not any(len(classes) > 1 for classes in inside)
    # and so are tumours in what is ignored
    ignored = core._replace(label="Ignore*")
    assert Counter(covering_classes([ignored, tumour], corners, 200, least=0.75))[("T",)] >= 32


def test_overlaps_have_no_class_and_are_told():
    left, right = drawn("T", box(0, 0, 250, 400)), drawn("N", box(100, 0, 400, 400))
    assert Counter(classes(left, right).values()) == {"T": 4, "N": 4}
    corners = positions(400, 400, SIDE)
    told = Counter(covering_classes([left, right], corners, SIDE, least=0.75))
    assert told == {("T",): 4, ("N",): 4, ("N", "T"): 8}
    # drawn twice with two classes
    twice = [drawn("T", box(0, 0, 400, 400)), drawn("N", box(-2, 2, 398, 401))]
    assert Counter(covering_classes(twice, corners, SIDE, least=0.75)) == {("N", "T"): 16}
    # what is inside both decides
    inner = drawn("T", box(100, 0, 200, 100))
    assert classes(left, right, inner)[100, 0] == "T"


def test_ignored_areas_have_no_class():
    tumour, fold = drawn("T", box(0, 0, 400, 400)), drawn("Ignore*", box(0, 0, 100, 400))
    without = {corner: "T" for corner in classes(tumour) if corner[0] > 0}
    assert classes(tumour, fold) == classes(fold, tumour) == without
    # as QuPath's own Artefact*, drawn inside or across the border, or twice with both classes
    assert classes(tumour, drawn("Artefact*", box(-500, -90, 100, 500))) == without
    assert classes(tumour, drawn("Ignore*", box(0, 0, 400, 400))) == {}
    # of a field of which a fifth is ignored, four fifths are left; without a third, it has no class
    assert len(classes(tumour, drawn("Ignore*", box(0, 0, 20, 400)))) == 16
    assert classes(tumour, drawn("Ignore*", box(0, 0, 33, 400))) == without
    # what is drawn inside an ignored area counts, and what has no class does not
    inner = drawn("N", box(0, 0, 100, 100))
    assert classes(tumour, fold, inner) == without | {(0, 0): "N"}
    assert classes(tumour, fold, drawn("", box(0, 0, 100, 100))) == without
    assert classes(drawn("", box(0, 0, 400, 400)), fold) == dict.fromkeys(without, "")


def test_a_region_without_a_class_takes_nothing_away():
    tumour, note = drawn("T", box(0, 0, 400, 400)), drawn("", box(100, 100, 200, 200))
    assert classes(tumour, note) == classes(tumour)
    around = drawn("", box(0, 0, 400, 400))
    assert classes(around, drawn("T", box(100, 100, 200, 200)))[100, 100] == "T"
    assert classes(around, drawn("T", box(100, 100, 200, 200)))[0, 0] == ""


def test_the_command_says_which_classes_overlap(tmp_path, completed):
    slide = tissue_slide(tmp_path / "Fall 1 ü.tif", 1600, 1600)
    words = ("slides cut {} --field 200 --scale 2 --out", slide)
    whole = box(0, 0, 1600, 1600)

    def labels(name, *features):
        into = tmp_path / name
        err = completed(*words, into, "--annotations", draw(tmp_path, *features))[1]
        return Counter(row["label"] for row in table(into / "manifest.csv")), err

    fold, blue = box(0, 0, 800, 800), box(800, 0, 1600, 800)
    counts, err = labels("ignored", outline("T", whole), outline("Ignore*", fold))
    assert counts == {"T": 12}
    assert "in regions (--annotated 0.75): 12 T" in err
    assert "several classes" not in err
    counts, _ = labels("artefact", outline("T", whole), outline("Artefact", fold))
    assert counts == {"T": 12, "Artefact": 4}
    counts, _ = labels("nested", outline("Tissue", whole), outline("böse, 2", fold))
    assert counts == {"Tissue": 12, "böse, 2": 4}
    # Region* means nothing, whether around, inside or alone
    region = outline("Region*", fold)
    counts, err = labels("region", outline("T", whole), region, outline("S: region*", whole))
    assert counts == {"T": 16}
    assert "fields left out" not in err
    across = box(400, 0, 2000, 800)
    counts, err = labels("overlap", outline("T", fold), outline("N", across), outline("S", blue))
    assert counts == {"T": 2, "S": 4}
    assert (
        "Fall 1 ü.tif: 2 fields left out, in several classes: 2 N and T; subtract one class from the other in QuPath"
    ) in err
