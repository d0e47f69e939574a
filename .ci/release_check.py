"""Run the fast tests on each Python that is supported, and with the oldest packages that are allowed.

Each runs in an environment of its own below ``.venv``, with the newest packages that pip finds. Arguments choose some:
``release_check.py 3.12 lowest``. Prints a line for each, as docs/reliability.md has them; exits with 1 if a test
failed, and with 2 if a Python is missing.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from lowest import lowest

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ("3.11", "3.12", "3.13")
EXTRAS = "test,dask,jax"
FAST = ("tests", "-m", "not slow and not hostile", "-q")
PARALLEL = ("-n", "auto", "--dist", "worksteal", "--max-worker-restart", "0")
# Old packages announce the end of what they use of each other.
OLD = ("-W", "ignore::DeprecationWarning", "-W", "ignore::PendingDeprecationWarning")


def find(version: str) -> str | None:
    """Return the interpreter of a version, of PATH or of pyenv, whose shims may be of versions that are not there."""
    home = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    for python in filter(
        None,
        (shutil.which(f"python{version}"), *(home / "versions").glob(f"{version}.*/bin/python")),
    ):
        if subprocess.run([python, "--version"], capture_output=True, check=False).returncode == 0:
            return str(python)
    return None


def check(name: str, python: str, *, constraints: Path | None = None) -> bool:
    """Make the environment ``.venv/NAME``, run the fast tests in it, print the line; return whether all passed."""
    folder = ROOT / ".venv" / name
    own = folder / "bin" / "python"
    log = folder.with_name(f"{name}.log")  # a suffix would be that of 3.12
    subprocess.run([python, "-m", "venv", "--clear", folder], check=True)
    bounds = [] if constraints is None else ["-c", str(constraints)]
    subprocess.run(
        [own, "-m", "pip", "install", "--quiet", *bounds, "-e", f"{ROOT}[{EXTRAS}]"], check=True
    )
    started = time.monotonic()
    with log.open("w") as handle:
        line = [own, "-m", "pytest", *FAST, *PARALLEL, *(OLD if constraints else ())]
        code = subprocess.run(line, cwd=ROOT, stdout=handle, stderr=handle, check=False).returncode
    seconds = time.monotonic() - started
    text = log.read_text()
    ending = text.splitlines()[-1].strip("= ") if text.strip() else "no output"
    counts = re.match(r"(\d+ \w+(?:, )?)+", ending)
    version = subprocess.run(
        [own, "--version"], capture_output=True, text=True, check=True
    ).stdout.strip()
    with_ = "the newest packages" if constraints is None else "the oldest packages"
    sys.stdout.write(
        f"{version}, {with_}: {counts[0] if counts else ending} ({seconds / 60:.0f} min; {log})\n"
    )
    sys.stdout.flush()
    return code == 0


def main() -> int:
    """Return the exit status."""
    chosen = sys.argv[1:] or [*PYTHONS, "lowest"]
    if unknown := set(chosen) - {*PYTHONS, "lowest"}:
        sys.stderr.write(
            f"release-check: {', '.join(sorted(unknown))}: choose of {', '.join(PYTHONS)} and lowest\n"
        )
        return 2
    pythons = {
        version: find(version)
        for version in (PYTHONS[0] if name == "lowest" else name for name in chosen)
    }
    if missing := [version for version, python in pythons.items() if python is None]:
        sys.stderr.write(
            f"release-check: missing Python {', '.join(missing)}; install it, on PATH or by pyenv\n"
        )
        return 2
    (ROOT / ".venv").mkdir(exist_ok=True)
    oldest = ROOT / ".venv" / "lowest.txt"
    oldest.write_text("".join(f"{line}\n" for line in lowest()))
    passed = [
        check(f"release-{name}", pythons[PYTHONS[0]], constraints=oldest)
        if name == "lowest"
        else check(f"release-{name}", pythons[name])
        for name in chosen
    ]
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
