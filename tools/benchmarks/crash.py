"""Kill every stage at random moments, resume it, and compare the end with that of a run that was let alone.

Kills are SIGKILL and SIGTERM, of the parent alone and of its process group, in equal parts. After each: whether a
process is left after some seconds, what a SIGTERM ended with, and what lies in the folder for temporary files and in
/dev/shm.

Run: python tools/benchmarks/crash.py [--stages featurize boost finetune predict] [--kills 30] [--seed 0]
"""

import argparse
import contextlib
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PLUGINS = Path(__file__).resolve().parents[2] / "tests" / "plugins"
sys.path[:0] = [str(PLUGINS), str(PLUGINS.parent)]

from conftest import write_tissue  # noqa: E402
from engine_jobs import contents  # noqa: E402

WAYS = [
    (number, whom) for whom in ("parent", "group") for number in (signal.SIGKILL, signal.SIGTERM)
]
TINY = "--encoder tiny --weights random --view 1.0:64 --augmentations 24 --crops 12"
"""The encoder of the tests: small, so that moments fall into every part of a run, not into one network alone."""

STAGES = {
    "featurize": f"featurize --images {{images}} --out {{run}} {TINY}",
    "boost": "boost --out {run} --folds 3 --seeds 2 --param min_data_in_leaf=3 --param num_iterations=40",
    "finetune": "finetune --images {images} --out {run} --network patch-resnet --folds 3 --epochs 3 --patience 3 "
    "--size 64 --batch-size 3",
    "predict": "predict {run}/boost/3-lightgbm/model.bchisto --weights random --images {images} "
    "--out {run}/predictions.csv",
}


