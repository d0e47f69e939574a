"""Columns by whatever name: every spelling gives the same images, labels and patients; what is in doubt is refused."""

import json
import re

import pytest
from bchisto.core import InputError
from bchisto.data import join_groups, match_class, read_dataset, spell_labels
from bchisto.data.folds.folds import read_fold_list
from sample_trees import findings, told, tree
from written_tables import checked, listed, read_json, unlisted

NAMES = [f"{n}.png" for n in range(1, 7)]
LABELS = ["a", "b", "a", "b", "a", "b"]
PATIENTS = ["p1", "p1", "p2", "p2", "p3", "p3"]


def manifest(folder, header, *columns, mark=",", encoding="utf-8"):
    tree(folder, *NAMES)
    lines = [header, *(mark.join(cells) for cells in zip(NAMES, *columns, strict=True))]
    (folder / "m.csv").write_bytes("\n".join(lines).encode(encoding))
    return folder / "m.csv"


def read(dataset):
    return [(r.image_id, r.label, r.group) for r in dataset.records]


def table(folder, text):
    (folder / "m.csv").write_text(text)
    return folder / "m.csv"


EXPECTED = list(zip(NAMES, LABELS, PATIENTS, strict=True))

WORDS = ("patient", "case", "slide", "subject", "animal", "participant")
GROUPS = [
    "group",
    "Group",
    "patient",
    "Patient ID",
    "PatientID",
    "patient_no",
    "patients",
    "Patient-Nr",
    "case",
    "Case_ID",
    "slide",
    "slide_id",
    "SubjectID",
    "patient.id",
]


def called(name):
    """What a column calls its groups: a word that it begins with, else a patient."""
    letters = re.sub("[^a-z]", "", name.casefold())
    return next((word for word in WORDS if letters.startswith(word)), "patient")


@pytest.mark.parametrize("name", GROUPS)
def test_patients(tmp_path, name):
    dataset = read_dataset(manifest(tmp_path, f"path,label,{name}", LABELS, PATIENTS))
    assert read(dataset) == EXPECTED
    assert findings(dataset, "warning") == findings(dataset, "error") == []
    plain = name.casefold() == "group"
    assert (
        findings(dataset, "note") == []
        if plain
        else [f"m.csv: the {called(name)} is taken from the column {name}"]
    )


@pytest.mark.parametrize(
    "name", ["label", "Labels", "class", "Diagnosis", "TARGET", "y", "ground truth", "y_true"]
)
def test_labels(tmp_path, name):
    dataset = read_dataset(manifest(tmp_path, f"path,{name},group", LABELS, PATIENTS))
    assert read(dataset) == EXPECTED
    assert findings(dataset, "warning") == []


@pytest.mark.parametrize("name", ["path", "File", "file_name", "ImagePath", "filename"])
@pytest.mark.parametrize(
    ("mark", "encoding"), [(",", "utf-8"), (";", "utf-8-sig"), ("\t", "utf-8")]
)
def test_paths(tmp_path, name, mark, encoding):
    header = mark.join((name, "label", "group"))
    assert (
        read(
            read_dataset(manifest(tmp_path, header, LABELS, PATIENTS, mark=mark, encoding=encoding))
        )
        == EXPECTED
    )


def test_a_label_that_is_not_seen_is_named(tmp_path, cli):
    path = manifest(tmp_path, "path,Befund,group", LABELS, PATIENTS)
    advice = "other columns: Befund; name the label column with --label-column"
    code, out = checked(cli, path)
    assert code == 1
    assert advice in out
    assert advice in listed(cli, path)[1]
    assert "6 images: a 3, b 3" in listed(cli, path, "--label-column", "Befund")[1]


