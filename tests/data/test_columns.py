"""Columns by whatever name: every spelling gives the same images, labels and patients; what is in doubt is refused."""

import json

import pytest
from bchisto.core import InputError
from bchisto.data import join_groups, read_dataset
from bchisto.data.folds.folds import read_fold_list
from sample_trees import findings, tree

NAMES = [f"{n}.png" for n in range(1, 7)]
LABELS = ["a", "b", "a", "b", "a", "b"]
PATIENTS = ["p1", "p1", "p2", "p2", "p3", "p3"]


def manifest(folder, header, *columns, mark=",", encoding="utf-8"):
    tree(folder, *NAMES)
    lines = [header, *(mark.join(cells) for cells in zip(NAMES, *columns, strict=True))]
    (folder / "m.csv").write_bytes("\n".join(lines).encode(encoding))
    return folder / "m.csv"


def told(dataset):
    return [(r.image_id, r.label, r.group) for r in dataset.records]


EXPECTED = list(zip(NAMES, LABELS, PATIENTS, strict=True))

GROUPS = [
    "group", "Group", "patient", "Patient ID", "PatientID", "patient_no", "patients", "Patient-Nr", "case", "Case_ID",
    "slide", "slide_id", "SubjectID", "patient.id",
]  # fmt: skip


@pytest.mark.parametrize("name", GROUPS)
def test_patients(tmp_path, name):
    dataset = read_dataset(manifest(tmp_path, f"path,label,{name}", LABELS, PATIENTS))
    assert told(dataset) == EXPECTED
    assert findings(dataset, "warning") == findings(dataset, "error") == []
    plain = name.casefold() == "group"
    assert findings(dataset, "note") == [] if plain else [f"m.csv: the group is taken from the column {name}"]


@pytest.mark.parametrize("name", ["label", "Labels", "class", "Diagnosis", "TARGET", "y", "ground truth", "y_true"])
def test_labels(tmp_path, name):
    dataset = read_dataset(manifest(tmp_path, f"path,{name},group", LABELS, PATIENTS))
    assert told(dataset) == EXPECTED
    assert findings(dataset, "warning") == []


@pytest.mark.parametrize("name", ["path", "File", "file_name", "ImagePath", "filename"])
@pytest.mark.parametrize(("mark", "encoding"), [(",", "utf-8"), (";", "utf-8-sig"), ("\t", "utf-16")])
def test_paths(tmp_path, name, mark, encoding):
    header = mark.join((name, "label", "group"))
    assert told(read_dataset(manifest(tmp_path, header, LABELS, PATIENTS, mark=mark, encoding=encoding))) == EXPECTED


def test_a_label_that_is_not_seen_is_named(tmp_path, cli):
    path = manifest(tmp_path, "path,Befund,group", LABELS, PATIENTS)
    code, out, _ = cli("data", "check", "--images", path, "--no-copies")
    assert code == 1
    assert "columns that are not used: Befund; name the label column with --label-column" in out
    _, _, err = cli("data", "list", "--images", path)
    assert "columns that are not used: Befund; name the label column with --label-column" in err
    code, out, err = cli("data", "list", "--images", path, "--label-column", "Befund")
    assert (code, "6 images: a 3, b 3" in err) == (0, True)


@pytest.mark.parametrize("name", ["PatientenNr", "MRN", "pats"])
def test_a_column_that_may_hold_patients_is_named(tmp_path, cli, name):
    path = manifest(tmp_path, f"path,label,{name}", LABELS, PATIENTS)
    code, out, _ = cli("data", "check", "--images", path, "--no-copies")
    assert code == 1
    assert f"the column {name} may hold the patients, and is not used; if it does, name it with --group-column" in out
    path = manifest(tmp_path, "path,label,patient_age,patient_sex", LABELS, ["50"] * 6, ["f"] * 6)
    assert findings(read_dataset(path), "warning") == []


@pytest.mark.parametrize(
    ("header", "columns", "message"),
    [
        ("path,label,patient,case_id", (LABELS, PATIENTS, list("123456")),
         "the columns patient and case_id may both hold the group, and differ; name the one that does with "
         "--group-column"),
        ("path,label,group,patient", (LABELS, ["x"] * 3 + ["y"] * 3, PATIENTS),
         "the columns group and patient may both hold the group, and differ"),
        ("path,class,diagnosis,group", (LABELS, ["c"] * 5 + ["d"], PATIENTS),
         "the columns class and diagnosis may both hold the label, and differ; name the one that does with "
         "--label-column"),
    ],
)  # fmt: skip
def test_two_columns_for_one_thing_are_refused(tmp_path, cli, header, columns, message):
    code, _, err = cli("data", "list", "--images", manifest(tmp_path, header, *columns))
    assert (code, message in err) == (2, True), err


