"""Feature files that training reads: of the same images, with labels and classes."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..core import Banner, Content, InputError, Kind, Message, MissingInputError, StoreError, few
from ..core.runs import ImageChange
from ..crossval import LabelledImages
from ..data import (
    FACTS_FILE,
    SYNTHETIC_BANNER,
    DatasetFacts,
    check_order,
    not_among,
    read_dataset_facts,
    spell_labels,
)
from ..encoders import card_of
from ..featurize import FAR, IMPORTED, UNKNOWN, StainOutcome, open_store, refuse_history

Described = tuple[str, str, str]
"""Id, label and checksum of an image."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sources:
    """Feature files of the same images.

    Attributes
    ----------
    stores : dict of str to StoreFacts
        Content of the feature files, by their names.
    images : LabelledImages
        The images. An unknown label is empty; such images are in no fold.
    failed : tuple of str
        Images that feature extraction left out because they could not be used.
    """

    stores: dict[str, StoreFacts]
    images: LabelledImages
    failed: tuple[str, ...]

    @property
    def headers(self) -> dict[str, Content]:
        """Settings and origin of the files, by their names."""
        return {name: store.header for name, store in self.stores.items()}

    @property
    def doubts(self) -> Content:
        """Numbers of images of doubtful ``stains`` and ``pairs`` of near-duplicates; ends of ``mpp`` if far apart."""
        doubtful = {image for store in self.stores.values() for image in store.stains.doubtful}
        sizes = [look[-1] for look in self.images.looks.values()] or [1.0]
        ends = [float(np.min(sizes)), float(np.max(sizes))]
        is_wide = ends[1] > FAR * ends[0]  # not if one is unknown
        pairs = len(self.images.facts.copies or ())
        return {"stains": len(doubtful), "pairs": pairs, "mpp": ends if is_wide else []}

    def banners(self) -> list[Banner]:
        """Return the notices that must appear with any result of these features."""
        headers = self.headers.values()
        notes = []
        if any(header["synthetic"] for header in headers):
            notes.append(SYNTHETIC_BANNER)
        untrained = {header["encoder"] for header in headers if header["weights"] == "random"}
        if untrained:
            text = (
                f"{', '.join(sorted(untrained))} ran untrained; the published setting uses ImageNet weights, so these "
                "numbers cannot be compared with it."
            )
            notes.append(Banner(Kind.RANDOM_WEIGHTS, text, encoders=sorted(untrained)))
        unnamed = [
            name
            for name, header in self.headers.items()
            if header["mode"] == IMPORTED and header["encoder"] == UNKNOWN
        ]
        if unnamed:
            text = (
                f"{', '.join(unnamed)} are embeddings whose encoder is unknown, so nobody can check that new "
                "embeddings are of the same kind."
            )
            notes.append(Banner(Kind.UNKNOWN_ENCODER, text, features=unnamed))
        non_commercial = self._non_commercial()
        if non_commercial:
            text = f"the licence of {', '.join(non_commercial)} excludes commercial use."
            notes.append(Banner(Kind.NON_COMMERCIAL, text, encoders=non_commercial))
        return notes

    def _non_commercial(self) -> list[str]:
        """Return each encoder whose weights must not be used commercially, with their licence."""
        licences = {}
        for header in self.headers.values():
            card = card_of(header)
            if card is not None and card.non_commercial:
                licences[header["encoder"]] = card.licence
        return [f"{encoder} ({licence})" for encoder, licence in sorted(licences.items())]


def read_sources(features: Sequence[str | Path], *, classes: Sequence[str] = ()) -> Sources:
    """Find feature files, and check that they are of the same images.

    Parameters
    ----------
    features : sequence of path
        Feature files, or folders of them.
    classes : sequence of str
        Class order; by default that of the feature files.

    Raises
    ------
    StoreError
        A feature file is damaged, or its parts are not merged.
    InputError
        There are no feature files, they are of different images, or there are fewer than two classes or no labels.
    """
    stores = _read_stores(_files(features))
    first = next(iter(stores.values()))
    digest = str(first.header.get("images_sha256", ""))
    facts = read_dataset_facts(first.path.parent / FACTS_FILE, images_sha256=digest)
    labels = first.labels
    if not any(labels.values()):
        raise _no_labels(len(labels), facts, imported=first.imported)
    if classes:
        labels = _spelled(labels, classes)
    present = _classes_of(labels, classes or first.header["classes"])
    groups = first.groups
    if facts.groups:
        # patients may have been added or corrected after the feature files were written
        groups = {image: facts.groups.get(image) for image in groups}
    datasets = {store.header["dataset"] for store in stores.values()}
    failed = {str(image) for store in stores.values() for image, _ in store.header["failures"]}
    stains = [store.stains for store in stores.values()]
    images = LabelledImages(
        digest=digest,
        dataset=datasets.pop() if len(datasets) == 1 else "",
        classes=present,
        labels=labels,
        groups=groups,
        facts=facts,
        pixels={image: sha256 for outcome in stains for image, sha256 in outcome.pixels.items()},
        blank={image for outcome in stains for image in outcome.blank},
        files=first.files,
        looks=first.looks,
    )
    return Sources(stores, images, tuple(sorted(failed - labels.keys())))


