"""Draw images of the four classes from structures, stain them, and write them in the layout of BACH."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..core import InputError, OutputError
from ..core.formats import Floats, Floats32, Pixels, read_json
from ..core.jobs import Ticker, atomic_output, cpu_resources, ensure_folder, run_units, write_json
from .canvas import Canvas, fat, filled_duct, gland, lymphocytes, nest, spindles, stroma
from .dataset import SYNTHETIC_MARK
from .layouts.bach import BACH_MPP, BACH_SIZE, GROUND_TRUTH, PREFIX

FIELD_WIDTH = BACH_SIZE[0] * BACH_MPP
"""Width of the field of view in micrometres, as in BACH."""

_LIGHT = 240.0
_LABORATORIES = 6
_HAEMATOXYLIN = np.array([0.62, 0.69, 0.37])
_EOSIN = np.array([0.14, 0.88, 0.45])


def _lobule(canvas: Canvas) -> None:
    """Draw a lobule of small open acini in loose stroma, at a random position."""
    x, y = canvas.rng.uniform(0.12, 0.88, size=2) * (canvas.width, canvas.height)
    bed = canvas.outline((x, y), canvas.rng.uniform(90, 140), roughness=0.2, stretch=1.2)
    canvas.paint(0.7 * canvas.mask(bed, blur=6.0), haem=0.08, eosin=0.3)
    for centre in canvas.scatter(46.0, inside=canvas.mask(bed) > 0.5):
        radius = canvas.rng.uniform(15, 20)
        gland(
            canvas,
            centre,
            radius,
            lumen=canvas.rng.uniform(0.25, 0.45),
            layers=1,
            roughness=0.10,
            stretch=1.1,
        )


def _normal(canvas: Canvas) -> None:
    """Draw lobules of small open acini, and ducts."""
    for _ in range(int(canvas.rng.integers(1, 5))):
        _lobule(canvas)
    for _ in range(int(canvas.rng.integers(1, 3))):
        x, y = canvas.rng.uniform(0.1, 0.9, size=2) * (canvas.width, canvas.height)
        gland(
            canvas,
            (x, y),
            canvas.rng.uniform(40, 60),
            lumen=0.72,
            layers=2,
            roughness=0.15,
            stretch=1.5,
        )


def _benign(canvas: Canvas) -> None:
    """Draw many crowded, large, irregular and open glands, with several rows of regular nuclei."""
    for centre in canvas.scatter(canvas.rng.uniform(115, 190)):
        if canvas.rng.random() < 0.8:
            lumen = canvas.rng.uniform(0.4, 0.65)
            layers = int(canvas.rng.integers(2, 4))
            stretch = canvas.rng.uniform(1.2, 3.0)
            gland(
                canvas,
                centre,
                canvas.rng.uniform(34, 52),
                lumen=lumen,
                layers=layers,
                roughness=0.35,
                stretch=stretch,
            )


def _in_situ(canvas: Canvas) -> None:
    """Draw ducts that are filled with tumour cells, with intact borders."""
    pattern = str(canvas.rng.choice(["solid", "comedo", "cribriform"]))
    for centre in canvas.scatter(canvas.rng.uniform(260, 380)):
        if canvas.rng.random() < 0.75:
            filled_duct(canvas, centre, canvas.rng.uniform(75, 115), pattern=pattern)


def _invasive(canvas: Canvas) -> None:
    """Draw scattered nests and cords of tumour cells in the stroma."""
    cords = canvas.rng.uniform(0.2, 0.8)
    for centre in canvas.scatter(canvas.rng.uniform(55, 85)):
        if canvas.rng.random() < 0.85:
            cord = bool(canvas.rng.random() < cords)
            nest(canvas, centre, cells=int(canvas.rng.integers(4, 14)), cord=cord)


_COMPOSE = {
    "Normal": _normal,
    "Benign": _benign,
    "InSitu": _in_situ,
    "Invasive": _invasive,
}

TISSUE_CLASSES = tuple(_COMPOSE)
"""The four classes, in the order of BACH."""


def make_tissue(label: str, *, seed: int, index: int, size: tuple[int, int] = BACH_SIZE) -> Pixels:
    """Draw one synthetic H&E image.

    Parameters
    ----------
    label : str
        One of `TISSUE_CLASSES`.
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

    Notes
    -----
    The laboratory, the amounts of fat and inflammation, and the mean colour have the same distributions for all
    classes, so that the classes differ only in architecture.
    """
    if label not in _COMPOSE:
        raise InputError(
            f"no synthetic tissue of class {label!r}; choose one of {', '.join(TISSUE_CLASSES)}"
        )
    width, height = size
    if min(size) < 64:
        raise InputError("{size} {}x{}: give at least 64 pixels a side", width, height)
    rng = np.random.default_rng(np.random.SeedSequence([seed, TISSUE_CLASSES.index(label), index]))
    canvas = Canvas(width, height, mpp=FIELD_WIDTH / width, rng=rng)
    stroma(canvas, density=rng.uniform(0.5, 0.75), waviness=rng.uniform(15, 50))
    fat(canvas, share=max(0.0, rng.uniform(-0.1, 0.25)))
    spindles(canvas, distance=rng.uniform(26, 40))
    # images of other classes may contain normal tissue, too
    if label != "Normal" and rng.random() < 0.5:
        _lobule(canvas)
    _COMPOSE[label](canvas)
    lymphocytes(canvas, clusters=int(rng.integers(0, 4)))
    return _stain(canvas, laboratories=np.random.default_rng([seed, 2018]))


def _stain(canvas: Canvas, *, laboratories: np.random.Generator) -> Pixels:
    """Stain the concentrations with the vectors of a random laboratory, to a random mean colour."""
    import cv2

    rng = canvas.rng
    vectors = np.stack([_HAEMATOXYLIN, _EOSIN])
    vectors = vectors * laboratories.lognormal(0.0, 0.10, size=(_LABORATORIES, 2, 3))
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    vectors = vectors[int(rng.integers(_LABORATORIES))]
    target = np.clip(rng.normal([0.68, 0.48], [0.05, 0.05]), [0.55, 0.34], [0.8, 0.62])
    amounts = np.stack([canvas.haem, canvas.eosin], axis=2)
    scale = _match_colour(amounts[::6, ::6].reshape(-1, 2), vectors, target)
    density = cv2.transform(amounts, (vectors * scale[:, np.newaxis]).T.astype(np.float32))
    light = cv2.GaussianBlur(_LIGHT * cv2.exp(-density), (0, 0), 0.7)  # blur of the microscope
    light += rng.standard_normal(light.shape, dtype=np.float32) * 2.0  # noise of the camera
    return np.asarray(np.clip(light, 0, 255), dtype=np.uint8)


def _match_colour(
    amounts: Floats32,
    vectors: Floats,
    target: Floats,
) -> Floats:
    """Return factors of the two stains that result in the mean transmission `target` in red and green (Newton)."""
    scale = np.ones(2)
    for _ in range(8):
        transmitted = np.exp(-(amounts * scale) @ vectors[:, :2])
        error = transmitted.mean(axis=0) - target
        slope = -np.einsum("nc,ns,sc->cs", transmitted, amounts, vectors[:, :2]) / len(amounts)
        scale = np.clip(scale - np.linalg.solve(slope, error), 0.3, 3.0)
    return scale


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
    root = Path(out) / "ICIAR2018_BACH_Challenge"
    photos = ensure_folder(root / "Photos")
    _claim(
        root / SYNTHETIC_MARK, {"generator": "bchisto data make", "seed": seed, "size": list(size)}
    )
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


def _claim(mark: Path, content: dict[str, object]) -> None:
    if mark.is_file():
        entries = read_json(mark)
        if entries != content:
            raise OutputError(
                "{}: holds a synthetic dataset with other settings ({}); choose another {out}",
                mark.parent,
                entries,
            )
    elif any((mark.parent / "Photos").rglob("*.tif")):
        raise OutputError(
            "{}: holds images that are not synthetic; choose another {out}", mark.parent
        )
    write_json(mark, content)


def _draw(task: _Task, ticker: Ticker) -> None:
    from PIL import Image

    path, label, seed, number, size = task
    image = make_tissue(label, seed=seed, index=number, size=size)
    with atomic_output(path) as temporary:
        Image.fromarray(image).save(temporary, format="TIFF")
    ticker.tick()