@pytest.mark.parametrize("name", ["PatientenNr", "MRN", "pats"])
def test_a_column_that_may_hold_patients_is_named(tmp_path, cli, name):
    path = manifest(tmp_path, f"path,label,{name}", LABELS, PATIENTS)
    code, out = checked(cli, path)
    assert code == 1
    assert (
        f"the column {name} may hold the patients, and is not used; if it does, name it with --group-column"
        in out
    )
    path = manifest(tmp_path, "path,label,patient_age,patient_sex", LABELS, ["50"] * 6, ["f"] * 6)
    assert findings(read_dataset(path), "warning") == []


@pytest.mark.parametrize(
    ("header", "columns", "message"),
    [
        (
            "path,label,patient,case_id",
            (LABELS, PATIENTS, list("123456")),
            "the columns patient and case_id may both hold the patient or slide, and differ; name the one that does "
            "with "
            "--group-column",
        ),
        (
            "path,label,group,patient",
            (LABELS, ["x"] * 3 + ["y"] * 3, PATIENTS),
            "the columns group and patient may both hold the patient or slide, and differ",
        ),
        (
            "path,class,diagnosis,group",
            (LABELS, ["c"] * 5 + ["d"], PATIENTS),
            "the columns class and diagnosis may both hold the label, and differ; name the one that does "
            "with "
            "--label-column",
        ),
    ],
)
def test_two_columns_for_one_thing_are_refused(tmp_path, cli, header, columns, message):
    assert message in unlisted(cli, manifest(tmp_path, header, *columns))


def test_columns_that_agree_are_no_doubt(tmp_path):
    """Numbers of the same patients under another name, slides of patients, and a column in which nothing stands."""
    numbers = ["7", "7", "8", "8", "9", "9"]
    for header, columns in (
        ("path,label,patient,case", (LABELS, PATIENTS, numbers)),
        ("path,label,slide,patient", (LABELS, list("abcdef"), PATIENTS)),
        ("path,label,group,patient", (LABELS, [""] * 6, PATIENTS)),
        ("path,label,diagnosis,group", (LABELS, list("cdefgh"), PATIENTS)),
    ):
        assert read(read_dataset(manifest(tmp_path, header, *columns))) == EXPECTED


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


@pytest.mark.parametrize(
    "missing", ["NA", "nan", "N/A", "null", "None", "unknown", "", "NaN", "#N/A", "<NA>", "n.a."]
)
def test_what_is_missing_is_no_patient(tmp_path, missing):
    dataset = read_dataset(
        manifest(tmp_path, "path,label,patient", LABELS, [missing] * 3 + ["p", "q", "q"])
    )
    assert [r.group for r in dataset.records] == [None, None, None, "p", "q", "q"]
    assert "3 of 6 images name no patient" in findings(dataset, "warning")[0]


@pytest.mark.parametrize("missing", ["NA", "nan", "N/A", "null", "None"])
def test_what_is_missing_is_no_label(tmp_path, cli, missing):
    path = manifest(tmp_path, "path,label", [missing, *LABELS[1:]])
    err = unlisted(cli, path)
    assert (
        f"m.csv:2: {missing} as a label means unknown; leave the cell empty, or name {missing} in"
        in err
    )
    assert f"{missing} 1" in listed(cli, path, "--classes", f"a,b,{missing}")[1]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("1.png,a,P1,\n1.png,a,P2,\n", r"has two patients, P1 \(m\.csv:2\) and P2 \(m\.csv:3\)"),
        (
            "1.png,a,P1,train\n1.png,a,P1,test\n",
            r"has two parts of a split, train \(m\.csv:2\) and test \(m\.csv:3\)",
        ),
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
    path = table(tmp_path, "\n".join(lines))
    with pytest.raises(InputError, match=message):
        read_dataset(path).raise_errors()
    err = unlisted(cli, path)
    assert "the same image has two" in err


