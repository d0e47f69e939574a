"""The container files take the steps that were tried, and these find their files. An image needs a base image."""

import fnmatch
import re

import pytest
from conftest import REPOSITORY, needs_repository
from documented import pyproject, text_of

CONTAINERS = REPOSITORY / "tools" / "containers"
STEPS = "tools/containers/install.sh"

pytestmark = needs_repository


@pytest.mark.parametrize("name", ["Dockerfile", "apptainer.def"])
def test_both_begin_alike_and_take_the_same_step(name):
    text = (CONTAINERS / name).read_text()
    assert re.search(r"^(FROM|From:) debian:bookworm-slim$", text, re.MULTILINE)
    assert f"sh /tmp/source/{STEPS}" in text


def test_the_program_does_not_run_as_root():
    lines = (CONTAINERS / "Dockerfile").read_text().splitlines()
    assert lines.index("USER bchisto") > next(
        place for place, line in enumerate(lines) if "useradd" in line
    )


def test_what_is_installed_is_locked():
    project = pyproject()["project"]
    assert 'project["dependencies"], "setuptools"' in text_of(STEPS)
    needs = [*project["dependencies"], "setuptools"]
    lock = text_of("tools/requirements.lock")
    locked = set(re.findall(r"^(\S+)==", lock, re.MULTILINE))
    assert {re.match(r"[\w-]+", need)[0].lower() for need in needs} <= locked


def test_what_is_left_out_of_the_image_is_not_needed():
    left_out = (CONTAINERS / "Dockerfile.dockerignore").read_text().split()
    project = pyproject()
    packages = project["tool"]["setuptools"]["packages"]
    folders = {package.split(".")[1] for package in packages if "." in package}
    files = ["pyproject.toml", "tools/requirements.lock", "README.md", "LICENSE", "NOTICE", STEPS]
    for name in (*folders, *files):
        assert (REPOSITORY / name).exists()
        assert not [pattern for pattern in left_out if fnmatch.fnmatch(name, pattern)]
