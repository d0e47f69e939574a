"""Change the bytes of stores, tables, recipes, options and records at random, and read them.

    python tools/benchmarks/fuzz_tables.py --executions 20000 --seed 0

Each kind of file is read as its command reads it, in a process of its own that is watched: a signal, an error that is
none of ours, more than 10 s, more memory than 1.5 GiB beside what the process began with, and a file outside of its
folder are findings. The changed file of each finding is kept below --keep.
"""

from __future__ import annotations

import argparse
import collections
import json
import logging
import multiprocessing
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

SECONDS = 10
MOST_BYTES = int(1.5 * 1024**3)

STRANGE = [
    b"", b"\0", b"\xff", b"-1", b"0", b"1e308", b"nan", b"inf", b"9" * 5000, b"../../x", b"/etc/passwd", b"{",
    b"[" * 2000, b'"', b"'", b",", b"\n", b"\r", b"\x1b[2J", b"=1+1", b"&a *a", b"!!int abc", b"null", b"true", b"{}",
    b"[]", b"2024-99-99", b"\xef\xbb\xbf", b"\xff\xfe", "é漢".encode(), b"x" * 100_000,
]  # fmt: skip


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Return bytes with a few changes: bits, bytes, cuts, repeats, and strange words."""
    altered = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        at, to = sorted(chance.randrange(len(altered) + 1) for _ in range(2))
        kind = chance.randrange(8)
        if kind <= 1 and at < len(altered):
            altered[at] ^= 1 << chance.randrange(8)
        elif kind == 2 and at < len(altered):
            altered[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        elif kind == 3:
            del altered[at : min(to, at + chance.choice((1, 4, 64, len(altered))))]
        elif kind == 4:
            altered[at:at] = chance.choice(STRANGE)
        elif kind == 5:
            altered[at:to] = altered[at:to][:4096] * chance.choice((0, 2, 3))
        elif kind == 6:
            width = chance.choice((1, 2, 4, 8))
            altered[at : at + width] = chance.getrandbits(8 * width).to_bytes(width, "little")
        else:
            altered[at : at + 8] = b"\xff" * 8
    return bytes(altered)


def mutated_words(data: bytes, chance: random.Random) -> bytes:
    """Return text of which words or cells are other ones: what remains a table or a mapping reaches deeper."""
    import re

    words = re.split(rb"([\s,:\"\[\]{}]+)", data)
    for _ in range(chance.choice((1, 1, 2, 4))):
        at = chance.randrange(len(words))
        words[at] = chance.choice((*STRANGE[:30], words[chance.randrange(len(words))], words[at] * 2))
    return b"".join(words)


def read_store(path: Path) -> None:
    from bchisto.featurize import open_store

    with open_store(path) as store:
        assert np.isfinite(store.features()).all()
        for name in ("sha256", "stains", "tissue", "residual", "normalisation_skipped"):
            assert len(store.images(name)) == len(store.image_ids)
        assert len(store.labels) == len(store.groups) == len(store.image_ids)


def looked_at(path: Path) -> bool:
    """Whether a store that ended a process is refused by the first look of `boost`, in another process."""
    from bchisto.core import StoreError
    from bchisto.core.formats import refuse_deadly

    try:
        refuse_deadly([path])
    except StoreError:
        return True
    return False


def read_folds(path: Path) -> None:
    from bchisto.data import fold_plan

    ids = [f"benign/b{n}.png" for n in range(6)] + [f"malignant/m{n}.png" for n in range(6)]
    plan = fold_plan(str(path), image_ids=ids, labels=["benign"] * 6 + ["malignant"] * 6, groups=[None] * 12)
    assert set(ids) >= {image for image, _, _ in plan.rows}


def read_table(path: Path) -> None:
    from bchisto.evaluate import measure, read_predictions

    for table in read_predictions(path):
        if len(table.classes) <= 10 and len(table) <= 200:
            metrics = measure(table, bootstrap=0)
            assert 0 <= metrics["accuracy"]["value"] <= 1


def read_manifest(path: Path) -> None:
    from bchisto.data import read_dataset

    for record in read_dataset(path).records:
        assert record.path.is_file()


def read_recipe(path: Path) -> None:
    from bchisto.apps.recipes import load_recipe
    from bchisto.apps.recipes.recipe import ReproduceRequest
    from bchisto.apps.recipes.settings import build_steps

    recipe = load_recipe(str(path))
    order = ReproduceRequest(images=path.parent, run=path.parent / "out", quick=True)
    for variant in recipe.variants:
        build_steps(recipe, order, variant)


def read_options(path: Path) -> None:
    import click
    from bchisto.cli import cli

    command = cli.get_command(click.Context(cli), "boost")
    try:
        command.make_context("boost", ["--config", str(path), "--out", str(path.parent / "out")])
    except click.ClickException:
        return


def read_record(path: Path) -> None:
    from bchisto.core.runs import list_runs, read_run

    (path.parent / "records").mkdir(exist_ok=True)
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
    import h5py
    import numpy as np
    from bchisto.featurize import import_features

    text = h5py.string_dtype("utf-8")
    ids = [f"benign/b{n}.png" for n in range(6)] + [f"malignant/m{n}.png" for n in range(6)]
    values = np.random.default_rng(0).normal(size=(12, 16)).astype(np.float32)
    labels = [image.split("/")[0] for image in ids]
    np.savez(folder / "embeddings.npz", features=values, image_id=ids, label=labels)
    (old,) = import_features([folder / "embeddings.npz"], folder=folder / "features")
    packed = folder / "packed.h5"
    with h5py.File(old) as source, h5py.File(packed, "w", libver="latest") as file:
        for name, value in source.attrs.items():
            file.attrs[name] = value
        file.create_dataset("features", data=source["features"][:], chunks=(4, 16), compression="gzip", fletcher32=True)
        for name in ("image_id", "label", "group"):
            file.create_dataset(name, data=source[name][:], dtype=text)
        file["augmentation"] = source["augmentation"][:]
        source.copy("images", file)
    ids = [f"benign/b{n}.png" for n in range(6)] + [f"malignant/m{n}.png" for n in range(6)]
    pairs = [(image, image.split("/")[0]) for image in ids]
    folds = "image_id,label,group,fold\n" + "".join(f"{i},{c},,{n % 3}\n" for n, (i, c) in enumerate(pairs))
    parts = "image_id,fold,part\n" + "".join(
        f"{i},{f},{'test' if n % 3 == f else 'train'}\n" for f in range(3) for n, i in enumerate(ids)
    )
    table = "image_id,label,group,fold,p_benign,p_malignant\n" + "".join(
        f"{i},{c},p{n % 4},{n % 3},{0.1 + n / 20:.2f},{0.9 - n / 20:.2f}\n" for n, (i, c) in enumerate(pairs)
    )
    named = "image_id,label,predicted,model\n" + "".join(f"{i},{c},{c},m{n % 2}\n" for n, (i, c) in enumerate(pairs))
    manifest = "path,label,group\n" + "".join(f"{i},{c},p{n % 4}\n" for n, (i, c) in enumerate(pairs))
    options = "folds: [5]\nseeds: 2\nhead: lightgbm\nparam: [num_leaves=7]\npositive: [malignant]\nthreshold: [0.5]\n"
    record = {"schema_version": 1, "records": [{
        "command": "boost", "status": "ok", "started": "2026-01-01T00:00:00+00:00", "seconds": 3.5, "argv": ["bchisto"],
        "config": {"out": "run", "folds": ["5"], "seeds": 2}, "versions": {"python": "3.11"}, "folder": "/tmp",
        "process": {"host": "h", "pid": 1, "started": 3.5}, "notes": {"results": {"5-lightgbm": {"accuracy": 0.9}}},
    }]}  # fmt: skip
    written = json.dumps(record, indent=2)
    recipes = [
        path.read_bytes() for path in sorted((Path(__file__).resolve().parents[2] / "apps" / "recipes").glob("*.yaml"))
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


def arena(folder: Path) -> None:
    """Make the images that manifests name."""
    for name in ("benign/b", "malignant/m"):
        for number in range(6):
            path = folder / f"{name}{number}.png"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"\x89PNG")


def changed(kind: str, content: list[bytes], seed: int, number: int) -> bytes:
    """Return the changed file of a number."""
    chance = random.Random(f"{kind}-{seed}-{number}")
    data = chance.choice(content)
    text = not kind.endswith(".h5") and chance.random() < 0.6
    return (mutated_words if text else mutated)(data, chance)


def work(kind: str, content: list[bytes], queue: object, seed: int, first: int, count: int, folder: Path) -> None:
    """Read changed files of a kind; the queue gets what came of each, and a file the number that is being read."""
    from bchisto.core import BchistoError

    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    began = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (began + MOST_BYTES, began + MOST_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    arena(folder)
    path = folder / kind
    os.chdir(folder)
    for number in range(first, count):
        path.write_bytes(changed(kind, content, seed, number))
        (folder / "at").write_text(str(number))
        signal.setitimer(signal.ITIMER_PROF, SECONDS)  # of computing: the machine may be busy
        answer = "read"
        try:
            READERS[kind](path)
        except BchistoError:
            answer = "refused"
        except MemoryError as error:
            queue.put((kind, number, f"memory: {error!r}"[:300]))
        except OSError as error:  # a name that no file has is a line of the command line
            answer = "refused"
            if error.filename is None:
                queue.put((kind, number, f"{type(error).__name__}: {error}"[:300]))
        except Exception as error:  # noqa: BLE001
            queue.put((kind, number, f"{type(error).__name__}: {error}"[:300]))
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        queue.put((kind, number, answer))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--executions", type=int, default=20_000, help="In all.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", default=",".join(READERS))
    parser.add_argument("--keep", type=Path, help="Folder for the changed files of findings.")
    options = parser.parse_args()
    kinds = options.kinds.split(",")
    spawn = multiprocessing.get_context("spawn")
    started, wrong = time.monotonic(), 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        content = seeds(folder)
        for kind in kinds:
            each = -(-options.executions // len(kinds))
            answers: collections.Counter[str] = collections.Counter()
            messages: dict[int, str] = {}
            slowest, done, deadly = 0.0, 0, 0
            while done < each:
                store_folder = folder / f"{kind}.d"
                shutil.rmtree(store_folder, ignore_errors=True)
                store_folder.mkdir()
                before = {path.name for path in folder.iterdir()}
                queue = spawn.Queue()
                # numbers go on where a process ended
                given = (kind, content[kind], queue, options.seed, done, each, store_folder)
                process = spawn.Process(target=work, args=given)
                process.start()
                last = time.monotonic()
                while process.is_alive() or not queue.empty():
                    try:
                        _, number, answer = queue.get(timeout=0.2)
                    except Exception:  # noqa: BLE001
                        continue
                    if answer in ("read", "refused"):
                        answers[answer] += 1
                        slowest, last, done = max(slowest, time.monotonic() - last), time.monotonic(), number + 1
                    else:
                        messages[number] = answer
                process.join()
                if process.exitcode:
                    at = int((store_folder / "at").read_text())
                    done = at + 1
                    if kind.endswith(".h5") and looked_at(store_folder / kind):
                        answers["refused"] += 1
                        deadly += 1
                    else:
                        messages[at] = f"ended by {process.exitcode}"
                if outside := {path.name for path in folder.iterdir()} - before:
                    messages[-1] = f"files outside: {outside}"
            wrong += len(messages)
            for number in messages if options.keep else ():
                options.keep.mkdir(parents=True, exist_ok=True)
                (options.keep / f"{number}-{kind}").write_bytes(changed(kind, content[kind], options.seed, number))
            sys.stdout.write(
                f"{kind}: {each} executions, {answers['refused']} refused, {answers['read']} read, "
                f"{len(messages)} findings, {deadly} that end HDF5 refused by the first look, slowest {slowest:.1f} s\n"
            )
            for number, message in sorted(messages.items())[:20]:
                sys.stdout.write(f"  {number}: {message}\n")
            sys.stdout.flush()
    sys.stdout.write(f"{time.monotonic() - started:.0f} s, {wrong} findings\n")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
