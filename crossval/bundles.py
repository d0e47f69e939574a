"""What the bundles of all roads have in common: their archive, what they say of themselves, and how they are opened."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from ..data import CROP_SEEDS, ImageRecord, file_sha256, record_sha256
from ..errors import BundleError, printable
from ..jobs import DAMAGE, Archive, write_archive
from .manifest import check_manifest

BUNDLE_KIND = "bchisto model bundle"
BUNDLE_SCHEMA = 3
"""Of bundles of either road. Since 3 `crop_seed` says what seeds the crops of new images; 1 (boosted) and 2 (networks)
are those of 0.1, which knew image ids alone."""

_ROADS = {"boosted": ("boosted models", "boosted models"), "cnn": ("CNNs", "CNN")}
"""What a bundle of each road is of, and what one of another road does not hold."""


@dataclass(frozen=True)
class TrainingImages:
    """The images that trained any model of a bundle, so that they can be told from new ones.

    Attributes
    ----------
    count : int
    pixels : frozenset of str
        SHA-256 of the decoded pixels of those of which it is known.
    files : frozenset of str
        SHA-256 of the files of the others; copies in another format are not known again.
    """

    count: int
    pixels: frozenset[str]
    files: frozenset[str] = frozenset()

    @classmethod
    def of(cls, images: Iterable[str], *, pixels: Mapping[str, str], files: Mapping[str, str]) -> TrainingImages | None:
        """Return those of some images; None where neither hash of one of them is known."""
        chosen = set(images)
        if any(image not in pixels and image not in files for image in chosen):
            return None
        return cls(
            len(chosen),
            frozenset(pixels[image] for image in chosen if image in pixels),
            frozenset(files[image] for image in chosen if image not in pixels),
        )

    def content(self) -> dict[str, Any]:
        """Return what the manifest says."""
        return {"images": self.count, "pixels_sha256": sorted(self.pixels), "files_sha256": sorted(self.files)}

    def holds(self, record: ImageRecord, pixels: str) -> bool:
        """Whether an image is one of those that trained, by the hash of its decoded pixels or by its file."""
        if pixels in self.pixels:
            return True
        return bool(self.files) and record_sha256(record, file_sha256(record.path)) in self.files

    @classmethod
    def read(cls, manifest: Mapping[str, Any]) -> TrainingImages | None:
        """Return those that a manifest names; None in bundles that do not know theirs, as those of 0.1."""
        found = manifest.get("training")
        return found and cls(int(found["images"]), frozenset(found["pixels_sha256"]), frozenset(found["files_sha256"]))


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
    crop_seed : {"id", "pixels"}
        What seeds the crops of new images, see `bchisto.data.CROP_SEEDS`.
    two_class : dict or None
        ``positive``, ``rule``, ``thresholds``, and ``wanted``: ``sensitivity``, ``threshold`` and ``enough`` of each.
    training : TrainingImages or None
        None where the bundle does not know which images trained.
    unsure : dict or None
        See `bchisto.evaluate.unsure_rule`; None in bundles of 0.1.
    """

    classes: tuple[str, ...]
    protocol: str
    banners: tuple[str, ...] = ()
    temperature: float | None = None
    crop_seed: str = "pixels"
    two_class: dict[str, Any] | None = None
    training: TrainingImages | None = None
    unsure: dict[str, Any] | None = None

    @property
    def model_names(self) -> tuple[str, ...]:
        """What the models are: the network, or the classifier and its encoders."""
        return ()

    @property
    def takes_embeddings(self) -> bool:
        """Whether the models were trained on embeddings from files, and so see no images."""
        return False

    @classmethod
    def read(cls, path: Path, manifest: Mapping[str, Any], **own: Any) -> Self:
        """Return what a manifest says, with the fields that a road adds.

        Raises
        ------
        BundleError
            See `read_crop_seed`.
        """
        calibration = manifest["calibration"]
        return cls(
            classes=tuple(manifest["classes"]),
            protocol=manifest["protocol"],
            banners=tuple(manifest["banners"]),
            temperature=calibration and float(calibration["temperature"]),
            crop_seed=read_crop_seed(path, manifest),
            two_class=manifest.get("two_class"),
            training=TrainingImages.read(manifest),
            unsure=manifest.get("unsure"),
            **own,
        )

    def content(self) -> dict[str, Any]:
        """Return what the manifest says."""
        return {
            "classes": list(self.classes),
            "protocol": self.protocol,
            "banners": list(self.banners),
            "calibration": None if self.temperature is None else {"temperature": self.temperature},
            "crop_seed": self.crop_seed,
            "two_class": self.two_class,
            "training": self.training and self.training.content(),
            "unsure": self.unsure,
        }


