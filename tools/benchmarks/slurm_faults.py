"""A chain on a real Slurm whose tasks meet late renames and a limit of memory, against one process: equal results.

The parts of the first shard appear five seconds after their rename, which may be after the shard has ended. The first
process of the second is in a control group (version 1) of 60 MB, where the kernel kills it. The merge submits again
what is missing.

Run: python tools/benchmarks/slurm_faults.py   (as root; minutes; `.ci/slurm.sh` starts a Slurm of one node)
"""

import os
import sys
import tempfile
from pathlib import Path

from slurm_chain import BCHISTO, assert_equal, call, chain, draw, wait

FAULTS = """\
import os, subprocess, sys
task, group = os.environ.get("SLURM_ARRAY_TASK_ID"), "/sys/fs/cgroup/memory/bchisto-faults"
_replace = os.replace

def late(source, target, **options):
    if ".parts/" not in str(target) or not str(target).endswith(".npz"):
        return _replace(source, target, **options)
    _replace(source, f"{source}.late")
    words = ["sh", "-c", 'sleep 5; mv -- "$1" "$2"', "-", f"{source}.late", str(target)]
    subprocess.Popen(words, start_new_session=True)

if task == "1":
    os.replace = late
if task == "2" and "--shard" in sys.orig_argv and not os.path.isdir(group):
    os.mkdir(group)
    for name, value in (("memory.limit_in_bytes", "60M"), ("cgroup.procs", str(os.getpid()))):
        with open(f"{group}/{name}", "w") as file:
            file.write(value)
"""


def main():
    """Run both, and compare."""
    work = Path(tempfile.mkdtemp())
    images, run, alone = work / "images", work / "run", work / "alone"
    draw(images)
    local = ("submit", "--scheduler", "local", "--tasks", 1, "--", *chain(images, alone))
    code, text = call(*BCHISTO, *local)
    if code:
        raise SystemExit(text)
    (work / "sitecustomize.py").write_text(FAULTS)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(work), os.environ["PYTHONPATH"]])
    code, text = call(*BCHISTO, "submit", "--tasks", 2, "--", *chain(images, run))
    if code:
        raise SystemExit(text)
    try:
        wait(lambda: call(*BCHISTO, "status", run)[0] in (0, 1), "the chain has ended")
    finally:
        call(*BCHISTO, "submit", "--cancel", run)
        killed = (
            Path("/sys/fs/cgroup/memory/bchisto-faults/memory.oom_control").read_text().split()[-1]
        )
        Path("/sys/fs/cgroup/memory/bchisto-faults").rmdir()
    logs = "".join(
        f"== {path.name}\n{path.read_text()}" for path in sorted(run.glob("jobs/*/logs/1-*.log"))
    )
    sys.stdout.write(f"{logs}killed for memory: {killed}\n")
    assert_equal(run, alone)
    sys.stdout.write(f"equal to one process; {work}\n")


if __name__ == "__main__":
    main()
