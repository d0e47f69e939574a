"""What a GPU does while bchisto describes images and trains a network, on any backend of Keras.

For `featurize` with the published views and crops, in exact and dense mode: crops or frames a second, between two
numbers of images; the start apart; the share of what the encoders reach that are compiled and warm and get the same
batch from the memory of the card; operations a second, beside a product of matrices; errors, memory, and what the 400
images of BACH would take. It ends with an error unless the device's way describes every image. For `finetune`: steps a
second, the same share, and what ten folds of BACH would take. Weights are random and images synthetic, since time
depends on neither. Without a GPU everything is small and only shows that this runs, which the first line says.

Run: KERAS_BACKEND=jax|tensorflow|torch python tools/benchmarks/gpu.py [--part exact|dense|finetune]
[--precision float32|float16] [--batch-size 40] [--encoders resnet50 ...]

Functions that JAX kept shorten the start: with BCHISTO_CACHE=EMPTY-FOLDER it is a first one.
"""

import argparse
import contextlib
import dataclasses
import importlib.metadata
import math
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
from bchisto.core.jobs import Ticker, network_resources, prepare_backend
from bchisto.data import ImageRecord
from bchisto.data.synthetic import make_tissue
from bchisto.encoders.engines import compile_tensors
from bchisto.featurize import (
    FeaturizeSettings,
    View,
    describe_images,
    normalise_images,
    timed_targets,
)
from bchisto.featurize.device import DeviceDescriber, cached_describer
from bchisto.finetune import FinetuneSettings, ImageBank
from bchisto.finetune.batches import Source, training_batches
from bchisto.finetune.model import build_model, resolved
from PIL import Image
from timing import machine

BACH_IMAGES, BACH_AUGMENTATIONS, BACH_FOLDS, BACH_EPOCHS = 400, 50, 10, 30
"""The published experiment; epochs are ours."""


ON_GPU = SimpleNamespace(
    parts=["exact"],
    precisions=["float32"],
    encoders=["resnet50", "inceptionv3", "vgg16"],
    networks=["googlenet", "resnet50"],
    size=(2048, 1536),
    images={"exact": (8, 24), "dense": (16, 64)},
    augmentations={"exact": 10, "dense": BACH_AUGMENTATIONS},
    views=(View(0.5, 400), View(0.5, 650)),
    crops=20,
    batch=40,
    rounds=20,
    matrix=8192,
    side=224,
    training_batch=0,
    steps=60,
)
"""The published crops of BACH's images; one part in one precision."""

ON_CPU = SimpleNamespace(
    parts=["exact", "dense", "finetune"],
    precisions=["float32", "float16"],
    encoders=["mobilenetv2"],
    networks=["patch-resnet"],
    size=(160, 120),
    images={"exact": (2, 12), "dense": (2, 12)},
    augmentations={"exact": 4, "dense": 4},
    views=(View(0.5, 48),),
    crops=2,
    batch=4,
    rounds=1,
    matrix=256,
    side=32,
    training_batch=4,
    steps=3,
)
"""Seconds of work."""


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


def peak_memory(backend):
    """Return the most bytes of the first GPU that this process held."""
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.config.experimental.get_memory_info("GPU:0")["peak"]
    if backend == "jax":
        import jax

        return jax.local_devices()[0].memory_stats()["peak_bytes_in_use"]
    import torch

    return torch.cuda.max_memory_allocated()


@contextlib.contextmanager
def tf32(backend, allowed):
    """Let the card round float32 to TF32 in convolutions and products of matrices, or not."""
    if backend == "jax":
        import jax

        with jax.default_matmul_precision("default" if allowed else "highest"):
            yield
    elif backend == "tensorflow":
        from tensorflow.config import experimental as switches

        before = switches.tensor_float_32_execution_enabled()
        switches.enable_tensor_float_32_execution(allowed)
        yield
        switches.enable_tensor_float_32_execution(before)
    else:
        from torch import backends

        places = (backends.cudnn, backends.cuda.matmul)
        before = [place.allow_tf32 for place in places]
        for place in places:
            place.allow_tf32 = allowed
        yield
        for place, was in zip(places, before, strict=True):
            place.allow_tf32 = was


