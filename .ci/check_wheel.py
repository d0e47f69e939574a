"""Check a built wheel: every room and data file is in it, tests are not, and its command answers quickly."""

import subprocess
import sys
import time
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
HELP_SECONDS = 0.3


def main(wheel: str) -> None:
    """Raise SystemExit with what is wrong."""
    names = set(zipfile.ZipFile(wheel).namelist())
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"][
        "packages"
    ]
    wanted = {f"{package.replace('.', '/')}/__init__.py" for package in packages}
    wanted |= {
        "bchisto/py.typed",
        "bchisto/data/folds/published/rakhlin10.csv",
        "bchisto/data/samples/idc/training/images.csv",
        "bchisto/evaluate/report/templates/page.html",
        "bchisto/evaluate/report/templates/terminal.txt",
    }
    # the weights and the patches of the demo
    binary = [*ROOT.glob("encoders/published/*.npz"), *ROOT.glob("data/samples/**/*.png")]
    wanted |= {f"bchisto/{path.relative_to(ROOT)}" for path in binary}
    missing = sorted(wanted - names)
    stray = sorted(
        name
        for name in names
        if name.startswith(("bchisto/tests", "bchisto/docs", "bchisto/tools", "tests"))
    )
    if missing or stray:
        sys.exit(f"wheel: missing {missing}, stray {stray}")
    command = ROOT / ".venv" / "wheel" / "bin" / "python"
    if not command.exists():
        sys.exit("wheel: install it into .venv/wheel first")
    # The environment sees no dependencies but those of the base interpreter, so only click is borrowed.
    borrowed = next((ROOT / ".venv" / "lib").glob("python*/site-packages"))
    script = f"import sys; sys.path.append({str(borrowed)!r}); from bchisto.cli import main; main(['--help'])"
    times = []
    for _ in range(5):
        started = time.perf_counter()
        done = subprocess.run(
            [command, "-c", script], capture_output=True, text=True, check=False, cwd="/"
        )
        times.append(time.perf_counter() - started)
        if done.returncode or "Usage: bchisto" not in done.stdout:
            sys.exit(f"wheel: bchisto --help fails\n{done.stderr}")
    if min(times) > HELP_SECONDS:
        sys.exit(f"wheel: bchisto --help takes {min(times):.2f} s, more than {HELP_SECONDS}")
    sys.stdout.write(f"wheel: {len(names)} files, bchisto --help in {min(times):.2f} s\n")


if __name__ == "__main__":
    main(sys.argv[1])
