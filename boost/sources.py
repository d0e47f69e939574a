"""Settings of training, and the features that it reads."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..core import (
    InputError,
    Message,
    MissingInputError,
    Settings,
    StoreError,
    converted,
    few,
    option,
)
from ..core.runs import ImageChange
from ..crossval import LabelledImages
from ..data import (
    FACTS_FILE,
    SYNTHETIC_BANNER,
    DatasetFacts,
    check_order,
    read_dataset_facts,
    spell_labels,
)
from ..encoders import card_of
from ..featurize import IMPORTED, UNKNOWN, StainOutcome, open_store
from .heads import HEADS, get_head, list_heads
from .presets import PRESETS, Preset, parse_params

Described = tuple[str, str, str]
"""Id, label and checksum of an image."""


@dataclass(frozen=True)
class FeatureChoice(Settings):
    """The features for training, and the labels and classes of their images."""

    features: tuple[Path, ...] = option(
        (),
        group="Input",
        help="Feature files or folders of them; default: RUN/features. Or embeddings of other programs: .npz, .h5, "
        "or a folder of .h5, one a slide.",
    )
    labels: Path | None = option(
        None,
        group="Input",
        help="Labels of embeddings that hold none: a table image_id,label[,group].",
    )
    classes: tuple[str, ...] = option(
        (), commas=True, help="Class order; default: that of the feature files."
    )


@dataclass(frozen=True)
class BoostSettings(Settings):
    """Settings of training and of its outputs."""

    heads: tuple[str, ...] = option(
        ("lightgbm",),
        group="Training",
        flag="head",
        choices=HEADS,
        more=list_heads,
        distinct=True,
        help="Classifier: LightGBM; scikit-learn's logistic regression or support vectors; or the field's few-shot "
        "classifiers (nearest neighbours, class means, discriminant analysis).",
    )
    seeds: int = option(
        5,
        group="Training",
        least=1,
        help="Ensemble members per fold, of classifiers that have a seed.",
    )
    preset: str = option(
        "published",
        group="Training",
        choices=tuple(PRESETS),
        help="Settings of LightGBM; standard and quick take a tenth to a quarter of the time, and also set classifiers "
        "(svm and lightgbm) and seeds (2 and 1).",
    )
    params: Mapping[str, Any] = option(
        factory=dict,
        flag="param",
        metavar="KEY=VALUE",
        form=lambda value, name: (
            dict(value)
            if isinstance(value, Mapping)
            else parse_params(converted(value or (), name, tuple[str, ...]))
        ),
        plain=lambda params: [f"{key}={json.dumps(value)}" for key, value in params.items()],
        help="A LightGBM parameter on top of the preset.",
    )
    name: str = option(
        "",
        decides=False,
        help="Added to the folder's name, so that other features or settings get a folder of their own.",
    )
    seed: int = option(0, help="Random seed of folds that are drawn.")

    def __post_init__(self) -> None:
        """Refuse a name that cannot be part of a folder's name, and unknown classifiers."""
        super().__post_init__()
        if not re.fullmatch(r"[\w.+-]*", self.name):
            raise InputError(
                "{name} {}: give letters, digits, dots, hyphens or underscores: it names a folder",
                self.name,
            )
        for head in self.heads:
            get_head(head)

    @property
    def lightgbm(self) -> Preset:
        """The preset of LightGBM with the changes by `params`."""
        return PRESETS[self.preset].with_params(self.params)


