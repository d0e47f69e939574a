"""bchisto installed for real, in environments of their own: what a message advises to install can be installed."""

import os
import shlex
import shutil
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
from conftest import REPOSITORY, needs_repository, typed
from own_process import run_process

pytestmark = [
    pytest.mark.slow,
    needs_repository,
]

PRINTED = "from bchisto.core import how_to_install; print(how_to_install('excel'))"


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A copy of what the wheel is made of."""
    folder = tmp_path_factory.mktemp("a clone") / "bchisto"
    left_out = shutil.ignore_patterns(
        ".*", "tests", "docs", "tools", "build", "dist", "*.egg-info", "__pycache__"
    )
    shutil.copytree(REPOSITORY, folder, ignore=left_out)
    return folder


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """A folder in which pip finds openpyxl, and nothing else."""
    folder = tmp_path_factory.mktemp("index")
    with zipfile.ZipFile(folder / "openpyxl-9.9-py3-none-any.whl", "w") as wheel:
        about = "openpyxl-9.9.dist-info"
        wheel.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: openpyxl\nVersion: 9.9\n")
        wheel.writestr(
            f"{about}/WHEEL",
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        wheel.writestr(f"{about}/RECORD", "")
    return folder


def pip(python, words):
    """Run pip for another environment, and return what it prints."""
    line = typed(
        "{} -m pip --python {} --disable-pip-version-check", sys.executable, python, *words
    )
    return printed(line)


def printed(line):
    bare = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return run_process(*line, check=True, cwd="/", env=bare).stdout


@pytest.mark.parametrize("origin", ["editable", "wheel that is gone", "index", "never installed"])
def test_the_advised_command_installs(origin, clone, index, tmp_path):
    pytest.importorskip(
        "setuptools", minversion="77", reason="needs setuptools: pip install 'bchisto[lint]'"
    )
    venv.create(tmp_path / "env", with_pip=False)
    library = next((tmp_path / "env" / "lib").glob("python*/site-packages"))
    # pip builds with the interpreter that it installs for
    for pattern in ("setuptools*", "_distutils_hack"):
        for entry in Path(sysconfig.get_path("purelib")).glob(pattern):
            (library / entry.name).symlink_to(entry)
    python = tmp_path / "env" / "bin" / "python"
    build = typed("--no-deps --no-build-isolation --no-index")
    script = PRINTED
    if origin == "editable":
        pip(python, ["install", *build, "-e", clone])
    elif origin == "never installed":
        script = f"import sys; sys.path.insert(0, {str(clone.parent)!r}); {PRINTED}"
    else:
        pip(python, ["wheel", *build, "--wheel-dir", tmp_path / "wheels", clone])
        (wheel,) = (tmp_path / "wheels").iterdir()
        where = ["--find-links", tmp_path / "wheels", "bchisto"] if origin == "index" else [wheel]
        pip(python, ["install", *build, *where])
        shutil.rmtree(tmp_path / "wheels")
    words = shlex.split(printed([python, "-c", script]))
    assert words[:2] == ["pip", "install"]
    if origin == "never installed":
        assert words[2:] == [f"{clone}[excel]"]
        told = pip(python, ["install", *build, *words[2:]])
        assert "Successfully installed bchisto" in told
    else:
        told = pip(python, ["install", "--no-index", "--find-links", index, *words[2:]])
        assert "Successfully installed openpyxl-9.9" in told
