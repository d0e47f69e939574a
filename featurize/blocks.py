"""Which stores to make, and in which blocks of images."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import __version__
from ..data import ImageRecord, UniqueImages
from ..encoders import GEOMETRY, CropEncoder, EncoderChoice, cached_encoder, encoder_facts
from ..errors import InputError, WeightsError
from ..messages import message_of
from ..runs import Claim, differences, versions_of
from .settings import FeaturizeSettings, View
from .store import read_attributes

_UNIT_SECONDS = 10.0
"""A unit takes at least about this long, so that starting it costs little (ours)."""

_CORE_MACS_PER_SECOND = 9e10
"""Multiply-accumulates of one present CPU core in a second (measured on a Zen 5 core, ResNet-50)."""

_IMAGE_SECONDS, _AUGMENTATION_SECONDS = 0.2, 0.02
"""Decoding and normalising an image; one augmentation with its crops (measured, 1024x768)."""

_FRAME_PIXELS = 2048 * 1536
"""Pixels of an image of BACH."""

_MOST_IMAGES = 64
"""Most images in a block: bounds its memory and what a crash costs (ours)."""

_NOT_COMPARED = frozenset(
    {"bchisto_version", "weights", "weights_file_sha256", "backend", "road", "selection", "card", "runner", "network"}
)
"""Attributes that say where a store came from and do not decide its content."""

ABSENT_SETTINGS: dict[str, Any] = {"geometry": 1, "pad": "none"}
"""Attributes that came after the first release and decide content, each with the value that its absence means."""


@dataclass(frozen=True)
class Target:
    """One store to make.

    Attributes
    ----------
    name : str
        The store's name.
    path : Path
        The finished file.
    choice : EncoderChoice
    view : View
    dim : int
        Length of a descriptor.
    header : dict
        The store's attributes.
    below : str
        Folder in that of the parts where its own are; empty for that itself, see `bchisto.featurize.growth`.
    """

    name: str
    path: Path
    choice: EncoderChoice
    view: View
    dim: int
    header: dict[str, Any]
    below: str = ""

    @property
    def parts(self) -> Path:
        """The folder of its parts, removed when the store is finished."""
        return self.path.with_name(f"{self.name}.parts")

    @property
    def claimed(self) -> Path:
        """The folder of the parts that are made under its settings."""
        return self.parts / self.below

    def part(self, block: int) -> Path:
        """The part for a block."""
        return self.claimed / f"block-{block:05d}.h5"

    def finished(self, *, skip_errors: bool) -> bool:
        """Whether the store is there, of these settings and images.

        Parameters
        ----------
        skip_errors : bool
            Whether one that lacks images which could not be used counts.

        Raises
        ------
        StoreError
            The file is damaged.
        """
        if not self.path.is_file():
            return False
        found = read_attributes(self.path)
        whole = skip_errors or found.get("failures", "[]") == "[]"
        return whole and not differing_settings(found, self.header)


@dataclass(frozen=True)
class Block:
    """A unit of work: a block of images with all stores that lack the same augmentations of them.

    Attributes
    ----------
    index : int
    records : tuple of ImageRecord
    sha256 : tuple of str
        Of each image.
    targets : tuple of str
        Names of the stores.
    first : int
        The first augmentation that they lack.
    """

    index: int
    records: tuple[ImageRecord, ...]
    sha256: tuple[str, ...]
    targets: tuple[str, ...] = ()
    first: int = 0

    @property
    def image_ids(self) -> list[str]:
        """Ids of its images, in store order."""
        return [record.image_id for record in self.records]


Needs = Mapping[tuple[int, tuple[str, ...]], Sequence[ImageRecord]]
"""The first augmentation that is lacking, and the names of the stores that lack it, to the images."""


def store_name(encoder: CropEncoder, view: View, *, mode: str, geometry: int = GEOMETRY) -> str:
    """Return ``<encoder>-<scale>-<crop>``, with 8 hex of layers and mode where they are not the default."""
    name = f"{encoder.name}-{view.scale}-{view.crop}"
    if encoder.default_layers and mode == "exact":
        return name
    special: dict[str, Any] = {"layers": encoder.layers, "mode": mode}
    if mode == "dense" and geometry != ABSENT_SETTINGS["geometry"]:
        special["geometry"] = geometry
    return f"{name}-{hashlib.sha256(json.dumps(special, sort_keys=True).encode()).hexdigest()[:8]}"


def choose_targets(
    unique: UniqueImages, *, settings: FeaturizeSettings, folder: Path, road: str, selection: Mapping[str, Any]
) -> list[Target]:
    """Build each encoder once, which also fetches or checks its weights, and lay out the stores.

    Parameters
    ----------
    unique : UniqueImages
    settings : FeaturizeSettings
    folder : Path
    road : str
        Where colours, crops and pooling are worked out: ``device`` or ``cpu``.
    selection : mapping
        The options by which a part of the images was chosen, JSON-ready.

    Raises
    ------
    InputError
        No such encoder or layer.
    WeightsError
        Weights that cannot be had or do not fit.
    """
    targets: list[Target] = []
    for choice, encoder in zip(settings.encoders, _encoders(settings), strict=True):
        for view in settings.views:
            name = store_name(encoder, view, mode=settings.mode, geometry=settings.geometry)
            header: dict[str, Any] = {
                "encoder": encoder.name,
                "layers": list(encoder.layers),
                "weights": encoder.weights,
                "weights_sha256": encoder.weights_sha256,
                "weights_file_sha256": encoder.weights_file_sha256,
                "scale": view.scale,
                "crop": view.crop,
                "crops": settings.crops,
                "augmentations": settings.augmentations,
                "pool": settings.pool,
                "stain": settings.stain,
                "stain_fallback": settings.stain_fallback,
                "color_range": list(settings.color_range),
                "mode": settings.mode,
                # exact stores have no windows, and keep the attributes of 0.1
                **({"geometry": settings.geometry} if settings.mode == "dense" else {}),
                **({"pad": settings.pad} if settings.pad != ABSENT_SETTINGS["pad"] else {}),
                "engine": encoder.engine,
                "precision": settings.precision,
                "batch_size": settings.batch_size,
                "seed": settings.seed,
                "dataset": unique.dataset.name,
                "synthetic": unique.dataset.synthetic,
                "classes": list(unique.dataset.classes),
                "images_sha256": unique.digest,
                "backend": encoder.backend,
                "road": road,
                "selection": json.dumps(selection),
                **_of_runner(encoder, choice),
                "bchisto_version": __version__,
            }
            if choice.runner and name in (target.name for target in targets):
                raise InputError(
                    "{encoders}: two of them are called {}; rename the folder or file of one", encoder.name
                )
            targets.append(Target(name, folder / f"{name}.h5", choice, view, encoder.dim, header))
    return targets


def _of_runner(encoder: CropEncoder, choice: EncoderChoice) -> dict[str, str]:
    """Return what a store says of an encoder that was brought: who runs it, and what is known of its weights."""
    if encoder.runner == "keras":
        return {}
    network = {"network": choice.name} if encoder.runner == "timm" else {}
    return {"runner": encoder.runner, "card": encoder.card.text(), **network}


def encoder_of(choice: EncoderChoice, settings: FeaturizeSettings) -> CropEncoder:
    """Return an encoder as the settings say, built once per process, see `bchisto.encoders.cached_encoder`."""
    weights = settings.weights_of(choice.label)
    return cached_encoder(
        choice, weights=weights, precision=settings.precision, engine=settings.engine, seed=settings.seed
    )


def _encoders(settings: FeaturizeSettings) -> list[CropEncoder]:
    """Build the encoders; all whose weights cannot be had are named at once, so that one trip fetches them."""
    found, lacking = [], []
    for choice in settings.encoders:
        try:
            found.append(encoder_of(choice, settings))
        except WeightsError as error:
            lacking.append(message_of(error))
    if lacking:
        raise WeightsError("; and ".join(["{}"] * len(lacking)), *lacking)
    return found


def compared_settings(header: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes that decide the content of a store."""
    return {key: value for key, value in header.items() if key not in _NOT_COMPARED}


