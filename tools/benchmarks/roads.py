r"""The two roads on the same folds: an encoder fine-tuned, and boosted on its descriptors; intervals and time.

    python tools/benchmarks/roads.py --images BreaKHis_v1 --weights mobilenetv2.weights.h5 --mode dense
    python tools/benchmarks/roads.py --images IDC_regular_ps50_idx5 --weights mobilenetv2.weights.h5 --size 64 \
        --view 1.0:48 \
        --epochs 8 --patience 3 --batch-size 32 --crops 1 --pad reflect

Both start from the same weights and keep patients or slides whole. CPU seconds are those of all processes of a command.
Options that are none of these are options of `bchisto featurize`.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path


def timed(*arguments: str) -> tuple[float, str]:
    """Run a command of bchisto; return its CPU seconds and what it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-m", "bchisto", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"bchisto {' '.join(arguments)}: exit {done.returncode}\n{done.stderr[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


def main() -> None:
    """Print the table of `docs/results.md`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", required=True)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--network", default="mobilenetv2")
    parser.add_argument("--size", default="224", help="side of the input when fine-tuned")
    parser.add_argument("--view", default="1.0:448", help="of the descriptors")
    parser.add_argument("--folds", default="5")
    parser.add_argument("--epochs", default="15")
    parser.add_argument("--patience", default="4")
    parser.add_argument("--batch-size", default="16")
    parser.add_argument("--augmentations", default="4")
    parser.add_argument("--jobs", default="1")
    parser.add_argument("--out", help="keep the run there, and go on with it")
    given, further = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as temporary:
        run = Path(given.out or temporary) / "run"
        shared = ["--images", given.images, "--jobs", given.jobs]
        network = ["--weights", given.weights, "--out", str(run)]
        described, _ = timed(
            "featurize", *shared, *network, "--encoder", given.network, "--view", given.view,
            "--augmentations", given.augmentations, *further,
        )  # fmt: skip
        boosted, _ = timed(
            "boost", "--out", str(run), "--folds", given.folds, "--head", "lightgbm", "--head", "logistic", "--preset",
            "quick", "--jobs", given.jobs,
        )  # fmt: skip
        tuned, _ = timed(
            "finetune", *shared, *network, "--network", given.network, "--size", given.size, "--folds", given.folds,
            "--epochs", given.epochs, "--patience", given.patience, "--batch-size", given.batch_size,
            "--class-weights",
        )  # fmt: skip
        _, output = timed("evaluate", str(run), "--out", str(run.parent / "comparison"))
    print(f"CPU seconds: described {described:.0f}, both heads {boosted:.0f}, fine-tuned {tuned:.0f}")
    print(output)


if __name__ == "__main__":
    main()
