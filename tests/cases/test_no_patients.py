"""Groups that are perhaps not patients are named, with the option that helps."""

import re
import shlex

import pytest
from sample_trees import tree
from written_tables import checked, groups_in, write_lines

SITES = "the same names at several sites are taken for the same patients"


def table(folder, header, rows):
    """Write a manifest with a row of cells for each image, and two classes."""
    paths = [f"img/im{n:03d}.png" for n in range(len(rows))]
    tree(folder, *paths)
    lines = [
        f"{path},{'ab'[n % 2]},{','.join(map(str, row))}"
        for n, (path, row) in enumerate(zip(paths, rows, strict=True))
    ]
    write_lines(folder / "m.csv", f"path,label,{header}", *lines)
    return folder / "m.csv"


def advised(err, verb):
    """Return the option that a warning names."""
    (words,) = re.findall(rf"(--group-\S+ \S+|--group-\S+ '[^']+') {verb}", err)
    return shlex.split(words)


def rows_of(counts, names="{}".format):
    return [
        (names(patient), site)
        for site, count in counts.items()
        for patient in range(1, count + 1)
        for _ in "xy"
    ]


@pytest.mark.parametrize(
    ("header", "counts", "names"),
    [
        ("patient,clinic", {"Nord": 4, "Süd": 4}, "{}".format),
        ("case_no,Study ID", {"S1": 9, "S2": 5, "S3": 2}, "P{:03d}".format),
        ("subject,centre", {"Lyon, Est": 3, "Paris": 6}, "patient {}".format),
        ("patient,tissue source site", {"A1": 3, "B2": 3}, lambda number: "ABCDEF"[number]),
    ],
)
def test_patients_that_each_site_counts(cli, tmp_path, header, counts, names):
    rows = [(patient, f'"{site}"') for patient, site in rows_of(counts, names)]
    manifest = table(tmp_path, header, rows)
    groups, err = groups_in(cli, manifest)
    assert len({*groups.values()}) == max(counts.values())
    assert SITES in err
    groups, err = groups_in(cli, manifest, *advised(err, "keeps them apart"))
    assert len({*groups.values()}) == sum(counts.values())
    assert SITES not in err
    assert "not used" not in err


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("site_{site}/P{patient}/{label}/{n}.png", ()),
        ("Centre {site}/Patient {patient}/{label}/{n}.png", ()),
        ("Hospital {site}/case {patient}/{label}/{n}.png", ()),
        ("Klinik {site}/Fall {patient}/{label}/{n}.png", ("--label-from", 3, "--group-from", 2)),
        (
            "all/hospital{site}/{patient:03d}/{label}_{n}.png",
            ("--label-from", "([ab])_", "--group-from", 3),
        ),
    ],
)
def test_folders_of_sites(cli, tmp_path, name, options):
    files = [
        name.format(site=site, patient=patient, label=label, n=n)
        for site in "AB"
        for patient in (1, 2, 3)
        for label in "ab"
        for n in "12"
    ]
    root = tree(tmp_path / "set", *files)
    groups, err = groups_in(cli, root, *options)
    assert len({*groups.values()}) == 3
    assert SITES in err
    groups, err = groups_in(cli, root, *options[:2], *advised(err, "keeps them apart"))
    assert len({*groups.values()}) == 6
    assert "warning" not in err


def test_columns_with_the_same_numbers_are_not_the_patient(cli, tmp_path):
    rows = [(n % 3, patient, site) for n, (patient, site) in enumerate(rows_of({"A": 3, "B": 3}))]
    err = groups_in(cli, table(tmp_path, "grade of nuclei,patient,hospital", rows))[1]
    assert advised(err, "keeps them apart") == ["--group-column", "hospital+patient"]


