"""Patients behind slides: TCGA barcodes name them, and names that differ in their end get a rule that joins them."""

import re
import shlex

import pytest
from sample_trees import tree
from written_tables import groups_in, rows_of, unlisted, write_lines


def table(folder, column, names):
    """Write a manifest with a column of names, two images for each."""
    paths = [f"img/im{n:02d}.png" for n in range(2 * len(names))]
    tree(folder, *paths)
    rows = [f"{path},{'ab'[n % 2]},{names[n // 2]}" for n, path in enumerate(paths)]
    write_lines(folder / "m.csv", f"path,label,{column}", *rows)
    return folder / "m.csv"


SLIDES = [
    f"TCGA-A{patient}-A0S{patient}-01{'AZ'[patient % 2]}-00-DX{n}"
    for patient in range(3)
    for n in (1, 2)
]


def test_the_case_of_two_slides_of_each_patient(shared, tmp_path, cli):
    path = shared / "data" / "cases" / "c11_tcga_slides.csv"
    rows = rows_of(path)
    tree(tmp_path, *(row["path"] for row in rows))
    (tmp_path / "m.csv").write_bytes(path.read_bytes())
    groups, err = groups_in(cli, tmp_path / "m.csv")
    assert groups == {row["path"]: row["slide_id"][:12] for row in rows}
    assert (
        "TCGA barcodes name the patient by their first 12 characters: 12 patients of 24 slides, such as TCGA-ZZ-0000 of"
        in err
    )


@pytest.mark.parametrize(
    ("column", "written"),
    [
        ("slide_id", str),
        ("slide", str.lower),
        ("case_id", "{}.svs".format),
        ("patient", lambda name: name.replace("-", "_")),
        ("slide_id", "{}.3f2504e0-4f89".format),
    ],
)
def test_barcodes_in_a_column(column, written, tmp_path, cli):
    groups, err = groups_in(cli, table(tmp_path, column, [written(name) for name in SLIDES]))
    assert list(groups.values()) == [name[:12] for name in SLIDES for _ in range(2)]
    assert "TCGA barcodes name the patient" in err


@pytest.mark.parametrize(
    "name", ["{label}/{slide}_{n}.png", "{label}/{slide}/{n}.png", "{slide}_x/{label}/{n}.png"]
)
def test_barcodes_in_paths(name, tmp_path, cli):
    files = {
        name.format(label="xy"[n % 2], slide=slide, n=n): slide
        for n, slide in enumerate([*SLIDES, *SLIDES])
    }
    root = tree(tmp_path / "images", *files)
    options = ("--label-from", 2) if name.startswith("{slide}") else ()
    groups, err = groups_in(cli, root, *options)
    patients = {path: slide[:12] for path, slide in files.items()}
    assert groups == patients
    assert "12 of 12 names are those of TCGA: " in err
    (root.parent / "m.csv").write_text(
        "path,label\n" + "".join(f"images/{path},a\n" for path in files)
    )
    groups, err = groups_in(cli, root.parent / "m.csv")
    assert {path.removeprefix("images/"): group for path, group in groups.items()} == patients
    assert (
        "12 of 12 names are those of TCGA: classes from the table, 3 patients from the names" in err
    )


def test_barcodes_do_not_replace_what_is_given(tmp_path, cli):
    files = [f"{'ab'[n % 2]}/P{n % 3}/{slide}.png" for n, slide in enumerate(SLIDES)]
    root = tree(tmp_path / "images", *files)
    groups, err = groups_in(cli, root, "--group-from", 2)
    assert groups == {path: path.split("/")[1] for path in files}
    assert "of TCGA" not in err
    manifest = table(tmp_path, "patient", ["Q1", "Q2"])
    assert set(groups_in(cli, manifest)[0].values()) == {"Q1", "Q2"}


