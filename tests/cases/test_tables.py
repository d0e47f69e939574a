"""What spreadsheets do to tables, in every reader of tables: joined and said, or refused by name; never lost unsaid."""

import re
import zipfile
from datetime import datetime

import numpy as np
import pytest
from bchisto.evaluate import evaluate
from conftest import typed
from sample_trees import tree
from written_tables import checked, listed, rows_of, table, unlisted

NAMES = tuple(f"{n}.png" for n in range(8))


def manifest(folder, kind, labels, **columns):
    tree(folder, *NAMES[: len(labels)])
    rows = [("path", "label", *columns), *zip(NAMES, labels, *columns.values(), strict=False)]
    return table(folder, kind, rows)


def evaluated(caplog, path, out):
    """Return the figures of a table, and what is said of it."""
    return evaluate(path, out=out, bootstrap=0).result["tables"][path.stem], caplog.text


# numbers that are equal


SPELT = "one class in several spellings: 0 (2 images), 0.0 (2 images)"


@pytest.mark.parametrize(
    ("kind", "labels", "classes", "said"),
    [
        ("semicolons", "0 0.0 1 1.0 0 0.0", {"0": 4, "1": 2}, SPELT),
        ("xlsx", "0 0.0 1 1.0 0 0.0", {"0": 4, "1": 2}, SPELT),
        ("xlsx", "0.0 0.0 1.0 1 0.0 1.0", {"0": 3, "1": 3}, "; named 1"),
        ("xlsx", "0.0 0.0 1.0 1.0 0.0 1.0", {"0": 3, "1": 3}, "the class of 0.0"),
        ("semicolons", "00 0 1e0 1 0 1", {"0": 3, "1": 3}, "0 (2 images), 00 (1 image)"),
        ("semicolons", "2,0 2 3 3,0 2 3", {"2": 3, "3": 3}, "2 (2 images), 2,0 (1 image)"),
        ("xlsx", "0.5 0.50 1.5 1.5 0.5 1.5", {"0.5": 3, "1.5": 3}, "0.5 (2 images), 0.50 (1"),
    ],
)
def test_numbers_that_are_equal_are_one_label(tmp_path, cli, kind, labels, classes, said):
    path = manifest(tmp_path, kind, labels.split())
    rows, err = listed(cli, path)
    assert err.strip().endswith(
        ": " + ", ".join(f"{name} {count}" for name, count in classes.items())
    ), err
    assert {row["label"] for row in rows.values()} == set(classes)
    assert said in checked(cli, path)[1]


def test_texts_that_are_no_numbers_stay_apart(tmp_path, cli):
    rows, _ = listed(
        cli, manifest(tmp_path, "csv", ["True", "1", "yes", "1.0.0", "1-0", "10", "I", "l"])
    )
    assert len({row["label"] for row in rows.values()}) == 8


@pytest.mark.parametrize(
    ("predicted", "kind"),
    [
        ("predicted", "csv"),
        ("predicted", "xlsx"),
        ("p_0 p_1", "semicolons"),
        ("p_0.0 p_1.0", "csv"),
    ],
)
@pytest.mark.parametrize("labels", ["0.0 0.0 1.0 1.0 1.0 0.0", "0 0.0 1.0 1 1 0"])
def test_numbers_in_predictions(tmp_path, caplog, kind, predicted, labels):
    columns = predicted.split()
    calls = [0, 1, 1, 0, 1, 0]
    cells = [[call] if len(columns) == 1 else [1 - call, call] for call in calls]
    rows = [(f"i{n}", label, *cells[n]) for n, label in enumerate(labels.split())]
    figures, err = evaluated(
        caplog, table(tmp_path, kind, [("image_id", "label", *columns), *rows]), tmp_path / "out"
    )
    assert figures["accuracy"]["value"] == pytest.approx(4 / 6)
    assert figures["classes"] == ["0", "1"]
    if predicted != "p_0.0 p_1.0" or " 1 " in labels:
        assert "WARNING" in err
        assert "several spellings" in err or "the class of 0.0" in err


