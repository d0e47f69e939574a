"""Stage 1 on one core: the published way, bchisto, and the encoder alone, which is the limit.

Run: python tools/benchmarks/featurize.py [--encoder resnet50] [--rounds 3]

With `--images BREAKHIS --weights mobilenetv2.weights.h5` it measures the whole command instead: `featurize --preset
quick` of images of 2048x1536 that are put together of BreakHis images and saved as BACH's are (TIFF; `--suffix .png`),
against the encoder alone on the same frames.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from timing import interleaved, machine, pin_one_thread, table

pin_one_thread()
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import numpy as np  # noqa: E402 - after the threads are pinned
from bchisto.core.jobs import Ticker  # noqa: E402
from bchisto.data import ImageRecord, decode_image, resize_image  # noqa: E402
from bchisto.data.synthetic import make_tissue  # noqa: E402
from bchisto.encoders import Encoder  # noqa: E402
from bchisto.encoders.registry import get_spec  # noqa: E402
from bchisto.featurize import (  # noqa: E402
    FeaturizeSettings,
    View,
    crop_boxes,
    cut_crop,
    describe_images,
    draw_augmentation,
)
from bchisto.featurize.plan import encoder_of  # noqa: E402
from bchisto.featurize.prepare import normalise_images, prepare_crops  # noqa: E402
from bchisto.featurize.stream import _encode_frames  # noqa: E402
from PIL import Image  # noqa: E402

from stains import plain_augment, plain_macenko  # noqa: E402

AUGMENTATIONS, CROPS, CROP, SCALE = 2, 20, 400, 0.5


def write_images(folder, sources, number, suffix):
    """Write images of 2048x1536, of squares of BreakHis images in random order and zoom; return their records.

    So no two of them are near-duplicates, which are compared one by one.
    """
    pictures = [np.asarray(Image.open(path).convert("RGB")) for path in sources]
    records, rng = [], np.random.default_rng(0)
    for index in range(number):
        canvas = np.empty((1536, 2048, 3), np.uint8)
        for top, left in (
            (row, column) for row in range(0, 1536, 128) for column in range(0, 2048, 128)
        ):
            side, picture = int(rng.integers(100, 180)), pictures[rng.integers(len(pictures))]
            y, x = (int(rng.integers(0, most - side)) for most in picture.shape[:2])
            square = Image.fromarray(picture[y : y + side, x : x + side]).resize((128, 128))
            canvas[top : top + 128, left : left + 128] = np.rot90(
                np.asarray(square), int(rng.integers(4))
            )
        path = folder / "images" / "ab"[index % 2] / f"{index:03d}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(canvas).save(path, **({"compress_level": 1} if suffix == ".png" else {}))
        records.append(ImageRecord(image_id=path.name, path=path, label=None))
    return records


def command(folder, options):
    """Measure the command."""
    sources = sorted(options.images.rglob("*.png"))
    records = write_images(folder / "all", sources, options.number, options.suffix)
    write_images(folder / "one", sources, 1, options.suffix)
    weights = f"mobilenetv2={options.weights.resolve()}"
    words = [
        sys.executable,
        "-m",
        "bchisto",
        "featurize",
        "--preset",
        "quick",
        "--weights",
        weights,
    ]
    words += ["--view", "0.5:400", "--jobs", "1", "--images"]
    one = [*words, str(folder / "one" / "images"), "--out", str(folder / "warm")]
    subprocess.run(one, check=True, capture_output=True)  # the network is kept
    words += [str(folder / "all" / "images"), "--out"]
    settings = FeaturizeSettings(
        encoders=("mobilenetv2",),
        weights=(weights,),
        views=(View(0.5, 400),),
        augmentations=12,
        mode="dense",
        engine="openvino",
    )
    targets = {"store": (encoder_of(settings.encoders[0], settings), settings.views[0])}
    ready = normalise_images(
        records[:4], settings=settings, views=settings.views, skip_errors=False
    )
    frames = list(prepare_crops(ready, settings=settings, views=settings.views))
    _encode_frames(targets, frames[0])
    shares = []

    def encoder_seconds():
        (seconds,) = interleaved(
            {"encoder": lambda: [_encode_frames(targets, f) for f in frames]}, rounds=2
        ).values()
        return np.mean(seconds) * len(records) / 4

    for number in range(options.rounds):
        encoding = encoder_seconds()  # before and after, as the speed of a machine changes
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([*words, str(folder / f"out{number}")], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        whole = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        encoding = (encoding + encoder_seconds()) / 2
        shares.append(encoding / whole)
        print(
            f"{len(records)} images, 12 augmentations: bchisto {whole:.1f} CPU seconds, encoder alone {encoding:.1f}"
        )
    print(f"\nbchisto runs at {100 * np.median(shares):.0f} % of the encoder alone")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", default="resnet50")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--number", type=int, default=48, help="of images")
    parser.add_argument("--suffix", default=".tif", help="of the images")
    options = parser.parse_args()
    if options.images:
        print(machine("openvino", "numpy"))
        with tempfile.TemporaryDirectory() as folder:
            command(Path(folder), options)
        return
    settings = FeaturizeSettings(
        views=(View(SCALE, CROP),), augmentations=AUGMENTATIONS, crops=CROPS
    )
    encoder = Encoder(options.encoder, weights="random")
    preprocess = get_spec(options.encoder).preprocess
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "b001.tif"
        Image.fromarray(make_tissue("Benign", seed=0, index=1)).save(path)
        record = ImageRecord(image_id=path.name, path=path, label=None)
        drawn = [
            draw_augmentation(record.image_id, k, seed=0, color_range=(0.7, 1.3))
            for k in range(AUGMENTATIONS)
        ]
        frame = resize_image(decode_image(path), SCALE)
        boxes = [
            crop_boxes(d, height=frame.shape[0], width=frame.shape[1], crop=CROP, count=CROPS)
            for d in drawn
        ]
        prepared = [
            np.stack([cut_crop(frame, box, crop=CROP) for box in crop_boxes])
            for crop_boxes in boxes
        ]

        def alone():
            for crops in prepared:
                for start in range(0, CROPS, settings.crops_at_once):
                    encoder.encode(crops[start : start + settings.crops_at_once])

        def pipeline():
            targets = {"store": (encoder, settings.views[0])}
            list(describe_images([record], settings=settings, targets=targets, ticker=Ticker(None)))

        def published():
            image = plain_macenko(resize_image(decode_image(path), SCALE))
            factors = [(d.hematoxylin, d.eosin) for d in drawn]
            for coloured, crop_boxes in zip(plain_augment(image, factors), boxes, strict=True):
                crops = np.stack([cut_crop(coloured, box, crop=CROP) for box in crop_boxes]).astype(
                    np.float32
                )
                maps = encoder.model.predict(
                    np.asarray(preprocess(crops)), verbose=0, batch_size=CROPS
                )
                maps = maps[0] if isinstance(maps, list) else maps
                np.linalg.norm(maps.mean(axis=(1, 2)), ord=3, axis=0)

        print(machine("tensorflow", "keras", "numpy"))
        print(
            f"\n{options.encoder}, one BACH image, {AUGMENTATIONS} augmentations of {CROPS} crops of {CROP}, one core\n"
        )
        ways = {"published way": published, "bchisto": pipeline, "encoder alone": alone}
        seconds = interleaved(ways, rounds=options.rounds)
        print("\n".join(table(seconds, baseline="published way")))
        share = np.median(seconds["encoder alone"]) / np.median(seconds["bchisto"])
        print(f"\nbchisto runs at {100 * share:.0f} % of the encoder alone")


if __name__ == "__main__":
    main()
