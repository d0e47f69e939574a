"""What the bundles of all roads have in common: their archive, what they say of themselves, and how they are opened."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..data import CROP_SEEDS
from ..errors import BundleError
from ..jobs import DAMAGE, Archive, write_archive

__all__ = ["BUNDLE_KIND", "BUNDLE_SCHEMA", "bundle_road", "open_bundle", "read_crop_seed", "read_temperature",
           "write_bundle"]  # fmt: skip

BUNDLE_KIND = "bchisto model bundle"
BUNDLE_SCHEMA = 3
"""Of bundles of either road. Since 3 `crop_seed` says what seeds the crops of new images; 1 (boosted) and 2 (networks)
are those of 0.1, which knew image ids alone."""

_ROADS = {"boosted": ("boosted models", "boosted models"), "cnn": ("CNNs", "CNN")}
"""What a bundle of each road is of, and what one of another road does not hold."""


def write_bundle(
    path: Path,
    *,
    road: str,
    facts: Mapping[str, Any],
    classes: Sequence[str],
    protocol: str,
    banners: Sequence[str],
    temperature: float | None,
    crop_seed: str,
    members: Sequence[tuple[str, Path]],
    check: Callable[[Archive], Any],
) -> None:
    """Write a bundle, and read it back before it takes its place.

    Parameters
    ----------
    path : Path
        The ``.bchisto`` file.
    road : {"boosted", "cnn"}
    facts : mapping
        What the road adds to what every bundle says.
    classes : sequence of str
        Order of the probabilities.
    protocol : str
        The folds that the models come from.
    banners : sequence of str
        What a reader of predictions must know.
    temperature : float or None
        Fitted on the predictions of images that did not train.
    crop_seed : {"id", "pixels"}
        What seeds the crops of new images, see `bchisto.data.CROP_SEEDS`.
    members : sequence of (str, Path)
        Name and file of each model.
    check : callable
        Reads the archive; raises what is wrong with it.
    """
    write_archive(
        path,
        kind=BUNDLE_KIND,
        schema_version=BUNDLE_SCHEMA,
        members=members,
        facts={
            "road": road,
            **facts,
            "classes": list(classes),
            "protocol": protocol,
            "banners": list(banners),
            "calibration": None if temperature is None else {"temperature": temperature},
            "crop_seed": crop_seed,
        },
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
    with Archive(path, kind=BUNDLE_KIND, schema_version=BUNDLE_SCHEMA) as archive:
        found = str(archive.manifest.get("road", "boosted"))
        if found != road:
            of = _ROADS.get(found, (f"the road {found!r}", ""))[0]
            raise BundleError(f"{path}: a bundle of {of}, which hold no {_ROADS[road][1]}")
        try:
            yield archive
        except BundleError:
            raise
        except DAMAGE as error:
            raise archive.damaged(error) from error


def bundle_road(path: Path) -> str:
    """Return what a bundle holds: ``boosted`` or ``cnn``.

    Raises
    ------
    BundleError
        Not a bundle, or one of a newer schema.
    """
    with Archive(path, kind=BUNDLE_KIND, schema_version=BUNDLE_SCHEMA) as archive:
        return str(archive.manifest.get("road", "boosted"))


def read_temperature(manifest: Mapping[str, Any]) -> float | None:
    """Return the temperature that a bundle's manifest names."""
    calibration = manifest["calibration"]
    return None if calibration is None else float(calibration["temperature"])


def read_crop_seed(path: Path, manifest: Mapping[str, Any]) -> str:
    """Return what seeds the crops of new images by a bundle's manifest; bundles of 0.1 say nothing and mean the id.

    Raises
    ------
    BundleError
        A rule that no version has written.
    """
    rule = str(manifest.get("crop_seed", "id"))
    if rule not in CROP_SEEDS:
        raise BundleError(f"{path}: its crop_seed {rule!r} is none of {', '.join(CROP_SEEDS)}; the bundle was altered")
    return rule
