"""No cell that we write is run by a spreadsheet, and every one reads back as it was."""

import csv

import pytest
from bchisto.core import neutral, printable, unneutral
from bchisto.core.formats import read_cells, read_records
from bchisto.core.jobs import json_text, write_rows
from hypothesis import example, given
from hypothesis import strategies as st

FORMULAS = [
    "=1+1",
    "=cmd|' /C calc'!A0",
    "@SUM(A1)",
    "+x",
    "-x",
    "\t=1",
    "\r=1",
    "＝1+1",
    "-1+2",
    "+cmd|x",
]
HARMLESS = ["", "benign", "'benign'", "-1", "+1.5e-3", "-inf", "'", "''", "a=b", "'-1", "–", "1-2"]


@pytest.mark.parametrize("text", FORMULAS)
def test_formulas_get_an_apostrophe(text):
    assert neutral(text) == f"'{text}"
    assert unneutral(f"'{text}") == unneutral(text) == text


@pytest.mark.parametrize("text", HARMLESS)
def test_all_else_stays_as_it_is(text):
    assert neutral(text) == unneutral(text) == text


@given(
    st.text(alphabet=st.sampled_from(["'", "=", "-", "+", "@", "1", "x", "\t", "\r", "é", ","]))
    | st.text()
)
@example("''=1")
def test_every_text_reads_back(text):
    written = neutral(text)
    assert unneutral(written) == text
    try:
        float(written)
    except ValueError:
        assert not written.startswith(("=", "+", "-", "@", "\t", "\r"))


def test_a_table_reads_back(tmp_path):
    table = [[text, "x"] for text in [*FORMULAS, *HARMLESS, "'=1", "line\nbreak", 'quo"te']]
    write_rows(tmp_path / "table.csv", ["=name", "other"], table)
    with (tmp_path / "table.csv").open(newline="", encoding="utf-8") as handle:
        assert list(read_cells(handle)) == [["=name", "other"], *table]
    with (tmp_path / "table.csv").open(newline="", encoding="utf-8") as handle:
        assert [row["=name"] for row in read_records(handle)] == [row[0] for row in table]
    with (tmp_path / "table.csv").open(newline="", encoding="utf-8") as handle:
        raw = [cell for row in csv.reader(handle) for cell in row]
    assert not [cell for cell in raw if cell.startswith(("=", "@", "\t"))]


@given(st.text())
def test_nothing_printed_moves_a_cursor(text):
    said = printable(text)
    assert not [
        sign for sign in said if (ord(sign) < 32 and sign != "\t") or 127 <= ord(sign) < 160
    ]
    assert printable(said) == said
    assert printable(text, lines=True).count("\n") == text.count("\n")


def test_json_holds_no_sign_that_a_terminal_obeys():
    import json

    value = {"name\x9b": "\x1b[2J\x7f\u202eabc\u2069 é 漢"}
    text = json_text(value)
    assert json.loads(text) == value
    assert not set(text) & set("\x1b\x9b\x7f\u202e\u2069")
    assert "é 漢" in text
