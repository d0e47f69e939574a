"""What strangers stumbled over: counts, labels of fields that left, slides without a field, scales between."""

import pytest
from conftest import typed
from slide_files import box, draw, outline, patch, table, tissue_slide, write_slide

pytest.importorskip("openslide")


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    path = tmp_path_factory.mktemp("slide") / "Präparat 1.tif"
    return tissue_slide(path, 1200, 800)


def test_labels_of_fields_that_left_come_back(slide, tmp_path, completed):
    """What a person wrote of two fields outlasts a cut without these fields."""
    out = tmp_path / "Felder"
    region = outline("Stroma", box(0, 0, 1200, 800))
    fold = outline("Falte*", box(0, 0, 400, 800))

    def labels(*features):
        drawn = draw(tmp_path, *features)
        words = typed("--field 200 --annotations {} --out {}", drawn, out)
        err = completed("slides cut", slide, *words)[1]
        rows = table(out / "manifest.csv")
        return {(int(row["x"]), int(row["y"])): row["label"] for row in rows}, err

    labels(region)
    text = (out / "manifest.csv").read_text().splitlines()
    changed = [
        line.replace(",Stroma,", ",Nekrose,", 1) if "_0_0." in line or "_0_400." in line else line
        for line in text
    ]
    (out / "manifest.csv").write_text("\n".join(changed) + "\n")
    assert sorted(set(labels(region)[0].values())) == ["Nekrose", "Stroma"]
    left, err = labels(region, fold)
    assert "Nekrose" not in left.values()
    assert "2 labels of fields that are no longer cut: kept in" in err
    again, err = labels(region)
    assert [corner for corner, label in again.items() if label == "Nekrose"] == [(0, 0), (0, 400)]
    assert "no longer cut" not in err
    assert not (out / "unused-labels.csv").exists()


def test_counts_of_regions_are_no_warning_unless_nothing_is_cut(slide, tmp_path, completed):
    drawn = draw(tmp_path, outline("T", box(0, 0, 800, 800)))
    words = typed("--field 200 --annotations {} --dry-run --out T/out", drawn)
    err = completed("slides cut", slide, *words)[1]
    assert "in regions (--annotated 0.75): 4 T" in err
    assert "warning" not in err
    drawn = draw(tmp_path, outline("T", box(0, 0, 80, 90)))
    err = completed("slides cut", slide, *words)[1]
    assert "warning: " in err
    assert "in regions (--annotated 0.75): 0 T" in err


def test_slides_without_a_field_are_named(slide, tmp_path, completed):
    write_slide(tmp_path / "more" / "leer, 2.tif", (900, 900), {})
    write_slide(tmp_path / "more" / "Krümel.tif", (900, 900), {(300, 300): patch(90, 90)})
    err = completed("slides cut {} T/more --field 200 --out T/out", slide)[1]
    assert "2 slides without a field, and so without a row: Krümel, leer, 2" in err
    assert "in regions" not in err
    page = (tmp_path / "out" / "overview.html").read_text()
    assert "Not shown here, or without a field: 2 slides." in page