_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sources:
    """Feature files of the same images. The keys of all mappings are names of feature files.

    Attributes
    ----------
    paths : dict of str to Path
        Paths of the files.
    headers : dict of str to dict
        Settings and origin of the files.
    settings : dict of str to dict
        Settings that determine their rows.
    images : LabelledImages
        The images. An unknown label is empty; such images are in no fold.
    failed : tuple of str
        Images that feature extraction left out because they could not be used.
    stains : dict of str to StainOutcome
        Results of stain normalisation.
    keys : dict of str to dict
        Image id to the key of its rows, see `Store.keys`.
    """

    paths: dict[str, Path]
    headers: dict[str, dict[str, Any]]
    settings: dict[str, dict[str, Any]]
    images: LabelledImages
    failed: tuple[str, ...] = ()
    stains: dict[str, StainOutcome] = field(default_factory=dict)
    keys: dict[str, dict[str, str]] = field(default_factory=dict)

    def banners(self) -> list[str]:
        """Return the notices that must appear with any result of these features."""
        notes = (
            [SYNTHETIC_BANNER]
            if any(header["synthetic"] for header in self.headers.values())
            else []
        )
        random = sorted({h["encoder"] for h in self.headers.values() if h["weights"] == "random"})
        if random:
            notes.append(
                f"RANDOM WEIGHTS: {', '.join(random)} ran untrained; the published setting uses ImageNet weights, so "
                "these numbers cannot be compared with it."
            )
        imported = {name: h for name, h in self.headers.items() if h["mode"] == IMPORTED}
        if unnamed := [name for name, h in imported.items() if h["encoder"] == UNKNOWN]:
            notes.append(
                f"UNKNOWN ENCODER: {', '.join(unnamed)} are embeddings whose encoder is unknown, so "
                "nobody can check that new embeddings are of the same kind."
            )
        cards = {
            h["encoder"]: card for h in self.headers.values() if (card := card_of(h)) is not None
        }
        if bound := [
            f"{name} ({card.licence})"
            for name, card in sorted(cards.items())
            if card.non_commercial
        ]:
            notes.append(
                f"NON-COMMERCIAL WEIGHTS: the licence of {', '.join(bound)} excludes commercial use."
            )
        return notes


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
    paths = _files(features)
    headers: dict[str, dict[str, Any]] = {}
    settings: dict[str, dict[str, Any]] = {}
    stains: dict[str, StainOutcome] = {}
    keys: dict[str, dict[str, str]] = {}
    described: list[Described] = []
    for name, path in paths.items():
        with open_store(path) as store:
            headers[name], settings[name], keys[name] = store.header, store.settings, store.keys
            stains[name] = store.stain_outcome()
            hashes = [value.decode() for value in store.images("sha256")]
            # for embeddings this is the checksum of the features, which differs between feature files
            compared = [""] * len(hashes) if store.header["mode"] == IMPORTED else hashes
            images = list(zip(store.image_ids, store.labels, compared, strict=True))
            if not described:
                described, files = images, dict(zip(store.image_ids, hashes, strict=True))
                groups = {
                    image: group or None
                    for image, group in zip(store.image_ids, store.groups, strict=True)
                }
        if images != described:
            raise _different(path, images, next(iter(paths.values())), described)
    modes = {str(header["mode"]): name for name, header in headers.items()}
    if len(modes) > 1:
        named = " and ".join(f"{name} ({mode})" for mode, name in sorted(modes.items()))
        raise InputError(
            "{}: do not mix features of different modes in one model; give those of one with {features}",
            named,
        )
    name, path = next(iter(paths.items()))
    digest = str(headers[name].get("images_sha256", ""))
    known = read_dataset_facts(path.parent / FACTS_FILE, images_sha256=digest)
    labels = {image: label for image, label, _ in described}
    if not any(labels.values()):
        raise _no_labels(len(labels), known, imported=IMPORTED in modes)
    labels = _spelled(labels, classes) if classes else labels
    order = tuple(classes or headers[name]["classes"])
    if unknown := sorted(set(labels.values()) - {"", *order}):
        raise _unknown(unknown, order)
    present = tuple(label for label in order if label in labels.values())
    if len(present) < 2:
        raise InputError(
            f"all images are of class {present[0]}; boost needs images of at least two classes"
        )
    datasets = {header["dataset"] for header in headers.values()}
    left_out = {str(image) for header in headers.values() for image, _ in header["failures"]}
    labelled = LabelledImages(
        digest=digest,
        dataset="".join(datasets) if len(datasets) == 1 else "",
        classes=present,
        labels=labels,
        # patients may have been added or corrected after the feature files were written
        groups={image: known.groups.get(image) for image in groups} if known.groups else groups,
        known=known,
        pixels={
            image: value for outcome in stains.values() for image, value in outcome.pixels.items()
        },
        blank={image for outcome in stains.values() for image in outcome.blank},
        files=files,
    )
    return Sources(
        paths, headers, settings, labelled, tuple(sorted(left_out - set(labels))), stains, keys
    )


