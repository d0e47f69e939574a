"""What a GPU does while bchisto describes images and trains a network, on any backend of Keras.

For `featurize` with the published views and crops: images and crops a second, the share that the encoders alone would
reach on crops that lie on the device already, the share of time in which the device waits, and what the 400 images of
BACH would take. For `finetune`: steps a second, the same shares, and what ten folds of BACH would take. Weights are
random and images synthetic, since time depends on neither. Without a GPU everything is small and only shows that this
runs, which the first line says.

Run: KERAS_BACKEND=tensorflow|jax|torch python tools/benchmarks/gpu.py [--batch-size 20] [--encoders resnet50 ...]
"""

import argparse
import dataclasses
import importlib.metadata
import math
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from unittest import mock

import numpy as np
from bchisto.core.jobs import Ticker, network_resources, prepare_backend
from bchisto.data import ImageRecord
from bchisto.data.synthetic import make_tissue
from bchisto.encoders import Encoder
from bchisto.encoders.engines import compile_tensors
from bchisto.featurize import FeaturizeSettings, View, describe_images, draw_augmentation
from bchisto.featurize.device import cached_describer
from bchisto.featurize.prepare import normalise_images
from bchisto.finetune import FinetuneSettings, ImageBank
from bchisto.finetune.batches import Source, training_batches
from bchisto.finetune.model import build_model, resolved
from PIL import Image
from timing import machine

BACH_IMAGES, BACH_AUGMENTATIONS, BACH_FOLDS, BACH_EPOCHS = 400, 50, 10, 30
"""The published experiment; epochs are ours."""


@dataclasses.dataclass(frozen=True)
class Scale:
    """How much is measured."""

    size: tuple[int, int]
    images: int
    views: tuple[View, ...]
    augmentations: int
    crops: int
    side: int
    batch: int
    steps: int


ON_GPU = Scale((2048, 1536), 8, (View(0.5, 400), View(0.5, 650)), 10, 20, 224, 0, 60)
ON_CPU = Scale((160, 120), 3, (View(0.5, 48),), 2, 2, 32, 4, 3)
"""The published crops of BACH's images on a GPU; seconds of work on a CPU."""


def gpu_name(backend):
    """Return what the first GPU calls itself."""
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.config.experimental.get_device_details(
            tf.config.get_visible_devices("GPU")[0]
        ).get("device_name")
    if backend == "jax":
        import jax

        return jax.local_devices()[0].device_kind
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else "not a card of CUDA"


class Watch:
    """Asks nvidia-smi five times a second how busy the first card is; NaN where there is none."""

    def __init__(self, card):
        self._found, self._stop, self._card = [], threading.Event(), card

    def __enter__(self):
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()

    def _ask(self):
        command = shutil.which("nvidia-smi")
        while command and self._card is not None and not self._stop.wait(0.2):
            query = [
                command,
                "-i",
                self._card,
                "--query-gpu=utilization.gpu",
                "--format=csv,noheader,nounits",
            ]
            done = subprocess.run(query, capture_output=True, text=True)
            if done.returncode == 0 and done.stdout.strip().isdigit():
                self._found.append(int(done.stdout))

    @property
    def busy(self):
        """Percent."""
        return f"{np.mean(self._found):.0f} %" if self._found else "not known (no nvidia-smi)"


def timed(function):
    """Return seconds and what the function returns."""
    started = time.perf_counter()
    result = function()
    return time.perf_counter() - started, result


def write_images(folder, scale):
    """Write synthetic tissue as TIFF files."""
    records = []
    for number in range(scale.images):
        path = Path(folder) / f"b{number:03d}.tif"
        Image.fromarray(make_tissue("Benign", seed=0, index=number % 2, size=scale.size)).save(path)
        records.append(ImageRecord(image_id=path.name, path=path, label=None))
    return records