@pytest.mark.parametrize(
    "header",
    [
        "image_id,fold,part",
        "ImageID;Fold;Part",
        "filename\tfold\tsplit",
        "image,fold_no,subset",
        "slide_id,fold,part",
    ],
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
    # the rest of a column of numbers with gaps, as pandas writes it
    assert join_groups(["2.0", "6.0", "", "2.0"], where="t")[0] == {
        "2.0": "2",
        "6.0": "6",
        "": None,
    }
    assert join_groups(["v2.0", "1.5"], where="t")[0] == {"v2.0": "v2.0", "1.5": "1.5"}
    assert json.dumps(join_groups([], where="t")) == "[{}, []]"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "path,label,Label\n1.png,a,b\n",
            r"m\.csv: two columns are named Label; remove or rename one",
        ),
        (
            "Studie 2024\nBild;Patientin;Diagnose\n1.png;7;a\n2.png;8;a\n",
            r"must have a column `path` .*; there are Bild, Patientin, Diagnose in line 2; no column is known as path, "
            "patient, label; .* --path-column Bild --group-column Patientin --label-column Diagnose`",
        ),
        ("path,label\n", r"m\.csv: the manifest has no rows"),
        ("path,label\ngone.png,a\n", r"m\.csv:2: there is no file .*gone\.png"),
        ("path,label\n,a\n", r"m\.csv:2: an empty path; remove the row"),
        (
            "p\0a\0t\0h\0\n\0",
            r"m\.csv: not a UTF-8 CSV file \(null characters in its header\); save it as",
        ),
        ("path,label\n1.png,a,b\n2.png,b\n", r"m\.csv:2: more cells than the header has columns"),
        (
            f"path,label\n{'x' * 5000}.png,a\n",
            r"m\.csv:2: .* cannot be read \(File name too long\)",
        ),
        (
            "path,label,image_id\n1.png,a,x\0y\n2.png,b,z\n",
            r"holds a null character; give it another name",
        ),
    ],
)
def test_manifests_that_are_refused(tmp_path, text, message):
    tree(tmp_path, "1.png", "2.png", "3.png")
    path = table(tmp_path, text)
    with pytest.raises(InputError, match=message):
        read_dataset(path).raise_errors()


def test_a_list_of_the_command_is_a_manifest(tmp_path, completed):
    tree(tmp_path / "images", "benign/P1/1.png", "malignant/P2/2.png")
    out, err = completed("data check --table - --images T/images")
    assert (
        "benign/P1, malignant/P2: these folders below the classes are not taken for patients" in err
    )
    path = table(tmp_path, out)
    again = read_dataset(path)
    assert again.class_counts() == {"benign": 1, "malignant": 1}
    assert "columns that no model is given: magnification, source" in findings(again, "note")[0]


# names of classes: what is one class, what stays apart, and what a loosely written name means

NFC, NFD = "B\u00e9nin", "Be\u0301nin"


@pytest.mark.parametrize(
    "names",
    [
        ("-1", "1"),
        ("1-0", "10"),
        ("grade 1", "grade1", "grade_1"),
        ("a-b", "ab"),
        ("T 1", "T1", "t2"),
    ],
)
def test_names_that_differ_in_punctuation_stay_apart(tmp_path, names):
    dataset = read_dataset(tree(tmp_path, *(f"{name}/1.png" for name in names)))
    assert dataset.classes == tuple(sorted(names))
    assert set(dataset.class_counts().values()) == {1}


def test_names_that_differ_in_case_are_one_class_and_said(tmp_path):
    dataset = read_dataset(
        tree(tmp_path, "TUMOR/1.png", "Tumor/2.png", "Tumor/3.png", "other/4.png")
    )
    assert dataset.class_counts() == {"Tumor": 3, "other": 1}
    assert findings(dataset, "warning") == [
        "Tumor: one class in several spellings: TUMOR (1 image), Tumor (2 images); named Tumor"
    ]
    chosen = read_dataset(tmp_path, classes=["other", "TUMOR"])
    assert chosen.class_counts() == {"other": 1, "TUMOR": 3}
    assert "; named TUMOR" in findings(chosen, "warning")[0]


