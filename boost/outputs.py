"""What a protocol leaves in its folder: metrics, report, bundle."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..data import FoldPlan, decode_image
from ..errors import ImageError
from ..evaluate import Panel, PredictionTable, Sample, TwoClassView, thumbnail
from ..experiment import Outputs, Tested, temperature_of
from ..jobs import write_rows
from .bundle import Bundle
from .ensemble import Ensemble
from .head import TrainingTerms
from .heads import members_of
from .sources import Sources
from .units import ModelUnit

__all__ = ["write_outputs"]

_SAMPLES = 8
"""Images shown per heading in a report (ours)."""


def write_outputs(
    folder: Path,
    *,
    ensemble: Ensemble,
    units: Sequence[ModelUnit],
    sources: Sources,
    terms: TrainingTerms,
    images: Tested,
    banners: tuple[str, ...],
    plan: FoldPlan,
    pictures: Path,
    head: str,
    view: TwoClassView,
    failed: list[str],
    learning: Mapping[str, Any],
) -> Panel:
    """Write what a protocol leaves beside its predictions; return the panel of the fusion."""
    protocol = ensemble.fusion.protocol
    facts: dict[str, Any] = {"head": head, "paper": ensemble.paper.content()}
    if learning:  # there only where a model learnt nothing
        facts["learning"] = dict(learning)
    outputs = Outputs(
        title=f"bchisto boost: {folder.name}",
        plan=plan,
        images=images,
        protocol=protocol,
        banners=banners,
        view=view,
        tables=(ensemble.fusion, *ensemble.stores.values()),
        shown=1,
        facts=facts,
        paper=ensemble.paper,
        settings=lambda: _settings(sources, terms, protocol, units, head),
        samples=lambda: _samples(ensemble.fusion, sources, pictures),
    )

    def bundle() -> None:
        models: dict[str, list[tuple[str, Path]]] = {}
        for unit in units:
            models.setdefault(unit.store, []).append((unit.model.name, unit.model))
        Bundle.save(
            folder / "model.bchisto",
            classes=images.classes,
            stores={name: _portable(header) for name, header in sources.headers.items()},
            models=models,
            protocol=protocol,
            banners=banners,
            head=head,
            blend=ensemble.weights,
            temperature=temperature_of(ensemble.fusion),
        )
        if ensemble.weights:
            shares = [[fold, name, share] for fold, found in ensemble.weights.items() for name, share in found.items()]
            write_rows(folder / "blend.csv", ("fold", "member", "weight"), shares)

    panel = outputs.write(folder, bundle=bundle, failed=failed)
    assert panel is not None  # the fusion is a table
    return panel


def _portable(header: dict[str, Any]) -> dict[str, Any]:
    """Return what `predict` needs of a store's attributes."""
    dropped = {"kind", "failures", "images_sha256", "classes", "backend"}
    return {key: value for key, value in header.items() if key not in dropped}


def _settings(
    sources: Sources, terms: TrainingTerms, protocol: str, units: Sequence[ModelUnit], head: str
) -> dict[str, str]:
    shown = {"protocol": protocol, "head": head, "models": str(len(units))}
    for spec in members_of(head):
        shown |= spec.shown(terms)
    for name, h in sources.headers.items():
        low, high = h["color_range"]
        layers = f" ({'+'.join(h['layers'])})"
        shown[name] = (
            f"{h['encoder']}{layers}, weights {h['weights']} (sha256 {h['weights_sha256'][:12]}), scale {h['scale']}, "
            f"{h['crops']} crops of {h['crop']}, {h['augmentations']} augmentations in [{low:g}, {high:g}], "
            f"pool {h['pool']:g}, stain {h['stain']}, {h['mode']}, {h['precision']}, seed {h['seed']}"
        )
    return shown


def _samples(table: PredictionTable, sources: Sources, pictures: Path) -> tuple[list[Sample], list[Sample]]:
    """Choose images for the report: of each class the surest right ones, and the surest wrong ones of all."""
    paths = _paths(pictures)
    if table.probabilities is None or not paths:
        return [], []
    sure = table.probabilities.max(axis=1)
    hits = table.predicted == table.labels
    order = np.argsort(-sure, kind="stable")
    per_class = max(1, _SAMPLES // len(table.classes))
    right = [int(i) for k in range(len(table.classes)) for i in order[(hits & (table.labels == k))[order]][:per_class]]
    wrong = [int(i) for i in order[~hits[order]][:_SAMPLES]]

    def shown(rows: list[int]) -> list[Sample]:
        found = []
        for row in rows:
            image = table.image_ids[row]
            path = paths.get(sources.sha256[image])
            if path is None:
                continue
            try:
                picture = thumbnail(decode_image(path))
            except ImageError:  # moved or changed since it was described; the report does without it
                continue
            found.append(
                Sample(
                    image,
                    picture,
                    table.classes[table.labels[row]],
                    table.classes[table.predicted[row]],
                    float(sure[row]),
                )
            )
        return found

    return shown(right), shown(wrong)


def _paths(table: Path) -> dict[str, Path]:
    """Read where images lay, by the hash of their content."""
    if not table.is_file():
        return {}
    with table.open(newline="", encoding="utf-8") as handle:
        return {row["sha256"]: Path(row["path"]) for row in csv.DictReader(handle)}
