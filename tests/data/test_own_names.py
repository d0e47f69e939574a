"""Where path, label and group of one's own images stand: levels and patterns of paths, columns, tables of all kinds."""

import csv
import json

import pytest
from bchisto.core import InputError
from bchisto.data import read_dataset
from sample_trees import findings, tree

NFD = "Be\u0301nin"


def told(dataset):
    return [(r.image_id, r.label, r.group) for r in dataset.records]


@pytest.mark.parametrize(
    ("rule", "groups"),
    [
        (2, ["P 1", "P 1", "Ü2", "P 3"]),
        ("-1", ["P 1", "P 1", "Ü2", "scan"]),
        (r"/(P \d|Ü2)/", ["P 1", "P 1", "Ü2", "P 3"]),
        (r"P \d|Ü\d", ["P 1", "P 1", "Ü2", "P 3"]),
        (r"^(a|b)", ["a", "a", "b", "b"]),
    ],
)
def test_groups_of_paths(tmp_path, rule, groups):
    tree(tmp_path, "a/P 1/1.png", "a/P 1/2.png", "b/U\u03082/3.png", "b/P 3/scan/4.png")
    dataset = read_dataset(tmp_path, group_from=rule)
    order = sorted(range(4), key=lambda n: ["a/P 1/1", "a/P 1/2", "b/U\u03082/3", "b/P 3/scan/4"][n])
    assert [r.group for r in dataset.records] == [groups[n] for n in order]
    assert dataset.class_counts() == {"a": 2, "b": 2}
    assert dataset.findings == ()


def test_paths_that_a_rule_does_not_fit_are_counted(tmp_path):
    tree(tmp_path, "a/P1_x.png", "a/P2_x.png", "b/y.png", "b/z.png")
    dataset = read_dataset(tmp_path, group_from=r"P(\d)_")
    assert told(dataset) == [
        ("a/P1_x.png", "a", "1"), ("a/P2_x.png", "a", "2"), ("b/y.png", "b", None), ("b/z.png", "b", None),
    ]  # fmt: skip
    assert findings(dataset, "warning") == [
        "b/y.png, b/z.png: `group_from` fits 2 of 4 paths; the others have no group, so folds cannot keep patients "
        "whole"
    ]
    with pytest.raises(InputError, match=r"`group_from` fits none of the 4 paths, such as a/P1_x\.png; correct it"):
        read_dataset(tmp_path, group_from="Q").raise_errors()
    # a group of the pattern that takes no part, or an empty one, is none
    assert [r.group for r in read_dataset(tmp_path, group_from=r"a/(P1)?").records] == ["P1", None, None, None]


def test_labels_of_paths(tmp_path):
    tree(
        tmp_path, "site1/benign_1.png", "site1/malignant_2.png", f"site2/{NFD}_3.png", "loose_4.png", "malignant_5.png"
    )
    dataset = read_dataset(tmp_path, label_from=r"(?:^|/)([^\W\d_]+)_", group_from=1)
    assert {r.image_id: r.label for r in dataset.records} == {
        "loose_4.png": "loose", "malignant_5.png": "malignant", "site1/benign_1.png": "benign",
        "site1/malignant_2.png": "malignant", f"site2/{NFD}_3.png": "Bénin",
    }  # fmt: skip
    some = read_dataset(tmp_path, label_from="(benign|malignant)_")
    assert [r.label for r in some.records] == [None, "malignant", "benign", "malignant", None]
    assert any(
        text.startswith("loose_4.png, site2") and "`label_from` fits 3 of 5 paths; the others have no label" in text
        for text in findings(some, "warning")
    )
    levels = read_dataset(tree(tmp_path / "deep", "s1/a/x/1.png", "s2/b/x/2.png"), label_from=2, group_from=1)
    assert told(levels) == [("s1/a/x/1.png", "a", "s1"), ("s2/b/x/2.png", "b", "s2")]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("(P", r"`group_from` \(P: no level, and no regular expression \(missing \), .*\)"),
        ("0", "`group_from` 0: level 1 is the first folder, -1 the one that holds the image"),
        ("", "`group_from`: give a level such as 2, or a pattern of 1 to 200 characters"),
        ("x" * 201, "`group_from`: give a level such as 2, or a pattern"),
        ("a{99999999999}", "`group_from` .*: no level, and no regular expression"),
        ("9", "`group_from` fits none of the 2 paths"),
    ],
)
def test_rules_that_are_none(tmp_path, rule, message):
    tree(tmp_path, "a/1.png", "b/2.png")
    with pytest.raises(InputError, match=message):
        read_dataset(tmp_path, group_from=rule).raise_errors()


def test_what_a_layout_has_of_its_own_is_refused(tmp_path, cli):
    tree(tmp_path / "breakhis", "SOB_B_A-14-22549AB-100-001.png")
    code, _, err = cli("data", "list", "--images", tmp_path / "breakhis", "--group-from", "1")
    assert code == 2
    assert (
        "--group-from is for a folder (--dataset folder) or a manifest of your own, not for the layout breakhis" in err
    )
    code, _, err = cli("data", "list", "--images", tree(tmp_path / "own", "a/1.png"), "--label-column", "x")
    assert (code, "--label-column is for a manifest of your own, not for the layout folder" in err) == (2, True)
    with pytest.raises(TypeError, match="unexpected keyword argument 'grouped_from'"):
        read_dataset(tmp_path / "own", grouped_from=1)