def timed(function):
    """Return seconds and what the function returns."""
    started = time.perf_counter()
    result = function()
    return time.perf_counter() - started, result


def on_device(function, arrays, variables=()):
    """Return a compiled function of arrays that lie on the device; it was called once."""
    from keras import ops

    specs = [(array.dtype.name, array.shape) for array in arrays]
    compiled = compile_tensors(function, specs, variables)
    held = [ops.convert_to_tensor(array) for array in arrays]

    def run(rounds=1):
        for _ in range(rounds):
            result = compiled(*held)
        return ops.convert_to_numpy(
            result[:40]
        )  # waits for all; the whole of a large matrix would take long

    run()
    return run


def write_images(folder, scale):
    """Write synthetic tissue as two TIFF files, which all images share."""
    paths = []
    for number in range(2):
        paths.append(Path(folder) / f"b{number}.tif")
        tissue = make_tissue("Benign", seed=0, index=number, size=scale.size)
        Image.fromarray(tissue).save(paths[-1])
    return [
        ImageRecord(image_id=f"{number:03d}", path=paths[number % 2], label=None)
        for number in range(128)
    ]


def tissue(count, sides):
    """Return synthetic crops or frames, of which four differ."""
    side = max(64, *sides)
    four = [make_tissue("Invasive", seed=0, index=k, size=(side, side)) for k in range(4)]
    return np.resize(np.stack(four)[:, : sides[0], : sides[1]], (count, *sides, 3))


def describe(records, *, settings, targets, helpers):
    """Return the seconds for describing images on the device; end with an error if another way is taken."""
    counted = mock.patch.object(
        DeviceDescriber, "start", autospec=True, side_effect=DeviceDescriber.start
    )
    with counted as start:
        seconds, _ = timed(
            lambda: list(
                describe_images(
                    records,
                    settings=settings,
                    targets=targets,
                    ticker=Ticker(None),
                    helpers=helpers,
                    on_device=True,
                )
            )
        )
    if start.call_count != len(records):
        raise SystemExit(f"the device described {start.call_count} of {len(records)} images")
    return seconds


def passes(targets, settings):
    """Yield of each encoder, and view in exact mode: names, encoder, its function, and the arrays of a pass."""
    batches = cached_describer(tuple(targets.items()), settings)  # the same as was measured
    if settings.mode == "exact":
        for name, (encoder, view) in targets.items():
            crops = tissue(batches._at_once * settings.crops, (view.crop, view.crop))
            yield name, encoder, encoder.on_device.crops, [crops]
        return
    (_, *sides), (at_once, _) = next(iter(batches._functions.items()))
    corners = [(0, 0, view.crop, view.crop) for view in settings.views] * settings.crops
    for encoder in {id(encoder): encoder for encoder, _ in targets.values()}.values():
        places = encoder.geometry.places(np.array(corners), height=sides[0], width=sides[1])
        arrays = [tissue(at_once, sides), np.repeat(places[:, None], at_once, axis=1)]
        yield encoder.name, encoder, encoder.on_device.frames, arrays


def flops(model, sides):
    """Return the operations of a network's convolutions on one image, two for each multiplication and sum."""
    import keras

    sized = keras.models.clone_model(model, input_tensors=keras.Input((*sides, 3)))
    return 2 * sum(
        math.prod(layer.output.shape[1:3]) * math.prod(layer.weights[0].shape)
        for layer in sized.layers
        if hasattr(layer, "kernel_size")
    )


def encoders_alone(targets, settings, *, rounds):
    """Return seconds and operations for an image's crops or frames through every encoder, and print each."""
    seconds = operations = 0.0
    for name, encoder, function, arrays in passes(targets, settings):
        count = len(arrays[0])
        run = on_device(function, arrays, encoder.on_device.model.variables)
        each = timed(lambda run=run: run(rounds))[0] / rounds / count
        work = flops(encoder.model, arrays[0].shape[1:3])
        print(f"    {name:29} {1 / each:.4g} a second, {work / each / 1e12:.3g} TFLOP/s")
        needed = settings.augmentations * (settings.crops if settings.mode == "exact" else 1)
        seconds += each * needed
        operations += work * needed
    return seconds, operations