def test_unicode_forms_are_one_class(tmp_path):
    dataset = read_dataset(
        tree(tmp_path, f"{NFC}/1.png", f"{NFD}/2.png", *(f"x/{i}.png" for i in (3, 4, 5)))
    )
    assert dataset.class_counts() == {NFC: 2, "x": 3}
    assert dataset.findings == ()
    assert match_class(NFD, [NFC]) == NFC
    assert match_class(NFC, [NFD]) == NFD


def test_known_datasets_are_known_loosely_but_one_to_one(tmp_path):
    four = [f"{name}/1.png" for name in ("normal", "benign", "in_situ", "invasive")]
    assert read_dataset(tree(tmp_path, *four)).classes == ("Normal", "Benign", "InSitu", "Invasive")
    five = read_dataset(tree(tmp_path, *four, "InSitu/2.png"))
    assert five.classes == ("InSitu", "benign", "in_situ", "invasive", "normal")
    said = "InSitu (1 image) and in_situ (1 image): differ only in spaces, _ or -"
    told(five, "warning", said)


def test_loose_matching_is_refused_where_two_fit():
    with pytest.raises(InputError, match=r"'in situ' fits two classes, InSitu and in_situ"):
        match_class("in situ", ["InSitu", "in_situ"])
    assert match_class("InSitu", ["InSitu", "in_situ"]) == "InSitu"
    with pytest.raises(
        InputError, match=r"labels 'InSitu' and 'in_situ' both fit the class In Situ"
    ):
        spell_labels(["InSitu", "in_situ"], ["In Situ"])
    assert match_class("-1", ["1", "0"]) is None
    assert match_class("- 1", ["1"]) is None
    assert match_class("1 0", ["10", "1_0"]) == "1_0"
    assert match_class("-", ["_"]) is None


def test_an_order_of_classes_gets_a_clear_answer(tmp_path):
    tree(tmp_path, "a/1.png", "b/2.png", *(f"c/{i}.png" for i in (3, 4, 5)))
    with pytest.raises(
        InputError,
        match=r"its label 'b' is not among the classes a \(nor are c\); name every class in `classes`",
    ):
        read_dataset(tmp_path, classes=["a"])
    with pytest.raises(InputError, match=r"`classes` a,b,c,A: names a twice"):
        read_dataset(tmp_path, classes=["a", "b", "c", "A"])
    dataset = read_dataset(tmp_path, classes=["c", "d", "a", "b"])
    assert dataset.classes == ("c", "d", "a", "b")
    assert findings(dataset, "warning") == [f"{tmp_path}: `classes` names d, which no image has"]


def test_a_manifest_joins_spellings_before_it_compares_labels(tmp_path):
    tree(tmp_path, "1.png", "2.png")
    path = table(tmp_path, "path,label,image_id\n1.png,Tumor,i\n1.png,TUMOR,i\n2.png,x,j\n")
    dataset = read_dataset(path)
    dataset.raise_errors()
    assert dataset.class_counts() == {"TUMOR": 1, "x": 1}


# rules on paths, and columns by other names


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
    order = sorted(
        range(4), key=lambda n: ["a/P 1/1", "a/P 1/2", "b/U\u03082/3", "b/P 3/scan/4"][n]
    )
    assert [r.group for r in dataset.records] == [groups[n] for n in order]
    assert dataset.class_counts() == {"a": 2, "b": 2}
    # the last rule finds classes
    classes = ["each class is one group, as if groups were classes"] * (len(set(groups)) == 2)
    assert [str(finding.message).split(" (")[0] for finding in dataset.findings] == classes