def test_groups_may_be_named_later(tissue, tiny_options, tmp_path, cli):
    """They are no part of what a store is compared by: nothing is described anew, and stage 2 knows them."""
    run = tmp_path / "run"
    common = ("featurize", "--images", tissue, "--out", run, *tiny_options)
    assert cli(*common)[0] == 0
    store = next((run / "features").glob("*.h5"))
    before = store.read_bytes()
    for rule, patients in ((r"n(\d)\d", "1"), (r"(\d)\.png", "6")):
        code, _, err = cli(*common, "--group-from", rule, "-v")
        assert (code, "the feature file is complete already" in err) == (0, True), err
        assert store.read_bytes() == before
        assert len(set(json.loads((run / "features" / "dataset.json").read_text())["groups"].values())) == int(patients)
    code, _, err = cli(
        "boost", "--out", run, "--folds", "3", "--seeds", 1, "--jobs", 1, "--param", "min_data_in_leaf=2",
        "--param", "num_iterations=2",
    )  # fmt: skip
    assert code == 0, err
    with (run / "boost" / "3-grouped-lightgbm" / "folds.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert all(row["group"] == row["image_id"][-5] for row in rows)
    folds = {}
    for row in rows:
        folds.setdefault(row["group"], set()).add(row["fold"])
    assert all(len(found) == 1 for found in folds.values())
    last = sorted((run / "records").glob("*featurize*"))[-1]
    assert json.loads(last.read_text())["config"]["group_from"] == r"(\d)\.png"


def test_columns_by_other_names(tmp_path):
    tree(tmp_path, "1.png", "2.png")
    text = "Bild Datei,diagnosis,Patient-Nr,label,group\n1.png,a,7,x,g\n2.png,b,8,y,h\n"
    (tmp_path / "m.csv").write_text(text)
    dataset = read_dataset(
        tmp_path / "m.csv", path_column="bild_datei", label_column="Diagnosis", group_column="patient nr"
    )
    assert told(dataset) == [("1.png", "a", "7"), ("2.png", "b", "8")]
    assert findings(dataset, "note") == ["m.csv: columns that are not used: label, group"]
    assert dataset.records[0].columns == (("patient_nr", "7"), ("label", "x"), ("group", "g"))
    with pytest.raises(InputError, match="must have a column `sort` .*; there are Bild Datei, diagnosis, Patient-Nr"):
        read_dataset(tmp_path / "m.csv", path_column="bild datei", label_column="sort")
    ruled = read_dataset(tmp_path / "m.csv", path_column="bild datei", label_column="label", group_column="group",
                         group_from="(.)$", label_from="x|y")  # fmt: skip
    assert told(ruled) == [("1.png", "x", "g"), ("2.png", "y", "h")]


def test_rules_on_the_paths_of_a_manifest(tmp_path):
    tree(tmp_path, "a/P1/1.png", "b/P2/2.png")
    (tmp_path / "m.csv").write_text("path,label,patient,image_id\n./a/P1/1.png,x,q,one\nb/P2/2.png,y,q,two\n")
    dataset = read_dataset(tmp_path / "m.csv", group_from=2, label_from="^[ab]")
    assert told(dataset) == [("one", "a", "P1"), ("two", "b", "P2")]
    assert "columns that are not used: label, patient" in findings(dataset, "note")[0]
    absolute = tmp_path / "n.csv"
    absolute.write_text(f"path\n{tmp_path}/a/P1/1.png\n{tmp_path}/b/P2/2.png\n")
    assert [r.group for r in read_dataset(absolute, group_from=-1).records] == ["P1", "P2"]


@pytest.mark.parametrize(
    ("mark", "encoding", "notes"),
    [
        (";", "utf-8", ["m.csv: its columns are taken to be separated by semicolons"]),
        ("\t", "utf-8-sig", ["m.csv: its columns are taken to be separated by tabs"]),
        ("\t", "utf-16", ["m.csv: read as UTF-16", "m.csv: its columns are taken to be separated by tabs"]),
    ],
)
def test_tables_as_spreadsheets_write_them(tmp_path, mark, encoding, notes):
    r"""Paths of Windows, decimals with a comma, empty cells and lines, accents."""
    tree(tmp_path, "süd/1.png", "süd/2.png", "nord west/3.png")
    lines = [
        "Path,Label,Group,Dicke",
        r"süd\1.png,Bénin,P1,0#5",
        "",
        r"süd\2.png,malin,,1#25",
        "nord west/3.png,malin,P2,",
    ]
    text = "\r\n".join(lines).replace(",", mark).replace("#", ",") + "\r\n"
    (tmp_path / "m.csv").write_bytes(text.encode(encoding))
    dataset = read_dataset(tmp_path / "m.csv")
    assert told(dataset) == [
        ("nord west/3.png", "malin", "P2"), ("süd/1.png", "Bénin", "P1"), ("süd/2.png", "malin", None),
    ]  # fmt: skip
    assert [dict(r.columns).get("dicke") for r in dataset.records] == [None, "0,5", "1,25"]
    assert findings(dataset, "note")[: len(notes)] == notes
    assert findings(dataset, "error") == []


def test_a_name_with_a_backslash_is_a_name(tmp_path):
    tree(tmp_path, "a\\1.png", "a/1.png")
    (tmp_path / "m.csv").write_text("path,label\na\\1.png,x\n")
    assert [r.path.name for r in read_dataset(tmp_path / "m.csv").records] == ["a\\1.png"]