def matmul(backend, precision, scale):
    """Return operations a second of a product of matrices."""
    from keras import ops

    side = scale.matrix
    given = np.random.default_rng(0).standard_normal((side, side)).astype(precision)
    with tf32(backend, True):
        run = on_device(ops.matmul, [given, given])
        return 2 * side**3 * scale.rounds / timed(lambda: run(scale.rounds))[0]


def print_errors(targets, settings, backend):
    """Print how far features of the crops of the first view are from float32 without TF32, by norm."""
    plain = timed_targets(dataclasses.replace(settings, precision="float32"))
    both = {"float32": plain, settings.precision: targets}
    for name, (encoder, view) in plain.items():
        if view != settings.views[0]:
            continue
        crops = [tissue(4, (view.crop, view.crop))]

        def features(encoder, crops=crops):
            network = encoder.on_device
            return on_device(network.crops, crops, network.model.variables)()

        with tf32(backend, False):
            exact = features(encoder)
        errors = [
            f"{precision} {np.linalg.norm(features(of[name][0]) - exact) / np.linalg.norm(exact):.2g}"
            for precision, of in both.items()
        ]
        print(f"  error by norm, {encoder.name:16} {', '.join(errors)}")


def featurize_part(mode, precision, names, *, batch_size, scale, resources, backend, imports):
    """Measure stage 1."""
    settings = FeaturizeSettings(
        encoders=tuple(names),
        weights=("random",),
        views=scale.views,
        augmentations=scale.augmentations[mode],
        crops=scale.crops,
        batch_size=batch_size,
        mode=mode,
        precision=precision,
        engine="keras",
    )
    fewer, more = scale.images[mode]
    helpers = min(
        fewer, resources.helpers(1)
    )  # as many processes start for either number of images
    print(
        f"\nfeaturize, {mode}, {precision}: {', '.join(names)}; views {', '.join(map(str, scale.views))}; "
        f"{settings.augmentations} augmentations of {settings.crops} crops, {batch_size} at once; {helpers} processes "
        "decode"
    )
    building, targets = timed(lambda: timed_targets(settings))
    with tempfile.TemporaryDirectory() as folder:
        records = write_images(folder, scale)
        # the second run starts the processes, whatever that takes
        seconds = [
            describe(records[:count], settings=settings, targets=targets, helpers=helpers)
            for count in (1, fewer, fewer, more)
        ]
        views = scale.views
        decoding, _ = timed(
            lambda: list(
                normalise_images(records[:2], settings=settings, views=views, skip_errors=False)
            )
        )
    image = (seconds[3] - seconds[2]) / (more - fewer)
    things, of_image = "crops", len(targets) * settings.augmentations * settings.crops
    if mode == "dense":
        things, of_image = "frames", settings.augmentations
    print("  encoders only:")
    alone, operations = encoders_alone(targets, settings, rounds=scale.rounds)
    start = imports + building + seconds[0]
    bach = max(image * BACH_AUGMENTATIONS / settings.augmentations, decoding / 2 / helpers)
    product = matmul(backend, precision, scale)
    print(
        f"  start                           {start:.1f} s: imports {imports:.1f}, building {building:.1f}, compiling "
        f"and first image {seconds[0]:.1f}\n"
        f"  {things} a second                 {fewer} images {of_image * fewer / seconds[2]:.4g}, {more} images "
        f"{of_image * more / seconds[3]:.4g}; slope {of_image / image:.4g}\n"
        f"  encoders only                   {of_image / alone:.4g} {things} a second; share of the slope "
        f"{100 * alone / image:.0f} %\n"
        f"  operations a second             {operations / image / 1e12:.3g} TFLOP/s; encoders only "
        f"{operations / alone / 1e12:.3g}; a product of matrices of {scale.matrix} rows {product / 1e12:.3g}\n"
        f"  decoding and stain work         {decoding / 2:.2f} s an image in one process\n"
        f"  BACH, {BACH_IMAGES} images of {BACH_AUGMENTATIONS} augmentations, these encoders and views: "
        f"{BACH_IMAGES * bach / 60:.3g} minutes, and the start"
    )
    if mode == "exact":
        print_errors(targets, settings, backend)
    if resources.gpus:
        print(f"  memory of the card              {peak_memory(backend) / 1e9:.3g} GB at most")