def differing_settings(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return what decides the content of a store and differs between two headers, each with the old and new value."""
    compared = {key: value for key, value in ABSENT_SETTINGS.items() if key in found} | compared_settings(wanted)
    old = {**ABSENT_SETTINGS, **found}
    return differences({key: old.get(key) for key in compared}, compared)


def claim_parts(target: Target) -> Claim:
    """Return the claim of the folder of a store's parts.

    Parts of another backend, or of the GPU's road beside those of the CPU's, agree to rounding only: what a store holds
    would then depend on which machine did which block.
    """
    backend, road = target.header["backend"], target.header["road"]
    return Claim(
        target.claimed,
        settings={**compared_settings(target.header), "backend": backend, "road": road},
        work=("block-*.h5",),
        absent={**ABSENT_SETTINGS, "backend": backend, "road": road},  # 0.1 did not say
        made_with=versions_of(("bchisto", "keras", "numpy", "opencv-python-headless", backend)),
    )


def images_per_block(settings: FeaturizeSettings) -> int:
    """Return the images in a unit, from the settings alone: some ten seconds of work on one core, at most 64.

    Examples
    --------
    >>> images_per_block(FeaturizeSettings())
    1
    """
    return max(1, min(_MOST_IMAGES, math.ceil(_UNIT_SECONDS / reckon_seconds(settings))))


def reckon_seconds(settings: FeaturizeSettings, *, pixels: int = _FRAME_PIXELS) -> float:
    """Return about how long one image takes on one present CPU core, from recorded speeds: no network is loaded.

    Parameters
    ----------
    settings : FeaturizeSettings
    pixels : int
        Of an image; those of an image of BACH by default.
    """
    seen = sum(settings.crops * view.crop**2 for view in settings.views)
    if settings.mode == "dense":
        seen = round(sum(pixels * scale**2 for scale in {view.scale for view in settings.views}))
    crops = settings.crops * len(settings.views)
    every = [encoder_facts(choice) for choice in settings.encoders]
    macs = sum(f.macs_per_pixel * seen if f.macs_per_crop is None else f.macs_per_crop * crops for f in every)
    share = pixels / _FRAME_PIXELS
    return share * _IMAGE_SECONDS + settings.augmentations * (
        share * _AUGMENTATION_SECONDS + macs / _CORE_MACS_PER_SECOND
    )


def make_blocks(unique: UniqueImages, needs: Needs, *, size: int) -> list[Block]:
    """Cut the images that stores lack into blocks of `size`, in store order."""
    blocks: list[Block] = []
    for (first, targets), records in needs.items():
        for start in range(0, len(records), size):
            some = tuple(records[start : start + size])
            hashes = tuple(unique.sha256[one.image_id] for one in some)
            blocks.append(Block(len(blocks), some, hashes, targets, first))
    return blocks
