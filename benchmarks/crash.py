"""Kill every stage at random moments, resume it, and compare the end with that of a run that was let alone.

Kills are SIGKILL and SIGTERM, of the parent alone and of its process group, in equal parts. After each: whether a
process is left after ten seconds, what a SIGTERM ended with, and what lies in the folder for temporary files and in
/dev/shm.

Run: python benchmarks/crash.py [--stages featurize boost finetune predict] [--kills 30] [--seed 0]
"""

import argparse
import contextlib
import hashlib
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np

PLUGINS = Path(__file__).resolve().parents[1] / "tests" / "plugins"
WAYS = [
    (signal.SIGKILL, "parent"),
    (signal.SIGTERM, "parent"),
    (signal.SIGKILL, "group"),
    (signal.SIGTERM, "group"),
]
PATIENCE = 10
"""Seconds in which every process must be gone."""

TINY = ["--encoder", "tiny", "--weights", "random", "--view", "1.0:64", "--augmentations", "24", "--crops", "12"]
"""The encoder of the tests: small, so that moments fall into every part of a run, not into one network alone."""

STAGES = ("featurize", "boost", "finetune", "predict")


@dataclass
class Tally:
    """What the kills of one stage showed."""

    kills: int = 0
    finished_first: int = 0
    resumed: int = 0
    unequal: list = field(default_factory=list)
    slowest: float = 0.0
    lived_on: list = field(default_factory=list)
    unclean: list = field(default_factory=list)
    leftovers: list = field(default_factory=list)

    def faults(self):
        return [*self.unequal, *self.lived_on, *self.unclean, *self.leftovers]


def commands(images, run):
    """Return the arguments of each stage, which work on one run folder."""
    work = ["--jobs", "2"]
    predicting = ["predict", run / "boost" / "3-lightgbm" / "model.bchisto", "--weights", "random"]
    return {
        "featurize": ["featurize", "--images", images, "--out", run, *TINY, *work],
        "boost": ["boost", "--out", run, "--folds", "3", "--seeds", "2", "--param", "min_data_in_leaf=3",
                  "--param", "num_iterations=40", *work],
        "finetune": ["finetune", "--images", images, "--out", run, "--network", "patch-resnet", "--folds", "3",
                     "--epochs", "3", "--patience", "3", "--size", "64", "--batch-size", "3", *work],
        "predict": [*predicting, "--images", images, "--out", run / "predictions.csv", *work],
    }  # fmt: skip


def start(arguments, temporary):
    """Start a command in a session of its own; what it writes to stderr goes beside its folder for temporary files."""
    temporary.mkdir(exist_ok=True)
    path = os.pathsep.join(filter(None, [str(PLUGINS), os.environ.get("PYTHONPATH", "")]))
    environment = {**os.environ, "PYTHONPATH": path, "TMPDIR": str(temporary), "OMP_NUM_THREADS": "1"}
    with temporary.with_suffix(".err").open("w") as words:
        return subprocess.Popen(
            [sys.executable, "-m", "bchisto", *map(str, arguments)],
            env=environment,
            stdout=words,
            stderr=words,
            start_new_session=True,
        )


def living(session):
    """Return the processes of a session, those that have ended but for the last word left out."""
    faults = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] not in "ZX":
            faults.append(int(entry.parent.name))
    return faults


def wait_for_none(session):
    """Wait until a session has no process; return the seconds, None where one lives on."""
    began = time.monotonic()
    while time.monotonic() - began < PATIENCE:
        if not living(session):
            return time.monotonic() - began
        time.sleep(0.05)
    return None


def shared_memory(pid):
    return sorted(path.name for path in Path("/dev/shm").glob(f"*loky-{pid}-*"))


def strike(process, number, whom):
    """Send a signal; return whether the command was still running."""
    if process.poll() is not None:
        return False
    try:
        (os.killpg if whom == "group" else os.kill)(process.pid, number)
    except ProcessLookupError:
        return False
    return True


def kill_once(arguments, temporary, *, after, number, whom, tally, label):
    """Run a command and kill it after some seconds; return whether it was done before that."""
    process = start(arguments, temporary)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=after)
    hit = strike(process, number, whom)
    took = wait_for_none(process.pid)
    if took is None:
        tally.lived_on.append(f"{label}: {len(living(process.pid))} processes after {PATIENCE} s")
        os.killpg(process.pid, signal.SIGKILL)
    code = process.wait()
    words = temporary.with_suffix(".err").read_text()
    if not hit or code == 0:
        tally.finished_first += 1
        if code != 0:
            tally.unclean.append(f"{label}: ended with {code} unkilled: {words[-500:]}")
        return True
    tally.kills += 1
    tally.slowest = max(tally.slowest, took or PATIENCE)
    if number == signal.SIGTERM:
        # before Python has come as far as to handle it, a signal ends the process as it ends any
        early = code == -signal.SIGTERM and not words
        bad = [word for word in ("Traceback", "this is a bug", "leaked", "lack of memory") if word in words]
        # and once all is written and said, nothing is left that could be interrupted
        late = code == -signal.SIGTERM and "\nnext: " in words
        if (code != 143 and not early and not late) or bad:
            tally.unclean.append(f"{label}: code {code}, {', '.join(bad)}: {words[-1500:]}")
        left = [path.name for path in temporary.iterdir()] + shared_memory(process.pid)
        if left and not early:
            tally.leftovers.append(f"{label}: {left}")
    return False


def finish(arguments, temporary, tally):
    """Let a command end; afterwards nothing of the killed ones may be left."""
    process = start(arguments, temporary)
    code = process.wait()
    if code:
        tally.unclean.append(f"resuming ended with {code}: {temporary.with_suffix('.err').read_text()[-1500:]}")