def finetune_part(network, *, scale, resources):
    """Measure training."""
    settings = FinetuneSettings(
        network,
        weights="random",
        size=scale.side,
        batch_size=scale.training_batch,
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

    same = make(0)
    same.read = lambda _: given

    compiling, _ = timed(lambda: model.train_on_batch(*given))
    model.fit(same, epochs=1, verbose=0, shuffle=False)
    alone, _ = timed(lambda: model.fit(same, epochs=1, verbose=0, shuffle=False))
    whole, _ = timed(lambda: model.fit(make(1), epochs=1, verbose=0, shuffle=False))
    held = [np.concatenate([array] * scale.steps) for array in given]
    model.fit(*held, batch_size=batch, epochs=1, verbose=0)
    keras_fit, _ = timed(lambda: model.fit(*held, batch_size=batch, epochs=1, verbose=0))
    count = len(make(1))
    steps = BACH_FOLDS * BACH_EPOCHS * math.ceil(BACH_IMAGES * 0.9 / batch)
    minutes = (steps * whole / count + BACH_FOLDS * compiling) / 60
    print(
        f"\nfinetune: {network}, {scale.side} pixels, batches of {batch}; {helpers} threads prepare them\n"
        f"  steps a second                  {count / whole:.3g} ({count * batch / whole:.4g} images a second)\n"
        f"  plain Keras fit, no augmenting  {scale.steps * batch / keras_fit:.4g} images a second\n"
        f"  share of the network alone      {100 * (alone / scale.steps) / (whole / count):.0f} %\n"
        f"  BACH as whole images, {BACH_FOLDS} folds of {BACH_EPOCHS} epochs: {minutes:.1f} minutes on this machine"
    )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    modes = ["exact", "dense", "finetune"]
    parser.add_argument("--part", nargs="*", choices=modes, help="default: exact; on a CPU all")
    parser.add_argument(
        "--precision",
        nargs="*",
        choices=["float32", "float16"],
        help="a card computes float32 in TF32; default: float32; on a CPU both",
    )
    parser.add_argument(
        "--encoders", nargs="*", help="default: the published three; on a CPU mobilenetv2"
    )
    parser.add_argument(
        "--networks", nargs="*", help="default: googlenet, resnet50; on a CPU patch-resnet"
    )
    parser.add_argument("--batch-size", type=int, help="crops at once; default: 40; on a CPU 4")
    options = parser.parse_args()
    started = time.perf_counter()
    backend = prepare_backend()
    resources = network_resources()
    imports = time.perf_counter() - started
    scale = ON_GPU
    if resources.gpus:
        print(f"GPU: {gpu_name(backend)}, {len(resources.gpus)} of them; one is measured")
    else:
        scale = ON_CPU
        print(
            f"No GPU was found by Keras on {backend}: a small form on the CPU, whose figures say nothing about a GPU"
        )
    version = importlib.metadata.version(backend)
    print(f"{machine('keras')}, {backend} {version}, {resources.cores} cores usable")
    gpus = resources.gpus or ("0",)  # without a GPU, too, this measures what runs on one
    seen = mock.Mock(return_value=gpus)
    with (
        mock.patch("bchisto.featurize.stream.visible_gpus", seen),
        mock.patch("bchisto.encoders.engines.visible_gpus", seen),
    ):
        for part in options.part or scale.parts:
            if part == "finetune":
                for network in options.networks or scale.networks:
                    finetune_part(network, scale=scale, resources=resources)
                continue
            for precision in options.precision or scale.precisions:
                featurize_part(
                    part,
                    precision,
                    options.encoders or scale.encoders,
                    batch_size=options.batch_size or scale.batch,
                    scale=scale,
                    resources=resources,
                    backend=backend,
                    imports=imports,
                )
    print(f"\n{time.perf_counter() - started:.0f} s in all")


if __name__ == "__main__":
    main()