def encoders_alone(encoders, settings, *, rounds):
    """Return seconds for one image's crops through every encoder, from crops that lie on the device."""
    from keras import ops

    crops_at_once = max(1, settings.batch_size // settings.crops) * settings.crops
    seconds = 0.0
    for view in settings.views:
        given = np.random.default_rng(0).integers(
            0, 256, (crops_at_once, view.crop, view.crop, 3), dtype=np.uint8
        )
        held = ops.convert_to_tensor(given)
        for encoder in encoders.values():
            network = encoder.on_device
            run = compile_tensors(network.crops, [("uint8", given.shape)], network.model.variables)
            ops.convert_to_numpy(run(held))

            def all_rounds(run=run, held=held):
                for _ in range(rounds):
                    result = run(held)
                ops.convert_to_numpy(result)

            needed = settings.crops * settings.augmentations / crops_at_once
            seconds += timed(all_rounds)[0] / rounds * needed
    return seconds


def device_alone(records, settings, targets):
    """Return seconds a prepared image takes on the device, colours, crops and transfers included."""
    describer = cached_describer(tuple(targets.items()), settings)
    images = list(
        normalise_images(records, settings=settings, views=settings.views, skip_errors=False)
    )
    drawn = [
        draw_augmentation("a", k, seed=0, color_range=settings.color_range)
        for k in range(settings.augmentations)
    ]

    def all_images():
        before = None
        for image in images:
            now = describer.start(image.scales, drawn)
            if before is not None:
                before()
            before = now
        before()

    return timed(all_images)[0] / len(images)


def featurize_part(names, *, batch_size, scale, resources):
    """Measure stage 1."""
    settings = FeaturizeSettings(
        views=scale.views,
        augmentations=scale.augmentations,
        crops=scale.crops,
        batch_size=batch_size,
    )
    encoders = {name: Encoder(name, weights="random") for name in names}
    targets = {f"{name}-{view}": (encoders[name], view) for name in names for view in scale.views}
    helpers = resources.helpers(1)

    def describe(records):
        # without a GPU, too, this measures what runs on one
        with mock.patch("bchisto.featurize.stream.visible_gpus", return_value=("0",)):
            return list(
                describe_images(
                    records,
                    settings=settings,
                    targets=targets,
                    ticker=Ticker(None),
                    helpers=helpers,
                )
            )

    with tempfile.TemporaryDirectory() as folder:
        records = write_images(folder, scale)
        first, _ = timed(lambda: describe(records[:1]))
        again, _ = timed(lambda: describe(records[:1]))
        prepare = timed(
            lambda: list(
                normalise_images(
                    records[:2], settings=settings, views=scale.views, skip_errors=False
                )
            )
        )[0] / len(records[:2])
        describe(records[:2])  # starts the processes that decode
        with Watch(resources.gpus[0] if resources.gpus else None) as watch:
            whole = timed(lambda: describe(records))[0] / len(records)
        device = device_alone(records, settings, targets)
    alone = encoders_alone(encoders, settings, rounds=2 if resources.gpus else 1)
    crops = len(targets) * settings.augmentations * settings.crops
    times = BACH_AUGMENTATIONS / settings.augmentations
    image = max(prepare / helpers, times * (whole if device > prepare / helpers else device))
    bach = BACH_IMAGES * image / max(1, resources.processes if resources.gpus else 1) + max(
        0.0, first - again
    )
    print(
        f"\nfeaturize: {', '.join(names)}; views {', '.join(map(str, scale.views))}; {settings.augmentations} "
        f"augmentations of {settings.crops} crops, {batch_size} at once; {helpers} processes decode"
    )
    print(f"  compiling, once a process       {max(0.0, first - again):.1f} s")
    print(
        f"  images a second                 {1 / whole:.3g} of {settings.augmentations} augmentations "
        f"({crops / whole:.4g} crops a second)"
    )
    print(
        f"  share of the encoders alone     {100 * alone / whole:.0f} % ({crops / alone:.4g} crops a second alone)"
    )
    print(
        f"  device waits                    {100 * max(0.0, 1 - device / whole):.0f} % by calculation; busy by "
        f"nvidia-smi: {watch.busy}"
    )
    print(f"  decoding and stain work         {prepare:.2f} s an image in one process")
    print(
        f"  BACH, {BACH_IMAGES} images of {BACH_AUGMENTATIONS} augmentations, these encoders and views: "
        f"{bach / 60:.1f} minutes on this machine"
    )


def finetune_part(network, *, scale, resources):
    """Measure training."""
    settings = FinetuneSettings(
        network,
        weights="random",
        size=scale.side,
        batch_size=scale.batch,
        augmentations=("isometries", "brightness"),
    )
    batch = resolved(settings)["batch_size"]
    helpers = resources.helpers(1)
    rng = np.random.default_rng(0)
    images = [
        rng.integers(0, 256, (scale.side, scale.side, 3), dtype=np.uint8) for _ in range(batch)
    ]
    bank = ImageBank.of(images, [str(number) for number in range(batch)])
    source = Source(bank, np.arange(batch) % 4, settings.rule, scale.side, 0, batch, helpers)
    samples = source.samples(np.tile(np.arange(batch), scale.steps))
    make = training_batches(source, samples, augmentations=settings.augmentations, crops=1)
    model = build_model(settings, classes=4, fold=0)
    given = make(0)[0]

    class Same(type(make(0))):
        """One batch again and again."""

        def __init__(self):
            super().__init__()

        def __len__(self):
            return scale.steps

        def __getitem__(self, _):
            return given

    compiling, _ = timed(lambda: model.train_on_batch(*given))
    model.fit(Same(), epochs=1, verbose=0, shuffle=False)
    alone, _ = timed(lambda: model.fit(Same(), epochs=1, verbose=0, shuffle=False))
    with Watch(resources.gpus[0] if resources.gpus else None) as watch:
        whole, _ = timed(lambda: model.fit(make(1), epochs=1, verbose=0, shuffle=False))
    held = [np.concatenate([array] * scale.steps) for array in given]
    model.fit(*held, batch_size=batch, epochs=1, verbose=0)
    keras_fit, _ = timed(lambda: model.fit(*held, batch_size=batch, epochs=1, verbose=0))
    count = len(make(1))
    steps = BACH_FOLDS * BACH_EPOCHS * math.ceil(BACH_IMAGES * 0.9 / batch)
    minutes = (
        (steps * whole / count + BACH_FOLDS * compiling)
        / 60
        / max(1, resources.processes if resources.gpus else 1)
    )
    print(
        f"\nfinetune: {network}, {scale.side} pixels, batches of {batch}; {helpers} threads prepare them"
    )
    print(
        f"  steps a second                  {count / whole:.3g} ({count * batch / whole:.4g} images a second)"
    )
    print(
        f"  plain Keras fit, no augmenting  {scale.steps * batch / keras_fit:.4g} images a second"
    )
    print(
        f"  share of the network alone      {100 * (alone / scale.steps) / (whole / count):.0f} %"
    )
    print(
        f"  device waits                    {100 * max(0.0, 1 - (alone / scale.steps) / (whole / count)):.0f} % by "
        f"calculation; busy by nvidia-smi: {watch.busy}"
    )
    print(
        f"  BACH as whole images, {BACH_FOLDS} folds of {BACH_EPOCHS} epochs: {minutes:.1f} minutes on this machine"
    )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--encoders", nargs="*", help="default: the published three; on a CPU mobilenetv2"
    )
    parser.add_argument(
        "--networks", nargs="*", help="default: googlenet, resnet50; on a CPU patch-resnet"
    )
    parser.add_argument("--batch-size", type=int, help="crops at once; default: 20; on a CPU 4")
    options = parser.parse_args()
    started = time.perf_counter()
    backend = prepare_backend()
    resources = network_resources()
    if resources.gpus:
        print(f"GPU: {gpu_name(backend)}, {len(resources.gpus)} of them; one is measured")
    else:
        print(
            f"No GPU was found by Keras on {backend}: a small form on the CPU, whose figures say nothing about a GPU"
        )
    scale = ON_GPU if resources.gpus else ON_CPU
    version = importlib.metadata.version(backend)
    print(f"{machine('keras')}, {backend} {version}, {resources.cores} cores usable")
    names = options.encoders or (
        ["resnet50", "inceptionv3", "vgg16"] if resources.gpus else ["mobilenetv2"]
    )
    batch_size = options.batch_size or (20 if resources.gpus else 4)
    if names != ["none"]:
        featurize_part(names, batch_size=batch_size, scale=scale, resources=resources)
    for network in options.networks or (
        ["googlenet", "resnet50"] if resources.gpus else ["patch-resnet"]
    ):
        finetune_part(network, scale=scale, resources=resources)
    print(f"\n{time.perf_counter() - started:.0f} s in all")


if __name__ == "__main__":
    main()