def _different(
    path: Path, images: Sequence[Described], other: Path, others: Sequence[Described]
) -> InputError:
    """Return the error about two feature files of different images; a group that one of them lacks does not matter."""
    changed, known = ({image: (label, "") for image, label, _ in some} for some in (images, others))
    change = str(ImageChange.between(known, changed)) or "other content under the same names"
    return InputError(
        f"{path} and {other}: have different images or labels, the first compared with the second: {change}; run "
        "bchisto featurize for both"
    )


def _no_labels(count: int, known: DatasetFacts, *, imported: bool) -> InputError:
    cure = (
        Message("give a table image_id,label by {labels}")
        if imported
        else "put the images into a folder for each class, or name the column of their manifest that holds them by "
        "bchisto featurize --label-column NAME, which extracts nothing again"
    )
    unused = (
        f"; the manifest also has the columns {few(known.columns)}"
        if known.columns and not imported
        else ""
    )
    return InputError(
        "none of the {} images has a label; boost needs labels to train on: {}{}",
        count,
        cure,
        unused,
    )


def _spelled(labels: Mapping[str, str], classes: Sequence[str]) -> dict[str, str]:
    """Return labels in the spelling of ``classes``."""
    check_order(classes)
    spelled = spell_labels(filter(None, labels.values()), classes)
    if unknown := [label for label, known in spelled.items() if known is None]:
        raise _unknown(unknown, classes)
    spelled_labels = {image: spelled.get(label) or "" for image, label in labels.items()}
    if without := [name for name in classes if name not in spelled_labels.values()]:
        _log.warning(Message("{classes} names {}, which no image has", ", ".join(without)))
    return spelled_labels


def _unknown(labels: Sequence[str], classes: Sequence[str]) -> InputError:
    more = f" (nor are {', '.join(labels[1:])})" if labels[1:] else ""
    return InputError(
        "label {} is not among the classes {}{}; name every class in {classes}",
        labels[0],
        ", ".join(classes),
        more,
    )


def _files(features: Sequence[str | Path]) -> dict[str, Path]:
    """Return each feature file by its name."""
    files: list[Path] = []
    for source in map(Path, features):
        if source.is_dir():
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
            files.extend(sorted(source.glob("*.h5")))
        elif source.exists():
            files.append(source)
        else:
            raise MissingInputError(
                f"{source}: no such feature file or folder; run bchisto featurize first"
            )
    paths: dict[str, Path] = {}
    for path in files:
        name, shown = path.stem, path.stem.encode("utf-8", "backslashreplace").decode()
        if shown != name or name in (".", ".."):
            raise InputError(
                f"{shown}.h5: the name of this feature file cannot name a folder; rename the file"
            )
        if (other := paths.setdefault(path.stem, path)) != path:
            raise InputError(
                f"{path} and {other}: two feature files of the same name; give one of them, or rename a file"
            )
    if not paths:
        below = [
            path
            for path in (Path(features[0]) / "features", *Path(features[0]).glob("*.npz"))
            if path.exists()
        ]
        how = (
            f"give {below[0]}"
            if below
            else "`bchisto featurize --images DIR --out RUN` makes them in RUN/features"
        )
        raise MissingInputError(f"{features[0]}: no feature file (*.h5) in it; {how}")
    return paths
