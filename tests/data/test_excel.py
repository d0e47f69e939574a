"""Excel workbooks as manifests and lists, and those that are damaged or made to harm."""

import datetime
import itertools
import sys
import zipfile

import pytest
from bchisto.core import DependencyError, InputError
from bchisto.data import read_dataset
from openpyxl import Workbook
from refusals import refuses
from sample_trees import findings, tree

SHEET = "xl/worksheets/sheet1.xml"
START = '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">'
HEAD = '<row r="1"><c r="A1" t="inlineStr"><is><t>path</t></is></c></row>'


def write(path, rows, *, sheets=()):
    book = Workbook()
    book.active.title = "Fälle 1"
    for row in rows:
        book.active.append(row)
    for name in sheets:
        book.create_sheet(name).append(["path", "label"])
    book.save(path)
    return path


def changed(path, target, part, text):
    """Copy a workbook with another text in the place of a part."""
    with (
        zipfile.ZipFile(path) as old,
        zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as new,
    ):
        for name in old.namelist():
            new.writestr(name, text if name == part else old.read(name))
    return target


@pytest.fixture
def images(tmp_path):
    return tree(tmp_path, "süd/1 a.png", "süd/2.png", "3.png", "4.png")


def test_cells_of_all_kinds(images):
    """Numbers without decimals, days, text with blanks, empty cells, rows between."""
    day = datetime.datetime.fromisoformat("2026-11-21")
    rows = [
        [None, None],
        ["Path ", " LABEL", "Group", "Alter", "Tag", "ok"],
        ["süd/1 a.png", "Bénin", 1.0, 50.5, day, True],
        [],
        ["süd\\2.png", "malin ", 1, 60, None, False],
        ["3.png", "malin", 10.0, None, day.replace(hour=13)],
        ["4.png", None, "x 7"],
    ]
    path = write(images / "Liste der Fälle.XLSX", rows, sheets=["b", "c"])
    dataset = read_dataset(path)
    assert [(r.image_id, r.label, r.group) for r in dataset.records] == [
        ("3.png", "malin", "10"),
        ("4.png", None, "x 7"),
        ("süd/1 a.png", "Bénin", "1"),
        ("süd/2.png", "malin", "1"),
    ]
    assert dict(dataset.records[2].columns) == {
        "group": "1",
        "alter": "50.5",
        "tag": "2026-11-21 00:00:00",
        "ok": "True",
    }
    assert dict(dataset.records[0].columns)["tag"] == "2026-11-21 13:00:00"
    assert findings(dataset, "error") == []
    assert "Liste der Fälle.XLSX: the sheet Fälle 1 is read; 2 more are not" in findings(
        dataset, "note"
    )


def test_what_is_no_workbook(images, monkeypatch):
    path = images / "m.xlsx"
    whole = write(images / "whole.xlsx", [["path"], ["3.png"]])
    for content in (
        b"",
        b"path,label\n3.png,a\n",
        b"\xd0\xcf\x11\xe0" + b"\0" * 600,
        whole.read_bytes()[:-900],
    ):
        path.write_bytes(content)
        with pytest.raises(
            InputError,
            match=r"m\.xlsx: not an Excel workbook, damaged, or protected \(.*save it as CSV",
        ):
            read_dataset(path)
    for part in (SHEET, "xl/workbook.xml", "[Content_Types].xml"):
        with pytest.raises(
            InputError, match=r"broken\.xlsx: not an Excel workbook, damaged, or protected"
        ):
            read_dataset(changed(whole, images / "broken.xlsx", part, "<worksheet><sheetData><row"))
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(
        DependencyError,
        match=r"openpyxl is missing: pip install 'openpyxl>=\S+', or save it as CSV",
    ):
        read_dataset(whole)


def test_workbooks_made_to_harm(images):
    """A few bytes that unpack to gigabytes, that name rows or cells far away, or entities of entities."""
    whole = write(images / "whole.xlsx", [["path"], ["3.png"]])
    bomb = changed(whole, images / "bomb.xlsx", SHEET, b"\0" * (130 * 1024**2))
    assert bomb.stat().st_size < 1024**2
    refuses(
        InputError, r"bomb\.xlsx: .*unpacks to more than the 67,108,864 bytes", read_dataset, bomb
    )
    far = f'{START}<sheetData>{HEAD}<row r="999999999"><c r="A999999999"><v>1</v></c></row></sheetData></worksheet>'
    with pytest.raises(InputError, match="its sheet Fälle 1 is too large for a table of images"):
        read_dataset(changed(whole, images / "far.xlsx", SHEET, far))
    names = "abcdefghij"
    entities = '<!ENTITY a "0000000000">' + "".join(
        f'<!ENTITY {name} "{f"&{before};" * 10}">' for before, name in itertools.pairwise(names)
    )
    laugh = '<row r="2"><c r="A2" t="inlineStr"><is><t>&j;</t></is></c></row>'
    text = f"<!DOCTYPE x [{entities}]>{START}<sheetData>{HEAD}{laugh}"
    with pytest.raises(InputError, match="not an Excel workbook, damaged, or protected"):
        read_dataset(
            changed(whole, images / "laugh.xlsx", SHEET, f"{text}</sheetData></worksheet>")
        )


@pytest.mark.slow
def test_a_workbook_of_cells_far_away(images):
    whole = write(images / "whole.xlsx", [["path"], ["3.png"]])
    wide = "".join(f'<row r="{n}"><c r="XFD{n}"><v>1</v></c></row>' for n in range(2, 1300))
    with pytest.raises(InputError, match="its sheet Fälle 1 is too large for a table of images"):
        read_dataset(
            changed(
                whole,
                images / "wide.xlsx",
                SHEET,
                f"{START}<sheetData>{HEAD}{wide}</sheetData></worksheet>",
            )
        )