@pytest.fixture
def embeddings(tmp_path):
    rng = np.random.default_rng(1)
    features = rng.normal(size=(12, 4)).astype(np.float32)
    features[:, 0] += 4 * (np.arange(12) % 2)
    np.savez(tmp_path / "e.npz", features=features, image_id=[f"s{n}" for n in range(12)])
    return tmp_path / "e.npz"


BOOST = typed("--folds 3 --group-by none --head prototype --jobs 1")


@pytest.mark.parametrize("kind", ["csv", "xlsx"])
@pytest.mark.parametrize(
    ("two", "said"),
    [
        (("0", "0.0", "1", "1.0"), "0 (3 images), 0.0 (3 images)"),
        (("0", "0\u200b", "1", "\u00a01"), ""),
    ],
)
def test_labels_beside_embeddings(tmp_path, completed, embeddings, kind, two, said):
    rows = [(f"s{n}", two[2 * (n % 2) + (n % 4 > 1)]) for n in range(12)]
    path = table(tmp_path, kind, [("slide_id", "label"), *rows])
    _, err = completed("boost --out T/run --features {} --labels {}", embeddings, path, *BOOST)
    (predictions,) = (tmp_path / "run").rglob("predictions.csv")
    found = rows_of(predictions)
    assert {row["label"] for row in found} == {"0", "1"}
    assert {"p_0", "p_1"} <= set(found[0])
    assert said in err


# what nobody sees


@pytest.mark.parametrize(
    ("kind", "sign"),
    [
        ("xlsx", "\u200b"),
        *(("semicolons", sign) for sign in "\ufeff\u00ad\u200e\u200f\u2060\u2063"),
    ],
)
def test_characters_that_nobody_sees(tmp_path, cli, kind, sign):
    tree(tmp_path, *NAMES[:4])
    rows = [
        ("path", f"label{sign}", f"{sign}patient"),
        ("0.png", "a", f"P1{sign}"),
        (f"1{sign}.png", f"a{sign}", "P1"),
    ]
    rows += [("2.png", f"{sign}b\t", "P2"), ("3.png", "b", f"P{sign}2")]
    path = table(tmp_path, kind, rows)
    found, _ = listed(cli, path)
    assert [(row["label"], row["group"]) for row in found.values()] == [("a", "P1")] * 2 + [
        ("b", "P2")
    ] * 2
    assert set(found) == set(NAMES[:4])


@pytest.mark.parametrize("blank", ["\u00a0", "\u2009", "\u202f", "\u3000", "\t"])
def test_other_blanks(tmp_path, cli, blank):
    labels = ["in situ", f"in{blank}situ", f"normal{blank}", f"{blank}normal"]
    found, _ = listed(cli, manifest(tmp_path, "xlsx", labels))
    assert [row["label"] for row in found.values()] == ["in situ"] * 2 + ["normal"] * 2


def test_files_whose_names_hold_such_characters(tmp_path, cli, completed):
    names = ["Screen\u202fshot 1.png", "a\u200b.png", "b.png", "c.png"]
    tree(tmp_path, *names)
    path = table(tmp_path, "csv", [("path", "label"), *zip(names, "xyxy", strict=True)])
    assert {row["path"] for row in listed(cli, path)[0].values()} == {
        str(tmp_path / name) for name in names
    }
    folds = tmp_path / "folds.csv"
    completed("data check --images {} --folds 2 --write-folds {}", path, folds)
    completed("data check --images {} --folds {} --write-folds T/again.csv", path, folds)
    assert folds.read_text() == (tmp_path / "again.csv").read_text()


# names that were numbers


ROUNDED = ("1.23457E+11", "1,23457E+11", "1.2e+05", "1E+12", "2.0E+15")


def is_rounded(err):
    return re.search(
        r"t\.csv:2: the \w+ '.*' is a number that the spreadsheet rounded, .*format the column as text",
        err,
    )


