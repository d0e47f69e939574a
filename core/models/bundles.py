"""What all model files share, of boosted models and of networks: the archive format and the facts about the models."""

from __future__ import annotations

import contextlib
import hashlib
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

from ... import __version__
from .. import (
    DAMAGE,
    Banner,
    BchistoError,
    BundleError,
    Content,
    Entries,
    OutputError,
    PathInput,
    converted,
    printable,
)
from ..formats import fits
from ..jobs import atomic_output
from .archive import (
    BUNDLE_KIND,
    BUNDLE_SCHEMA,
    MANIFEST,
    Archive,
    check_archive_size,
    check_manifest,
)

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""Time stamp of every member, so that equal content gives equal archives."""

_HEAD = {"kind": BUNDLE_KIND, "schema_version": BUNDLE_SCHEMA, "bchisto_version": __version__}
"""First entries of a manifest."""

_KINDS = {"boosted": "boosted models", "cnn": "CNNs"}

Member = tuple[str, Callable[[], bytes]]
"""Name of a member, and a function that returns its bytes."""


@dataclass(frozen=True)
class TrainingImages:
    """The images that trained any model of a model file, to recognise them among new images.

    Attributes
    ----------
    count : int
        Number of images.
    hashes : frozenset of str
        SHA-256 of the decoded pixels of each image, or of its rows if the models were trained on embeddings.
    """

    count: int
    hashes: frozenset[str]

    @classmethod
    def of(cls, images: Iterable[str], hashes: Mapping[str, str]) -> TrainingImages | None:
        """Return the training images with their checksums, or None if the checksum of any image is unknown."""
        names = set(images)
        if not names <= hashes.keys():
            return None
        return cls(len(names), frozenset(hashes[image] for image in names))


@dataclass(frozen=True, kw_only=True)
class BundleFacts:
    """Facts that every model file contains, whatever the kind of its models.

    Attributes
    ----------
    classes : tuple of str
        Order of the probabilities.
    protocol : str
        The cross-validation scheme in which the models were trained, in words.
    banners : tuple of Banner
        Warnings that every reader of predictions must see.
    temperature : float or None
        Temperature that calibrates the mean of the fold models; None if it was not fitted.
    two_class : dict or None
        ``positive``, ``rule``, ``thresholds``, and ``wanted``: ``sensitivity``, ``threshold`` and ``enough`` of
        each target sensitivity.
    training : TrainingImages or None
        None if the training images are not recorded.
    unsure : dict or None
        The rule by which answers are uncertain, with confidences lower than ``below``; None without such a rule.
    looks : sequence of dict
        ``class``, ``what`` (``mpp``, ``bits``, ``long`` or ``short``), and its ``least`` and ``most`` in training.
    shares : sequence of float, optional
        Share of each class in training, by which classes are called; None if the largest probability decides.
    reading : dict
        How images were read from their dataset, see `bchisto.data.ImageSelection`. Empty for the default.
    """

    classes: tuple[str, ...]
    protocol: str
    banners: tuple[Banner, ...] = ()
    temperature: float | None = None
    two_class: Content | None = None
    training: TrainingImages | None = None
    unsure: Content | None = None
    looks: Sequence[Content] = ()
    shares: Sequence[float] | None = None
    reading: Content = field(default_factory=dict)

    @property
    def model_names(self) -> tuple[str, ...]:
        """Names of the network, or of the classifier and its encoders."""
        return ()

    @property
    def takes_embeddings(self) -> bool:
        """Whether the models were trained on embeddings from files, so that they cannot predict images."""
        return False

    @property
    def calls(self) -> str:
        """From which probability each class is called; empty if the most probable class is."""
        if self.shares is None:
            return ""
        pairs = zip(self.classes, self.shares, strict=True)
        limits = ", ".join(f"{name} {share:.3g}" for name, share in pairs)
        return f"called by their probability over their share in training ({limits})"

    def licences(self) -> Iterator[str]:
        """Yield the licence of the weights of each network, whether the file contains them or only needs them."""
        yield f"Weights of {', '.join(self.model_names)}: trained for this model, from what the methods name"

    kind: ClassVar[str]
    """Kind of the models: ``boosted`` or ``cnn``."""

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read and check a model file.

        Raises
        ------
        BundleError
            The file is missing, not a model file, of a newer schema or another kind, or too large; or a member is
            unexpected or was altered.
        """
        file = Path(path)
        with open_bundle(file, kind=cls.kind) as archive:
            return cls._read(file, archive)

    @classmethod
    def _read(cls, path: Path, archive: Archive, *, parse: bool = True) -> Self:
        """Read a model file. Without `parse`, check everything except the models, and return the facts without them."""
        raise NotImplementedError

    @classmethod
    def _of(cls, manifest: Entries, **further: Any) -> Self:
        """Return the facts of a checked manifest, with the `further` fields of this kind of model."""
        training = None
        if manifest["training"] is not None:
            images = manifest["training"]
            training = TrainingImages(int(images["images"]), frozenset(images["sha256"]))
        return cls(
            classes=tuple(manifest["classes"]),
            protocol=manifest["protocol"],
            banners=tuple(map(Banner.read, manifest["banners"])),
            temperature=(manifest["calibration"] or {}).get("temperature"),
            two_class=manifest["two_class"],
            training=training,
            unsure=manifest["unsure"],
            looks=manifest["looks"],
            shares=manifest.get("shares"),
            **further,
        )

    def content(self) -> Content:
        """Return the entries for the manifest."""
        calibration = None
        if self.temperature is not None:
            calibration = {"temperature": self.temperature}
        training = None
        if self.training is not None:
            training = {"images": self.training.count, "sha256": sorted(self.training.hashes)}
        return {
            "classes": list(self.classes),
            "protocol": self.protocol,
            "banners": [banner.json() for banner in self.banners],
            "calibration": calibration,
            "two_class": self.two_class,
            "training": training,
            "unsure": self.unsure,
            "looks": self.looks,
            "shares": self.shares,
        }

    @classmethod
    def write(
        cls, path: Path, facts: BundleFacts, *, own: Entries, members: Sequence[Member]
    ) -> Self:
        """Write a model file, and move it into place only after it was read back successfully.

        Parameters
        ----------
        path : Path
            The ``.bchisto`` file.
        facts : BundleFacts
        own : mapping
            Manifest entries that only this kind of model has.
        members : sequence of (str, callable)
            Name of each model, and a function that returns its bytes. Only one member at a time is in memory.

        Returns
        -------
        BundleFacts
            The facts that were read back, without the models.

        Raises
        ------
        InputError
            There are more members than can be read, or they are too large.
        OutputError
            The archive cannot be written or cannot be read back.
        """
        check_archive_size(members=len(members))
        hashes: dict[str, str] = {}
        size = 0
        with atomic_output(path) as temporary:
            with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
                for name, data_of in members:
                    data = data_of()
                    size += len(data)
                    check_archive_size(members=len(members), size=size)
                    hashes[name] = hashlib.sha256(data).hexdigest()
                    archive.writestr(_info(name), data)
                manifest = {
                    **_HEAD,
                    "models": cls.kind,
                    **own,
                    **facts.content(),
                    "members": hashes,
                }
                archive.writestr(
                    _info(MANIFEST), json.dumps(manifest, indent=2, ensure_ascii=False)
                )
            errors: tuple[type[Exception], ...] = (BchistoError, *DAMAGE)
            try:
                with Archive(temporary) as copy:
                    for name in copy.members:
                        copy.read(name)
                    return cls._read(path, copy, parse=False)
            except errors as error:
                reason = str(error).replace(str(temporary), "it")
                raise OutputError(
                    f"{path}: not written, since it could not be read back ({reason})"
                ) from error


