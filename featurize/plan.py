"""Plan which feature files to write, and find out which of their rows are finished.

Everything random about an image follows from its id and the number of the augmentation. So finished rows stay valid
when images are added. An existing feature file stays valid until a complete one replaces it.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import __version__
from ..core import (
    InputError,
    OutputError,
    OverwrittenError,
    SettingsConflictError,
    StoreError,
    WeightsError,
    message_of,
)
from ..core.jobs import key_of
from ..core.runs import (
    FolderSettings,
    ImageChange,
    Known,
    describe_differences,
    differences,
    other_settings,
    versions_of,
)
from ..data import UniqueImages
from ..encoders import CropEncoder, EncoderChoice, cached_encoder, card_of, other_treatment
from .packs import Finished, pack_path
from .settings import FeaturizeSettings, View
from .store import Store, open_store
from .stored import store_settings

_AGREEING = frozenset({"backend", "device"})
"""Settings that change rows only by rounding. A complete file with another value is kept, but gets no new rows."""

_LEAST_LEFT = 0.5
"""Minimum share of a feature file's images that must be present. With fewer, the user probably chose other images."""


def is_described(run: Path) -> bool:
    """Return whether all feature files of a run are merged, so that models can be trained on them."""
    folder = run / "features"
    begun = {path.stem for path in folder.glob("*.parts")}
    merged = {path.stem for path in folder.glob("*.h5")}
    return bool(merged) and begun <= merged


@dataclass(frozen=True)
class StorePlan:
    """A feature file to write.

    Attributes
    ----------
    path : Path
        The finished file.
    choice : EncoderChoice
    view : View
    dim : int
        Number of features.
    settings : dict
        All settings that determine its rows, see `bchisto.featurize.stored.store_settings`.
    origin : dict
        Its origin, see `bchisto.featurize.stored`.
    skip_errors : bool
        Whether images that cannot be used may be left out.
    """

    path: Path
    choice: EncoderChoice
    view: View
    dim: int
    settings: dict[str, Any]
    origin: dict[str, Any]
    skip_errors: bool

    @property
    def name(self) -> str:
        """Name of the feature file."""
        return self.path.stem

    @property
    def augmentations(self) -> int:
        """Number of augmentations, which is the number of rows per image."""
        return int(self.origin["augmentations"])

    @property
    def folder(self) -> Path:
        """Folder of its packs until the file is finished."""
        return self.path.with_name(f"{self.name}.parts")

    @property
    def parts(self) -> FolderSettings:
        """The settings of the folder of its packs."""
        return FolderSettings(
            folder=self.folder,
            settings=self.settings,
            work=("*.npz",),
            made_with=versions_of(("bchisto", "keras", "numpy", "opencv-python-headless", self.settings["backend"])),
        )

    def is_whole(self, store: Store) -> bool:
        """Return whether a feature file matches this plan, with all images and augmentations."""
        decisive = ("dataset", "synthetic", "classes", "images_sha256", "augmentations", "mpp_sha256")
        return (
            differences(store.settings, self.settings).keys() <= _AGREEING
            and all(store.header.get(name) == self.origin[name] for name in decisive)
            and (self.skip_errors or not store.header["failures"])
        )

    def is_finished(self) -> bool:
        """Return whether the feature file exists and is complete, see `is_whole`.

        Raises
        ------
        StoreError
            The file is damaged.
        """
        if not self.path.is_file():
            return False
        with open_store(self.path) as store:
            return self.is_whole(store)

    @contextlib.contextmanager
    def unless_finished(self) -> Iterator[None]:
        """Ignore a failure if another process has meanwhile finished the file and removed its packs."""
        try:
            yield
        except (OutputError, OverwrittenError, StoreError):
            if not self.is_finished():
                raise


def store_name(encoder: CropEncoder, view: View, *, mode: str) -> str:
    """Return ``<encoder>-<scale>-<crop>``, plus 8 hex digits if layers or mode are not the default."""
    name = f"{encoder.name}-{view.level}-{view.crop}"
    if encoder.default_layers and mode == "exact":
        return name
    return f"{name}-{key_of('store', layers=list(encoder.layers), mode=mode)[:8]}"


def plan_stores(
    unique: UniqueImages,
    *,
    settings: FeaturizeSettings,
    folder: Path,
    device: str,
    selection: Mapping[str, Any],
    skip_errors: bool,
) -> list[StorePlan]:
    """Plan the feature files. This builds each encoder once, and so loads and checks its weights.

    Parameters
    ----------
    unique : UniqueImages
    settings : FeaturizeSettings
    folder : Path
        Folder for the feature files.
    device : {"cpu", "gpu"}
        Where colours, crops and pooling are computed.
    selection : mapping
        The options by which a part of the images was chosen, JSON-ready.
    skip_errors : bool
        Whether images that cannot be used may be left out.

    Raises
    ------
    InputError
        There is no such encoder or layer, or two encoders have the same name.
    WeightsError
        Weights are not available or do not fit.
    """
    plans: list[StorePlan] = []
    for choice, encoder in zip(settings.encoders, _encoders(settings), strict=True):
        for view in settings.views:
            name = store_name(encoder, view, mode=settings.mode)
            if choice.runner and name in (plan.name for plan in plans):
                raise InputError("{encoders}: two of them are named {}; rename the folder or file of one", encoder.name)
            origin: dict[str, Any] = {
                "augmentations": settings.augmentations,
                "weights": encoder.weights,
                "weights_file_sha256": encoder.weights_file_sha256,
                "dataset": unique.dataset.name,
                "synthetic": unique.dataset.synthetic,
                "classes": list(unique.dataset.classes),
                "images_sha256": unique.digest,
                **_scales(unique),
                "selection": json.dumps(selection),
                "bchisto_version": __version__,
            }
            if encoder.runner != "keras":
                origin |= {"runner": encoder.runner, "card": encoder.card.text()}
            if encoder.runner == "timm":
                origin["network"] = choice.name
            own = store_settings(settings, encoder, view, device=device)
            path = folder / f"{name}.h5"
            plans.append(StorePlan(path, choice, view, encoder.dim, own, origin, skip_errors))
    return plans


