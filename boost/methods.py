"""Texts about an ensemble for reports: its settings, and sentences for a methods section."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..core import counted, listed, plain_options
from ..encoders import card_of
from ..featurize import IMPORTED, UNKNOWN, FeaturizeSettings, StainOutcome, settings_from
from ..stains import get_stain
from .head import HeadSpec
from .units import ModelUnit

_EXCEPTIONS = {
    "skipped": "Of the {1} images, {0} with too little tissue were not normalised.",
    "blank": "Of the {1} images, {0} show nothing: they are of a single colour.",
    "doubtful": "Of the {1} images, the normalised stains of {0} are in doubt: tissue turned white, or the stains rest "
    "on few pixels or are implausible.",
    "foreign": "In {0} of the {1} images, ink, black or single-coloured areas kept their colour.",
}
"""Images of a `StainOutcome` for which normalisation was skipped or is doubtful."""

_TOLD = frozenset(
    {
        *("encoders", "weights", "views", "crops", "augmentations", "color_range", "pool"),
        *("stain", "mode", "precision", "seed"),
        *("pad", "stain_fallback", "engine", "batch_size"),
    }
)
"""Options of feature extraction that the settings of a report tell in words of their own, or (the last four) leave to
``run.json``. Others, as one that is added, are listed if they are not at their default."""

_NETWORKS = {
    "resnet50": "he2016",
    "resnet50-keras213": "he2016",
    "vgg16": "simonyan2015",
    "inceptionv3": "szegedy2016",
    "mobilenetv2": "sandler2018",
}

_WEIGHTS = {
    "imagenet": "pretrained on ImageNet [@deng2009]",
    "random": "with random weights, untrained",
}


def methods_of(
    headers: Mapping[str, Mapping[str, Any]],
    *,
    spec: HeadSpec,
    units: Sequence[ModelUnit],
    stains: Mapping[str, StainOutcome],
) -> list[str]:
    """Return the sentences of a methods section.

    Parameters
    ----------
    headers : mapping
        Name of a feature file to its header.
    spec : HeadSpec
        The classifier.
    units : sequence of ModelUnit
        All models.
    stains : mapping
        Name of a feature file to the result of stain normalisation.
    """
    method = spec.method or f"the classifier {spec.name}"
    seeds, folds = len({unit.seed for unit in units}), len({unit.part.fold for unit in units})
    each = f" from each of {seeds} seeds" if seeds > 1 else ""
    draws = max(h["augmentations"] for h in headers.values())
    several = {"its draws": draws, "seeds": seeds, "feature sets": len(headers)}
    over = [what for what, number in several.items() if number > 1]
    return [
        *dict.fromkeys(_described(headers, stains)),
        f"Classifiers were {method}, trained{each} on the training set of {'the fold' if folds == 1 else 'each fold'} "
        f"({counted(len(units), 'model')} in all).",
        *([f"The prediction of an image averages {listed(over)}."] if over else []),
    ]


def _described(
    headers: Mapping[str, Mapping[str, Any]], stains: Mapping[str, StainOutcome]
) -> Iterator[str]:
    for name, header in headers.items():
        if header["mode"] == IMPORTED:
            yield _embedded(header)
            continue
        yield get_stain(header["stain"]).sentence
        for kind, text in _EXCEPTIONS.items():
            if name in stains and (images := getattr(stains[name], kind)):
                yield text.format(len(images), stains[name].images)
        low, high = header["color_range"]
        draws = counted(header["augmentations"], "draw")
        if (low, high) != (1, 1):
            yield (
                "Haematoxylin and eosin, separated by colour deconvolution [@ruifrok2001], were scaled by random "
                f"factors from {low:g} to {high:g} in each of {draws} of an image."
            )
        network = header["encoder"]
        cited = f" [@{_NETWORKS[network]}]" if network in _NETWORKS else ""
        weights = _WEIGHTS.get(
            header["weights"], f"with weights from a file ({_weights_hash(header)})"
        )
        layers = ", ".join(header["layers"])
        seen = (
            f"({layers})" if "runner" in header else f"(layers {layers}), averaged over positions"
        )
        cut = "windows on the feature maps" if header["mode"] == "dense" else "random crops"
        if header["crops"] == 1:
            cut = cut.replace("windows", "window").replace("crops", "crop")
        number = header["crops"] or "as many as cover an image:"
        cut = cut if header["crops"] else cut.replace("random crops", "evenly spaced crops")
        yield (
            f"Features are the outputs of {network}{cited} {weights} {seen}, for {number} {cut} of "
            f"{header['crop']} pixels in each of {draws} at {_scale(header, 'a scale of ')}, pooled by "
            f"{settings_from(header).description.method()}."
        )


def _embedded(header: Mapping[str, Any]) -> str:
    """Return a sentence on embeddings that were computed outside bchisto."""
    about = header[IMPORTED]
    network = header["encoder"]
    by = "an encoder that is not named" if network == UNKNOWN else f"the encoder {network}"
    each = f", each the {about['pooled']}" if about["pooled"] else ""
    return f"Features are embeddings of {header['dim']} numbers that {by} computed outside bchisto{each}."


def shown_store(h: Mapping[str, Any]) -> str:
    """Return the header of a feature file as text for the settings of a report."""
    if h["mode"] == IMPORTED:
        about = h[IMPORTED]
        weights = f", weights of sha256 {h['weights_sha256'][:12]}" if h["weights_sha256"] else ""
        rows = f", {counted(h['augmentations'], 'row')} an image" if h["augmentations"] > 1 else ""
        pooled = f", {about['pooled']}" if about["pooled"] else ""
        return (
            f"embeddings of {about['source']}: encoder {h['encoder']}{weights}, {h['dim']} numbers{rows}{pooled}, "
            f"sha256 {h['features_sha256'][:12]}"
        )
    settings = settings_from(h)
    low, high = h["color_range"]
    card = card_of(h)
    bound = "" if card is None else f"; {card.terms()}"
    return (
        f"{h['encoder']} ({'+'.join(h['layers'])}), weights {h['weights']} ({_weights_hash(h)}{bound}), "
        f"{_scale(h, 'scale ')}, {counted(h['crops'], 'crop') if h['crops'] else 'a grid of crops'} of {h['crop']}, "
        f"{counted(h['augmentations'], 'augmentation')} in [{low:g}, {high:g}], "
        f"{settings.description.shown()}, stain {h['stain']}, {h['mode']}, {h['precision']}, seed {h['seed']}"
        f"{_further(settings)}"
    )


def _further(settings: FeaturizeSettings) -> str:
    """Return the options that are not at their default, and that no words of their own tell."""
    options = plain_options(settings, deciding=True)
    defaults = plain_options(FeaturizeSettings(), deciding=True)
    return "".join(
        f", {name} {value}"
        for name, value in options.items()
        if name not in _TOLD and value != defaults[name]
    )


def _scale(header: Mapping[str, Any], word: str) -> str:
    """Return the scale of a view as text: micrometres per pixel, or `word` and the scale factor."""
    return (
        f"{header['scale']:g} um per pixel" if header.get("unit") else f"{word}{header['scale']:g}"
    )


def _weights_hash(header: Mapping[str, Any]) -> str:
    """Return the checksum of the weights file, as sha256sum prints it, or of the arrays if there is no file."""
    of_file = str(header.get("weights_file_sha256") or "")
    return (
        f"sha256 {of_file[:12]}"
        if of_file
        else f"sha256 of the arrays {header['weights_sha256'][:12]}"
    )
