"""Find the model file of a run folder, and the weights files from which its features were computed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..core import BchistoError, InputError, MissingInputError
from ..core.formats import read_json
from ..core.jobs import is_set_aside
from ..core.models import bundle_stores
from ..core.runs import unfinished_work
from ..encoders import recorded_source, source_sha256, weights_of

_BUNDLE = "model.bchisto"


def find_bundle(model: Path) -> Path:
    """Return the model file itself, or the one in a run folder.

    Raises
    ------
    MissingInputError
        There is no such file or folder, or the folder contains no model file.
    InputError
        The folder contains several model files; the message lists them.
    """
    if not model.is_dir():
        if model.is_file():
            return model
        raise MissingInputError(f"{model}: no such model file; bchisto boost and finetune write one as {_BUNDLE}")
    bundles = [
        path
        for depth in ("", "*/", "*/*/")
        for path in sorted(model.glob(depth + _BUNDLE))
        if path.is_file() and not is_set_aside(path)
    ]
    if not bundles:
        why = (unfinished_work(run, ("boost", "finetune")) for run in (model, *list(model.absolute().parents)[:2]))
        why_not = next(filter(None, why), "bchisto boost and finetune write one")
        raise MissingInputError(f"{model}: no {_BUNDLE} in this folder; {why_not}")
    if len(bundles) > 1:
        raise InputError(f"{model}: holds {len(bundles)} models, give one of them: {', '.join(map(str, bundles))}")
    return bundles[0]


def recorded_weights(bundle: Path, options: Sequence[str]) -> list[tuple[str, Path]]:
    """Return the weights files that the run of a model file recorded, if they exist and are unchanged.

    Parameters
    ----------
    bundle : Path
        ``RUN/boost/<name>/model.bchisto``; a model file elsewhere has no run.
    options : sequence of str
        Weights that the caller gives; the encoders that they name are skipped.

    Returns
    -------
    list of (encoder, file)
        For feature files whose weights came from a file or folder with the same SHA-256.
    """
    needed: dict[str, set[str]] = {}
    for header in bundle_stores(bundle).values():
        if header.get("weights") == "file" and weights_of(options, header["encoder"]) == "imagenet":
            needed.setdefault(header["encoder"], set()).add(str(header.get("weights_file_sha256", "")))
    files: dict[tuple[str, str], Path] = {}
    for encoder, hashes in needed.items():
        for option in _recorded(bundle):
            path = Path(weights_of([option], encoder))
            with contextlib.suppress(BchistoError):  # the file cannot be read
                if path.exists() and (sha256 := source_sha256(path)) in hashes:
                    files.setdefault((encoder, sha256), path)
    return [(encoder, path) for (encoder, _), path in files.items()]


def _recorded(bundle: Path) -> Iterator[str]:
    """Yield the recorded weights options of the run of a model file, and of the runs whose feature files it used."""
    runs = list(bundle.absolute().parents)[2:3]
    for run in runs:
        try:
            entries = [
                entry for entry in read_json(run / "run.json", record=True)["records"] if isinstance(entry, dict)
            ]
        except (OSError, KeyError, TypeError, ValueError):
            continue
        for entry in entries:
            config, folder = entry.get("config") or {}, Path(entry.get("folder") or ".")
            if entry.get("command") == "featurize":
                for option in config.get("weights") or ():
                    encoder, equals, path = str(option).rpartition("=")
                    yield f"{encoder}{equals}{folder / path}"
                for option in config.get("encoders") or ():
                    if (own := recorded_source(str(option), folder)) is not None:
                        yield f"{own[0]}={own[1]}"
            for store in config.get("features") or () if entry.get("command") == "boost" else ():
                other = folder / str(store)
                other = other.parent.parent if other.suffix == ".h5" else other.parent
                if other not in runs:
                    runs.append(other)
