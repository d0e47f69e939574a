"""How often stain normalisation whitens tissue, by treatment: on real images, and on ones that are made hard.

Run: python tools/benchmarks/stain_treatments.py SHARED [--every 1] [--published]

SHARED holds data/breakhis and data/idc. BreakHis is halved, as the published views see it. A set is made hard by weaker
staining (all densities times a factor), by weaker haematoxylin, or by the quarter of each image that has the least
tissue by the published rule. Of each set and treatment: images that cannot be normalised, images that `check_stains`
flags, images that lose more than 5 % of the stained tissue to white, the mean and the largest share that is lost, and
the spread between images of the mean optical density of stained tissue, which normalisation is to make small.
At the end what the criteria rest on: whitening by the share of stained pixels in the estimate, and angles of stains.
"""

import argparse
import re
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
from bchisto.core import TissueError
from bchisto.data import decode_image
from bchisto.data.synthetic import make_tissue
from bchisto.stains import MacenkoNormalizer, augment_he, check_stains, optical_density
from bchisto.stains.check import LEAST_BASIS, MOST_WHITENED
from bchisto.stains.colours import RUIFROK_FROM_HED
from bchisto.stains.macenko import REFERENCE_MAXIMA, REFERENCE_STAINS, StainEstimate, stained_pixels

PUBLISHED, ROBUST = MacenkoNormalizer(), MacenkoNormalizer(robust=True)


def weaker(image, factor):
    return np.clip(240 * np.exp(-factor * optical_density(image)) - 0.5, 0, 255).astype(np.uint8)


