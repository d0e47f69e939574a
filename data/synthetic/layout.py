"""Write synthetic tissue in the official layout of BACH."""

from __future__ import annotations

from pathlib import Path

from ...core import InputError, OutputError
from ...core.formats import read_json
from ...core.jobs import Ticker, atomic_output, cpu_resources, ensure_folder, run_units, write_json
from .tissue import TISSUE_CLASSES, make_tissue

_PREFIX = {"Normal": "n", "Benign": "b", "InSitu": "is", "Invasive": "iv"}
_MARK = "bchisto-synthetic.json"
_Task = tuple[str, str, int, int, tuple[int, int]]


def make_bach(
    out: str | Path,
    *,
    images_per_class: int = 10,
    seed: int = 0,
    size: tuple[int, int] = (2048, 1536),
    jobs: int = 1,
) -> Path:
    """Write a synthetic dataset in the official layout of BACH, and keep existing images.

    Parameters
    ----------
    out : str or Path
        Folder for ``ICIAR2018_BACH_Challenge/Photos/{Normal,Benign,InSitu,Invasive}/*.tif``, the ground-truth table,
        and a file that marks the images as synthetic.
    images_per_class : int
        1 to 999.
    seed : int
        Each image depends only on the seed, its class, its number and `size`.
    size : tuple of int
        Width and height, pixels.
    jobs : int
        Number of processes.

    Returns
    -------
    Path
        The ``ICIAR2018_BACH_Challenge`` folder.

    Raises
    ------
    InputError
        A number is out of range.
    OutputError
        The folder cannot be written, or contains other images or a synthetic dataset with other settings.
    """
    if not 1 <= images_per_class <= 999:
        raise InputError("{images_per_class} {}: give 1 to 999 (names are numbered b001 to b999)", images_per_class)
    root = Path(out) / "ICIAR2018_BACH_Challenge"
    photos = ensure_folder(root / "Photos")
    _claim(root / _MARK, {"generator": "bchisto data make", "seed": seed, "size": list(size)})
    tasks: list[_Task] = []
    for label in TISSUE_CLASSES:
        for number in range(1, images_per_class + 1):
            path = photos / label / f"{_PREFIX[label]}{number:03d}.tif"
            if not path.is_file():
                tasks.append((str(path), label, seed, number, size))
    run_units(_draw, tasks, steps=lambda _: 1, resources=cpu_resources(jobs), label="data make", step_name="images")
    lines = [f"{path.name},{label}\n" for label in TISSUE_CLASSES for path in sorted((photos / label).glob("*.tif"))]
    with atomic_output(photos / "microscopy_ground_truth.csv") as temporary:
        temporary.write_text("".join(lines), encoding="utf-8")
    return root


def _claim(mark: Path, content: dict[str, object]) -> None:
    if mark.is_file():
        entries = read_json(mark)
        if entries != content:
            raise OutputError(
                "{}: holds a synthetic dataset with other settings ({}); choose another {out}", mark.parent, entries
            )
    elif any((mark.parent / "Photos").rglob("*.tif")):
        raise OutputError("{}: holds images that are not synthetic; choose another {out}", mark.parent)
    write_json(mark, content)


def _draw(task: _Task, ticker: Ticker) -> None:
    from PIL import Image

    path, label, seed, number, size = task
    image = make_tissue(label, seed=seed, index=number, size=size)
    with atomic_output(Path(path)) as temporary:
        Image.fromarray(image).save(temporary, format="TIFF")
    ticker.tick()
