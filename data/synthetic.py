"""Draw pictures that look like H&E, and write them in the layout of BACH."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..core import Content, InputError, OutputError
from ..core.formats import Floats32, Pixels, read_json
from ..core.jobs import Ticker, atomic_output, cpu_resources, ensure_folder, run_units, write_json
from .dataset import SYNTHETIC_MARK
from .layouts.bach import BACH_MPP, BACH_SIZE, GROUND_TRUTH, PREFIX

FIELD_WIDTH = BACH_SIZE[0] * BACH_MPP
"""Width of the field of view in micrometres, as in BACH."""

_LIGHT = 240.0
_LABORATORIES = 6
_STAINS = np.array([[0.62, 0.69, 0.37], [0.14, 0.88, 0.45]])
"""Optical densities of haematoxylin and eosin in red, green and blue."""


_LOOKS = {
    "Normal": (1500, 7, 40),
    "Benign": (5000, 8, 70),
    "InSitu": (7000, 11, 160),
    "Invasive": (7000, 12, 25),
}
"""What distinguishes the classes: nuclei per square millimetre of the areas that have any, which are half of the field;
length of a nucleus; and size of these areas. Lengths are in micrometres."""

TISSUE_CLASSES = tuple(_LOOKS)
"""The four classes, in the order of BACH."""


def make_tissue(label: str, *, seed: int, index: int, size: tuple[int, int] = BACH_SIZE) -> Pixels:
    """Draw one synthetic H&E image: nuclei on stroma and fat, in the stains of a laboratory.

    Parameters
    ----------
    label : str
        One of `TISSUE_CLASSES`, which differ in the number, size and arrangement of nuclei.
    seed, index : int
        The image depends only on `seed`, `label`, `index` and `size`.
    size : tuple of int
        Width and height in pixels. The field of view is always 860 micrometres wide.

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)

    Raises
    ------
    InputError
        There is no such class, or a side is below 64 pixels.
    """
    import cv2

    if label not in _LOOKS:
        raise InputError(
            f"no synthetic tissue of class {label!r}; choose one of {', '.join(TISSUE_CLASSES)}"
        )
    _check_size(size)
    width, height = size
    rng = np.random.default_rng(np.random.SeedSequence([seed, TISSUE_CLASSES.index(label), index]))
    density, mean_length, area = _LOOKS[label]
    mpp = FIELD_WIDTH / width
    cells = _noise(rng, size, area / mpp) > 0
    nuclei = np.zeros((height, width), np.uint8)
    count = round(density * width * height * mpp**2 / 1e6)
    lengths = mean_length / mpp * rng.normal(1, 0.15, count).clip(0.5)
    draws = rng.uniform((0, 0, 0, 100), (width, height, 180, 255), (count, 4)).tolist()
    for length, (x, y, angle, darkness) in zip(lengths.tolist(), draws, strict=True):
        if cells[int(y), int(x)]:
            ellipse = ((x, y), (length, 0.7 * length), angle)
            cv2.ellipse(nuclei, ellipse, darkness, cv2.FILLED, cv2.LINE_AA)
    fat = _noise(rng, size, 90 / mpp) > 1.3
    eosin = np.where(fat & ~cells, 0.03, 0.55 + 0.25 * _noise(rng, size, 12 / mpp).clip(-2))
    stains = np.random.default_rng([seed, 2018]).lognormal(0, 0.1, (_LABORATORIES, 2, 3))
    stains = _STAINS * stains[int(rng.integers(_LABORATORIES))]
    amounts = np.stack([1.3 / 255 * nuclei + 0.1 * eosin, eosin], axis=2)
    light = _LIGHT * np.exp(-amounts @ stains)
    light += 2 * rng.standard_normal(light.shape, dtype=np.float32)  # noise of the camera
    return np.asarray(light.clip(0, 255), dtype=np.uint8)


def _check_size(size: tuple[int, int]) -> None:
    if min(size) < 64:
        raise InputError("{size} {}x{}: give at least 64 pixels a side", *size)


def _noise(rng: np.random.Generator, size: tuple[int, int], cell: float) -> Floats32:
    """Return smooth noise of about unit variance with structures of `cell` pixels."""
    import cv2

    columns, rows = (int(side / max(cell, 1.0)) + 3 for side in size)
    coarse = rng.standard_normal((rows, columns), dtype=np.float32)
    return np.asarray(cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC))


_Task = tuple[Path, str, int, int, tuple[int, int]]


def make_bach(
    out: str | Path,
    *,
    images_per_class: int = 10,
    seed: int = 0,
    size: tuple[int, int] = BACH_SIZE,
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
        raise InputError(
            "{images_per_class} {}: give 1 to 999 (names are numbered b001 to b999)",
            images_per_class,
        )
    _check_size(size)
    root = Path(out) / "ICIAR2018_BACH_Challenge"
    photos = ensure_folder(root / "Photos")
    _mark_as_synthetic(root, {"generator": "bchisto data make", "seed": seed, "size": [*size]})
    tasks = []
    for label in TISSUE_CLASSES:
        for number in range(1, images_per_class + 1):
            path = photos / label / f"{PREFIX[label]}{number:03d}.tif"
            if not path.is_file():
                tasks.append((path, label, seed, number, size))
    run_units(
        _draw,
        tasks,
        steps=lambda _: 1,
        resources=cpu_resources(jobs),
        label="data make",
        step_name="images",
    )
    lines = [
        f"{path.name},{label}\n"
        for label in TISSUE_CLASSES
        for path in sorted((photos / label).glob("*.tif"))
    ]
    with atomic_output(photos / GROUND_TRUTH) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8")
    return root


def _mark_as_synthetic(root: Path, settings: Content) -> None:
    """Write the file that marks the images of a folder as synthetic; refuse a folder of others."""
    mark = root / SYNTHETIC_MARK
    if mark.is_file():
        earlier = read_json(mark)
        if earlier != settings:
            text = "{}: holds a synthetic dataset with other settings ({}); choose another {out}"
            raise OutputError(text, root, earlier)
    elif any((root / "Photos").rglob("*.tif")):
        raise OutputError("{}: holds images that are not synthetic; choose another {out}", root)
    write_json(mark, settings)


def _draw(task: _Task, ticker: Ticker) -> None:
    from PIL import Image

    path, label, seed, number, size = task
    image = make_tissue(label, seed=seed, index=number, size=size)
    with atomic_output(path) as temporary:
        Image.fromarray(image).save(temporary, format="TIFF")
    ticker.tick()