def test_paths_that_a_rule_does_not_fit_are_counted(tmp_path):
    tree(tmp_path, "a/P1_x.png", "a/P2_x.png", "b/y.png", "b/z.png")
    dataset = read_dataset(tmp_path, group_from=r"P(\d)_")
    assert read(dataset) == [
        ("a/P1_x.png", "a", "1"),
        ("a/P2_x.png", "a", "2"),
        ("b/y.png", "b", None),
        ("b/z.png", "b", None),
    ]
    assert findings(dataset, "warning") == [
        "b/y.png, b/z.png: `group_from` fits 2 of 4 paths; the others have no group, so each counts as a "
        "patient of its own"
    ]
    with pytest.raises(
        InputError, match=r"`group_from` fits none of the 4 paths, such as a/P1_x\.png; correct it"
    ):
        read_dataset(tmp_path, group_from="Q").raise_errors()
    # a group of the pattern that takes no part, or an empty one, is none
    assert [r.group for r in read_dataset(tmp_path, group_from=r"a/(P1)?").records] == [
        "P1",
        None,
        None,
        None,
    ]


def test_labels_of_paths(tmp_path):
    tree(
        tmp_path,
        "site1/benign_1.png",
        "site1/malignant_2.png",
        f"site2/{NFD}_3.png",
        "loose_4.png",
        "malignant_5.png",
    )
    dataset = read_dataset(tmp_path, label_from=r"(?:^|/)([^\W\d_]+)_", group_from=1)
    assert {r.image_id: r.label for r in dataset.records} == {
        "loose_4.png": "loose",
        "malignant_5.png": "malignant",
        "site1/benign_1.png": "benign",
        "site1/malignant_2.png": "malignant",
        f"site2/{NFD}_3.png": "Bénin",
    }
    some = read_dataset(tmp_path, label_from="(benign|malignant)_")
    assert [r.label for r in some.records] == [None, "malignant", "benign", "malignant", None]
    assert any(
        text.startswith("loose_4.png, site2")
        and "`label_from` fits 3 of 5 paths; the others have no label" in text
        for text in findings(some, "warning")
    )
    levels = read_dataset(
        tree(tmp_path / "deep", "s1/a/x/1.png", "s2/b/x/2.png"), label_from=2, group_from=1
    )
    assert read(levels) == [("s1/a/x/1.png", "a", "s1"), ("s2/b/x/2.png", "b", "s2")]


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
    err = unlisted(cli, tmp_path / "breakhis", "--group-from", "1")
    assert "--group-from is not for images of the layout breakhis; leave it out" in err
    err = unlisted(cli, tree(tmp_path / "own", "a/1.png"), "--label-column", "x")
    assert "--label-column is not for images of the layout folder; leave it out" in err
    with pytest.raises(TypeError, match="unexpected keyword argument 'grouped_from'"):
        read_dataset(tmp_path / "own", grouped_from=1)


def test_groups_may_be_named_later(tissue, tiny_options, tmp_path, completed):
    """They are no part of what a store is compared by: nothing is described anew, and stage 2 knows them."""
    run = tmp_path / "run"
    common = ("featurize", "--images", tissue, "--out", run, *tiny_options)
    completed(*common)
    store = next((run / "features").glob("*.h5"))
    before = store.read_bytes()
    for rule, patients in ((r"n(\d)\d", "1"), (r"(\d)\.png", "6")):
        assert (
            "the feature file is complete already"
            in completed(*common, "--group-from", rule, "-v")[1]
        )
        assert store.read_bytes() == before
        assert len(set(read_json(run / "features" / "dataset.json")["groups"].values())) == int(
            patients
        )
    last = sorted((run / "records").glob("*featurize*"))[-1]
    assert read_json(last)["config"]["group_from"] == r"(\d)\.png"


def test_columns_by_other_names(tmp_path):
    tree(tmp_path, "1.png", "2.png")
    text = "Bild Datei,diagnosis,Patient-Nr,label,group\n1.png,a,7,x,g\n2.png,b,8,y,h\n"
    path = table(tmp_path, text)
    dataset = read_dataset(
        path,
        path_column="bild_datei",
        label_column="Diagnosis",
        group_column="patient nr",
    )
    assert read(dataset) == [("1.png", "a", "7"), ("2.png", "b", "8")]
    assert findings(dataset, "note") == ["m.csv: columns that no model is given: label, group"]
    assert dataset.records[0].columns == (("patient_nr", "7"), ("label", "x"), ("group", "g"))
    with pytest.raises(
        InputError,
        match="must have a column `sort` .*; there are Bild Datei, diagnosis, Patient-Nr",
    ):
        read_dataset(path, path_column="bild datei", label_column="sort")
    ruled = read_dataset(
        path,
        path_column="bild datei",
        label_column="label",
        group_column="group",
        group_from="(.)$",
        label_from="x|y",
    )
    assert read(ruled) == [("1.png", "x", "g"), ("2.png", "y", "h")]


