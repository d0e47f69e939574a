"""What a protocol leaves in its folder: metrics, report, bundle."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..data import FoldPlan, decode_image
from ..encoders import card_of
from ..evaluate import Panel, TwoClassView, choose_samples, measure_gains
from ..experiment import BundleFacts, Outputs, ShowCases, Tested
from ..featurize import IMPORTED
from ..jobs import read_records, write_rows
from .bundle import Bundle
from .ensemble import Ensemble
from .head import TrainingTerms
from .heads import members_of
from .methods import methods_of
from .sources import Sources
from .units import ModelUnit


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
    each: bool,
) -> tuple[Panel, ShowCases]:
    """Write what a protocol leaves beside its predictions; return the panel of the fusion, and what shows its cases."""
    protocol = ensemble.fusion.protocol
    facts: dict[str, Any] = {"head": head, "paper": ensemble.paper.content()}
    if learning:  # there only where a model learnt nothing
        facts["learning"] = dict(learning)
    if each:
        facts["each"] = measure_gains(ensemble.fused, list(sources.paths), view=view)

    def show(image: str) -> npt.NDArray[np.uint8] | None:
        path = paths.get(sources.sha256[image])
        return None if path is None else decode_image(path)

    paths = _paths(pictures)
    outputs = Outputs(
        title=f"bchisto boost: {folder.name}",
        plan=plan,
        images=images,
        protocol=protocol,
        banners=banners,
        view=view,
        tables=(ensemble.fusion, *ensemble.stores.values()),
        members=ensemble.by_seed,
        shown=1,
        facts=facts,
        paper=ensemble.paper,
        road="boost",
        methods=methods_of(sources.headers, head=head, units=units, blended=bool(ensemble.weights)),
        settings=_settings(sources, terms, protocol, units, head),
        samples=lambda: choose_samples(ensemble.fusion, show),
    )

    def bundle(found: BundleFacts) -> None:
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
            temperature=found.temperature,
            two_class=found.two_class,
            training=found.training,
            unsure=found.unsure,
        )
        if ensemble.weights:
            shares = [[fold, name, share] for fold, found in ensemble.weights.items() for name, share in found.items()]
            write_rows(folder / "blend.csv", ("fold", "member", "weight"), shares)

    panel, show_cases = outputs.write(folder, bundle=bundle, failed=failed)
    assert panel is not None  # the fusion is a table
    return panel, show_cases


def _portable(header: dict[str, Any]) -> dict[str, Any]:
    """Return what `predict` needs of a store's attributes."""
    dropped = {"kind", "failures", "images_sha256", "classes", "backend", "road", "selection"}
    return {key: value for key, value in header.items() if key not in dropped}


def _settings(
    sources: Sources, terms: TrainingTerms, protocol: str, units: Sequence[ModelUnit], head: str
) -> dict[str, str]:
    shown = {"protocol": protocol, "head": head, "models": str(len(units))}
    for spec in members_of(head):
        shown |= spec.shown(terms)
    for name, h in sources.headers.items():
        if h["mode"] == IMPORTED:
            shown[name] = _embedded(h)
            continue
        low, high = h["color_range"]
        layers, card = f" ({'+'.join(h['layers'])})", card_of(h)
        bound = "" if card is None else f"; {card.terms()}"
        shown[name] = (
            f"{h['encoder']}{layers}, weights {h['weights']} (sha256 {h['weights_sha256'][:12]}{bound}), scale "
            f"{h['scale']}, {_count(h['crops'], 'crop')} of {h['crop']}, "
            f"{_count(h['augmentations'], 'augmentation')} in [{low:g}, {high:g}], pool {h['pool']:g}, stain "
            f"{h['stain']}, {h['mode']}, {h['precision']}, seed {h['seed']}"
        )
    return shown


def _embedded(header: Mapping[str, Any]) -> str:
    about = json.loads(header[IMPORTED])
    weights = f", weights of sha256 {header['weights_sha256'][:12]}" if header["weights_sha256"] else ""
    rows = f", {_count(header['augmentations'], 'row')} an image" if header["augmentations"] > 1 else ""
    pooled = f", {about['pooled']}" if about["pooled"] else ""
    return (
        f"embeddings of {about['source']}: encoder {header['encoder']}{weights}, {header['dim']} numbers{rows}"
        f"{pooled}, sha256 {header['features_sha256'][:12]}"
    )


def _count(number: int, name: str) -> str:
    return f"{number} {name}" if number == 1 else f"{number} {name}s"


def _paths(table: Path) -> dict[str, Path]:
    """Read where images lay, by the hash of their content."""
    if not table.is_file():
        return {}
    with table.open(newline="", encoding="utf-8") as handle:
        return {row["sha256"]: Path(row["path"]) for row in read_records(handle)}
