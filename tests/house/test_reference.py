"""The reference of Python: a page a room, of which a reader sees words and values that can be typed."""

import functools
import html
import importlib
import importlib.util
import inspect
import re
import shutil
import sys
from pathlib import Path

import pytest
from conftest import needs_repository
from documented import public
from own_process import load_script, run_process
from written_tables import read_json

DOCS = Path(__file__).resolve().parents[2] / "docs"

pytestmark = needs_repository

MACHINE = re.compile(
    r"<[a-z]|object at|\b0x[0-9a-f]|lambda|Alias for field|\(\w+,\)|[A-Z]\w+\(\w+="
)
"""Addresses, functions, default values that are objects, fields of tuples by number, names taken for types."""


def texts_of(name, item):
    """Yield (name, docstring) of a public item and of what is public in it."""
    yield name, inspect.getdoc(item) or ""
    if inspect.isclass(item):
        for member, value in vars(item).items():
            if not member.startswith("_") and (callable(value) or isinstance(value, property)):
                yield f"{name}.{member}", inspect.getdoc(value) or ""


ENTRY_POINTS = {"bchisto.heads", "bchisto.metrics", "bchisto.encoders", "bchisto.stains"}


def printed_back_to_front(items):
    """Return the properties whose first line has a colon, before which the site prints what stands after it."""
    return [
        f"{name}.{member}"
        for name, item in items
        if inspect.isclass(item)
        for member, value in vars(item).items()
        if not member.startswith("_") and not callable(value)
        if ": " in (inspect.getdoc(value) or "").partition("\n")[0]
        and isinstance(value, (property, functools.cached_property))
    ]


def test_a_property_is_told_in_order():
    assert printed_back_to_front(public()) == []

    class Table:
        @property
        def rows(self):
            """What it has: rows."""

        @functools.cached_property
        def columns(self):
            """What it has, too: columns."""

        @property
        def cells(self):
            """What else it has.

            For example: cells.
            """

    assert printed_back_to_front([("Table", Table)]) == ["Table.rows", "Table.columns"]


def test_tab_shows_the_public_names_of_a_room():
    for room in {name.rpartition(".")[0] for name, _ in public()}:
        module = importlib.import_module(room)
        if not room.startswith("bchisto.core"):
            assert dir(module) == sorted(module.__all__), room


def private_references(name, item, names):
    """Return names in docstrings that a reader finds on no page."""
    return [
        f"{member}: {reference}"
        for member, text in texts_of(name, item)
        for reference in re.findall(r"`(bchisto[\w.]+)`", text)
        if reference not in names and reference not in ENTRY_POINTS
    ]


def test_docstrings_refer_to_what_is_on_a_page():
    items = dict(public())
    names = {*items, *(name.rpartition(".")[0] for name in items)}
    assert [
        line for name, item in items.items() for line in private_references(name, item, names)
    ] == []

    def strange():
        """See `bchisto.core.formats.columns`."""

    assert private_references("strange", strange, names) == [
        "strange: bchisto.core.formats.columns"
    ]


def test_the_notebook_imports_only_public_names():
    names = {name for name, _ in public()}
    cells = read_json(DOCS / "notebooks" / "breakhis.ipynb")["cells"]
    lines = [line for cell in cells for line in cell["source"]]
    imports = re.findall(r"^from (bchisto[\w.]*) import (.+)$", "".join(lines), re.MULTILINE)
    imported = {f"{room}.{name}" for room, found in imports for name in found.split(", ")}
    assert len(imported) > 4
    assert imported <= names, imported - names


