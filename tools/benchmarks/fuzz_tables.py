"""Change the bytes of stores, tables, recipes, options and records at random, and read each as its command does.

Run: python tools/benchmarks/fuzz_tables.py [--executions 20000 --seed 0]
"""

import json
import random
import re
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import click
import fuzzing
import h5py
import numpy as np
from bchisto.apps.recipes import load_recipe
from bchisto.apps.recipes.recipe import ReproduceRequest
from bchisto.apps.recipes.settings import build_steps
from bchisto.cli import cli
from bchisto.core import BchistoError, StoreError
from bchisto.core.formats import refuse_deadly
from bchisto.core.runs import list_runs, read_run
from bchisto.data import fold_plan, read_dataset
from bchisto.evaluate import metrics_of, read_predictions
from bchisto.featurize import import_features, open_store
from fuzzing import STRANGE, mutated

IDS = [f"benign/b{n}.png" for n in range(6)] + [f"malignant/m{n}.png" for n in range(6)]


def mutated_words(data: bytes, chance: random.Random) -> bytes:
    """Return text of which words or cells are other ones: what remains a table or a mapping reaches deeper."""
    words = re.split(rb"([\s,:\"\[\]{}]+)", data)
    for _ in range(chance.choice((1, 1, 2, 4))):
        at = chance.randrange(len(words))
        words[at] = chance.choice(
            (*STRANGE[:30], words[chance.randrange(len(words))], words[at] * 2)
        )
    return b"".join(words)


def read_store(path: Path) -> None:
    with open_store(path) as store:
        assert np.isfinite(store.features()).all()
        for name in ("sha256", "stains", "tissue", "residual", "normalisation_skipped"):
            assert len(store.images(name)) == len(store.image_ids)
        assert len(store.labels) == len(store.groups) == len(store.image_ids)


def looked_at(path: Path) -> bool:
    """Whether a store that ended a process is refused by the first look of `boost`, in another process."""
    try:
        refuse_deadly([path])
    except StoreError:
        return True
    return False


def read_folds(path: Path) -> None:
    plan = fold_plan(
        str(path), image_ids=IDS, labels=["benign"] * 6 + ["malignant"] * 6, groups=[None] * 12
    )
    assert set(IDS) >= {image for image, _, _ in plan.rows}


def read_table(path: Path) -> None:
    for table in read_predictions(path):
        if len(table.classes) <= 10 and len(table) <= 200:
            metrics = metrics_of(table, bootstrap=0)
            assert 0 <= metrics["accuracy"]["value"] <= 1


def read_manifest(path: Path) -> None:
    for record in read_dataset(path).records:
        assert record.path.is_file()


def read_recipe(path: Path) -> None:
    recipe = load_recipe(str(path))
    order = ReproduceRequest(images=path.parent, run=path.parent / "out", quick=True)
    for variant in recipe.variants:
        build_steps(recipe, order, variant)


def read_options(path: Path) -> None:
    command = cli.get_command(click.Context(cli), "boost")
    try:
        command.make_context("boost", ["--config", str(path), "--out", str(path.parent / "out")])
    except click.ClickException:
        return


def read_record(path: Path) -> None:
    for entry in read_run(path.parent):
        json.dumps(entry.config, allow_nan=True)
    list_runs(path.parent)


READERS = {
    "store.h5": read_store,
    "folds.csv": read_folds,
    "predictions.csv": read_table,
    "manifest.csv": read_manifest,
    "recipe.yaml": read_recipe,
    "options.yaml": read_options,
    "run.json": read_record,
}


