"""The model file: a zip of arrays with a manifest of checksums. It contains no code, so reading it is safe."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..core import BundleError, Content, Entries, Kind
from ..core.formats import Floats32
from ..core.models import Archive, BundleFacts, Member, stores_of
from ..encoders import card_of
from ..evaluate import nothing_learnt
from ..featurize import IMPORTED
from ..stains import known_stain
from .head import Classifier, HeadSpec
from .heads import known_head
from .reference import NOT_COMPARED, REFERENCE_MEMBER, compare, parse_reference
from .trees import Arrays, Floats, Probabilities

_OF_KERAS = {
    "imagenet": "published with Keras, which does not state one",
    "embedded": "of the package, Apache-2.0",
    "file": "from a file, not known",
    "random": "random, none needed",
}
"""Licence of the weights of a Keras network, by the origin of the weights."""

_NUMBER = "(0|[1-9][0-9]{0,8})"


@dataclass(frozen=True, kw_only=True)
class Bundle(BundleFacts):
    """Content of a model file: the models of all folds, and everything needed to predict new images elsewhere.

    Attributes
    ----------
    classes, protocol, banners, temperature, two_class, training, unsure
        See `bchisto.core.models.BundleFacts`.
    stores : dict of str to dict
        Name of a feature file to its settings: encoder, layers, checksum of the weights, view, stain, ...
    models : dict of str to list of Classifier
        Name of a feature file to its models.
    head : str
        The classifier.
    reference : dict of str to ndarray, or None
        Summary of the training images, see `parse_reference`; None if there were too few.
    """

    kind = "boosted"

    stores: dict[str, Content]
    models: dict[str, list[Classifier]]
    head: str = "lightgbm"
    reference: Arrays | None = None

    @property
    def model_names(self) -> tuple[str, ...]:
        """Names of the classifier and its encoders."""
        return (
            self.head,
            *dict.fromkeys(str(header["encoder"]) for header in self.stores.values()),
        )

    @property
    def takes_embeddings(self) -> bool:
        """Whether the models were trained on embeddings from files."""
        return any(header.get("mode") == IMPORTED for header in self.stores.values())

    def licences(self) -> Iterator[str]:
        """Yield one line on the licence of the weights of each encoder."""
        headers = {str(header["encoder"]): header for header in self.stores.values()}
        for name, header in headers.items():
            needed = f"Weights of {name}, needed to predict and not part of the file"
            card = card_of(header)
            if card is not None and card.source:
                yield f"{needed}: {card.terms()} ({card.source})"
            elif card is not None:
                yield f"{needed}: {card.terms()}"
            elif self.takes_embeddings:
                yield f"Weights of {name}, which made the embeddings: not known"
            else:
                yield f"{needed}: {_OF_KERAS.get(str(header.get('weights')), 'not known')}"

    @property
    def count(self) -> int:
        """Number of models."""
        return sum(map(len, self.models.values()))

    @property
    def constant(self) -> int:
        """Number of models that give all images the same probabilities. Models that do not report this count as 0."""
        return sum(
            getattr(model, "constant", False) for models in self.models.values() for model in models
        )

    def predict(self, features: Mapping[str, Floats32]) -> Floats:
        """Predict images: the mean probability over all models, feature files and augmentations, as published.

        Parameters
        ----------
        features : mapping
            Name of a feature file to features, float32 of shape (images, augmentations, d).

        Returns
        -------
        ndarray of float64, shape (images, classes)

        Raises
        ------
        BundleError
            The number of features is wrong, or the results are not probabilities.
        """
        mean = self._mean(lambda store, classifier: classifier.predict_proba(features[store]))
        is_valid = mean.shape[1:] == (len(self.classes),)
        if not is_valid or not (mean >= -1e-6).all() or not np.isfinite(mean).all():
            raise BundleError(
                "the models in this model file give values that are not probabilities; the file is corrupt"
            )
        return mean

    def compare(self, features: Mapping[str, Floats32]) -> Floats:
        """Compare images with the training images.

        Returns
        -------
        ndarray of float64, shape (images, n)
            With n = 0 if the model file has no summary of its training images.
        """
        if self.reference is None:
            return np.tile(NOT_COMPARED, (len(next(iter(features.values()))), 1))
        return compare(self.reference, (features[store] for store in self.stores))

    def _mean(self, probabilities: Callable[[str, Any], Probabilities]) -> Probabilities:
        """Return the mean over all models."""
        outputs = [
            probabilities(store, model) for store, models in self.models.items() for model in models
        ]
        return np.asarray(np.mean(outputs, axis=0))

    @property
    def base(self) -> Probabilities | None:
        """Probabilities before any feature is known, float64 of shape (classes,).

        Trees derive them from their counts of training rows; other classifiers predict the mean features of training.
        None if a classifier does not offer them.
        """
        for models in self.models.values():
            if any(getattr(model, "base", None) is None for model in models):
                return None
        return self._mean(lambda _, classifier: classifier.base)

    def store_share(self, store: str, features: Floats32) -> Floats:
        """Return the contribution of one feature file's models to `predict`; all contributions sum to its result.

        Parameters
        ----------
        store : str
            Name of the feature file.
        features : ndarray of float32, shape (images, augmentations, d)

        Returns
        -------
        ndarray of float64, shape (images, classes)
        """
        share = 1 / self.count
        return np.asarray(
            np.sum([model.predict_proba(features) * share for model in self.models[store]], axis=0)
        )

    @staticmethod
    def save(
        path: Path,
        facts: BundleFacts,
        *,
        stores: Mapping[str, Entries],
        models: Mapping[str, Sequence[Member]],
        head: str = "lightgbm",
        reference: bytes | None = None,
    ) -> BundleFacts:
        """Write a model file, and return its facts.

        Parameters
        ----------
        path : Path
            The ``.bchisto`` file.
        facts : BundleFacts
        stores, head
            As the attributes.
        models : mapping
            Name of a feature file to pairs of a model's member name and a function that returns its bytes.
        reference : bytes, optional
            Result of `fit_reference`, with the feature files in the order of `stores`.
        """
        entries = {
            "head": head,
            "stores": {name: dict(header) for name, header in stores.items()},
        }
        members = [
            (f"models/{number}/{name}", read)
            for number, store in enumerate(stores)
            for name, read in models[store]
        ]
        if reference is not None:
            members.append((REFERENCE_MEMBER, lambda: reference))
        return Bundle.write(path, facts, own=entries, members=members)

    @classmethod
    def _read(cls, path: Path, archive: Archive, *, parse: bool = True) -> Bundle:
        """Read a model file. Without `parse`, check everything except the models' content, and return no models."""
        manifest = archive.manifest
        classes = len(manifest["classes"])
        stores = stores_of(path, manifest)
        if not stores:
            raise BundleError(f"{path}: names no feature sets; the model file is corrupt")
        spec = known_head(str(manifest["head"]))
        for header in stores.values():
            if header.get("mode") != IMPORTED and isinstance(header.get("stain"), str):
                known_stain(header["stain"], path, kind=BundleError)
        reference = None
        if REFERENCE_MEMBER in archive.members:
            reference = parse_reference(archive.read(REFERENCE_MEMBER), classes=classes)
        models: dict[str, list[Classifier]] = {name: [] for name in stores}
        with_models = set()
        for name, store in _model_members(path, archive, list(stores), spec):
            with_models.add(store)
            if parse:
                models[store].append(_parse(path, archive, name, spec, classes=classes))
        _check_models(path, with_models, models)
        bundle = cls._of(
            manifest,
            stores=stores,
            models=models,
            head=str(manifest["head"]),
            reference=reference,
        )
        if not bundle.constant:
            return bundle
        # replaces the banner of training, which recommends settings that cannot be changed in a trained model
        banners = [banner for banner in bundle.banners if banner.kind != Kind.NOTHING_LEARNT]
        return replace(
            bundle,
            banners=(*banners, nothing_learnt(f"{bundle.constant} of {bundle.count} models")),
        )


