"""Stain normalisation and 50 augmentations against the formulas in plain NumPy, on one thread.

Run: python tools/benchmarks/stains.py [--rounds 7]
"""

import argparse

from timing import interleaved, machine, pin_one_thread, table

pin_one_thread()

import cv2  # noqa: E402 - after the threads are pinned
import numpy as np  # noqa: E402
from bchisto.data.synthetic import make_tissue  # noqa: E402
from bchisto.stains import HeAugmenter, MacenkoNormalizer, check_stains  # noqa: E402
from bchisto.stains.colours import RUIFROK_FROM_HED, RUIFROK_TO_HED  # noqa: E402
from bchisto.stains.macenko import REFERENCE_MAXIMA, REFERENCE_STAINS  # noqa: E402

AUGMENTATIONS = 50


def plain_macenko(image):
    """The published formulas in float64, without any shortcut."""
    od = -np.log((image.reshape(-1, 3).astype(float) + 1) / 240)
    tissue = od[(od >= 0.15).all(axis=1)]
    values, vectors = np.linalg.eigh(np.cov(tissue.T))
    plane = vectors[:, np.argsort(values)[::-1][:2]]
    plane *= np.where((tissue @ plane).mean(axis=0) < 0, -1, 1)
    projected = tissue @ plane
    angle = np.arctan2(projected[:, 1], projected[:, 0])
    ends = sorted(
        (plane @ [np.cos(a), np.sin(a)] for a in np.percentile(angle, [1, 99])), key=lambda v: -v[0]
    )
    stains = np.stack(ends, axis=1)
    c = np.linalg.lstsq(stains, od.T, rcond=None)[0]
    c *= (REFERENCE_MAXIMA / np.percentile(c, 99, axis=1))[:, None]
    out = 240 * np.exp(-(REFERENCE_STAINS @ c))
    return np.clip(out, 0, 255).astype(np.uint8).T.reshape(image.shape)


def plain_augment(image, factors):
    """The published formulas in float64, per augmentation as the published code does it."""
    for h, e in factors:
        od = -np.log10((image.reshape(-1, 3).astype(float) + 1) / 240)
        c = od @ RUIFROK_TO_HED.T
        out = 240 * 10 ** -((c * [h, e, 1.0]) @ RUIFROK_FROM_HED) - 1
        yield np.clip(out, 0, 255).astype(np.uint8).reshape(image.shape)


def fast_augment(image, factors):
    augmenter = HeAugmenter(image)
    for h, e in factors:
        yield augmenter.augment(hematoxylin=h, eosin=e)


def farthest(a, b):
    return int(np.abs(a.astype(int) - b.astype(int)).max())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    cv2.setNumThreads(1)
    print(machine("numpy", "opencv-python-headless"))
    factors = np.random.default_rng(0).uniform(0.7, 1.3, (AUGMENTATIONS, 2)).tolist()
    for size in ((1024, 768), (2048, 1536)):
        image = make_tissue("Benign", seed=0, index=1, size=size)
        levels = farthest(plain_macenko(image), MacenkoNormalizer().normalize(image))
        print(f"\nMacenko normalisation, {size[0]}x{size[1]}; farthest {levels} grey level apart\n")
        ways = {
            "plain NumPy": lambda i=image: plain_macenko(i),
            "bchisto": lambda i=image: MacenkoNormalizer().normalize(i),
            "bchisto, checked": lambda i=image: check_stains(
                i, *MacenkoNormalizer().normalize_with_estimate(i)
            ),
            "bchisto, robust": lambda i=image: MacenkoNormalizer(robust=True).normalize(i),
        }
        print("\n".join(table(interleaved(ways, rounds=rounds), baseline="plain NumPy")))
    image = make_tissue("Benign", seed=0, index=1, size=(1024, 768))
    pairs = zip(plain_augment(image, factors[:5]), fast_augment(image, factors[:5]), strict=True)
    levels = max(farthest(a, b) for a, b in pairs)
    print(f"\n{AUGMENTATIONS} augmentations of 1024x768; farthest {levels} grey level apart\n")
    ways = {
        "plain NumPy": lambda: [None for _ in plain_augment(image, factors)],
        "bchisto": lambda: [None for _ in fast_augment(image, factors)],
    }
    print("\n".join(table(interleaved(ways, rounds=max(3, rounds // 2)), baseline="plain NumPy")))


if __name__ == "__main__":
    main()