def test_rules_on_the_paths_of_a_manifest(tmp_path):
    tree(tmp_path, "a/P1/1.png", "b/P2/2.png")
    path = table(
        tmp_path, "path,label,patient,image_id\n./a/P1/1.png,x,q,one\nb/P2/2.png,y,q,two\n"
    )
    dataset = read_dataset(path, group_from=2, label_from="^[ab]")
    assert read(dataset) == [("one", "a", "P1"), ("two", "b", "P2")]
    assert "columns that no model is given: label, patient" in findings(dataset, "note")[0]
    absolute = tmp_path / "n.csv"
    absolute.write_text(f"path\n{tmp_path}/a/P1/1.png\n{tmp_path}/b/P2/2.png\n")
    assert [r.group for r in read_dataset(absolute, group_from=-1).records] == ["P1", "P2"]


def test_a_name_with_a_backslash_is_a_name(tmp_path):
    tree(tmp_path, "a\\1.png", "a/1.png")
    (record,) = read_dataset(table(tmp_path, "path,label\na\\1.png,x\n")).records
    assert record.path.name == "a\\1.png"


def test_the_first_column_of_slides_is_offered_even_if_a_later_row_has_none(tmp_path):
    names = ["P1a/1.png", "P1b/2.png", "P2a/3.png"]
    tree(tmp_path, *names)
    rows = [f"{names[0]},x,P1a", f"{names[1]},y,P1b", f"{names[2]},x,"]
    path = table(tmp_path, "\n".join(["path,label,slide", *rows]))
    (warning,) = findings(read_dataset(path, group_from="1"), "warning")
    assert "names of groups differ only in their end (P1a, P1b)" in warning
    assert '`group_column="slide"` with `group_from=' in warning


@pytest.mark.parametrize("option", ["label_column", "group_column"])
@pytest.mark.parametrize("beside", [False, True], ids=["manifest", "labels"])
def test_the_only_column_of_paths_cannot_be_the_label_or_the_group_too(tmp_path, option, beside):
    tree(tmp_path / "images", "1.png", "2.png")
    table = tmp_path / "images" / "m.csv"
    table.write_text("Image,size\n1.png,4\n2.png,5\n")
    options = {option: "image"}
    images = table
    if beside:
        options["labels"] = table
        images = tmp_path / "images"
    with pytest.raises(InputError) as caught:
        read_dataset(images, **options)
    assert str(caught.value) == (
        f"{table}: its only column of paths is also named as label or group; name another column, or name that of the "
        "paths with `path_column`"
    )


@pytest.mark.parametrize(
    ("rows", "warned"),
    [
        ("1.png,a,P1\n2.png,b,P2\n3.png", True),
        ("1.png,a,P1\n2.png,b,P2\n3.png,b,", False),
        # tables whose rows end with their last cell
        ("1.png,a\n2.png,b,P2\n3.png,b", False),
        ("1.png,a", False),
    ],
)
def test_a_file_that_may_be_cut_is_told(tmp_path, rows, warned):
    tree(tmp_path, "1.png", "2.png", "3.png")
    path = table(tmp_path, f"path,label,group\n{rows}")
    findings = [finding for finding in read_dataset(path).findings if finding.file == "m.csv:4"]
    cut = "fewer cells than the rows before; is the file cut?"
    assert [finding.message for finding in findings] == [cut] * warned