def test_a_rule_beside_a_column_of_sites(cli, tmp_path):
    rows = [(f"{site}/im{patient}", site) for patient, site in rows_of({"A": 3, "B": 3})]
    manifest = table(tmp_path, "slide,hospital", rows)
    err = groups_in(cli, manifest, "--group-column", "slide", "--group-from", r"(im\d)")[1]
    assert SITES in err
    assert "name them apart in the column group of a table" in err


def test_a_patient_without_a_name_stays_unknown(cli, tmp_path):
    rows = [*rows_of({"A": 3, "B": 3}), ("", "A"), ("NA", "B")]
    groups, _ = groups_in(
        cli, table(tmp_path, "patient,hospital", rows), "--group-column", "hospital+patient"
    )
    assert {*groups.values()} == {
        "",
        *(f"{site}-{patient}" for site in "AB" for patient in (1, 2, 3)),
    }


@pytest.mark.parametrize(
    ("header", "rows"),
    [
        ("patient,hospital", [(n // 2, "AB"[n > 11]) for n in range(24)]),
        ("patient,primary_site", rows_of({"breast": 4, "node": 4})),
        ("patient,stain", rows_of({"HE": 4, "PAS": 4})),
        ("patient,hospital", [(f"14-{2520 + n % 6}", "AB"[n % 4 // 2]) for n in range(24)]),
        ("patient,source", [(n // 4, f"scan{n}.svs") for n in range(24)]),
        ("patient,hospital", [(n // 2, "A") for n in range(24)]),
    ],
)
def test_patients_of_one_count(cli, tmp_path, header, rows):
    assert SITES not in groups_in(cli, table(tmp_path, header, rows))[1]


@pytest.mark.parametrize(
    ("groups", "kind"),
    [
        ("2023-01-15|2023-02-01|2024-11-30", "dates"),
        ("20230115|20230201", "dates"),
        ("15.01.2023|01.02.2023", "dates"),
        ("5.1.2023|6.1.2023|12.11.2023", "dates"),
        ("15-Jan-2023|3 Dez 2022", "dates"),
        ("2023-01|2023-11", "dates"),
        ("Plate 1|plate_2", "plates, arrays or batches"),
        ("TMA-3|TMA-4", "plates, arrays or batches"),
        ("Batch A|Batch B", "plates, arrays or batches"),
        ("control|treated", "arms of a study"),
        ("Kontrolle|behandelt", "arms of a study"),
        ("WT|KO", "arms of a study"),
    ],
)
def test_groups_that_are_no_patients(cli, tmp_path, groups, kind):
    groups = groups.split("|")
    rows = [(groups[n % len(groups)], f"M{n // 2}") for n in range(24)]
    err = groups_in(cli, table(tmp_path, "block,Maus", rows), "--group-column", "block")[1]
    assert f"groups are named as {kind}" in err
    assert "--group-column maus takes these" in err


def test_the_column_that_is_offered_in_place_of_arms_is_silent(cli, tmp_path):
    rows = [(("WT", "KO")[n % 2], f"M{n // 2}") for n in range(24)]
    manifest = table(tmp_path, "block,Donor ID", rows)
    err = groups_in(cli, manifest, "--group-column", "block")[1]
    found, err = groups_in(cli, manifest, *advised(err, "takes these"))
    assert len({*found.values()}) == 12
    assert "are named as" not in err


@pytest.mark.parametrize("column", ["donor", "Probanden-Nr", "person_id"])
def test_a_group_of_several_patients(cli, tmp_path, column):
    rows = [(("x7", "y9")[n // 12], n // 2) for n in range(24)]
    err = groups_in(cli, table(tmp_path, f"group,{column}", rows))[1]
    assert "groups hold several values of the column" in err
    groups, _ = groups_in(cli, tmp_path / "m.csv", *advised(err, "takes these"))
    assert len({*groups.values()}) == 12


@pytest.mark.parametrize(
    ("header", "rows"),
    [
        ("patient", [(f"20{n:04d}99",) for n in range(24)]),
        ("group,donor", [(f"G{n // 2}", f"D{n // 4}") for n in range(24)]),
        ("patient,donor name", [(n // 4, n // 2) for n in range(24)]),
        ("group", [(f"control {n}",) for n in range(24)]),
        ("patient", [(f"run{n}-{n}",) for n in range(24)]),
    ],
)
def test_groups_that_may_be_patients(cli, tmp_path, header, rows):
    err = groups_in(cli, table(tmp_path, header, rows))[1]
    assert "if they are not patients" not in err


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("{label}/{word}_{n:03d}.png", "(tumor|gesund)_"),
        ("{label}/{letter}{n:03d}.png", r"/(\w)0"),
        ("{label}/{n}-{label}.png", r"-(.+)\."),
    ],
)
@pytest.mark.parametrize("labels", [("tumor", "normal"), ("Tumour", "NORMAL 2"), ("1", "0")])
def test_a_rule_that_finds_classes(refused, tmp_path, labels, name, pattern):
    files = [
        name.format(
            label=labels[n % 2], word=("tumor", "gesund")[n % 2], letter=labels[n % 2][0], n=n
        )
        for n in range(24)
    ]
    root = tree(tmp_path / "set", *files)
    err = refused("data check --images {} --group-from {} --write-folds T/f.csv", root, pattern)
    assert "add images of a second patient with class" in err.splitlines()[-1]


def test_one_patient_of_each_class_needs_others(cli, tmp_path):
    root = tree(tmp_path / "set", *(f"{'ab'[n % 2]}/P{n % 2}_{n}.png" for n in range(24)))
    options = ("--group-from", r"(P\d)_", "--write-folds", tmp_path / "f.csv")
    err = cli("data check --no-timing --images {}", root, *options)[2]
    assert "add images of a second patient with class a" in err
    assert "each class is one group, as if groups were classes (P0, P1)" in err


@pytest.mark.parametrize(
    ("header", "labels", "groups", "cure"),
    [
        ("patient,sample", "tumor|gesund", "tumor|gesund", "--group-from finds these"),
        ("group,mouse", "malignant|benign", "M|B", "--group-column mouse takes these"),
        ("case,Animal ID", "0|1|2", "a0|a1|a2", "--group-column animal_id takes"),
        ("subject,note", "IDC|DCIS", "1|0", "--group-from finds these"),
    ],
)
def test_groups_that_are_classes_are_named_by_the_check(
    cli, tmp_path, header, labels, groups, cure
):
    paths = [f"img/{n}.png" for n in range(12)]
    tree(tmp_path, *paths)
    labels, groups = labels.split("|"), groups.split("|")
    count = len(labels)
    lines = [f"{path},{labels[n % count]},{groups[n % count]},S{n}" for n, path in enumerate(paths)]
    write_lines(tmp_path / "m.csv", f"path,label,{header}", *lines)
    code, text = checked(cli, tmp_path / "m.csv")
    assert code == 1
    assert "each class is one group, as if groups were classes" in text
    assert cure in text


@pytest.mark.parametrize("end", [".png", ""])
def test_a_column_of_patients_that_repeats_the_names_of_files(cli, tmp_path, end):
    """It is as if no patient were named, unless the column is called group, or only some are names of files."""
    names = [f"im{n:03d}{end}" for n in range(8)]
    said = "the column of patients repeats the names of images, so patients count as unknown"
    for header, cells, warned in (
        ("patient", names, True),
        ("Case No", names, True),
        ("group", names, False),
        ("slide", names, False),
        ("patient", [*names[:7], "Jane Doe"], False),
        ("patient", ["im000"] * 8, False),
    ):
        folder = tmp_path / f"{header} {cells[-1]}"
        groups, err = groups_in(cli, table(folder, header, [(cell,) for cell in cells]))
        assert (said in err) == warned, header
        assert {*groups.values()} == ({""} if warned else set(cells)), header
