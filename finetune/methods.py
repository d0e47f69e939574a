"""Describe the training of networks in sentences for a methods section."""

from __future__ import annotations

from collections.abc import Iterator

from .augment import AUGMENTATIONS, OFFLINE, augmentation_ranges
from .balance import BEFORE
from .model import resolved
from .settings import FinetuneSettings

_NETWORKS = {"alexnet": "krizhevsky2012", "googlenet": "szegedy2015", "resnet50": "he2016", "vgg16": "simonyan2015",
             "inceptionv3": "szegedy2016", "mobilenetv2": "sandler2018"}  # fmt: skip

_OPTIMIZERS = {"adam": "Adam [@kingma2015]", "sgd": "stochastic gradient descent"}

_STAINS = {"none": "", "macenko": "macenko2009", "macenko-robust": "macenko2009", "macenko-published": "macenko2009",
           "staintools-macenko": "macenko2009",
           "staintools-vahadane": "vahadane2016", "staintools-reinhard": "reinhard2001"}  # fmt: skip


def methods_of(settings: FinetuneSettings, *, folds: int, inner: bool) -> Iterator[str]:
    """Yield sentences that describe the training.

    Parameters
    ----------
    settings : FinetuneSettings
    folds : int
        Number of trained networks.
    inner : bool
        Whether the validation images were split from the training images, because the fold list names none.
    """
    chosen = resolved(settings)
    if settings.stain != "none":
        cited = f" [@{_STAINS[settings.stain]}]" if settings.stain in _STAINS else ""
        yield f"Images were treated by {settings.stain}{cited} before training."
    cited = f" [@{_NETWORKS[settings.network]}]" if settings.network in _NETWORKS else ""
    start = {"imagenet": "from ImageNet weights [@deng2009]", "random": "from random weights"}
    begun = start.get(chosen["weights"], "from the weights of a file")
    often = "once" if folds == 1 else f"separately in each of {folds} folds"
    optimizer = _OPTIMIZERS[chosen["optimizer"]]
    yield (
        f"The network {settings.network}{cited} was trained {begun}, {often}, by {optimizer} with "
        f"a learning rate of {chosen['learning_rate']:g} on batches of {chosen['batch_size']}."
    )
    if settings.rule.kind == "resize":
        yield f"Its input is the whole image, resized to {chosen['size']} pixels."
    else:
        yield (
            f"Its input is a patch of {settings.rule.side} pixels resized to {chosen['size']}; the prediction of an "
            "image is the mean over its patches."
        )
    if settings.augmentations:
        yield f"Training images were augmented by {'; '.join(_augmented(settings))}."
    if settings.copies:
        each = " and ".join(f"{factor:g} times for {name}" for name, factor in settings.copies)
        yield f"In an epoch each training image was used {each}, augmented differently each time."
    if settings.sampling == BEFORE:
        yield (
            "Before the split, random images of the larger classes were removed until all classes were as large as the "
            "smallest, so that the test images are balanced, too."
        )
    met = [] if settings.sampling in ("none", BEFORE) else [f"{settings.sampling}-sampling"]
    if settings.class_weights:
        met.append("class weights")
    if met:
        yield f"Class imbalance was handled by {' and '.join(met)}."
    part = (
        "an eighth of the training part, groups whole,"
        if inner
        else "the validation part of the cross-validation scheme"
    )
    if settings.validation and not settings.patience:
        yield (
            f"Networks were trained for {settings.epochs} epochs, and the last weights were kept, whatever the loss on "
            f"{part.rstrip(',')}."
        )
    elif settings.validation:
        yield (
            f"Training stopped after {settings.patience} epochs without a lower loss on {part} or after "
            f"{settings.epochs} epochs, and the weights of the lowest loss were kept."
        )
    else:
        yield f"Networks were trained for {settings.epochs} epochs without validation."


def _augmented(settings: FinetuneSettings) -> Iterator[str]:
    """Yield each augmentation in words, in the order in which they are applied."""
    ranges = augmentation_ranges(settings.augmentations)
    if OFFLINE in ranges:
        edges = "made within its file by one resampling" if settings.turned else "with mirrored edges"
        drawn = f"{settings.rotations} rotations of each by any angle and {settings.crops} crops of each rotation"
        yield f"{drawn}, {edges}"
    words = {
        "isometries": "the eight isometries of the square",
        "mirror": "mirroring left and right",
        "rotation": "rotation by up to {0:g} degrees",
        "translation": "translation by up to {1:g} % of the side",
        "magnification": "magnification by up to {1:g} %",
        "brightness": "brightness and contrast by up to {1:g} %",
        "noise": "Gaussian noise of up to {1:g} % of full scale",
        "crop": "crops of at least {1:g} % of the area",
        "stain": "factors of 0.7 to 1.3 for haematoxylin and eosin",
    }
    for name in AUGMENTATIONS:
        if name in ranges:
            value = ranges[name] or 0.0
            yield words[name].format(value, 100 * value)
