"""Texts about an ensemble for reports: its settings, and sentences for a methods section."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ..core import Entries, counted, listed, plain_options
from ..crossval import citation_of
from ..encoders import card_of
from ..featurize import IMPORTED, UNKNOWN, FeaturizeSettings, StainOutcome, settings_from
from ..stains import get_stain
from .head import HeadSpec
from .units import ModelUnit

Header = Entries
"""Settings and origin of a feature file."""

_EXCEPTIONS = {
    "skipped": "In {0} of the {1} images there was too little tissue to be normalised.",
    "blank": "In {0} of the {1} images there is nothing but a single colour.",
    "doubtful": "Of the {1} images, the normalised stains of {0} are in doubt: tissue turned white, or the stains rest "
    "on few pixels or are implausible.",
    "foreign": "In {0} of the {1} images, ink, black or single-coloured areas kept their colour.",
}
"""Images of a `StainOutcome` for which normalisation was skipped or is doubtful."""

_TOLD = {
    "encoders",
    "weights",
    "views",
    "crops",
    "augmentations",
    "color_range",
    "pool",
    "stain",
    "mode",
    "precision",
    "seed",
    "pad",
    "stain_fallback",
    "engine",
    "batch_size",
}
"""Options of feature extraction that the settings of a report describe in words of their own, or (the last four) leave
to ``run.json``. All others are listed if they are not at their default."""

_WEIGHTS = {
    "imagenet": f"pretrained on ImageNet{citation_of('imagenet')}",
    "embedded": f"pretrained on ImageNet{citation_of('imagenet')}, with kernels of 16 bits",
    "random": "with random weights, untrained",
}


Sentence = tuple[str, str]
"""The heading of a paragraph of a methods section, and a sentence in it."""


def methods_of(
    headers: Mapping[str, Header],
    *,
    spec: HeadSpec,
    units: Sequence[ModelUnit],
    stains: Mapping[str, StainOutcome],
) -> list[Sentence]:
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
    seeds = len({unit.seed for unit in units})
    folds = len({unit.part.fold for unit in units})
    per_seed = f" from each of {seeds} seeds" if seeds > 1 else ""
    fold = "the fold" if folds == 1 else "each fold"
    sentences = [
        *dict.fromkeys(_described(headers, stains)),
        (
            "Classifiers",
            f"Classifiers were {method}, trained{per_seed} on the training set of {fold} "
            f"({counted(len(units), 'model')} in all).",
        ),
    ]
    numbers = {
        "its draws": max(header["augmentations"] for header in headers.values()),
        "seeds": seeds,
        "feature sets": len(headers),
    }
    averaged = [noun for noun, number in numbers.items() if number > 1]
    if averaged:
        text = f"The prediction of an image averages {listed(averaged)}."
        sentences.append(("Classifiers", text))
    return sentences


def _described(
    headers: Mapping[str, Header], stains: Mapping[str, StainOutcome]
) -> Iterator[Sentence]:
    for name, header in headers.items():
        if header["mode"] == IMPORTED:
            yield "Features", _embedded(header)
            continue
        yield "Images", get_stain(header["stain"]).method
        for kind, text in _EXCEPTIONS.items():
            images = getattr(stains.get(name), kind, ())
            if images:
                yield "Images", text.format(len(images), stains[name].images)
        low, high = header["color_range"]
        draws = counted(header["augmentations"], "draw")
        if (low, high) != (1, 1):
            yield (
                "Images",
                "Haematoxylin and eosin, separated by colour deconvolution [@ruifrok2001], were scaled by random "
                f"factors from {low:g} to {high:g} in each of {draws} of an image.",
            )
        network = header["encoder"]
        # bchisto's own variant of a network is cited as the network
        citation = citation_of(network.removesuffix("-keras213"))
        weights = _WEIGHTS.get(
            header["weights"], f"with weights from a file ({_weights_hash(header)})"
        )
        layers = ", ".join(header["layers"])
        outputs = (
            f"({layers})" if "runner" in header else f"(layers {layers}), averaged over positions"
        )
        yield (
            "Features",
            f"Features are the outputs of {network}{citation} {weights} {outputs}, for {_regions(header)} of "
            f"{header['crop']} pixels in each of {draws} at {_scale(header, 'a scale of ')}, pooled by "
            f"{settings_from(header).description.method()}.",
        )


def _regions(header: Header) -> str:
    """Return how many regions of an image its features describe, and of which kind."""
    number = header["crops"]
    ending = "" if number == 1 else "s"
    if header["mode"] == "dense":
        return f"{number or 'as many as cover an image:'} window{ending} on the feature maps"
    if not number:
        return "as many as cover an image: evenly spaced crops"
    return f"{number} random crop{ending}"


def _embedded(header: Header) -> str:
    """Return a sentence on embeddings that were computed outside bchisto."""
    origin = header[IMPORTED]
    network = header["encoder"]
    maker = "an encoder that is not named" if network == UNKNOWN else f"the encoder {network}"
    pooling = f", each the {origin['pooled']}" if origin["pooled"] else ""
    return f"Features are embeddings of {header['dim']} numbers that {maker} computed outside bchisto{pooling}."


def shown_store(header: Header) -> str:
    """Return the header of a feature file as text for the settings of a report."""
    if header["mode"] == IMPORTED:
        return _shown_embeddings(header)
    settings = settings_from(header)
    low, high = header["color_range"]
    card = card_of(header)
    terms = f"; {card.terms()}" if card else ""
    crops = counted(header["crops"], "crop") if header["crops"] else "a grid of crops"
    return (
        f"{header['encoder']} ({'+'.join(header['layers'])}), "
        f"weights {header['weights']} ({_weights_hash(header)}{terms}), "
        f"{_scale(header, 'scale ')}, {crops} of {header['crop']}, "
        f"{counted(header['augmentations'], 'augmentation')} in [{low:g}, {high:g}], "
        f"{settings.description.shown()}, stain {header['stain']}, {header['mode']}, {header['precision']}, "
        f"seed {header['seed']}{_further(settings)}"
    )


def _further(settings: FeaturizeSettings) -> str:
    """Return the options that are not at their default, unless the report describes them elsewhere."""
    options = plain_options(settings, deciding=True)
    defaults = plain_options(FeaturizeSettings(), deciding=True)
    return "".join(
        f", {name} {value}"
        for name, value in options.items()
        if name not in _TOLD and value != defaults[name]
    )


def _shown_embeddings(header: Header) -> str:
    origin = header[IMPORTED]
    facts = [f"embeddings of {origin['source']}: encoder {header['encoder']}"]
    if header["weights_sha256"]:
        facts.append(f"weights of sha256 {header['weights_sha256'][:12]}")
    facts.append(f"{header['dim']} numbers")
    if header["augmentations"] > 1:
        facts.append(f"{counted(header['augmentations'], 'row')} an image")
    if origin["pooled"]:
        facts.append(origin["pooled"])
    facts.append(f"sha256 {header['features_sha256'][:12]}")
    return ", ".join(facts)


def _scale(header: Header, word: str) -> str:
    """Return the scale of a view as text: micrometres per pixel, or `word` and the scale factor."""
    if header.get("unit"):
        return f"{header['scale']:g} um per pixel"
    return f"{word}{header['scale']:g}"


def _weights_hash(header: Header) -> str:
    """Return the checksum of the weights file, as sha256sum prints it, or of the arrays if there is no file."""
    file_hash = str(header.get("weights_file_sha256") or "")
    if file_hash:
        return f"sha256 {file_hash[:12]}"
    return f"sha256 of the arrays {header['weights_sha256'][:12]}"