def palest(image):
    """Return the quarter with the least tissue by the published rule, of those that are at least half stained."""
    height, width = (side // 2 for side in image.shape[:2])
    quarters = [image[y : y + height, x : x + width] for y in (0, height // 2, height) for x in (0, width // 2, width)]
    quarters = [np.ascontiguousarray(some) for some in quarters if (stained_pixels(some) > 0).mean() > 0.5]
    return min(quarters, key=lambda quarter: PUBLISHED.tissue(quarter).mean(), default=None)


def patient(name):
    match = re.search(r"SOB_[BM]_[A-Z]+-\d\d-([0-9A-Z]+)|(\d+)_idx5", name)
    return match[0] if match else "synthetic"


def sets(shared, every):
    paths = sorted((shared / "data" / "breakhis").rglob("*.png"))[::every]
    half = {p.name: cv2.resize(decode_image(p), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for p in paths}
    yield "BreakHis", half
    for factor in (0.6, 0.4, 0.25):
        yield f"BreakHis, staining x {factor}", {name: weaker(image, factor) for name, image in half.items()}
    pink = {name: augment_he(image, hematoxylin=0.3, eosin=1.0) for name, image in half.items()}
    yield "BreakHis, haematoxylin x 0.3", pink
    pale = {name: crop for name, image in half.items() if (crop := palest(image)) is not None}
    yield "BreakHis, palest quarters", pale
    yield "BreakHis, palest quarters, staining x 0.6", {name: weaker(image, 0.6) for name, image in pale.items()}
    paths = sorted((shared / "data" / "idc").rglob("*.png"))[:: 6 * every]
    yield f"IDC, {len(paths)} of the patches", {p.name: decode_image(p) for p in paths}
    drawn = {
        f"{label}{number}": make_tissue(label, seed=3, index=number, size=(512, 384))
        for label in ("Normal", "Benign", "InSitu", "Invasive")
        for number in range(1, 9, every)
    }
    yield "synthetic", drawn
    yield "synthetic, staining x 0.4", {name: weaker(image, 0.4) for name, image in drawn.items()}


def with_stains(image, stains, *, clipped=False):
    """Normalise with given stains in plain NumPy; concentrations below 0 may be taken for 0."""
    od = -np.log((image.reshape(-1, 3).astype(np.float32) + 1) / 240)
    amounts = od @ np.linalg.pinv(stains).T
    amounts = np.maximum(amounts, 0) if clipped else amounts
    maxima = np.percentile(amounts, 99, axis=0)
    if not (maxima > 0).all():
        raise TissueError("a stain has no positive concentration")
    shown = 240 * np.exp(-(amounts / maxima * REFERENCE_MAXIMA) @ REFERENCE_STAINS.T)
    shown = np.clip(shown, 0, 255).astype(np.uint8).reshape(image.shape)
    return shown, StainEstimate(stains, maxima, float(PUBLISHED.tissue(image).mean()), 0.0)


def estimated_from(density):
    return MacenkoNormalizer()._extreme_stains(density)  # the estimate of the published method, of chosen pixels


def treatments(images):
    pooled = defaultdict(list)
    for name, image in images.items():
        od = optical_density(image).reshape(-1, 3)
        pooled[patient(name)].append(od[(od >= 0.15).all(axis=1)][::5])
    stains_of = {}
    for who, parts in pooled.items():
        density = np.concatenate(parts)
        stains_of[who] = estimated_from(density) if len(density) >= 100 else None

    def by_patient(name, image):
        if stains_of[patient(name)] is None:
            raise TissueError("too little tissue")
        return with_stains(image, stains_of[patient(name)])

    def by_green(name, image):
        od = optical_density(image)
        return with_stains(image, estimated_from(od[stained_pixels(image) > 0]))

    def skipped(name, image):
        after, estimate = PUBLISHED.normalize_with_estimate(image)
        return (image, None) if check_stains(image, after, estimate).reasons else (after, estimate)

    def robust_if_flagged(name, image):
        after, estimate = PUBLISHED.normalize_with_estimate(image)
        doubtful = check_stains(image, after, estimate).reasons
        return ROBUST.normalize_with_estimate(image) if doubtful else (after, estimate)

    return {
        "macenko, as published": lambda name, image: PUBLISHED.normalize_with_estimate(image),
        "macenko-robust": lambda name, image: ROBUST.normalize_with_estimate(image),
        "  the same if flagged, else published": robust_if_flagged,
        "green channel of 0.15": by_green,
        "reference stains, maxima scaled": lambda name, image: with_stains(image, REFERENCE_STAINS),
        "stains of the patient": by_patient,
        "published, concentrations at least 0": lambda name, image: with_stains(
            image, PUBLISHED.estimate(image).stains, clipped=True
        ),
        "skipped if flagged": skipped,
    }


def angle(first, other):
    return np.degrees(np.arccos(first @ other / np.linalg.norm(first) / np.linalg.norm(other)))


def print_criteria(published):
    """Print what the criteria rest on; `published` has the checks and stains of the published method by set."""
    checks = [check for pairs in published.values() for check, _ in pairs]
    bases, white = (np.array([getattr(check, name) for check in checks]) for name in ("basis", "whitened"))
    print(f"\nwhitened by more than {MOST_WHITENED:.0%}, by the share of stained pixels in the estimate, all sets\n")
    for least, most in ((0, LEAST_BASIS), (LEAST_BASIS, 0.25), (0.25, 0.5), (0.5, 1.01)):
        inside = (bases >= least) & (bases < most)
        print(f"{least:.0%} to {most:.0%}: {(white[inside] > MOST_WHITENED).sum()} of {inside.sum()}")
    stains = [estimate.stains.T for _, estimate in published["BreakHis"]]
    for name, angles in {
        "between the stains": [angle(*pair) for pair in stains],
        "haematoxylin to Ruifrok's": [angle(pair[0], RUIFROK_FROM_HED[0]) for pair in stains],
        "eosin to Ruifrok's": [angle(pair[1], RUIFROK_FROM_HED[1]) for pair in stains],
    }.items():
        print(f"{name}, degrees, BreakHis: 1 % {np.percentile(angles, 1):.0f}, 99 % {np.percentile(angles, 99):.0f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shared", type=Path)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--published", action="store_true", help="only the published method")
    arguments = parser.parse_args()
    published = {}
    cv2.setNumThreads(1)
    for title, images in sets(arguments.shared, arguments.every):
        print(f"\n{title}: {len(images)} images\n")
        print("| treatment | failed | flagged | over 5 % white | mean white | most white | spread |")
        print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
        for treatment, normalise in list(treatments(images).items())[: 1 if arguments.published else None]:
            checks, estimates, densities, failed = [], [], [], 0
            for name, image in images.items():
                try:
                    after, estimate = normalise(name, image)
                except TissueError:
                    failed += 1
                    continue
                checks.append(check_stains(image, after, estimate))
                estimates.append(estimate)
                if (stained := stained_pixels(image) > 0).any():
                    densities.append(optical_density(after)[stained].mean(axis=0))
            published.setdefault(title, list(zip(checks, estimates, strict=True)))
            white = np.array([check.whitened for check in checks] or [np.nan])
            flagged = sum(bool(check.reasons) for check in checks)
            spread = np.std(densities, axis=0).mean() if densities else np.nan
            print(
                f"| {treatment} | {failed} | {flagged} | {(white > 0.05).sum()} | {white.mean():.1%} "
                f"| {white.max():.0%} | {spread:.3f} |",
                flush=True,
            )
    print_criteria(published)


if __name__ == "__main__":
    main()