def write_bundle(
    path: Path,
    facts: BundleFacts,
    *,
    road: str,
    own: Mapping[str, Any],
    members: Sequence[tuple[str, Callable[[], bytes]]],
    check: Callable[[Archive], Any],
) -> None:
    """Write a bundle, and read it back before it takes its place.

    Parameters
    ----------
    path : Path
        The ``.bchisto`` file.
    facts : BundleFacts
    road : {"boosted", "cnn"}
    own : mapping
        What the road adds to what every bundle says.
    members : sequence of (str, callable)
        Name of each model, and what returns its bytes.
    check : callable
        Reads the archive; raises what is wrong with it.
    """
    write_archive(
        path,
        kind=BUNDLE_KIND,
        schema_version=BUNDLE_SCHEMA,
        members=members,
        facts={"road": road, **own, **facts.content()},
        check=check,
    )


@contextlib.contextmanager
def open_bundle(path: Path, *, road: str) -> Iterator[Archive]:
    """Open a bundle of a road; whatever is damaged in it is a `BundleError`.

    Raises
    ------
    BundleError
        Missing, not a bundle, of a newer schema or another road, too large, or damaged.
    """
    with _opened(path) as archive:
        found = _road(archive)
        if found != road:
            of = _ROADS.get(found, (f"the road {found[:40]!r}", ""))[0]
            raise BundleError(f"{path}: a bundle of {of}, which hold no {_ROADS[road][1]}")
        try:
            yield archive
        except BundleError as error:
            said = printable(str(error))
            if said == str(error) and said.startswith(f"{path}: "):
                raise
            raise BundleError(f"{path}: {said.removeprefix(f'{path}: ')}") from error
        except DAMAGE as error:
            raise archive.damaged(error) from error


def bundle_road(path: Path) -> str:
    """Return what a bundle holds: ``boosted`` or ``cnn``.

    Raises
    ------
    BundleError
        Not a bundle, or one of a newer schema.
    """
    with _opened(path) as archive:
        return _road(archive)


def bundle_view(path: Path) -> tuple[tuple[str, ...], dict[str, Any] | None]:
    """Return the classes of a bundle and its ``two_class``, of the manifest alone: no model is read.

    Raises
    ------
    BundleError
        See `bundle_road`.
    """
    with _opened(path) as archive:
        return tuple(archive.manifest["classes"]), archive.manifest.get("two_class")


def bundle_stores(path: Path) -> dict[str, dict[str, Any]]:
    """Return the settings of the stores of a bundle by name, of the manifest alone; of CNNs nothing.

    Raises
    ------
    BundleError
        See `bundle_road`.
    """
    with _opened(path) as archive:
        stores: dict[str, dict[str, Any]] = archive.manifest.get("stores", {})
        plain = isinstance(stores, dict) and all(isinstance(header, dict) for header in stores.values())
        if not plain or not all(isinstance(header.get("encoder"), str) for header in stores.values()):
            raise BundleError(f"{path}: its manifest does not hold the settings of stores; the bundle was altered")
        return stores


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Archive]:
    with Archive(path, kind=BUNDLE_KIND, schema_version=BUNDLE_SCHEMA) as archive:
        check_manifest(path, archive.manifest)
        yield archive


def _road(archive: Archive) -> str:
    """Return what a bundle holds; bundles of 0.1 of boosted models may not say."""
    return str(archive.manifest.get("road", "boosted"))


def read_crop_seed(path: Path, manifest: Mapping[str, Any]) -> str:
    """Return what seeds the crops of new images by a bundle's manifest; bundles of 0.1 say nothing and mean the id.

    Raises
    ------
    BundleError
        A rule that no version has written.
    """
    rule = str(manifest.get("crop_seed", "id"))
    if rule not in CROP_SEEDS:
        shown = repr(rule[:40])
        raise BundleError(f"{path}: its crop_seed {shown} is none of {', '.join(CROP_SEEDS)}; the bundle was altered")
    return rule
