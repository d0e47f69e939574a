"""Which fields carry the answer of a model of slides: what each adds to the scores of the classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...boost import LinearModel
from ...core import InputError, PathInput, converted
from ...core.formats import Floats, read_json, reading
from ...core.jobs import write_features, write_rows
from ...featurize import AT_ONCE, Store, known_facts, open_store, slides_of
from ...predict import find_bundle, load_embedded
from .annotation_files import tile_feature


def contributions(
    model: PathInput,
    fields: PathInput,
    *,
    features: PathInput,
    out: PathInput,
) -> list[Path]:
    """Write what each field adds to the scores of its slide, by a linear model of means of fields.

    The score of a class (its logit, mean over the models of the file) is that of a slide of average training features,
    plus the contributions of the fields, which depend on how far their features are from that average.

    Parameters
    ----------
    model : path
        A model file or the folder of its run, trained on features that were pooled by their mean, with ``logistic`` or
        ``lda``.
    fields : path
        The folder of `cut`.
    features : path
        The feature file of its fields.
    out : path
        A folder, for ``fields.csv``, and a file for QuPath for each slide; earlier ones are replaced.

    Returns
    -------
    list of Path
        The files; the table is the first.

    Raises
    ------
    InputError
        The model is not linear, or its slides were not pooled by their mean; the features are of another kind, or not
        of these fields.
    """
    folder = converted(out, "out", Path)
    store_path = converted(features, "features", Path)
    bundle_path = find_bundle(model)
    bundle, _ = load_embedded(bundle_path, [store_path], by="wsi")
    (models,) = bundle.models.values()
    linear = [candidate for candidate in models if isinstance(candidate, LinearModel)]
    if len(linear) < len(models):
        raise InputError(
            "{}: its classifier is {}; only the score of a linear one (logistic, lda) is a sum over fields",
            bundle_path,
            bundle.head,
        )
    header = ["slide", "image_id", "x", "y", *(f"adds {name}" for name in bundle.classes)]
    rows: list[list[Any]] = []
    table = folder / "fields.csv"
    tiles: dict[Path, list[Any]] = {}
    cut_folder = converted(fields, "fields", Path)
    # by the names of folders, since a name in a table may be any path
    contents = {path.parent.name: path for path in cut_folder.glob("fields/*/fields.json")}
    with open_store(store_path) as store:
        for slide, positions in slides_of(store, "wsi", known_facts(store)).items():
            places, side = _places(contents.get(slide))
            shares_of_fields = _added(store, positions, linear)
            tiles[folder / f"{slide}.contributions.geojson"] = tile_features = []
            for position, shares in zip(positions, shares_of_fields.tolist(), strict=True):
                image = store.image_ids[position]
                if image not in places:
                    text = f"{cut_folder}: has no field {image}, which the features have; give their folder"
                    raise InputError(text)
                share_of_class = dict(zip(header[4:], shares, strict=True))
                left, top = places[image]
                rows.append([slide, image, left, top, *shares])
                tile_features.append(
                    tile_feature((left, top, left + side, top + side), share_of_class)
                )
    write_rows(table, header, rows)
    for path, features_of_slide in tiles.items():
        write_features(path, features_of_slide)
    return [table, *tiles]


def _places(path: Path | None) -> tuple[dict[str, tuple[int, int]], float]:
    """Return x and y of each field that a file lists, and their side, pixels of level 0; none without a file."""
    if path is None:
        return {}, 0.0
    with reading(path, "damaged, {}; run bchisto slides cut again"):
        content = read_json(path)
        places = {cut["path"]: (int(cut["x"]), int(cut["y"])) for cut in content["fields"]}
        return places, float(content["size"][2])


def _added(store: Store, positions: Sequence[int], models: Sequence[LinearModel]) -> Floats:
    """Return what each field of a slide adds to the score of each class, float64 of shape (fields, classes)."""
    parts = []
    for start in range(0, len(positions), AT_ONCE):
        rows = store.features(positions[start : start + AT_ONCE])
        parts.append(
            np.mean([model.scores(rows) - model.arrays["intercepts"] for model in models], axis=0)
        )
    return np.concatenate(parts) / len(positions)