def test_columns_that_agree_are_no_doubt(tmp_path):
    """Numbers of the same patients under another name, slides of patients, and a column in which nothing stands."""
    numbers = ["7", "7", "8", "8", "9", "9"]
    for header, columns in (
        ("path,label,patient,case", (LABELS, PATIENTS, numbers)),
        ("path,label,slide,patient", (LABELS, list("abcdef"), PATIENTS)),
        ("path,label,group,patient", (LABELS, [""] * 6, PATIENTS)),
        ("path,label,diagnosis,group", (LABELS, list("cdefgh"), PATIENTS)),
    ):
        assert told(read_dataset(manifest(tmp_path, header, *columns))) == EXPECTED


@pytest.mark.parametrize(
    ("spelled", "means"),
    [
        (["P1", "p1", "P2", "P2", "P3", "P3"], ["P1", "P1", "P2", "P2", "P3", "P3"]),
        (["1", "001", "1.0", "2", "3", "3"], ["001", "001", "001", "2", "3", "3"]),
        (["10", "10", "1", "1", "100", "100"], ["10", "10", "1", "1", "100", "100"]),
    ],
)
def test_spellings_of_a_patient(tmp_path, spelled, means):
    dataset = read_dataset(manifest(tmp_path, "path,label,patient", LABELS, spelled))
    assert [r.group for r in dataset.records] == means
    assert len(findings(dataset, "warning")) == (spelled != means)
    if spelled != means:
        assert "are taken for one patient: " in findings(dataset, "warning")[0]


@pytest.mark.parametrize("missing", ["NA", "nan", "N/A", "null", "None", "unknown", "", "NaN", "#N/A", "<NA>", "n.a."])
def test_what_is_missing_is_no_patient(tmp_path, missing):
    dataset = read_dataset(manifest(tmp_path, "path,label,patient", LABELS, [missing] * 3 + ["p", "q", "q"]))
    assert [r.group for r in dataset.records] == [None, None, None, "p", "q", "q"]
    assert "3 of 6 images name no group" in findings(dataset, "warning")[0]


@pytest.mark.parametrize("missing", ["NA", "nan", "N/A", "null", "None"])
def test_what_is_missing_is_no_label(tmp_path, cli, missing):
    path = manifest(tmp_path, "path,label", [missing, *LABELS[1:]])
    code, _, err = cli("data", "list", "--images", path)
    assert code == 2
    assert f"m.csv:2: {missing} as a label means unknown; leave the cell empty, or name {missing} in" in err
    code, _, err = cli("data", "list", "--images", path, "--classes", f"a,b,{missing}")
    assert (code, f"{missing} 1" in err) == (0, True), err


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("1.png,a,P1,\n1.png,a,P2,\n", r"has two patients, P1 \(m\.csv:2\) and P2 \(m\.csv:3\)"),
        ("1.png,a,P1,train\n1.png,a,P1,test\n", r"has two parts of a split, train \(m\.csv:2\) and test \(m\.csv:3\)"),
        ("1.png,a,P1,\n1.png,b,P1,\n", r"has two labels, a \(m\.csv:2\) and b \(m\.csv:3\)"),
    ],
)
@pytest.mark.parametrize("ids", [False, True])
def test_one_image_twice(tmp_path, cli, rows, message, ids):
    """Also under two ids: the file is the same."""
    tree(tmp_path, "1.png")
    lines = ["path,label,patient,split", *rows.splitlines()]
    if ids:
        lines = [f"{line},{'image_id' if not n else f'i{n}'}" for n, line in enumerate(lines)]
    (tmp_path / "m.csv").write_text("\n".join(lines))
    with pytest.raises(InputError, match=message):
        read_dataset(tmp_path / "m.csv").raise_errors()
    code, _, err = cli("data", "list", "--images", tmp_path / "m.csv")
    assert (code, "the same image has two" in err) == (2, True)


@pytest.mark.parametrize(
    "header",
    ["image_id,fold,part", "ImageID;Fold;Part", "filename\tfold\tsplit", "image,fold_no,subset", "slide_id,fold,part"],
)
def test_fold_lists(tmp_path, header):
    mark = next(one for one in ",;\t" if one in header)
    rows = [("x", "1", "Training"), ("y", "1", "test")]
    (tmp_path / "f.csv").write_text("\n".join([header, *(mark.join(row) for row in rows)]))
    assert read_fold_list(tmp_path / "f.csv") == [("x", 1, "train"), ("y", 1, "test")]


def test_names_of_patients():
    names, found = join_groups(["é", "e\u0301", "0", "00", "1.50", "1.5", None, "NA"], where="t")
    assert names["é"] == names["e\u0301"]
    assert names["0"] == names["00"]
    assert (names["1.50"], names["1.5"], names["NA"]) == ("1.50", "1.5", None)
    assert [finding.level for finding in found] == ["note", "warning"]
    assert json.dumps(join_groups([], where="t")) == "[{}, []]"