class StoreFacts(NamedTuple):
    """Facts about the images and rows of a feature file. Its dicts are by image id, except header and settings."""

    path: Path
    header: Content
    settings: Content
    keys: dict[str, str]
    stains: StainOutcome
    labels: dict[str, str]
    groups: dict[str, str | None]
    files: dict[str, str]
    looks: dict[str, Sequence[float]]

    @classmethod
    def read(cls, path: Path) -> StoreFacts:
        """Read the facts from a feature file."""
        with open_store(path) as store:
            ids = store.image_ids
            hashes = [sha256.decode() for sha256 in store.images("sha256")]
            return cls(
                path=path,
                header=store.header,
                settings=store.settings,
                keys=store.keys,
                stains=store.stain_outcome(),
                labels=dict(zip(ids, store.labels, strict=True)),
                groups=dict(zip(ids, [group or None for group in store.groups], strict=True)),
                files=dict(zip(ids, hashes, strict=True)),
                looks=dict(zip(ids, store.images("look").tolist(), strict=True)),
            )

    @property
    def imported(self) -> bool:
        """Whether its rows are embeddings from files."""
        return bool(self.header["mode"] == IMPORTED)

    @property
    def described(self) -> list[Described]:
        """What must be the same in all feature files of a model; their groups may differ."""
        files = self.files
        if self.imported:
            # the checksum is that of the embeddings, which differ between feature files of the same images
            files = dict.fromkeys(files, "")
        return [(image, label, files[image]) for image, label in self.labels.items()]


def _read_stores(paths: Mapping[str, Path]) -> dict[str, StoreFacts]:
    """Read feature files by their names; refuse those of different images or modes."""
    stores: dict[str, StoreFacts] = {}
    for name, path in paths.items():
        store = StoreFacts.read(path)
        first = next(iter(stores.values()), store)
        if store.described != first.described:
            change = ImageChange.between(
                {image: (label, "") for image, label in first.labels.items()},
                {image: (label, "") for image, label in store.labels.items()},
            )
            raise InputError(
                f"{store.path} and {first.path}: have different images or labels, the first compared with the second: "
                f"{str(change) or 'other content under the same names'}; run bchisto featurize for both"
            )
        stores[name] = store
    modes = {str(store.header["mode"]): name for name, store in stores.items()}
    if len(modes) > 1:
        raise InputError(
            "{}: do not mix features of different modes in one model; give those of one with {features}",
            " and ".join(f"{name} ({mode})" for mode, name in sorted(modes.items())),
        )
    return stores


def _classes_of(labels: Mapping[str, str], order: Sequence[str]) -> tuple[str, ...]:
    """Return the classes that images have, in the given order; refuse labels outside it, and a single class."""
    present = set(labels.values()) - {""}
    unknown = sorted(present.difference(order))
    if unknown:
        raise InputError(not_among(unknown, order))
    classes = tuple(name for name in order if name in present)
    if len(classes) < 2:
        raise InputError(
            f"all images are of class {classes[0]}; boost needs images of at least two classes"
        )
    return classes


def _no_labels(count: int, facts: DatasetFacts, *, imported: bool) -> InputError:
    cure = Message(
        "put the images into a folder for each class, or name the column of their manifest that holds them by "
        "{featurize.label-column:NAME}, which extracts nothing again"
    )
    further = ""
    if imported:
        cure = Message("give a table image_id,label by {labels}")
    elif facts.columns:
        further = f"; the manifest also has the columns {few(facts.columns)}"
    return InputError(
        "none of the {} images has a label; boost needs labels to train on: {}{}",
        count,
        cure,
        further,
    )


def _spelled(labels: Mapping[str, str], classes: Sequence[str]) -> dict[str, str]:
    """Return labels in the spelling of ``classes``."""
    check_order(classes)
    class_of = spell_labels(filter(None, labels.values()), classes)
    unknown = [label for label, name in class_of.items() if name is None]
    if unknown:
        raise InputError(not_among(unknown, classes))
    spelled = {image: class_of.get(label) or "" for image, label in labels.items()}
    absent = [name for name in classes if name not in spelled.values()]
    if absent:
        _log.warning(Message("{classes} names {}, which no image has", ", ".join(absent)))
    return spelled


def _files(features: Sequence[str | Path]) -> dict[str, Path]:
    """Return each feature file by its name, which names the folder of its models."""
    files = [path for source in features for path in _files_of(Path(source))]
    if not files:
        raise _no_files(features[0])
    paths: dict[str, Path] = {}
    for path in files:
        name = path.stem.encode("utf-8", "backslashreplace").decode()
        if name != path.stem or name in (".", ".."):
            raise InputError(
                f"{name}.h5: the name of this feature file cannot name a folder; rename the file"
            )
        other = paths.setdefault(path.stem, path)
        if other != path:
            raise InputError(
                f"{path} and {other}: two feature files of the same name; give one of them, or rename a file"
            )
    return paths


def _files_of(source: Path) -> list[Path]:
    """Return the feature files of a folder, or the file itself; refuse unfinished ones, warn of open additions."""
    if not source.exists():
        raise MissingInputError(
            f"{source}: no such feature file or folder; run bchisto featurize first"
        )
    if not source.is_dir():
        return [source]
    for parts in sorted(source.glob("*.parts")):
        if not parts.with_suffix(".h5").is_file():
            raise StoreError(
                "{}: feature extraction is not finished; run the same bchisto featurize again, without {shard}",
                parts,
            )
        _log.warning(
            "%s: images or augmentations were being added and are not in the feature file yet; run the "
            "same bchisto featurize again to add them",
            parts,
        )
    files = sorted(source.glob("*.h5"))
    refuse_history(source, files, Message("name those to train on with {features}"))
    return files


def _no_files(source: str | Path) -> InputError:
    """Return the error about a folder without feature files, with where they seem to be."""
    folder = Path(source)
    remedy = str(Message("`{featurize.images:DIR --out RUN}` makes them in RUN/features"))
    for path in (folder / "features", *folder.glob("*.npz")):
        if path.exists():
            remedy = f"give {path}"
            break
    return MissingInputError(f"{source}: no feature file (*.h5) in it; {remedy}")
