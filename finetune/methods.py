"""Sentences on the training of networks for a methods section, from what was run."""

from __future__ import annotations

from collections.abc import Iterator

from .model import resolved
from .settings import FinetuneSettings

__all__ = ["methods_of"]

_NETWORKS = {"alexnet": "krizhevsky2012", "googlenet": "szegedy2015", "resnet50": "he2016", "vgg16": "simonyan2015",
             "inceptionv3": "szegedy2016", "mobilenetv2": "sandler2018"}  # fmt: skip

_OPTIMIZERS = {"adam": "Adam [@kingma2015]", "sgd": "stochastic gradient descent"}

_STAINS = {"none": "", "macenko": "macenko2009", "staintools-macenko": "macenko2009",
           "staintools-vahadane": "vahadane2016", "staintools-reinhard": "reinhard2001"}  # fmt: skip


def methods_of(settings: FinetuneSettings, *, folds: int, inner: bool) -> Iterator[str]:
    """Yield the sentences.

    Parameters
    ----------
    settings : FinetuneSettings
    folds : int
        Networks that were trained.
    inner : bool
        Whether a part of the training images validates that the protocol does not name.
    """
    chosen = resolved(settings)
    if settings.stain != "none":
        cited = f" [@{_STAINS[settings.stain]}]" if settings.stain in _STAINS else ""
        yield f"Images were treated by {settings.stain}{cited} before training."
    cited = f" [@{_NETWORKS[settings.network]}]" if settings.network in _NETWORKS else ""
    start = {"imagenet": "from ImageNet weights [@deng2009]", "random": "from random weights"}
    begun = start.get(chosen["weights"], "from the weights of a file")
    often = "once" if folds == 1 else f"anew in each of {folds} folds"
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
        yield f"Training images were augmented by {', '.join(settings.augmentations)}."
    if settings.copies:
        each = " and ".join(f"{factor:g} times for {name}" for name, factor in settings.copies)
        yield f"In an epoch each training image stood, every time augmented anew, {each}."
    if settings.sampling != "none" or settings.weighted:
        how = [f"{settings.sampling}-sampling"] if settings.sampling != "none" else []
        yield f"Uneven classes were met by {' and '.join([*how, *(['class weights'] if settings.weighted else [])])}."
    if settings.validation:
        part = "an eighth of the training part, groups whole," if inner else "the validation part of the protocol"
        yield (
            f"Training stopped after {settings.patience} epochs without a lower loss on {part} or after "
            f"{settings.epochs} epochs, and the weights of the lowest loss were kept."
        )
    else:
        yield f"Networks were trained for {settings.epochs} epochs without validation."
