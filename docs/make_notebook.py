"""Run the notebook of the documents on the real images in `../shared`, and keep its outputs in it.

python docs/make_notebook.py
"""

import base64
import io
import os
import tempfile
from pathlib import Path

import nbformat

DOCS = Path(__file__).resolve().parent
NOTEBOOK = DOCS / "notebooks" / "breakhis.ipynb"
PICTURE = DOCS / "images" / "notebook-1.jpg"
SHARED = Path(os.environ.get("BCHISTO_SHARED", DOCS.parents[1] / "shared")) / "data"
FILES = {
    "BreaKHis_v1": "breakhis/BreaKHis_v1",
    "mobilenetv2_imagenet.weights.h5": "weights/mobilenetv2_imagenet.weights.h5",
}
"""What lies beside the notebook while it runs, and where that is in the folder of real data."""

WIDEST = 1000
"""Pixels of a picture."""


def run(notebook, *, shared, folder):
    """Run every cell of a notebook in a folder that holds links to the real images and weights."""
    from nbclient import NotebookClient

    for name, target in FILES.items():
        (folder / name).symlink_to(shared / target)
    NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    return notebook


def shrink(notebook):
    """Turn pictures into small JPEGs, and drop what differs from run to run."""
    from PIL import Image

    for cell in notebook.cells:
        cell.metadata = {name: text for name, text in cell.metadata.items() if name == "alt"}
        for output in cell.get("outputs", ()):
            if "image/png" in output.get("data", {}):
                picture = Image.open(
                    io.BytesIO(base64.b64decode(output.data.pop("image/png")))
                ).convert("RGB")
                picture.thumbnail((WIDEST, 10 * WIDEST))
                held = io.BytesIO()
                picture.save(held, "JPEG", quality=85, optimize=True)
                output.data = {
                    "image/jpeg": base64.b64encode(held.getvalue()).decode(),
                    "text/plain": "a picture",
                }
    notebook.metadata = {name: notebook.metadata[name] for name in ("kernelspec", "language_info")}
    notebook.metadata["language_info"] = {"name": "python"}


def pictures_of(notebook):
    """Return the pictures that the cells of a notebook show, in their order."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    shown = [output.get("data", {}).get("image/jpeg") for output in outputs]
    return [base64.b64decode(picture) for picture in shown if picture]


def main():
    """Write the notebook, and the picture of it that the guide to Python shows."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        shrink(run(notebook, shared=SHARED, folder=Path(folder)))
    nbformat.write(notebook, NOTEBOOK)
    PICTURE.write_bytes(pictures_of(notebook)[0])


if __name__ == "__main__":
    main()