def _scales(unique: UniqueImages) -> dict[str, Any]:
    """Return a checksum of the images' micrometres per pixel and, if all are known, their least and greatest value."""
    known = {record.image_id: record.mpp for record in unique.dataset.records}
    values = [mpp for mpp in known.values() if mpp is not None]
    bounds = {"mpp_least": min(values), "mpp_most": max(values)} if values and len(values) == len(known) else {}
    return {"mpp_sha256": key_of("mpp", images=known), **bounds}


def encoder_of(choice: EncoderChoice, settings: FeaturizeSettings) -> CropEncoder:
    """Return an encoder built with the settings; see `bchisto.encoders.cached_encoder`."""
    weights = settings.weights_of(choice.label)
    return cached_encoder(
        choice, weights=weights, precision=settings.precision, engine=settings.engine, seed=settings.seed
    )


def _encoders(settings: FeaturizeSettings) -> list[CropEncoder]:
    """Build the encoders; one error lists all whose weights are missing, so that the user can fetch them together."""
    encoders, lacking = [], []
    for choice in settings.encoders:
        try:
            encoders.append(encoder_of(choice, settings))
        except WeightsError as error:
            lacking.append(message_of(error))
    if lacking:
        raise WeightsError("; and ".join(["{}"] * len(lacking)), *lacking)
    return encoders


def read_finished(
    plan: StorePlan, unique: UniqueImages, *, blocks: Sequence[Sequence[str]] = ()
) -> tuple[Finished, ImageChange] | None:
    """Return the finished rows of a feature file, and how its images changed since then; None if it is complete.

    Parameters
    ----------
    plan : StorePlan
    unique : UniqueImages
        Its images.
    blocks : sequence of sequence of str
        Keys of blocks whose pack is trusted by its name and not opened: packs are checked when they are merged.

    Raises
    ------
    SettingsConflictError
        The file or its packs have other settings or more augmentations, the content of an image changed, or most
        images of the file are missing. The message names the differences.
    StoreError
        The feature file is damaged.
    """
    finished, change = Finished(), ImageChange()
    known = {pack_path(plan.folder, keys): keys for keys in blocks}
    # read packs before the file: a process that finishes it now writes the file before it removes the packs
    damaged = []
    for path in sorted(plan.folder.glob("*.npz")):
        if path in known:
            finished.files.update(dict.fromkeys(known[path], path))
        elif not finished.add_pack(path, augmentations=plan.augmentations, dim=plan.dim):
            damaged.append(path)
    if not plan.skip_errors:
        finished.failures.clear()
    if plan.path.is_file():
        with open_store(plan.path) as store:
            if plan.is_whole(store):
                return None
            change = _growth(store, plan, unique)
            finished.files.update(dict.fromkeys(store.keys.values(), store.path))
    plan.parts.check()
    for path in damaged:  # other processes trust a pack by its name
        with contextlib.suppress(OSError):
            path.unlink()
    return finished, change


def _growth(store: Store, plan: StorePlan, unique: UniqueImages) -> ImageChange:
    """Return how the images changed since the file was finished; refuse a file that cannot be extended to the plan."""
    texts = {}
    weights = store.header["weights_file_sha256"]
    if weights and "card" in store.header and weights == plan.origin["weights_file_sha256"]:
        treated = other_treatment(card_of(store.header), card_of(plan.origin))
        texts["weights_sha256"] = f"the same weights, but their JSON differs ({treated})"
    differing = describe_differences(store.settings, plan.settings, texts=texts)
    if store.augmentations > plan.augmentations:
        differing = ", ".join(filter(None, (differing, f"augmentations {store.augmentations} -> {plan.augmentations}")))
    if differing:
        raise other_settings(store.path, differing)
    contents = {image: sha.decode() for image, sha in zip(store.image_ids, store.images("sha256"), strict=True)}
    other = [image for image, sha in unique.sha256.items() if contents.get(image, sha) != sha]
    if other:
        more = f" (and {len(other) - 1} more)" if other[1:] else ""
        raise SettingsConflictError(
            "{}: {}{} has other content than when its features were extracted; restore the old file, give the "
            "new one another name, or use {overwrite} to extract all features again",
            store.path, other[0], more,
        )  # fmt: skip
    left = sum(image in unique.sha256 for image in store.image_ids)
    if left < _LEAST_LEFT * len(store.image_ids):
        raise SettingsConflictError(
            "{}: has features of {} images, {} of them present; use the same images, another {out}, or {overwrite}",
            store.path, len(store.image_ids), left,
        )  # fmt: skip
    old: dict[str, Known] = dict(zip(store.image_ids, zip(store.labels, store.groups, strict=True), strict=True))
    records = unique.dataset.records
    change = ImageChange.between(old, {record.image_id: (record.label or "", record.group or "") for record in records})
    selections = (json.loads(side["selection"]) for side in (store.header, plan.origin))
    if change.removed and (differing := describe_differences(*selections)):
        raise other_settings(store.path, differing)  # images are present, but the options no longer select them
    return change