class Campaign:
    """Kills of one stage, and what they showed.

    Parameters
    ----------
    stage : str
    work : Path
        With the images, and `base`: a run folder in which the stages before it are done.
    patience : float
        Seconds in which every process must be gone.
    """

    def __init__(self, stage, work, patience):
        self.patience = patience
        self.stage, self.images, self.base = stage, work / "images", work / "base"
        self.run, self.temporary = work / "run", work / "tmp"
        self.kills = self.resumed = 0
        self.slowest, self.faults = 0.0, []

    def fault(self, kind, text):
        self.faults.append((kind, f"{self.stage}, kill {self.kills}: {text}"))
        print(*self.faults[-1], sep=": ", file=sys.stderr, flush=True)

    def start(self):
        """Start the command in a session of its own; its stderr goes beside its folder for temporary files."""
        self.temporary.mkdir(exist_ok=True)
        path = os.pathsep.join(filter(None, [str(PLUGINS), os.environ.get("PYTHONPATH", "")]))
        environment = {
            **os.environ,
            "PYTHONPATH": path,
            "TMPDIR": str(self.temporary),
            "OMP_NUM_THREADS": "1",
        }
        arguments = STAGES[self.stage].format(images=self.images, run=self.run).split()
        with self.temporary.with_suffix(".err").open("w") as stderr:
            return subprocess.Popen(
                [sys.executable, "-m", "bchisto", *arguments, "--jobs", "2"],
                env=environment,
                stdout=stderr,
                stderr=stderr,
                start_new_session=True,
            )

    def stderr(self):
        return self.temporary.with_suffix(".err").read_text()

    def begin_anew(self):
        shutil.rmtree(self.run, ignore_errors=True)
        shutil.copytree(self.base, self.run)

    def finish(self):
        """Let the command end; afterwards nothing of killed ones may be left. Return what the run holds."""
        if code := self.start().wait():
            self.fault("unclean", f"resuming ended with {code}: {self.stderr()[-1500:]}")
        if left := [path.name for path in self.temporary.iterdir()]:
            self.fault("leftovers", f"{left} after a whole run")
        return contents(self.run)

    def kill(self, after, number, whom):
        """Run the command and kill it after some seconds; return whether it was done before that."""
        process = self.start()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=after)
        hit = process.poll() is None
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if whom == "group" else os.kill)(process.pid, number if hit else 0)
        struck = time.monotonic()
        while living(process.pid) and time.monotonic() - struck < self.patience:
            time.sleep(0.05)
        took = time.monotonic() - struck
        if left := living(process.pid):
            self.fault("lived on", f"{len(left)} processes after {self.patience:g} s")
            os.killpg(process.pid, signal.SIGKILL)
        code, text = process.wait(), self.stderr()
        if not hit or code == 0:
            if code:
                self.fault("unclean", f"ended with {code} unkilled: {text[-500:]}")
            return True
        self.kills += 1
        self.slowest = max(self.slowest, took)
        if number == signal.SIGTERM:
            # before Python has come as far as to handle it, a signal ends the process as it ends any
            early = code == -signal.SIGTERM and not text
            # and once all is written and said, nothing is left that could be interrupted
            late = code == -signal.SIGTERM and "\nnext: " in text
            bad = [
                word
                for word in ("Traceback", "this is a bug", "leaked", "lack of memory")
                if word in text
            ]
            if (code != 143 and not early and not late) or bad:
                self.fault(
                    "unclean",
                    f"{number.name} to the {whom}: code {code}, {', '.join(bad)}: {text[-1500:]}",
                )
            shared = [path.name for path in Path("/dev/shm").glob(f"*loky-{process.pid}-*")]
            # what a run killed before this one left is removed by the next that starts its work
            own = [
                path.name for path in self.temporary.iterdir() if f"-{process.pid}-" in path.name
            ]
            if not early and (left := own + shared):
                self.fault("leftovers", f"{number.name} to the {whom}: {left}")
        return False

    def go(self, kills, seed):
        """Kill it `kills` times, a few on top of each other and then to the end, at moments of a whole run's time."""
        chance, ways = random.Random(seed), itertools.cycle(WAYS)
        self.begin_anew()
        began = time.monotonic()
        wanted = self.finish()
        whole = time.monotonic() - began
        since = 0
        while self.kills < kills:
            if since == 0:
                self.begin_anew()
            done = self.kill(whole * chance.uniform(0, 1.1), *next(ways))
            since = 0 if done else (since + 1) % 4
            if since == 0 or self.kills == kills:
                result = contents(self.run) if done else self.finish()
                self.resumed += 1
                if other := sorted(
                    name for name in wanted.keys() | result if wanted.get(name) != result.get(name)
                ):
                    self.fault("unequal", other)
                print(
                    f"{self.stage}: {self.kills} kills, {self.resumed} runs to their end",
                    file=sys.stderr,
                    flush=True,
                )

    def row(self):
        kinds = [kind for kind, _ in self.faults]
        counts = [kinds.count(kind) for kind in ("unequal", "lived on", "unclean", "leftovers")]
        return " | ".join(
            map(str, (self.stage, self.kills, self.resumed, f"{self.slowest:.1f}", *counts))
        )


def living(session):
    """Return the processes of a session, those that have ended but for the last word left out."""
    processes = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = entry.read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] not in "ZX":
                processes.append(int(entry.parent.name))
    return processes


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--patience", type=float, default=10, help="more on a machine that has other work, too"
    )
    options = parser.parse_args()
    campaigns = []
    with tempfile.TemporaryDirectory(prefix="crash-") as folder:
        work = Path(folder)
        write_tissue(work / "images", per_class=6, size=(160, 120))
        (work / "base").mkdir()
        for stage in STAGES:
            campaign = Campaign(stage, work, options.patience)
            if stage in options.stages:
                campaigns.append(campaign)
                campaign.go(options.kills, options.seed)
            # what later ones need
            if stage in ("featurize", "boost") and set(options.stages) - {
                stage,
                "featurize",
            }:
                campaign.begin_anew()
                campaign.finish()
                shutil.rmtree(work / "base")
                (work / "run").rename(work / "base")
    print(
        "| stage | kills | runs resumed to their end | slowest end, s | unequal | lived on | unclean | leftovers |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for campaign in campaigns:
        print(f"| {campaign.row()} |")
    sys.exit(any(campaign.faults for campaign in campaigns))


if __name__ == "__main__":
    main()
