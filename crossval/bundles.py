"""What the bundles of boosted models and of networks share: their archive, and what they state about themselves."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

from ..core import DAMAGE, BundleError, printable
from ..formats import Archive
from .archive import write_archive
from .manifest import check_manifest

BUNDLE_KIND = "bchisto model bundle"
BUNDLE_SCHEMA = 3

_KINDS = {"boosted": ("boosted models", "boosted models"), "cnn": ("CNNs", "CNN")}
"""What a bundle of each kind is of, and what one of the other does not hold."""


@dataclass(frozen=True)
class TrainingImages:
    """The images that trained any model of a bundle, so that they can be told from new ones.

    Attributes
    ----------
    count : int
    hashes : frozenset of str
        SHA-256 of the decoded pixels of each; of embeddings, of their rows.
    """

    count: int
    hashes: frozenset[str]

    @classmethod
    def of(cls, images: Iterable[str], hashes: Mapping[str, str]) -> TrainingImages | None:
        """Return those of some images; None where the hash of one of them is not known."""
        chosen = set(images)
        return cls(len(chosen), frozenset(hashes[image] for image in chosen)) if chosen <= hashes.keys() else None

    def content(self) -> dict[str, Any]:
        """Return what the manifest says."""
        return {"images": self.count, "sha256": sorted(self.hashes)}

    @classmethod
    def read(cls, manifest: Mapping[str, Any]) -> TrainingImages | None:
        """Return those that a manifest names; None in bundles that do not know theirs."""
        known = manifest["training"]
        return known and cls(int(known["images"]), frozenset(known["sha256"]))


@dataclass(frozen=True, kw_only=True)
class BundleFacts:
    """What every bundle says of itself, whatever its models are.

    Attributes
    ----------
    classes : tuple of str
        Order of the probabilities.
    protocol : str
        The folds that the models come from.
    banners : tuple of str
        What a reader of predictions must know.
    temperature : float or None
        Of the mean of the fold models, see `bchisto.evaluate.shrunk_temperature`.
    two_class : dict or None
        ``positive``, ``rule``, ``thresholds``, and ``wanted``: ``sensitivity``, ``threshold`` and ``enough`` of each.
    training : TrainingImages or None
        None where the bundle does not know which images trained.
    unsure : dict or None
        See `bchisto.evaluate.unsure_rule`.
    reading : dict
        How a dataset is read, see `bchisto.data.ImageSelection`; empty for the default.
    """

    classes: tuple[str, ...]
    protocol: str
    banners: tuple[str, ...] = ()
    temperature: float | None = None
    two_class: dict[str, Any] | None = None
    training: TrainingImages | None = None
    unsure: dict[str, Any] | None = None
    reading: dict[str, Any] = field(default_factory=dict)

    @property
    def model_names(self) -> tuple[str, ...]:
        """What the models are: the network, or the classifier and its encoders."""
        return ()

    @property
    def takes_embeddings(self) -> bool:
        """Whether the models were trained on embeddings from files, and so see no images."""
        return False

    def licences(self) -> Iterator[str]:
        """Say under which licence the weights are, in the file or needed beside it, each network once."""
        yield f"Weights of {', '.join(self.model_names)}: trained for this model, from what the methods name"

    kind: ClassVar[str]
    """Of the models: ``boosted`` or ``cnn``."""

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read and check a bundle.

        Raises
        ------
        BundleError
            Missing, not a bundle, of a newer schema or another kind, too large, or a member that is unexpected or
            altered.
        """
        with open_bundle(path := Path(path), kind=cls.kind) as archive:
            return cls._read(path, archive)

    @classmethod
    def _read(cls, path: Path, archive: Archive, *, parse: bool = True) -> Self:
        """Read a bundle; without `parse` look at everything but into the models, and return it without them."""
        raise NotImplementedError

    @classmethod
    def _of(cls, manifest: Mapping[str, Any], **own: Any) -> Self:
        """Return what a checked manifest says, with the fields that a kind of bundle adds."""
        calibration = manifest["calibration"]
        return cls(
            classes=tuple(manifest["classes"]),
            protocol=manifest["protocol"],
            banners=tuple(manifest["banners"]),
            temperature=calibration and float(calibration["temperature"]),
            two_class=manifest["two_class"],
            training=TrainingImages.read(manifest),
            unsure=manifest["unsure"],
            **own,
        )

    def content(self) -> dict[str, Any]:
        """Return what the manifest says."""
        return {
            "classes": list(self.classes),
            "protocol": self.protocol,
            "banners": list(self.banners),
            "calibration": None if self.temperature is None else {"temperature": self.temperature},
            "two_class": self.two_class,
            "training": self.training and self.training.content(),
            "unsure": self.unsure,
        }


