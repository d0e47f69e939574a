"""Training input against the network, and our training against a plain Keras `fit` of the same network.

One core, one thread: images a second of the input alone, prepared by `keras.utils.PyDataset` (ours) and by the
same function in `tf.data`; of the network alone, a batch given again and again; of a plain `fit` on arrays in memory
without augmentation; and of our whole training step, which reads, augments and trains.

Run: python tools/benchmarks/finetune.py [--batches 12 --rounds 3]
"""

import argparse
import os
import statistics

from timing import interleaved, machine, pin_one_thread

pin_one_thread()
os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import numpy as np  # noqa: E402 - after the threads are pinned
from bchisto.finetune import FinetuneSettings, ImageBank, network_of  # noqa: E402
from bchisto.finetune.batches import Source, training_batches  # noqa: E402
from bchisto.finetune.model import build_model  # noqa: E402
from bchisto.finetune.samples import cut_region  # noqa: E402

CASES = {
    "patch-resnet": ((50, 50), "resize", ("isometries", "rotation")),
    "breakhis-resnet-stride2": ((460, 700), "sliding:128:0.5", ("isometries",)),
    "ddsm-baseline": ((224, 224), "resize", ("rotations-crops", "mirror")),
    "googlenet": ((224, 224), "resize", ("rotations-crops", "mirror")),
}
"""Network to the size of its images, its patches and its augmentation, as in the recipes."""


def measure(name, *, batches, rounds):
    import tensorflow as tf

    (height, width), patches, augmentations = CASES[name]
    settings = FinetuneSettings(name, patches=patches, augmentations=augmentations)
    network = network_of(name)
    size, batch = network.size, network.batch_size
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for _ in range(batch)]
    regions = []
    if settings.turned:  # contexts of twice the size of the network, each in a mammogram of its own
        noise = rng.integers(0, 256, (4 * size, 4 * size, 3), dtype=np.uint8)
        region = cut_region(
            noise, (size, size, 3 * size - 2, 3 * size - 2), size=size, treat=np.copy
        )
        regions = [region] * batch
    bank = ImageBank.of(images, [str(number) for number in range(batch)], regions)
    source = Source(bank, np.arange(batch) % 2, settings.rule, size, 0, batch)
    samples = source.samples(
        np.arange(batch), copies=25 if "rotations-crops" in augmentations else 1
    )
    make = training_batches(source, samples, augmentations=augmentations, crops=5)
    count = min(batches, len(make(0)))
    model = build_model(settings, classes=2, fold=0)
    given = make(0)[0]
    held = np.concatenate([given[0]] * count), np.concatenate([given[1]] * count)

    class Some(type(make(0))):
        """The first batches of an epoch."""

        def __init__(self, whole):
            super().__init__()
            self.whole = whole

        def __len__(self):
            return count

        def __getitem__(self, number):
            return self.whole[number]

    def by_py_dataset():
        whole = make(1)
        for number in range(count):
            whole[number]

    def by_tf_data():
        whole = make(1)
        spec = (tf.TensorSpec((None, size, size, 3), tf.uint8), tf.TensorSpec((None,), tf.int64))
        data = tf.data.Dataset.from_generator(
            lambda: (whole[number] for number in range(count)), output_signature=spec
        )
        for _ in data.prefetch(2):
            pass

    ways = {
        "input, PyDataset": by_py_dataset,
        "input, tf.data": by_tf_data,
        "network alone": lambda: [model.train_on_batch(*given) for _ in range(count)],
        "plain fit": lambda: model.fit(*held, batch_size=batch, epochs=1, verbose=0),
        "ours": lambda: model.fit(Some(make(1)), epochs=1, verbose=0, shuffle=False),
    }
    seconds = interleaved(ways, rounds=rounds)
    return {way: count * batch / statistics.median(values) for way, values in seconds.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--networks", nargs="*", default=list(CASES))
    options = parser.parse_args()
    print(machine("keras", "tensorflow", "albumentations"))
    print("\nimages a second of one core\n")
    names = None
    for name in options.networks:
        rates = measure(name, batches=options.batches, rounds=options.rounds)
        if names is None:
            names = list(rates)
            print(f"| network | {' | '.join(names)} | ours of plain fit | input of network |")
            print("| --- " * (len(names) + 3) + "|")
        ratio = f"{100 * rates['ours'] / rates['plain fit']:.0f} %"
        input_ratio = f"{rates['input, PyDataset'] / rates['network alone']:.1f} times"
        print(
            f"| {name} | {' | '.join(f'{rates[way]:.0f}' for way in names)} | {ratio} | {input_ratio} |"
        )


if __name__ == "__main__":
    main()
