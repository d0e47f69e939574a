"""A chain of eight shards on a real Slurm, of which several fail, against one process: every result must be equal.

Features, boosted models, networks and an evaluation. Two tasks are killed, one is told to stop as at its time limit (it
waits two minutes in the queue, as Slurm has it), and the node is drained and resumed while tasks wait.

Run: python tools/benchmarks/slurm_chain.py [--work DIR]   (10 minutes and more; `.ci/slurm.sh` starts a Slurm)
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

PLUGINS = Path(__file__).resolve().parents[2] / "tests" / "plugins"
sys.path.insert(0, str(PLUGINS))
os.environ["PYTHONPATH"] = os.pathsep.join(
    filter(None, [str(PLUGINS), os.environ.get("PYTHONPATH", "")])
)
os.environ |= {"BCHISTO_THREADS": "1", "OMP_NUM_THREADS": "1"}

from job_chain import assert_equal, chain  # noqa: E402

BCHISTO = [sys.executable, "-m", "bchisto"]
SHARDS = 8
PATIENCE = 3600


def call(*words):
    """Run a command; return its exit code and what it printed."""
    ended = subprocess.run([*map(str, words)], capture_output=True, text=True, check=False)
    return ended.returncode, ended.stdout + ended.stderr


def wait(reached, what):
    """Wait until something is reached."""
    deadline = time.monotonic() + PATIENCE
    while not reached():
        if time.monotonic() > deadline:
            raise SystemExit(f"not reached: {what}\n{call('squeue')[1]}")
        time.sleep(0.2)
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {what}\n")
    sys.stdout.flush()


def draw(images):
    """Draw 96 images of two classes."""
    rng = np.random.default_rng(0)
    for position, name in enumerate(("benign", "malignant")):
        (images / name).mkdir(parents=True)
        for number in range(48):
            pixels = rng.integers(60 + 60 * position, 250, (96, 96, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(images / name / f"{name}{number:02d}.png")


def alone(images, run):
    """Do the chain in one process after another."""
    words = [str(word) for word in chain(images, run)]
    while words:
        end = words.index("then") if "then" in words else len(words)
        jobs = [] if words[0] == "evaluate" else ["--jobs", "1"]
        subprocess.run([*BCHISTO, *words[:end], *jobs], check=True, capture_output=True)
        words = words[end + 1 :]


def main():
    """Run both, and compare."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--work", type=Path)
    work = parser.parse_args().work or Path(tempfile.mkdtemp())
    images, run, one = work / "images", work / "run", work / "alone"
    draw(images)
    started = time.monotonic()
    alone(images, one)
    sys.stdout.write(f"one process: {time.monotonic() - started:.0f} s\n")
    started = time.monotonic()
    code, text = call(*BCHISTO, "submit", "--tasks", SHARDS, "--", *map(str, chain(images, run)))
    if code:
        raise SystemExit(text)
    sys.stdout.write(text)
    array = (
        next(line for line in text.splitlines() if line.startswith("jobs: ")).split()[1].strip(",")
    )
    node = call("sinfo", "-h", "-o", "%N")[1].strip()

    def begun(shard):
        records = run.glob("records/*-featurize-*.json")
        return any(f'"shard": "{shard}/{SHARDS}"' in path.read_text() for path in records)

    try:
        for shard, way in ((1, ()), (2, ("--batch", "--signal=USR1")), (3, ())):
            wait(lambda shard=shard: begun(shard), f"shard {shard} has begun")
            # it waits for the controller, up to two minutes
            subprocess.Popen(["scancel", *way, f"{array}_{shard}"])
        call("scontrol", "update", f"node={node}", "state=drain", "reason=test")
        wait(lambda: not call("squeue", "-h", "-t", "RUNNING")[1].strip(), "the node is drained")
        wait(
            lambda: ": queued (" in call(*BCHISTO, "status", run)[1], "status tells why tasks wait"
        )
        sys.stdout.write(call(*BCHISTO, "status", run)[1])
        call("scontrol", "update", f"node={node}", "state=resume")
        wait(lambda: call(*BCHISTO, "status", run)[0] in (0, 1), "the chain has ended")
    finally:
        call("scontrol", "update", f"node={node}", "state=resume")
        call(*BCHISTO, "submit", "--cancel", run)
    code, text = call(*BCHISTO, "status", run)
    again = [
        line
        for path in run.glob("jobs/*/logs/*-merge.log")
        for line in path.read_text().splitlines()
        if "lack units" in line
    ]
    sys.stdout.write("\n".join([text, *again, ""]))
    assert_equal(run, one)
    sys.stdout.write(f"equal to one process after {time.monotonic() - started:.0f} s; {work}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
