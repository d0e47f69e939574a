"""Which stores to make, what of them is finished, and what is missing.

Everything random about an image follows from its id and the number of an augmentation, so that rows which were
described once are those of a store of more images, or of more augmentations. A store that is there stays valid until a
whole one takes its place.
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
from ..data import UniqueImages
from ..encoders import CropEncoder, EncoderChoice, cached_encoder, card_of, other_treatment
from ..jobs import key_of
from ..runs import FolderSettings, ImageChange, Known, describe_differences, differences, other_settings, versions_of
from .parts import Finished, part_path
from .settings import FeaturizeSettings, View
from .store import Store, open_store
from .stored import store_settings

_AGREEING = frozenset({"backend", "device"})
"""Settings whose rows agree to rounding: a whole store of another is kept, and never mixed with new rows."""

_LEAST_LEFT = 0.5
"""Share of a store's images; if fewer are there, they are taken for another selection."""


@dataclass(frozen=True)
class StorePlan:
    """One store to make.

    Attributes
    ----------
    path : Path
        The finished file.
    choice : EncoderChoice
    view : View
    dim : int
        Length of a descriptor.
    settings : dict
        All that decides its rows, see `bchisto.featurize.stored.store_settings`.
    origin : dict
        Where it comes from.
    skip_errors : bool
        Whether it may lack images which could not be used.
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
        """What the store is called."""
        return self.path.stem

    @property
    def augmentations(self) -> int:
        """Rows of an image."""
        return int(self.origin["augmentations"])

    @property
    def folder(self) -> Path:
        """Where its parts lie until the store is finished."""
        return self.path.with_name(f"{self.name}.parts")

    @property
    def parts(self) -> FolderSettings:
        """The settings of the folder of its parts."""
        return FolderSettings(
            folder=self.folder,
            settings=self.settings,
            work=("*.h5",),
            made_with=versions_of(("bchisto", "keras", "numpy", "opencv-python-headless", self.settings["backend"])),
        )

    def is_whole(self, store: Store) -> bool:
        """Whether a store is this one, with all its images and augmentations."""
        decisive = ("dataset", "synthetic", "classes", "images_sha256", "augmentations", "mpp_sha256")
        return (
            differences(store.settings, self.settings).keys() <= _AGREEING
            and all(store.header.get(name) == self.origin[name] for name in decisive)
            and (self.skip_errors or not store.header["failures"])
        )

    def is_finished(self) -> bool:
        """Whether the store is there, see `is_whole`.

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
        """Let a failure pass if another process has finished the store and removed its parts meanwhile."""
        try:
            yield
        except (OutputError, OverwrittenError, StoreError):
            if not self.is_finished():
                raise


def store_name(encoder: CropEncoder, view: View, *, mode: str) -> str:
    """Return ``<encoder>-<scale>-<crop>``, with 8 hex of layers and mode where they are not the default."""
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
    """Build each encoder once, which also fetches or checks its weights, and lay out the stores.

    Parameters
    ----------
    unique : UniqueImages
    settings : FeaturizeSettings
    folder : Path
    device : {"cpu", "gpu"}
        Where colours, crops and pooling are worked out.
    selection : mapping
        The options by which a part of the images was chosen, JSON-ready.
    skip_errors : bool
        Whether stores may lack images which could not be used.

    Raises
    ------
    InputError
        No such encoder or layer.
    WeightsError
        Weights that cannot be had or do not fit.
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
    """Return the identity of the micrometres per pixel of the images, and between what they lie if all are known."""
    known = {record.image_id: record.mpp for record in unique.dataset.records}
    values = [mpp for mpp in known.values() if mpp is not None]
    bounds = {"mpp_least": min(values), "mpp_most": max(values)} if values and len(values) == len(known) else {}
    return {"mpp_sha256": key_of("mpp", images=known), **bounds}


def encoder_of(choice: EncoderChoice, settings: FeaturizeSettings) -> CropEncoder:
    """Return an encoder as the settings say, built once per process, see `bchisto.encoders.cached_encoder`."""
    weights = settings.weights_of(choice.label)
    return cached_encoder(
        choice, weights=weights, precision=settings.precision, engine=settings.engine, seed=settings.seed
    )


def _encoders(settings: FeaturizeSettings) -> list[CropEncoder]:
    """Build the encoders; all whose weights cannot be had are named at once, so that one trip fetches them."""
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
    """Return what is finished of a store, and what changed since it was; None if it is whole.

    Parameters
    ----------
    plan : StorePlan
    unique : UniqueImages
        Its images.
    blocks : sequence of sequence of str
        Keys of images of which a part is believed by its name, and not opened: it takes 30 ms, and whoever puts the
        store together looks into it.

    Raises
    ------
    SettingsConflictError
        The store or its parts were made with other settings or of more augmentations; an image has other content than
        when it was described; most images of the store are not here. The message names the differences.
    StoreError
        The store is damaged.
    """
    finished, change = Finished(), ImageChange()
    known = {part_path(plan.folder, keys, first=0, count=plan.augmentations): keys for keys in blocks}
    # before the store: whoever finishes it at this moment writes the store before the parts are removed
    damaged = []
    for path in sorted(plan.folder.glob("*.h5")):
        if path in known:
            finished.add(path, known[path], first=0, count=plan.augmentations)
        elif not finished.add_part(path, dim=plan.dim):
            damaged.append(path)
    if not plan.skip_errors:
        finished.failures.clear()
    if plan.path.is_file():
        with open_store(plan.path) as store:
            if plan.is_whole(store):
                return None
            change = _growth(store, plan, unique)
            finished.add_store(store)
    plan.parts.check()
    for path in damaged:  # whoever does a block believes that a part under its name is whole
        with contextlib.suppress(OSError):
            path.unlink()
    return finished, change


def _growth(store: Store, plan: StorePlan, unique: UniqueImages) -> ImageChange:
    """Return how the images changed since the store was finished; refuse one that does not grow to the wanted one."""
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
        raise other_settings(store.path, differing)  # images that are there and are not chosen by the options
    return change