def test_pages_begin_with_a_list_of_their_names(tmp_path, monkeypatch):
    """A public host shows the files as they are, in which docstrings, which the site adds, are lacking."""
    script = load_script(DOCS / "make_api_index.py")
    monkeypatch.setattr(sys, "argv", ["make_api_index.py", "--check"])
    assert script.main() == 0, "run: python docs/make_api_index.py"
    shown = (
        "\nread_splits(folder, image_ids)\n    Return the positions of the images that train and "
    )
    assert shown in (DOCS / "api" / "data.md").read_text()
    for name, _ in public():
        room, _, last = name.rpartition(".")
        page = (DOCS / "api" / f"{room.split('.')[1]}.md").read_text()
        section = page.partition(f"\n## {room}\n\n```text")[2].partition("\n```\n")[0]
        assert re.search(rf"^{last}(\(.*(\n {{4}}.*)*\))?\n {{4}}\S", section, re.MULTILINE), name
    shutil.copytree(DOCS / "api", tmp_path / "api")
    monkeypatch.setattr(script, "DOCS", tmp_path)
    copy = tmp_path / "api" / "data.md"
    stale = copy.read_text().replace("\nread_splits(", "\nread_folds(")
    copy.write_text(stale)
    assert (script.main(), copy.read_text()) == (1, stale)
    sys.argv.pop()
    assert script.main() == 0
    assert copy.read_text() == (DOCS / "api" / "data.md").read_text()


@pytest.fixture(scope="module")
def conf():
    return load_script(DOCS / "conf.py")


def test_a_page_a_room_and_the_index_names_each():
    index = (DOCS / "api.md").read_text()
    assert "```text" not in index
    pages = sorted((DOCS / "api").glob("*.md"))
    assert len(pages) > 8
    for page in pages:
        assert f"](api/{page.name})" in index
        assert f"\napi/{page.stem}\n" in index
        rooms = re.findall(r"automodule:: (\S+)", page.read_text())
        assert rooms
        assert {room.split(".")[1] for room in rooms} == {page.stem}
        assert all(f"`{room}`" in index for room in rooms)


def test_signatures_hold_only_what_can_be_typed(conf):
    called = {name: item for name, item in public() if callable(item)}
    assert len(called) > 100
    for name, item in called.items():
        try:
            text = conf.signature_of(item)
        except ValueError:  # exceptions have none
            continue
        assert not MACHINE.search(text), f"{name}{text}"
        assert len(text) < 420, name


def test_a_default_that_nobody_types_is_left_out(conf):
    class Thing:
        def method(self, first, *, second: int = 2, third=("a", None), fourth=DOCS, fifth=len):
            pass

    text = "(first, *, second=2, third=('a', None), fourth=..., fifth=...)"
    assert conf.signature_of(Thing.method) == text
    assert inspect.signature(Thing.method).parameters["fifth"].default is len


def test_names_that_share_a_line_stay_names(conf):
    lines = [":ivar low, high: NaN without an interval.", ":vartype low, high: float", "a, b: c"]
    conf.process_docstring(None, "class", "", None, None, lines)
    assert lines == [
        ":ivar low,\u200bhigh: NaN without an interval.",
        ":vartype low,\u200bhigh: float",
        "a, b: c",
    ]


@pytest.mark.slow
def test_no_page_of_the_site_shows_a_text_of_the_machine(tmp_path):
    pytest.importorskip("sphinx")
    pytest.importorskip("furo")
    done = run_process(sys.executable, "-m", "sphinx", "-q", "-b", "html", DOCS, tmp_path / "html")
    assert (done.returncode, done.stderr) == (0, "")
    seen = 0
    for page in sorted((tmp_path / "html" / "api").glob("*.html")):
        text = html.unescape(re.sub(r"<[^>]*>", "", page.read_text()))
        for line in text.splitlines():
            if re.match(r"(class )?bchisto\.[\w.]+\(", line.strip()):
                seen += 1
                assert not MACHINE.search(line.partition("(")[2]), f"{page.stem}: {line}"
        assert not re.search(r"Alias for field|object at 0x|<function|<factory>", text), page.stem
        assert not re.search(r"^\w+ \(\w+,\) –", text, re.MULTILINE), page.stem
        assert "Variables:" not in text
    assert seen > 100
