"""How well images of another kind are told from images of slides that were left out, and what that costs.

Real BreakHis images and those of other kinds (patches of IDC, BreakHis in another stain and blurred, drawn mammograms)
are described by the command. Each of five folds leaves slides out; its training images judge both the images of these
slides and the others, those made of BreakHis only if their slide is left out.

    python tools/benchmarks/outliers.py ../shared/data --work DIR          # ten minutes on two cores
"""

from __future__ import annotations

import argparse
import subprocess  # nosec B404
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from bchisto.boost import MARKED
from bchisto.boost.reference import TrainingReference, fit_gaussian, left_out_distances, placed
from bchisto.data.layouts import BREAKHIS_NAME
from bchisto.featurize import open_store
from bchisto.predict import Predictor
from PIL import Image, ImageFilter

Values = npt.NDArray[np.float64]

SIZE = (700, 460)
EACH = 30
"""Images of each other kind."""

TIMED = 20
"""Images whose prediction is timed."""

_HEMATOXYLIN, _EOSIN, _DAB = (0.65, 0.70, 0.29), (0.07, 0.99, 0.11), (0.27, 0.57, 0.78)
"""Optical densities of the stains (Ruifrok and Johnston 2001, table 2)."""


def other_images(data: Path, out: Path) -> None:
    """Write images of other kinds into a folder each; those made of BreakHis keep their names."""
    rng = np.random.default_rng(0)
    breakhis = sorted(data.glob("breakhis/**/*.png"))
    chosen = [breakhis[i] for i in sorted(rng.permutation(len(breakhis))[:EACH])]
    patches = sorted(data.glob("idc/**/*.png"))
    kinds: dict[str, Iterator[tuple[str, Image.Image]]] = {
        "idc-enlarged": (
            (path.name, Image.open(path).convert("RGB").resize(SIZE, 3))
            for path in patches[:: len(patches) // EACH][:EACH]
        ),
        "idc-side-by-side": _mosaics(patches, rng),
        "dab-for-eosin": ((path.name, _restained(path)) for path in chosen),
        "blurred-2": (
            (path.name, Image.open(path).convert("RGB").filter(ImageFilter.GaussianBlur(2))) for path in chosen
        ),
        "blurred-4": (
            (path.name, Image.open(path).convert("RGB").filter(ImageFilter.GaussianBlur(4))) for path in chosen
        ),
        "mammogram": ((f"mammogram{n}.png", _mammogram(rng)) for n in range(EACH)),
    }
    for kind, images in kinds.items():
        folder = out / kind
        folder.mkdir(parents=True, exist_ok=True)
        for name, image in images:
            image.save(folder / name)


def _mosaics(patches: list[Path], rng: np.random.Generator) -> Iterator[tuple[str, Image.Image]]:
    """Put patches of one slide side by side, in the order of their places."""
    slides: dict[str, list[Path]] = {}
    for path in patches:
        slides.setdefault(path.name.split("_")[0], []).append(path)
    for number in range(EACH):
        slide = sorted(slides)[number % len(slides)]
        some = slides[slide]
        start = int(rng.integers(len(some)))
        field = Image.new("RGB", SIZE)
        for place in range(140):
            patch = Image.open(some[(start + place) % len(some)]).convert("RGB").resize((50, 50))
            field.paste(patch, (50 * (place % 14), 50 * (place // 14)))
        yield f"{slide}-{number}.png", field


def _restained(path: Path) -> Image.Image:
    """Show eosin as the brown of DAB, as in immunohistochemistry."""
    density = -np.log((np.asarray(Image.open(path).convert("RGB"), np.float64) + 1) / 256)
    stains = np.array([_HEMATOXYLIN, _EOSIN, np.cross(_HEMATOXYLIN, _EOSIN)])
    amounts = density @ np.linalg.inv(stains / np.linalg.norm(stains, axis=1, keepdims=True))
    shown = np.array([_HEMATOXYLIN, _DAB])
    restained = np.clip(amounts[..., :2], 0, None) @ (shown / np.linalg.norm(shown, axis=1, keepdims=True))
    return Image.fromarray(np.clip(256 * np.exp(-restained) - 1, 0, 255).astype(np.uint8))


def _mammogram(rng: np.random.Generator) -> Image.Image:
    """Draw a breast: noise of many scales on a bright half ellipse, with a mass, in grey."""
    width, height = SIZE
    noise = np.zeros((height, width))
    for power in range(2, 7):
        small = rng.normal(size=(height // 2**power + 1, width // 2**power + 1))
        noise += 2.0**power * np.asarray(
            Image.fromarray(small.astype(np.float32)).resize(SIZE, Image.Resampling.BICUBIC)
        )
    y, x = np.mgrid[:height, :width]
    breast = 1 / (1 + np.exp(30 * ((x / width) ** 2 + ((y / height - 0.5) / 0.48) ** 2 - 0.9)))
    far = ((x - rng.uniform(0.2, 0.6) * width) ** 2 + (y - rng.uniform(0.3, 0.7) * height) ** 2) / rng.uniform(
        20, 50
    ) ** 2
    grey = breast * (90 + 0.5 * noise + 90 * np.exp(-far))
    return Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).convert("RGB")


def describe(images: Path, run: Path, weights: Path, stain: str) -> None:
    """Describe images by the command, if they are not yet."""
    dataset = "breakhis" if images.name == "breakhis" else "folder"
    options = ["--images", images, "--dataset", dataset, "--preset", "quick", "--view", "1.0:230", "--stain", stain]
    command = [sys.executable, "-m", "bchisto", "featurize", *options, "--weights", weights, "--out", run]
    subprocess.run(list(map(str, command)), check=True)  # nosec B603


def read(run: Path) -> tuple[Values, list[str], list[str]]:
    """Return mean descriptors, slides (empty if unknown) and labels."""
    (path,) = (run / "features").glob("*.h5")
    with open_store(path) as store:
        matches = [BREAKHIS_NAME.fullmatch(Path(image).name) for image in store.image_ids]
        slides = ["-".join(match.group(2, 3, 4)) if match else "" for match in matches]
        return store.features().mean(axis=1, dtype=np.float64), slides, store.labels


def mahalanobis(axes: int) -> Any:
    """Return what fits training rows, and gives the distance of others."""

    def fit(rows: Values) -> Any:
        fitted = fit_gaussian(rows, axes=axes)
        return lambda some: placed(some, fitted)[0]

    return fit


def neighbours(count: int, standardised: bool) -> Any:
    """Return the same for the mean cosine distance of the nearest."""

    def fit(rows: Values) -> Any:
        mean, scale = rows.mean(axis=0), rows.std(axis=0) if standardised else np.ones(rows.shape[1])
        scale = np.where(scale > 0, scale, 1)

        def unit(some: Values) -> Values:
            centred = (some - mean) / scale
            return np.asarray(centred / np.linalg.norm(centred, axis=1, keepdims=True))

        return lambda some: np.sort(1 - unit(some) @ unit(rows).T, axis=1)[:, :count].mean(axis=1)

    return fit


def print_cost(run: Path, images: list[Path], weights: Path) -> None:
    """Predict images, and print the CPU time of all of it and that of the comparison with the training images."""
    command = [sys.executable, "-m", "bchisto", "boost", "--out", run, "--folds", "5", "--head", "logistic"]
    subprocess.run(list(map(str, command)), check=True)  # nosec B603
    predictor, spent = Predictor(run, weights=[str(weights)]), [0.0]

    def timed(name: str) -> None:
        original = getattr(TrainingReference, name)

        def measured(*given: Any, **named: Any) -> Any:
            begun = time.process_time()
            result = original(*given, **named)
            spent[0] += time.process_time() - begun
            return result

        setattr(TrainingReference, name, measured)

    predictor.predict(images[:1])
    for name in ("compare", "percentiles", "names"):
        timed(name)
    begun = time.process_time()
    predictor.predict(images)
    each = 1000 * (time.process_time() - begun) / len(images)
    comparing = 1000 * spent[0] / len(images)
    print(f"an image takes {each:.0f} ms of CPU time, of which comparing it {comparing:.2f} ms: "
          f"{100 * comparing / each:.2f} %")  # fmt: skip


def main() -> None:
    """Print a table of AUCs, shares that are marked, and the time of an image."""
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import GroupKFold

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="Folder with breakhis, idc and weights.")
    parser.add_argument("--work", type=Path, required=True, help="Folder for images and descriptors.")
    parser.add_argument("--stain", default="macenko", help="Stain method of the descriptors.")
    options = parser.parse_args()
    weights = options.data / "weights" / "mobilenetv2_imagenet.weights.h5"
    if not (options.work / "others").exists():
        other_images(options.data, options.work / "others")
    sources = {"known": options.data / "breakhis", "others": options.work / "others"}
    for name, images in sources.items():
        describe(images, options.work / f"{name}-{options.stain}", weights, options.stain)
    rows, slides, _ = read(options.work / f"known-{options.stain}")
    other_rows, other_slides, labels = read(options.work / f"others-{options.stain}")
    units, kinds = np.unique(slides, return_inverse=True)[1], sorted(set(labels))
    folds = list(GroupKFold(5).split(rows, groups=units))

    def judged(kind: str, held: Any) -> list[int]:
        known = set(slides) - {slides[place] for place in held}
        return [i for i, label in enumerate(labels) if label == kind and other_slides[i] not in known]

    methods = {f"Mahalanobis, {axes} axes": mahalanobis(axes) for axes in (8, 16, 32, 64, 128)}
    methods |= {f"{k} nearest, cosine": neighbours(k, False) for k in (1, 3, 5)}
    methods["3 nearest, cosine, standardised"] = neighbours(3, True)
    print("| AUC |", " | ".join(kinds), "|")
    for name, fit in methods.items():
        areas: dict[str, list[tuple[float, int]]] = {kind: [] for kind in kinds}
        for train, held in folds:
            far = fit(rows[train])
            for kind in kinds:
                if some := judged(kind, held):
                    scores = np.concatenate([far(rows[held]), far(other_rows[some])])
                    truth = [0] * len(held) + [1] * len(some)
                    areas[kind].append((float(roc_auc_score(truth, scores)), len(some)))
        means = [np.average([a for a, _ in areas[kind]], weights=[n for _, n in areas[kind]]) for kind in kinds]
        print(f"| {name} |", " | ".join(f"{mean:.3f}" for mean in means), "|")
    marks: dict[str, list[bool]] = {kind: [] for kind in ("left out", *kinds)}
    for train, held in folds:
        fitted = fit_gaussian(rows[train])
        limit = np.sort(left_out_distances(rows[train], units[train]))
        for kind, some in (("left out", rows[held]), *((kind, other_rows[judged(kind, held)]) for kind in kinds)):
            share = 100 * np.searchsorted(limit, placed(some, fitted)[0]) / len(limit)
            marks[kind].extend((share >= MARKED).tolist())
    print("marked:", ", ".join(f"{kind} {sum(some)} of {len(some)}" for kind, some in marks.items()))
    print_cost(options.work / f"known-{options.stain}", sorted(sources["known"].rglob("*.png"))[:TIMED], weights)


if __name__ == "__main__":
    main()
