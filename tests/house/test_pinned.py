"""What is pinned is known by its hash, its licence is listed, and the bill of materials says the same."""

import csv
import importlib.util
import re
import runpy
import subprocess
import sys

import pytest
from conftest import REPOSITORY, needs_repository
from documented import pyproject, text_of
from written_tables import read_json

pytestmark = needs_repository


def plain(name):
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture(scope="module")
def pinned():
    lines = text_of("tools/constraints.txt").split()
    return {plain(name): version for name, version in (line.split("==") for line in lines)}


@pytest.fixture(scope="module")
def locked():
    lines = [
        line for line in text_of("tools/requirements.lock").splitlines() if not line.startswith("#")
    ]
    found = [re.fullmatch(r"(\S+)==(\S+) --hash=sha256:([0-9a-f]{64})", line) for line in lines]
    assert all(found)
    return {one[1]: (one[2], one[3]) for one in found}


@pytest.fixture(scope="module")
def licences():
    lines = text_of("tools/licences.csv").splitlines()
    return {plain(name): rest for name, *rest in list(csv.reader(lines))[1:]}


def test_every_pinned_package_is_locked_with_its_hash(pinned, locked):
    assert {name: version for name, (version, _) in locked.items()} == pinned, "run: make lock"


def test_every_pinned_package_has_its_licence_listed(pinned, licences):
    assert {name: version for name, (version, _, _) in licences.items()} == pinned, "run: make lock"
    assert all(said for _, said, _ in licences.values())


def test_the_page_of_licences_is_current():
    lock = runpy.run_path(str(REPOSITORY / ".ci" / "lock.py"))
    rows = list(csv.reader(lock["TABLE"].read_text().splitlines()))[1:]
    assert lock["PAGE"].read_text() == lock["page"](rows), "run: make lock"


def test_nothing_that_is_needed_binds_those_who_use_it(licences):
    """What bchisto itself needs is under licences without a duty to publish; MPL is about changes to its own files."""
    own = {name: said for name, (_, said, by) in licences.items() if by == "bchisto"}
    assert len(own) > 50
    assert not {
        name: said for name, said in own.items() if re.search(r"\bA?L?GPL|General Public", said)
    }


def test_what_bchisto_needs_is_pinned(pinned):
    project = pyproject()["project"]
    extras = project["optional-dependencies"]
    installed = ("test", "docs", "lint", "dask", "jax")
    wanted = [*project["dependencies"], *(one for name in installed for one in extras[name])]
    names = {plain(re.match(r"[\w.-]+", one)[0]) for one in wanted} - {"bchisto"}
    assert names <= pinned.keys(), sorted(names - pinned.keys())


def test_the_bill_of_materials(tmp_path, locked, licences):
    if importlib.util.find_spec("cyclonedx") is None:
        pytest.skip("needs cyclonedx-python-lib: pip install 'bchisto[lint]'")
    wheel = tmp_path / "bchisto-9.9-py3-none-any.whl"
    wheel.write_bytes(b"wheel")
    subprocess.run(
        [sys.executable, REPOSITORY / ".ci" / "bill.py", wheel], check=True, capture_output=True
    )
    bill = read_json(wheel.with_suffix(".cdx.json"))
    assert (bill["bomFormat"], bill["metadata"]["component"]["version"]) == ("CycloneDX", "9.9")
    found = {one["name"]: one for one in bill["components"]}
    assert {
        name: (one["version"], one["hashes"][0]["content"]) for name, one in found.items()
    } == locked
    assert {name: one["licenses"][0]["license"]["name"] for name, one in found.items()} == {
        name: said for name, (_, said, _) in licences.items()
    }
    scopes = {name: found[name]["scope"] for name in ("numpy", "dask", "pytest")}
    assert scopes == {"numpy": "required", "dask": "optional", "pytest": "excluded"}