def seeds(folder: Path) -> dict[str, list[bytes]]:
    """Return files of each kind that are right."""
    text = h5py.string_dtype("utf-8")
    values = np.random.default_rng(0).normal(size=(12, 16)).astype(np.float32)
    pairs = [(image, image.split("/")[0]) for image in IDS]
    np.savez(
        folder / "embeddings.npz",
        features=values,
        image_id=IDS,
        label=[label for _, label in pairs],
    )
    (old,) = import_features([folder / "embeddings.npz"], folder=folder / "features")
    packed = folder / "packed.h5"
    with h5py.File(old) as source, h5py.File(packed, "w", libver="latest") as file:
        for name, value in source.attrs.items():
            file.attrs[name] = value
        file.create_dataset(
            "features",
            data=source["features"][:],
            chunks=(4, 16),
            compression="gzip",
            fletcher32=True,
        )
        for name in ("image_id", "label", "group"):
            file.create_dataset(name, data=source[name][:], dtype=text)
        file["augmentation"] = source["augmentation"][:]
        source.copy("images", file)
    folds = "image_id,label,group,fold\n" + "".join(
        f"{i},{c},,{n % 3}\n" for n, (i, c) in enumerate(pairs)
    )
    parts = "image_id,fold,part\n" + "".join(
        f"{i},{f},{'test' if n % 3 == f else 'train'}\n"
        for f in range(3)
        for n, i in enumerate(IDS)
    )
    table = "image_id,label,group,fold,p_benign,p_malignant\n" + "".join(
        f"{i},{c},p{n % 4},{n % 3},{0.1 + n / 20:.2f},{0.9 - n / 20:.2f}\n"
        for n, (i, c) in enumerate(pairs)
    )
    named = "image_id,label,predicted,model\n" + "".join(
        f"{i},{c},{c},m{n % 2}\n" for n, (i, c) in enumerate(pairs)
    )
    manifest = "path,label,group\n" + "".join(
        f"{i},{c},p{n % 4}\n" for n, (i, c) in enumerate(pairs)
    )
    options = "folds: [5]\nseeds: 2\nhead: lightgbm\nparam: [num_leaves=7]\npositive: [malignant]\nthreshold: [0.5]\n"
    record = {
        "schema_version": 1,
        "records": [
            {
                "command": "boost",
                "status": "ok",
                "started": "2026-01-01T00:00:00+00:00",
                "seconds": 3.5,
                "argv": ["bchisto"],
                "config": {"out": "run", "folds": ["5"], "seeds": 2},
                "versions": {"python": "3.11"},
                "folder": "/tmp",
                "process": {"host": "h", "pid": 1, "started": 3.5},
                "notes": {"results": {"5-lightgbm": {"accuracy": 0.9}}},
            }
        ],
    }
    written = json.dumps(record, indent=2)
    recipes = [
        path.read_bytes()
        for path in sorted(
            (Path(__file__).resolve().parents[2] / "apps" / "recipes").glob("*.yaml")
        )
    ]
    return {
        "store.h5": [old.read_bytes(), packed.read_bytes()],
        "folds.csv": [folds.encode(), parts.encode()],
        "predictions.csv": [table.encode(), named.encode()],
        "manifest.csv": [manifest.encode(), manifest.replace(",", ";").encode("utf-16")],
        "recipe.yaml": recipes,
        "options.yaml": [options.encode(), written.encode()],
        "run.json": [written.encode()],
    }


def make_arena(folder: Path) -> Path:
    """Make the images that manifests name, and a folder of records."""
    for image in IDS:
        path = folder / image
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\x89PNG")
    (folder / "records").mkdir()
    return folder


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="bchisto-seeds-") as name:
        content, arena = seeds(Path(name)), make_arena(Path(name, "arena"))
        for kind, (first, *_) in content.items():  # loads what is loaded late
            (arena / kind).write_bytes(first)
            with suppress(BchistoError):  # the first recipe measures an encoder, and none is named
                READERS[kind](arena / kind)

        def prepare(kind, chance):
            data = chance.choice(content[kind])
            text = not kind.endswith(".h5") and chance.random() < 0.6
            return (mutated_words if text else mutated)(data, chance), str(arena / kind)

        def read(kind, path):
            READERS[kind](path)

        def expected(kind):
            return kind == "store.h5" and looked_at(arena / kind)

        sys.exit(fuzzing.main(__doc__, dict.fromkeys(READERS, 1), prepare, read, expected=expected))
