"""Tables as people save them: what stands above the header, in other sheets, hidden, or below the last image."""

import pytest
from bchisto.core.formats import read_csv
from sample_trees import tree
from written_tables import checked, listed, unlisted, write_lines

NAMES = tuple(f"{n}.png" for n in range(6))
ROWS = [(name, "ab"[n % 2], f"P{n}") for n, name in enumerate(NAMES)]
HEADER = ("path", "label", "patient")


def text_table(folder, text, mark=","):
    """Write lines and the rows of images below, and make the images."""
    tree(folder, *NAMES)
    lines = [mark.join(row) for row in ROWS]
    path = folder / "t.csv"
    path.write_text(text.replace("ROWS", "\n".join(lines)))
    return path


def book_of(folder, sheets, hidden=(), hidden_sheets=(), merge=()):
    """Write a workbook; `sheets` maps titles to rows, and `hidden` has lines of the last one."""
    from openpyxl import Workbook

    tree(folder, *NAMES)
    book = Workbook()
    book.remove(book.active)
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
        if title in hidden_sheets:
            sheet.sheet_state = "hidden"
    for line in hidden:
        sheet.row_dimensions[line].hidden = True
    for cells in merge:
        sheet.merge_cells(cells)
    book.save(folder / "t.xlsx")
    return folder / "t.xlsx"


def is_whole(cli, path):
    """Assert that the table is read as if it had nothing but header and rows."""
    rows, err = listed(cli, path)
    found = [(name, row["label"], row["group"]) for name, row in rows.items()]
    assert found == ROWS
    return err


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        ("sep=;\npath;label;patient\nROWS\n", ";"),
        ("sep=,\r\npath,label,patient\nROWS\n", ","),
        ('"sep=|"\npath|label|patient\nROWS\n', "|"),
        ("\ufeffSEP=\t\nFile name\tDiagnosis\tPatient ID\nROWS\n", "\t"),
        ("# exported 2024, by A, B and C\npath;label;patient\nROWS\n", ";"),
        ("# image, label: of Dr X\n#\npath,label,patient\nROWS\n", ","),
        ("Images\n\npath,label,patient\nROWS\n", ","),
        ('Breast, 2019 to 2021\n"Source: A,\nB"\n\n\nImage;Class;Case\nROWS\n', ";"),
        ("Specimen,,Person\nfile,diagnosis,patient\nROWS\n", ","),
        ("Image,Reading,Person\npath,label,patient\nROWS\n".replace("Image", "Slides read"), ","),
        ("Image,Diagnosis,Patient\n,WHO,number\nROWS\n", ","),
        ("path,label (a or b),patient [pseudonym]\nROWS\n", ","),
        ("path,label,patient\nROWS\nTotal,6\n", ","),
        ("path,label,patient\nROWS\n\nn = 6,,\nMean:,3,\n", ","),
        ("path;label;patient\nROWS\nSumme;;6\n\nNote: read twice, by A\n", ";"),
        ("#path,label,patient\nROWS\n", ","),
    ],
)
def test_what_is_above_and_below_the_rows(tmp_path, cli, text, mark):
    path = text_table(tmp_path, text, mark)
    is_whole(cli, path)
    assert checked(cli, path)[1].count("error") == 0


@pytest.mark.parametrize("title", ["mpp [um/px]", "mpp (µm/pixel)", "um/px", "MPP_(um)", "µm/px"])
def test_units_in_the_header(tmp_path, cli, title):
    tree(tmp_path, *NAMES)
    lines = [f"path;label;{title}", *(f"{name};a;0,42" for name in NAMES)]
    write_lines(tmp_path / "t.csv", *lines)
    assert {row["mpp"] for row in listed(cli, tmp_path / "t.csv")[0].values()} == {"0.42"}


def test_a_first_image_without_a_label_is_no_second_header(tmp_path, cli):
    tree(tmp_path, *NAMES)
    lines = ["label,path", f",{NAMES[0]}", *(f"a,{name}" for name in NAMES[1:])]
    write_lines(tmp_path / "t.csv", *lines)
    assert len(listed(cli, tmp_path / "t.csv")[0]) == 6


def test_a_row_without_a_path_is_no_second_header(tmp_path, cli):
    path = text_table(tmp_path, "path,label,patient\n,a,Px\nROWS\n")
    err = unlisted(cli, path)
    assert "t.csv:2: an empty path; remove the row" in err


def test_a_row_of_units(tmp_path, cli):
    tree(tmp_path, *NAMES)
    lines = ["path,label,mpp", ",,um/px", *(f"{name},a,0.42" for name in NAMES)]
    write_lines(tmp_path / "t.csv", *lines)
    assert {row["mpp"] for row in listed(cli, tmp_path / "t.csv")[0].values()} == {"0.42"}


def test_a_remark_in_brackets_counts_only_without_the_plain_name(tmp_path, cli):
    path = text_table(tmp_path, "path,label,patient,label (second reader)\nROWS\n")
    is_whole(cli, path)


@pytest.mark.parametrize("lines", [(), (3,), (3, 5, 6)])
def test_hidden_rows(tmp_path, cli, lines):
    path = book_of(tmp_path, {"A": [HEADER, *ROWS]}, hidden=lines)
    is_whole(cli, path)
    code, out = checked(cli, path)
    text = f"{len(lines)} of 6 rows are hidden, as by a filter, first row 3; all are used"
    assert (text in out) == bool(lines)
    assert code == 1 or not lines


def test_a_header_that_is_hidden_is_no_row(tmp_path, cli):
    path = book_of(tmp_path, {"A": [("Breast",), HEADER, *ROWS]}, hidden=(1, 2))
    assert "are hidden" not in is_whole(cli, path)


