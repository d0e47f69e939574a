"""Run the notebook of the documents on the real images in `../shared`, and write the page that shows it.

python docs/make_notebook.py          runs it, keeps its outputs in it, and writes docs/notebook.md
python docs/make_notebook.py --page   writes only the page
"""

import base64
import io
import os
import sys
import tempfile
from pathlib import Path

import nbformat

DOCS = Path(__file__).resolve().parent
NOTEBOOK = DOCS / "notebooks" / "breakhis.ipynb"
PAGE = DOCS / "notebook.md"
SHARED = Path(os.environ.get("BCHISTO_SHARED", DOCS.parents[1] / "shared")) / "data"
FILES = {
    "BreaKHis_v1": "breakhis/BreaKHis_v1",
    "mobilenetv2_imagenet.weights.h5": "weights/mobilenetv2_imagenet.weights.h5",
}
"""What lies beside the notebook while it runs, and where that is in the folder of real data."""

MADE = "% Made by `python docs/make_notebook.py` from docs/notebooks/breakhis.ipynb.\n\n"
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


def page(notebook):
    """Return the page as text, and its pictures by name."""
    parts, pictures = [], {}
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source.replace("](../", "]("))
            continue
        parts.append(f"```python\n{cell.source}\n```")
        for output in cell.outputs:
            data = output.get("data", {})
            if "image/jpeg" in data:
                name = f"notebook-{len(pictures) + 1}.jpg"
                pictures[name] = base64.b64decode(data["image/jpeg"])
                parts.append(f"![{cell.metadata['alt']}](images/{name})")
            elif "text/html" in data:
                parts.append(
                    f'```{{raw}} html\n<div style="overflow-x: auto">{data["text/html"]}</div>\n```'
                )
            else:
                parts.append(f"```text\n{(output.get('text') or data['text/plain']).rstrip()}\n```")
    return MADE + "\n\n".join(parts) + "\n", pictures


def main():
    """Write the notebook, its page and the pictures."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    if "--page" not in sys.argv:
        with tempfile.TemporaryDirectory() as folder:
            shrink(run(notebook, shared=SHARED, folder=Path(folder)))
        nbformat.write(notebook, NOTEBOOK)
    text, pictures = page(notebook)
    PAGE.write_text(text)
    for name, content in pictures.items():
        (DOCS / "images" / name).write_bytes(content)


if __name__ == "__main__":
    main()
