"""Small images that networks are trained on, as the training takes them."""

import numpy as np


def bright_and_dark(labels, rng):
    """Return noise that is brighter in the second class, and so easy to learn."""
    noise = rng.integers(0, 120, (len(labels), 32, 32, 3))
    return (noise + 100 * labels[:, None, None, None]).astype(np.uint8)


def assert_same_arrays(these, those):
    """Check that two lists of arrays are the same, to the bit."""
    for one, two in zip(these, those, strict=True):
        np.testing.assert_array_equal(one, two)


def model_of(settings, *, fold=1):
    """Return the network of a fold, of two classes."""
    from bchisto.finetune.model import build_model

    return build_model(settings, classes=2, fold=fold)


def finetune_here(images, run, settings, folds="3", **options):
    """Train networks by folds, in this process; return the result."""
    from bchisto.core.jobs import Work
    from bchisto.finetune import finetune

    options = {"settings": settings, "folds": [folds], "work": Work(jobs=1), **options}
    (result,) = finetune(images, out=run, **options)
    return result


def source_of(images, labels, *, batch_size=4):
    """Return whole images and their labels as a source of batches."""
    from bchisto.finetune import ImageBank, PatchRule
    from bchisto.finetune.batches import Source

    bank = ImageBank.of(list(images), [f"{place}.png" for place in range(len(images))])
    return Source(bank, np.asarray(labels), PatchRule(), 32, 0, batch_size)


def trained(model, source, plan, folder, **options):
    """Train a model, with its state and its log in a folder; return the model."""
    from bchisto.finetune.fit import train_model

    folder.mkdir(exist_ok=True)
    train_model(model, source, plan, state=folder / "s.npz", log=folder / "l.csv", **options)
    return model