def _model_members(
    path: Path, archive: Archive, stores: Sequence[str], spec: HeadSpec
) -> Iterator[tuple[str, str]]:
    """Yield the name and the feature file of each model of an archive; refuse members that no training writes."""
    # no number has two spellings, so that no seed has two models in a fold
    pattern = rf"models/{_NUMBER}/seed{_NUMBER}-fold{_NUMBER}{re.escape(spec.suffix)}"
    for name in archive.members:
        if name == REFERENCE_MEMBER:
            continue
        match = re.fullmatch(pattern, name)
        if match is None or int(match[1]) >= len(stores):
            raise BundleError(
                f"{path}: its members are not those of a boosted model by {spec.name} ({name[:99]}); altered"
            )
        yield name, stores[int(match[1])]


def _check_models(
    path: Path, with_models: Set[str], models: Mapping[str, Sequence[Classifier]]
) -> None:
    """Refuse a file in which a model is missing, or takes other features than the others."""
    without_models = models.keys() - with_models
    if without_models:
        raise BundleError(
            f"{path}: has no model of its feature set {min(without_models)}; it was altered"
        )
    for store, store_models in models.items():
        lengths = {getattr(model, "features", None) for model in store_models} - {None}
        if len(lengths) > 1:
            raise BundleError(
                f"{path}: models of its feature set {store} take different features; it was altered"
            )


def _parse(
    path: Path, archive: Archive, member: str, spec: HeadSpec, *, classes: int
) -> Classifier:
    """Return a model; refuse one whose number of classes differs from that of the model file."""
    data = archive.read(member)
    try:
        classifier = spec.parse(data)
    except BundleError as error:
        raise BundleError("{}: {}: {}", path, member, error) from error
    model_classes = getattr(classifier, "classes", classes)
    if model_classes != classes:
        raise BundleError(
            f"{path}: {member} has {model_classes} classes, the model file {classes}; it is corrupt"
        )
    return classifier