@pytest.mark.parametrize(
    ("above", "merge"),
    [
        ([("Breast, 2019",), ()], ["A1:C2"]),
        ([("Sample", "Reading", "")], ["B1:C1"]),
        ([("made by A",), ("on Monday",), ()], []),
    ],
)
def test_titles_in_a_workbook(tmp_path, cli, above, merge):
    is_whole(cli, book_of(tmp_path, {"A": [*above, HEADER, *ROWS]}, merge=merge))


def test_a_header_merged_over_two_rows(tmp_path, cli):
    rows = [("Image", "Reading", "Patient"), ("", "Diagnosis", ""), *ROWS]
    path = book_of(tmp_path, {"A": rows}, merge=["A1:A2", "C1:C2"])
    found, _ = listed(cli, path, "--label-column", "Reading [Diagnosis]")
    assert [row["label"] for row in found.values()] == [label for _, label, _ in ROWS]


@pytest.mark.parametrize("title", ["README", "Legend", "Summary"])
def test_the_sheet_with_the_header_is_read(tmp_path, cli, title):
    path = book_of(tmp_path, {title: [("What this is",), ("class", 3)], "Data": [HEADER, *ROWS]})
    assert "the sheet Data is read; 1 more are not" in is_whole(cli, path)
    assert "warning" not in checked(cli, path)[1].partition("Data is read")[0]


def test_two_sheets_of_rows_are_a_warning(tmp_path, cli):
    sheets = {"benign": [HEADER, *ROWS], "malignant": [HEADER, ROWS[0]]}
    code, out = checked(cli, book_of(tmp_path, sheets))
    assert code == 1
    assert "only the sheet benign is read, though others have such a header: malignant" in out
    hidden = checked(cli, book_of(tmp_path, sheets, hidden_sheets=["malignant"]))[1]
    assert "only the sheet" not in hidden


def test_predictions_and_lists_are_read_alike(tmp_path, completed):
    rows = [f"i{n};{'ab'[n % 2]};0,{3 + n};0,{7 - n}" for n in range(4)]
    lines = ["sep=;", "Run 7, of May", "id;label;p_a;p_b", *rows, "Mean;;0,4;0,6"]
    write_lines(tmp_path / "p.csv", *lines)
    _, err = completed("evaluate T/p.csv --out T/out --bootstrap 0")
    assert "the header ends in line 3; what is above is not read" in err
    assert "line 8 is a footer, and not read: Mean" in err


def test_lines_of_a_table_without_a_header_are_named_as_before(tmp_path, cli):
    path = text_table(tmp_path, "0.png,a,P1\nROWS\n")
    err = unlisted(cli, path)
    assert "the header must have a column `path`" in err


@pytest.mark.parametrize("last", ["n7", "total7", "meaning", "Sumatra", "count7.png"])
def test_names_that_only_begin_like_a_footer_are_kept(tmp_path, last):
    (tmp_path / "t.csv").write_text(f"path,label\na,x\n{last},y\n")
    assert len(read_csv(tmp_path / "t.csv", needed=["path"], expected="path").rows) == 2


@pytest.mark.parametrize(
    "names", ["#{} HE.png", "Source image {}.png", "Note {}.png", "*{} x.png", "Total {}.png"]
)
def test_images_that_are_named_as_footers_are_read(tmp_path, cli, names):
    images = [f"{n}.png" for n in range(4)] + [names.format(n) for n in (4, 5)]
    tree(tmp_path, *images)
    for chosen, end in ((images, "Total,6"), (images[4:], "")):
        rows = [f"{name},{'ab'[n % 2]},P{n}" for n, name in enumerate(chosen)]
        write_lines(tmp_path / "t.csv", "path,label,patient", *rows, end)
        assert [*listed(cli, tmp_path / "t.csv")[0]] == sorted(chosen)


def test_rows_of_evaluate_are_no_footers(tmp_path, cli):
    rows = [f"i{n},{'ab'[n % 2]},{'ab'[n % 2]}" for n in range(8)] + ["#8 x,a,b", "#9 x,b,a"]
    write_lines(tmp_path / "p.csv", "id,label,predicted", *rows)
    code, out, _ = cli("evaluate T/p.csv --out T/o --bootstrap 0")
    assert (code, "8 of 10  80.0" in out) == (0, True)


@pytest.mark.parametrize(
    "above",
    [
        "Study:,Breast,\nImages:,12,\npath,label,patient\n",
        "Images,16,\nPatients,8,\npath,label,patient\n",
        "File,tables/x.csv,\nLabel,a or b,\npath,label,patient\n",
        "Image,Pathology,\nfile,Diagnosis,case\n",
        "File,Ground,Patient\nname,truth,ID\n",
        "Image,,Patient\nfile,Diagnosis,no.\n",
    ],
)
def test_the_header_is_the_one_that_names_most(tmp_path, cli, above):
    is_whole(cli, text_table(tmp_path, f"{above}ROWS\n"))


@pytest.mark.parametrize(
    "first",
    [
        {"Clinical": [("ID", "Age", "Diagnosis"), ("P1", 50, "a")]},
        {"Dictionary": [("path", "meaning"), ("label", "a or b")]},
        {"Legend": [("Column", "Meaning"), ("path", "file")]},
    ],
)
def test_the_sheet_is_the_one_that_names_most(tmp_path, cli, first):
    book = book_of(tmp_path, {**first, "Images": [HEADER, *ROWS]})
    err = is_whole(cli, book)
    assert "the sheet Images is read; 1 more are not" in err
    assert "put all rows" not in err