@pytest.mark.parametrize(
    ("column", "name"),
    [*(("patient", name) for name in ROUNDED), ("slide", ROUNDED[0]), ("image_id", ROUNDED[2])],
)
def test_rounded_names(tmp_path, cli, column, name):
    path = manifest(tmp_path, "semicolons", [*"abab"], **{column: [name] * 4})
    assert is_rounded(unlisted(cli, path))


@pytest.mark.parametrize(
    ("words", "header", "row"),
    [
        ("data check --table - --images", ("id", "label"), lambda n: ("1,23457E+11", n)),
        (
            "boost --out run --features e.npz --labels",
            ("slide_id", "label", "case_id"),
            lambda n: (f"s{n}", n, "1E+12"),
        ),
        (
            "evaluate --out out",
            ("image_id", "label", "predicted", "patient"),
            lambda n: (f"i{n}", n, n, "2.0E+15"),
        ),
        (
            "data check --write-folds f.csv --images i --folds",
            ("image_id", "fold"),
            lambda n: ("1.23457E+11", n),
        ),
    ],
)
def test_rounded_names_in_other_tables(
    tmp_path, refused, embeddings, monkeypatch, words, header, row
):
    monkeypatch.chdir(tmp_path)
    tree(tmp_path / "i", "a/1.png", "a/2.png", "b/1.png", "b/2.png")
    path = table(tmp_path, "csv", [header, *(row(n % 2) for n in range(4))])
    assert is_rounded(refused(*words.split(), path))


def test_long_numbers_of_workbooks(tmp_path, cli):
    """Twelve digits are exact, whatever the spreadsheet shows; of eighteen it keeps fifteen."""
    exact = [123456789012, 123456789012, 123456789013.0, 123456789013.0]
    found, _ = listed(cli, manifest(tmp_path, "xlsx", [*"abab"], patient=exact))
    assert [row["group"] for row in found.values()] == ["123456789012"] * 2 + ["123456789013"] * 2
    long = [1.23456789012345e17, 1.23456789012345e17, 9.23456789012345e17, 9.23456789012345e17]
    err = unlisted(cli, manifest(tmp_path, "xlsx", [*"abab"], patient=long))
    assert "that the spreadsheet rounded" in err


def test_names_that_only_look_so_are_kept(tmp_path, cli):
    names = ["3e10", "E+12", "1234567890123456", "1234567890123450"]
    found, _ = listed(cli, manifest(tmp_path, "csv", [*"abab"], patient=names))
    assert [row["group"] for row in found.values()] == names


# merged cells, formulas, errors, dates


def test_merged_cells_are_refused(tmp_path, cli):
    tree(tmp_path, *NAMES[:4])
    rows = [
        ("path", "label", "patient"),
        *((NAMES[n], "a" if n < 1 else "", f"P{n}") for n in range(4)),
    ]
    err = unlisted(cli, table(tmp_path, "xlsx", rows, merge=[(1, 2, 5)]))
    assert (
        "t.xlsx: has merged cells, of which only the first has the value; fill in every row" in err
    )


def stored(path, value):
    """Give the formulas of a workbook a stored value, as some libraries do."""
    with zipfile.ZipFile(path) as old:
        parts = {name: old.read(name) for name in old.namelist()}
    sheet = "xl/worksheets/sheet1.xml"
    parts[sheet] = (
        parts[sheet].replace(b"</f><v></v>", b"</f>" + value).replace(b"</f><v />", b"</f>" + value)
    )
    assert value in parts[sheet]
    with zipfile.ZipFile(path, "w") as new:
        for name, part in parts.items():
            new.writestr(name, part)