FAMILIES = {
    "S12-1": ([f"S{p}-{n}" for p in (12, 13, 104) for n in (1, 2)], "S12 S13 S104"),
    "12345_A": ([f"{p}_{letter}" for p in (12345, 777) for letter in "AB"], "12345 777"),
    "DX": ([f"K{p}-DX{n}" for p in (3, 45) for n in (1, 2)], "K3 K45"),
    "slide1": ([f"Ann_slide{n}" for n in (1, 2)] + [f"Bob_slide{n}" for n in (1, 2, 3)], "Ann Bob"),
    "12a": ([f"{p}{letter}" for p in (12, 13) for letter in "ab"], "12 13"),
    "one slide only": (["S12-1", "S12-2", "S13", "S14-1"], "S12 S13 S14"),
}


def pasted(err):
    """Return the options that a warning names."""
    (words,) = re.findall(r"of one patient, (--.+) joins them", err)
    return [word for word in shlex.split(words) if word != "with"]


@pytest.mark.parametrize("name", FAMILIES)
def test_slides_of_a_column(name, tmp_path, cli):
    slides, patients = FAMILIES[name]
    manifest = table(tmp_path, "slide_id", slides)
    groups, err = groups_in(cli, manifest)
    assert set(groups.values()) == set(slides)
    assert "differ only in their end" in err
    groups, err = groups_in(cli, manifest, *pasted(err))
    assert list(dict.fromkeys(groups.values())) == patients.split()
    assert "differ only" not in err


def test_the_page_of_a_check_names_no_patient(tmp_path, cli):
    names = ["Ann_slide1", "Ann_slide2", "MEIER-007", "Meier-7"]
    _, out, _ = cli(
        "data check --no-timing --images {} --html T/p.html", table(tmp_path, "slide_id", names)
    )
    assert all(name in out for name in names)
    assert not any(
        name.casefold() in (tmp_path / "p.html").read_text().casefold() for name in names
    )


@pytest.mark.parametrize(
    ("name", "path", "rule"),
    [
        ("S12-1", "{label}/{slide}/1.png", "2"),
        ("12345_A", "{label}/{slide}/tiles/1.png", "2"),
        ("DX", "{label}/{slide}.png", r"([^/]+)\.png"),
        ("slide1", "grade {label}/{slide}_tile_7.png", "/(.+)_tile"),
        ("12a", "{label}/{slide}/1.png", "2"),
        ("one slide only", "{label}/{slide}.png", r"([^/]+)\.png"),
    ],
)
def test_slides_of_a_rule(name, path, rule, tmp_path, cli):
    slides, _ = FAMILIES[name]
    root = tree(
        tmp_path / "images",
        *(path.format(label="xy"[n % 2], slide=s) for n, s in enumerate(slides)),
    )
    groups, err = groups_in(cli, root, "--group-from", rule)
    assert set(groups.values()) == set(slides)
    assert "differ only in their end" in err
    assert "name the patients by --group-from, or in the column group of a manifest" in err


@pytest.mark.parametrize(
    "names",
    [
        [f"P{n}" for n in range(12)],
        [f"P_{n}" for n in range(1, 7)],
        [f"H1-{n:02d}" for n in range(1, 15)],
        ["14-2523", "14-2524", "15-1000"],
        ["Ann", "Bob", "Cem"],
        ["case A", "case B"],
        ["001", "002", "010"],
    ],
)
def test_patients_that_are_only_numbered(names, tmp_path, cli):
    _, err = groups_in(cli, table(tmp_path, "slide_id", names))
    assert "differ only" not in err
    root = tree(
        tmp_path / "images", *(f"{'ab'[n % 2]}/{name}/1.png" for n, name in enumerate(names))
    )
    options = ("--group-from", 2)
    assert "differ only" not in groups_in(cli, root, *options)[1]


def test_names_of_patients_are_not_slides(tmp_path, cli):
    _, err = groups_in(cli, table(tmp_path, "patient", ["S12-1", "S12-2", "S13-1", "S13-2"]))
    assert "differ only" not in err


def test_a_rule_for_a_column(tmp_path, cli):
    manifest = table(tmp_path, "Slide", ["S1.a", "S1.b", "S2.a"])
    groups, _ = groups_in(cli, manifest, "--group-column", "slide", "--group-from", r"^(S\d+)")
    assert list(groups.values()) == ["S1"] * 4 + ["S2"] * 2
    err = unlisted(cli, manifest, "--group-column", "slide", "--group-from", 2)
    assert "--group-from fits none" in err
