"""The notebook of the documents runs on real images, and the guide to Python shows a picture of it."""

from pathlib import Path

import pytest
from own_process import load_script

ROOT = Path(__file__).parents[2]


@pytest.fixture
def notebook():
    nbformat = pytest.importorskip("nbformat")
    return nbformat.read(ROOT / "docs" / "notebooks" / "breakhis.ipynb", as_version=4)


@pytest.fixture
def maker(notebook):
    return load_script(ROOT / "docs" / "make_notebook.py")


def test_the_guide_shows_a_picture_of_the_notebook(maker, notebook):
    first, _ = maker.pictures_of(notebook)
    assert maker.PICTURE.read_bytes() == first, "run: python docs/make_notebook.py"
    assert "CC BY 4.0" in "".join(cell.source for cell in notebook.cells)


def test_pictures_of_the_documents_are_small():
    for picture in (ROOT / "docs" / "images").iterdir():
        assert picture.stat().st_size < 200_000, f"{picture.name}: make it smaller than 200 kB"


@pytest.mark.slow
def test_the_notebook_runs(maker, notebook, shared, tmp_path):
    """From the first cell to the last, on the real images; it prints and shows as many things as it holds."""
    pytest.importorskip("nbclient")
    kept = [len(cell.get("outputs", ())) for cell in notebook.cells]
    maker.run(notebook, shared=shared / "data", folder=tmp_path)
    assert [len(cell.get("outputs", ())) for cell in notebook.cells] == kept
    assert (
        "of 22 images right"
        in next(cell for cell in notebook.cells if cell.source.endswith("\nresult"))
        .outputs[0]
        .data["text/html"]
    )