FORMULA = '=IF(A2="",0,1)'


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("label", None),
        ("label", b"<v>0</v>"),
        ("patient", b"<v>0</v>"),
        ("image_id", None),
        ("mpp", None),
    ],
)
def test_formulas_that_no_spreadsheet_computed(tmp_path, cli, column, value):
    columns = {name: [FORMULA] * 4 for name in ("patient", "image_id", "mpp") if name == column}
    path = manifest(tmp_path, "xlsx", [FORMULA] * 4 if column == "label" else [*"abab"], **columns)
    if value:
        stored(path, value)
    err = unlisted(cli, path)
    assert "t.xlsx: has a formula without a stored value; save it in a spreadsheet program" in err


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("csv", "#DIV/0!"),
        ("csv", "#NAME?"),
        ("csv", "########"),
        ("xlsx", "#REF!"),
        ("xlsx", "#N/A"),
    ],
)
def test_errors_are_no_labels(tmp_path, cli, kind, error):
    path = manifest(tmp_path, kind, [error, "a", "b", "a"])
    err = unlisted(cli, path)
    assert f"{path.name}:2" in err
    assert "is an error of the spreadsheet" in err or "means unknown" in err


@pytest.mark.parametrize(
    "arguments",
    [
        "data check --table - --images",
        "evaluate --out out",
        "data check --write-folds f.csv --images {} --folds",
    ],
)
def test_old_workbooks_are_refused_with_a_cure(tmp_path, refused, arguments):
    tree(tmp_path / "images", *(f"{label}/{name}" for label in "ab" for name in NAMES))
    (tmp_path / "t.xls").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(4000))
    words = arguments.format(tmp_path / "images").split()
    err = refused(*words, tmp_path / "t.xls")
    assert (
        "an old document of Office (.xls) or a microscope; open it and save its first sheet as .xlsx or CSV"
        in err
    )


@pytest.mark.parametrize("kind", ["csv", "xlsx"])
@pytest.mark.parametrize("column", ["label", "patient"])
def test_dates_that_were_names(tmp_path, cli, kind, column):
    cells = (
        [datetime.fromisoformat(day) for day in ("2026-01-02", "2026-01-03")]
        if kind != "csv"
        else ["2-Jan", "Jan-03"]
    )
    cells = [cells[0], cells[1], cells[0], cells[1]]
    columns = {"labels": cells} if column == "label" else {"labels": [*"abab"], "patient": cells}
    err = unlisted(cli, manifest(tmp_path, kind, **columns))
    assert f"the {column} " in err
    assert "is a date, which a spreadsheet makes of names such as 1-2" in err


# numbers


@pytest.mark.parametrize(
    ("kind", "cell", "mpp"),
    [
        ("semicolons", "0,42", 0.42),
        ("xlsx", "0.42", 0.42),
        ("semicolons", " 1,0 ", 1.0),
        ("xlsx", "", ""),
        ("xlsx", "0,42\u00a0", 0.42),
    ],
)
def test_decimal_commas_of_micrometres(tmp_path, cli, kind, cell, mpp):
    found, _ = listed(cli, manifest(tmp_path, kind, [*"abab"], mpp=[cell] * 4))
    assert {row["mpp"] for row in found.values()} == {str(mpp)}


@pytest.mark.parametrize("cell", ["1,234.5", "1.234,5", "0.42 um", "42 %", "1_0", "420", "0", "-1"])
def test_other_numbers_of_micrometres_are_refused(tmp_path, cli, cell):
    code, out = checked(cli, manifest(tmp_path, "semicolons", [*"abab"], mpp=[cell] * 4))
    assert code == 1
    assert f"mpp {cell}: give micrometres per pixel, 0.02 to 20 such as 0.42, or none" in out
    assert "no image has a label" not in out


@pytest.mark.parametrize("kind", ["csv", "semicolons", "tabs", "xlsx"])
def test_decimal_commas_of_probabilities(tmp_path, caplog, kind):
    rows = [("a", "x", "0,7", "0,3"), ("b", "y", "1,000", "0,000"), ("c", "y", "4,0E-1", "0,6")]
    figures, _ = evaluated(
        caplog,
        table(tmp_path, kind, [("image_id", "label", "p_x", "p_y"), *rows]),
        tmp_path / "out",
    )
    assert figures["accuracy"]["value"] == pytest.approx(2 / 3)