def write_bundle(
    path: Path,
    facts: BundleFacts,
    *,
    kind: str,
    own: Mapping[str, Any],
    members: Sequence[tuple[str, Callable[[], bytes]]],
    check: Callable[[Archive], BundleFacts],
) -> BundleFacts:
    """Write a bundle, and read it back before it takes its place.

    Parameters
    ----------
    path : Path
        The ``.bchisto`` file.
    facts : BundleFacts
    kind : {"boosted", "cnn"}
    own : mapping
        What this kind adds to what every bundle says.
    members : sequence of (str, callable)
        Name of each model, and what returns its bytes.
    check : callable
        Reads the archive; raises what is wrong with it.

    Returns
    -------
    BundleFacts
        What was read, without the models.
    """
    held: list[BundleFacts] = []
    write_archive(
        path,
        kind=BUNDLE_KIND,
        schema_version=BUNDLE_SCHEMA,
        members=members,
        facts={"models": kind, **own, **facts.content()},
        check=lambda archive: held.append(check(archive)),
    )
    return held[-1]


def bundle_lines(bundle: BundleFacts, sha256: str) -> list[tuple[str, str]]:
    """Return what a page says of a bundle, whose file has this SHA-256: its models, protocol and classes."""
    reference = getattr(bundle, "reference", None)
    shown = reference is not None and reference.thumbnails is not None
    return [
        *(
            [("Pictures", "the model file holds thumbnails of its training images, which show tissue of patients")]
            * shown
        ),
        ("Models", f"{', '.join(bundle.model_names)}; SHA-256 of the model file {sha256}"),
        ("Cross-validation", bundle.protocol),
        ("Classes", ", ".join(bundle.classes)),
    ]


@contextlib.contextmanager
def open_bundle(path: Path, *, kind: str | None = None) -> Iterator[Archive]:
    """Open a bundle, of a kind or of any; whatever is damaged in it is a `BundleError`.

    Raises
    ------
    BundleError
        Missing, not a bundle, of a newer schema or another kind, too large, or damaged.
    """
    with Archive(path, kind=BUNDLE_KIND, schema_version=BUNDLE_SCHEMA) as archive:
        check_manifest(path, archive.manifest)
        held = archive.manifest["models"]
        if kind not in (None, held):
            raise BundleError(f"{path}: a model file of {_KINDS[held][0]}, which have no {_KINDS[str(kind)][1]}")
        try:
            yield archive
        except BundleError as error:
            text = printable(str(error))
            if text == str(error) and text.startswith(f"{path}: "):
                raise
            raise BundleError(f"{path}: {text.removeprefix(f'{path}: ')}") from error
        except DAMAGE as error:
            raise archive.damaged(error) from error


def bundle_kind(path: Path) -> str:
    """Return of what kind the models of a bundle are: ``boosted`` or ``cnn``.

    Raises
    ------
    BundleError
        Not a bundle, or one of a newer schema.
    """
    with open_bundle(path) as archive:
        return str(archive.manifest["models"])


def bundle_view(path: Path) -> tuple[tuple[str, ...], dict[str, Any] | None]:
    """Return the classes of a bundle and its ``two_class``, of the manifest alone: no model is read.

    Raises
    ------
    BundleError
        See `bundle_kind`.
    """
    with open_bundle(path) as archive:
        return tuple(archive.manifest["classes"]), archive.manifest["two_class"]


def bundle_stores(path: Path) -> dict[str, dict[str, Any]]:
    """Return the settings of the stores of a bundle by name, of the manifest alone; of CNNs nothing.

    Raises
    ------
    BundleError
        See `bundle_kind`.
    """
    with open_bundle(path) as archive:
        stores: dict[str, dict[str, Any]] = archive.manifest.get("stores", {})
        plain = isinstance(stores, dict) and all(isinstance(header, dict) for header in stores.values())
        if not plain or not all(isinstance(header.get("encoder"), str) for header in stores.values()):
            raise BundleError(f"{path}: its manifest lacks the settings of its feature sets; the model file is corrupt")
        return stores