def _info(name: str) -> zipfile.ZipInfo:
    """Return the zip entry of a member, with the same date and permissions for all."""
    info = zipfile.ZipInfo(name, date_time=_EPOCH)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = 0o644 << 16
    return info


def bundle_lines(bundle: BundleFacts, sha256: str) -> list[tuple[str, str]]:
    """Return the lines about a model file for a report: name and value of its models, protocol and classes."""
    return [
        ("Models", f"{', '.join(bundle.model_names)}; SHA-256 of the model file {sha256}"),
        ("Cross-validation", bundle.protocol),
        ("Classes", "; ".join(filter(None, (", ".join(bundle.classes), bundle.calls)))),
    ]


@contextlib.contextmanager
def open_bundle(path: PathInput, *, kind: str | None = None) -> Iterator[Archive]:
    """Open a model file of one kind, or of any kind by default. Any damage found while it is open is a `BundleError`.

    Yields
    ------
    Archive
        Its ``manifest`` is a dict with ``models``, the kind, and the facts of `BundleFacts`: ``classes``, ``protocol``,
        ``banners``, ``calibration``, ``two_class``, ``training``, ``unsure``, ``looks`` and ``shares``.

    Raises
    ------
    MissingInputError
        There is no such file.
    BundleError
        It is not a model file, of a newer schema or another kind, too large, or damaged.
    """
    path = converted(path, "path", Path)
    with Archive(path) as archive:
        check_manifest(path, archive.manifest)
        kind_of_file = archive.manifest["models"]
        if kind not in (None, kind_of_file):
            raise BundleError(
                f"{path}: a model file of {_KINDS[kind_of_file]}, not of {_KINDS[str(kind)]}"
            )
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
    """Return the kind of the models in a model file: ``boosted`` or ``cnn``.

    Raises
    ------
    BundleError
        The file is not a model file, or has a newer schema.
    """
    with open_bundle(path) as archive:
        return str(archive.manifest["models"])


def bundle_view(path: Path) -> tuple[tuple[str, ...], Content | None, Sequence[float] | None]:
    """Return the classes, ``two_class`` entry and `BundleFacts.shares` of a model file; only the manifest is read.

    Raises
    ------
    BundleError
        See `bundle_kind`.
    """
    with open_bundle(path) as archive:
        manifest = archive.manifest
        return tuple(manifest["classes"]), manifest["two_class"], manifest.get("shares")


def bundle_stores(path: Path) -> dict[str, Content]:
    """Return the settings of each feature file by name, empty for CNNs. Only the manifest is read.

    Raises
    ------
    BundleError
        See `bundle_kind`.
    """
    with open_bundle(path) as archive:
        return stores_of(path, archive.manifest)


def stores_of(path: Path, manifest: Content) -> dict[str, Content]:
    """Return the settings of each feature file by name, from the manifest of a model file; refuse a damaged one."""
    stores = manifest.get("stores", {})
    if not isinstance(stores, dict) or not fits([*stores.values()], [{"encoder": str}]):
        raise BundleError(
            f"{path}: its manifest lacks the settings of its feature sets; the model file is corrupt"
        )
    return stores