@pytest.mark.parametrize("cell", ["50.7%", "50,7 %", "1,000.0", "#REF!", "2-Jan"])
def test_other_probabilities_are_refused(tmp_path, refused, cell):
    path = table(
        tmp_path,
        "semicolons",
        [("image_id", "label", "p_x", "p_y"), ("a", "x", cell, "0"), ("b", "y", "0", "1")],
    )
    err = refused("evaluate {} --out T/out", path)
    assert "t.csv:2" in err
    assert "p_x" in err
    assert cell in err


# paths of another machine


STARTS = (
    "/content/drive/MyDrive/Breast/",
    "C:\\Users\\Jörg\\Desktop\\",
    "\\\\server\\share\\all data\\",
    "file:///home/x/",
    "~/data/",
    "D:/x/",
    "../elsewhere/",
)


@pytest.mark.parametrize(
    ("start", "kind"), [*((start, "csv") for start in STARTS), (STARTS[1], "xlsx")]
)
def test_paths_of_another_machine(tmp_path, cli, refused, start, kind):
    names = [f"img/{n}.png" for n in range(12)]
    tree(tmp_path, *names)
    written = [start + (name.replace("/", "\\") if "\\" in start else name) for name in names]
    labels = "ab" * 6
    path = table(tmp_path, kind, [("path", "label"), *zip(written, labels, strict=True)])
    for found, err in (listed(cli, path), listed(cli, tmp_path / "img", "--labels", path)):
        assert [row["label"] for row in found.values()] == [
            "ab"[int(name.rpartition("/")[2].partition(".")[0]) % 2] for name in found
        ]
        assert "12 of 12 rows name the image with another folder" in err
    path = table(tmp_path, kind, [("path", "label"), *((f"{start}{n}.tif", "a") for n in "xyz")])
    code, out = checked(cli, path)
    assert code == 1
    assert f"there are no such files, first {start}" in out
    assert "no image has a label" not in out
    err = refused("featurize --images {} --out T/run", path)
    assert f"there is no file {tmp_path}" in err or f"there is no file {start}" in err


def test_many_paths_that_lead_nowhere_are_one_line(tmp_path, cli):
    tree(tmp_path, "here.png")
    rows = [(f"/data/x/{n % 7}/{n}.png", "ab"[n % 2]) for n in range(3000)]
    code, out, err = cli(
        "data check --no-timing --no-copies --images {}",
        table(tmp_path, "csv", [("file", "label"), *rows]),
    )
    assert code == 1
    assert len((out + err).splitlines()) < 40
    text = " ".join((out + err).split())
    assert "and 2997 more: there are no such files, first /data/x/0/0.png" in text
    assert "no image has a label" not in text


# files of people who met these


def test_the_cases(shared, tmp_path, cli, caplog):
    """Labels as floats, a decimal comma, paths of Colab, and ids without a suffix."""
    cases = shared / "data" / "cases"
    figures, err = evaluated(caplog, cases / "c09_labels_mixed.csv", tmp_path / "out")
    assert round(24 * figures["accuracy"]["value"]) == 14
    assert "one class in several spellings" in err
    tree(tmp_path, *(f"img/im{n:02d}.png" for n in range(24)))
    (tmp_path / "m.csv").write_text((cases / "c19_mpp_with_comma.csv").read_text())
    assert [row["mpp"] for row in listed(cli, tmp_path / "m.csv")[0].values()] == ["0.42"] * 24
    assert (
        "first /content/drive/MyDrive/Breast/" in checked(cli, cases / "c17_paths_of_colab.csv")[1]
    )
    for name in ("c17_paths_of_colab.csv", "c16_ids_without_suffix.csv"):  # the advice leads on
        found, _ = listed(cli, tmp_path / "img", "--labels", cases / name)
        assert [row["label"] != "" for row in found.values()] == [True] * 24
