"""Stage 1 on one core: the published way, bchisto, and the encoder alone, which is the limit.

Run: python tools/benchmarks/featurize.py [--encoder resnet50] [--rounds 3]
"""

import argparse
import os
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
from bchisto.featurize import FeaturizeSettings, View, crop_boxes, cut_crop, describe_images, draw_augmentation  # noqa: E402
from PIL import Image  # noqa: E402

from stains import plain_augment, plain_macenko  # noqa: E402

AUGMENTATIONS, CROPS, CROP, SCALE = 2, 20, 400, 0.5


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", default="resnet50")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    settings = FeaturizeSettings(views=(View(SCALE, CROP),), augmentations=AUGMENTATIONS, crops=CROPS)
    encoder = Encoder(options.encoder, weights="random")
    preprocess = get_spec(options.encoder).preprocess
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "b001.tif"
        Image.fromarray(make_tissue("Benign", seed=0, index=1)).save(path)
        record = ImageRecord(image_id=path.name, path=path, label=None)
        drawn = [draw_augmentation(record.image_id, k, seed=0, color_range=(0.7, 1.3)) for k in range(AUGMENTATIONS)]
        frame = resize_image(decode_image(path), SCALE)
        boxes = [crop_boxes(d, height=frame.shape[0], width=frame.shape[1], crop=CROP, count=CROPS) for d in drawn]
        prepared = [np.stack([cut_crop(frame, box, crop=CROP) for box in crop_boxes]) for crop_boxes in boxes]

        def alone():
            for crops in prepared:
                for start in range(0, CROPS, settings.batch_size):
                    encoder.encode(crops[start : start + settings.batch_size])

        def pipeline():
            targets = {"store": (encoder, settings.views[0])}
            list(describe_images([record], settings=settings, targets=targets, ticker=Ticker(None)))

        def published():
            image = plain_macenko(resize_image(decode_image(path), SCALE))
            factors = [(d.hematoxylin, d.eosin) for d in drawn]
            for coloured, crop_boxes in zip(plain_augment(image, factors), boxes, strict=True):
                crops = np.stack([cut_crop(coloured, box, crop=CROP) for box in crop_boxes]).astype(np.float32)
                maps = encoder.model.predict(np.asarray(preprocess(crops)), verbose=0, batch_size=CROPS)
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