def content(path):
    """Return a hash of what a file holds: arrays of HDF5, members of a bundle, else the bytes."""
    digest = hashlib.sha256()
    if path.suffix == ".h5":
        with h5py.File(path, "r", locking=False) as file:

            def add(name, item):
                attributes = sorted((key, str(value)) for key, value in item.attrs.items())
                digest.update(f"{name} {attributes}".encode())
                if isinstance(item, h5py.Dataset):
                    values = np.asarray(item[()])
                    digest.update((values.astype(str) if values.dtype.kind == "O" else values).tobytes())

            add("/", file)
            file.visititems(add)
    elif path.suffix == ".bchisto":
        with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(path) as archive:
            archive.extractall(folder)
            for member in sorted(Path(folder).rglob("*")):
                if member.name == "manifest.json":  # its hashes are those of the members' bytes
                    facts = json.loads(member.read_text())
                    digest.update(json.dumps({**facts, "members": sorted(facts["members"])}).encode())
                elif member.is_file():
                    digest.update(f"{member.relative_to(folder)} {content(member)}".encode())
    else:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def contents(run):
    """Return name and hash of every file of a run but the records of who ran it and when."""
    return {
        str(path.relative_to(run)): content(path)
        for path in sorted(run.rglob("*"))
        if path.is_file() and not path.name.endswith("run.json") and "records" not in path.parts
    }


def compare(run, wanted, tally, label):
    tally.resumed += 1
    files = contents(run)
    other = sorted(name for name in wanted.keys() | files.keys() if wanted.get(name) != files.get(name))
    if other:
        tally.unequal.append(f"{label}: {other}")


def campaign(stage, base, images, work, *, kills, seed=0, ways=WAYS, moments=(0, 1.1), say=lambda text: None):
    """Kill one stage `kills` times.

    Parameters
    ----------
    stage : str
    base : Path
        A run folder in which the stages before it are done.
    images : Path
    work : Path
        An empty folder.
    kills, seed : int
    ways : sequence of (signal, str)
        Which signals, to whom, in turn.
    moments : (float, float)
        Bounds of when, in times of a whole run.
    say : callable
        Gets a line for each finished run.

    Returns
    -------
    Tally
    """
    chance = random.Random(seed)
    tally = Tally()
    temporary, run = work / "tmp", work / "run"
    arguments = commands(images, run)[stage]
    shutil.copytree(base, run)
    began = time.monotonic()
    finish(arguments, temporary, tally)
    whole = time.monotonic() - began
    wanted = contents(run)
    shutil.rmtree(run)
    shutil.copytree(base, run)
    ways = itertools.cycle(ways)
    since, faults = 0, []
    while tally.kills < kills:
        number, whom = next(ways)
        label = f"{stage}, kill {tally.kills + 1}, {number.name} to the {whom}"
        after = whole * chance.uniform(*moments)
        done = kill_once(arguments, temporary, after=after, number=number, whom=whom, tally=tally, label=label)
        since += not done
        if done or since == 4 or tally.kills == kills:  # a few kills on top of each other, then the end
            if not done:
                finish(arguments, temporary, tally)
            left = [path.name for path in temporary.iterdir()]
            if left:
                tally.leftovers.append(f"{label}: {left} after a whole run")
            compare(run, wanted, tally, label)
            say(f"{stage}: {tally.kills} kills, {tally.resumed} runs to their end, {len(tally.faults())} faults")
            for fault in tally.faults():
                if fault not in faults:
                    say(fault)
            faults = tally.faults()
            since = 0
            shutil.rmtree(run)
            shutil.copytree(base, run)
    return tally


def draw(folder, *, per_class=6, size=(160, 120)):
    """Write textured H&E-like images, a folder per class."""
    sys.path[:0] = [str(PLUGINS), str(PLUGINS.parent)]
    from conftest import write_tissue

    return write_tissue(folder, per_class=per_class, size=size)


def prepare(images, work, stages):
    """Run the stages one after the other; return the run folder in which each of `stages` begins."""
    bases = {}
    run = work / "whole"
    run.mkdir(parents=True)
    for stage in STAGES:
        base = work / f"before-{stage}"
        shutil.copytree(run, base)
        bases[stage] = base
        if not set(STAGES[STAGES.index(stage) + 1 :]) & set(stages):
            break
        if stage == "finetune":  # predict needs the ensemble alone
            continue
        tally = Tally()
        finish(commands(images, run)[stage], work / "tmp", tally)
        assert not tally.faults(), tally.faults()
    return bases


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    tallies = {}
    with tempfile.TemporaryDirectory(prefix="crash-") as folder:
        work = Path(folder)
        images = draw(work / "images")
        bases = prepare(images, work / "bases", options.stages)
        for stage in options.stages:
            (work / stage).mkdir()
            tallies[stage] = campaign(
                stage, bases[stage], images, work / stage, kills=options.kills, seed=options.seed,
                say=lambda text: print(text, file=sys.stderr, flush=True),
            )  # fmt: skip
    print("| stage | kills | runs resumed to their end | unequal | slowest end, s | lived on | unclean | leftovers |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for stage, tally in tallies.items():
        print(
            f"| {stage} | {tally.kills} | {tally.resumed} | {len(tally.unequal)} | {tally.slowest:.1f} | "
            f"{len(tally.lived_on)} | {len(tally.unclean)} | {len(tally.leftovers)} |"
        )
    faults = [fault for tally in tallies.values() for fault in tally.faults()]
    print("\n".join(faults))
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
