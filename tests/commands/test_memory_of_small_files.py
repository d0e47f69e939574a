"""Small files that used to take gigabytes: each is refused in a process whose peak of memory is measured."""

import struct
import subprocess
import sys
import zipfile

import pytest

pytestmark = pytest.mark.slow

MOST = 400
"""Megabytes: a command that loads no network takes 100 to 200."""

SHEET = (
    '<?xml version="1.0"?><worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
    '<row r="1">{}</row></sheetData></worksheet>'
)


MEASURE = (
    "import resource, subprocess, sys; done = subprocess.run(sys.argv[1:], stderr=subprocess.STDOUT); "
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024, flush=True); sys.exit(done.returncode)"
)
"""A process between, since what is started has at first the memory of what starts it."""


def measured(*words):
    """Return exit code, output, and the peak of memory of a command in megabytes."""
    command = [sys.executable, "-c", MEASURE, sys.executable, "-m", "bchisto", *map(str, words)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    *lines, megabytes = done.stdout.splitlines(keepends=True)
    return done.returncode, "".join(lines), int(megabytes)


def refused(said, *words):
    code, text, megabytes = measured(*words)
    assert (code, text.count("\n"), "Traceback" in text) == (2, 1, False), text
    assert said in text
    assert megabytes < MOST, f"{megabytes} MB"


def manifest(unit, size):
    return '{"kind": "bchisto model bundle", "x": [' + unit * (size // len(unit)) + unit.rstrip(",") + "]}"


@pytest.mark.parametrize(
    ("unit", "packing", "said"),
    [
        ("[[]],", zipfile.ZIP_DEFLATED, "its manifest is larger than one can be"),
        ('{"":0},', zipfile.ZIP_STORED, "more than 2,500,000 values"),
    ],
    ids=["packed", "as it is"],
)
def test_a_manifest_of_many_values(unit, packing, said, tmp_path):
    path = tmp_path / "m.bchisto"
    with zipfile.ZipFile(path, "w", packing) as archive:
        archive.writestr("manifest.json", manifest(unit, 24 * 1024**2))
    refused(said, "predict", path, "x.png", "--out", tmp_path / "p.csv")


def directory(count):
    """A zip of nothing but its directory: so many members of a name each."""
    members = b"".join(
        struct.pack("<4s6H3L5H2L", b"PK\1\2", *[0] * 9, 7, *[0] * 6) + b"%07d" % number for number in range(count)
    )
    return members + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, len(members), 0, 0)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("m.bchisto", ("predict", "{}", "x.png", "--out", "{}.csv")),
        ("e.npz", ("features", "show", "{}")),
        ("t.xlsx", ("data", "list", "--dataset", "csv", "--images", "{}")),
    ],
)
def test_a_zip_of_many_members(name, words, tmp_path):
    path = tmp_path / name
    path.write_bytes(directory(1_000_000))
    refused(" members", *(word.format(path) for word in words))


def workbook(path, sheet):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.save(path.with_name("empty.xlsx"))
    with (
        zipfile.ZipFile(path.with_name("empty.xlsx")) as empty,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out,
    ):
        for part in empty.namelist():
            out.writestr(part, sheet if part == "xl/worksheets/sheet1.xml" else empty.read(part))
    return path


@pytest.mark.parametrize(
    "row",
    [
        "<c/>" * 8_000_000,
        "<c/><!-- <row -->" * 2_000_000,
        "<c/><row/>" * 2_000_000,
        "<c" + "".join(map(' a{:x}=""'.format, range(3_000_000))) + "/>",
        "</row>" + "<x/>" * 8_000_000 + "<row>",
    ],
    ids=["cells", "comments", "rows within the row", "attributes", "beside the rows"],
)
def test_a_workbook_with_a_row_of_millions(row, tmp_path):
    path = workbook(tmp_path / "t.xlsx", SHEET.format(row))
    refused("than a table of images has", "data", "list", "--dataset", "csv", "--images", path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("path,label\n" + "a,b\n" * 3_000_000, "too large for a table of images"),
        ("path,label\r" + "a,b\r" * 3_000_000, "too large for a table of images"),
        ("path,label\n" + "," * 15_000_000, "too large for a table of images"),
        ("path," + "," * 1_000_000, "columns, too many"),
    ],
    ids=["lines", "old lines", "cells", "columns"],
)
def test_a_table_of_many_rows_or_cells(content, said, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(content, newline="")
    refused(said, "data", "list", "--dataset", "csv", "--images", path)


@pytest.mark.parametrize("size", [15, 30])
def test_a_record_that_no_command_wrote(size, tmp_path):
    """The folder is named and passed over; those beside it are listed."""
    for name in ("bad", "good"):
        (tmp_path / name / "records").mkdir(parents=True)
    (tmp_path / "good" / "run.json").write_text('{"records": [{"command": "boost", "status": "ok"}]}')
    (tmp_path / "bad" / "run.json").write_text('{"records": [' + "[]," * (size * 1024**2 // 3) + "[]]}")
    code, text, megabytes = measured("runs", "list", tmp_path)
    assert code == 0, text
    assert f"warning: {tmp_path}/bad/run.json: not a readable JSON file (more than " in text
    assert f"{tmp_path}/good  boost  ok" in text
    assert megabytes < MOST, f"{megabytes} MB"
    code, text, megabytes = measured("boost", "--out", tmp_path, "--config", tmp_path / "bad" / "run.json")
    assert (code, "Traceback" in text, megabytes < MOST) == (2, False, True), text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            "image_id,label,predicted\n" + "a,b,c\n" * 4_000_000,
            "more than 1,048,576 lines or 10,000,000 cells, too large",
        ),
        ("image_id,label,predicted\n" + "," * 20_000_000, "more than 1,048,576 lines or 10,000,000 cells, too large"),
    ],
    ids=["lines", "cells"],
)
def test_a_table_of_predictions_of_many_rows_or_cells(content, said, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(content)
    refused(said, "evaluate", path, "--out", tmp_path / "e")
