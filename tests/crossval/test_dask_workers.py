"""Dask workers unlike the process that sends them work: in another folder, of another version, without the files."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import bchisto
import pytest
from conftest import typed
from written_tables import read_json

pytestmark = pytest.mark.slow

BOOST = typed("--folds 2 --seeds 1 --param num_iterations=2 --param min_data_in_leaf=2")


@contextlib.contextmanager
def worker_of(cluster, *, workers=1, wrap=lambda *command: command, **options):
    """Start a worker as one does on another machine, and wait for it."""
    import distributed

    words = typed(
        "-m distributed.cli.dask_worker {} --nthreads 1 --no-nanny", cluster.scheduler_address
    )
    command = wrap(sys.executable, *words, "--no-dashboard")
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options
    ) as process:
        try:
            with distributed.Client(cluster.scheduler_address) as client:
                client.wait_for_workers(workers, timeout=60)
            yield process
        finally:
            process.kill()


@pytest.fixture(scope="module")
def cluster(dask):
    import distributed

    with distributed.LocalCluster(n_workers=0, dashboard_address=None) as cluster:
        yield cluster


def test_relative_paths_mean_the_same_to_a_worker_elsewhere(
    cluster, described, run_copy, tmp_path, start
):
    run = run_copy(described)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with worker_of(cluster, cwd=elsewhere):
        command = start(
            "boost", "--out", run.name, *BOOST, "--dask", cluster.scheduler_address, cwd=run.parent
        )
        out, err = command.communicate(timeout=120)
    assert command.returncode == 0, out + err
    assert (run / "boost" / "2-lightgbm" / "model.bchisto").is_file()
    assert list(elsewhere.glob("*.*")) == []


def test_a_worker_of_another_version_is_named_and_recorded(
    cluster, described, run_copy, tmp_path, completed
):
    run, ours = run_copy(described), Path(bchisto.__file__).parent
    other = tmp_path / "other" / "bchisto"
    other.mkdir(parents=True)
    for path in ours.iterdir():
        if path.name != "__init__.py":
            (other / path.name).symlink_to(path)
    text = (ours / "__init__.py").read_text()
    (other / "__init__.py").write_text(re.sub(r'__version__ = ".*"', '__version__ = "9.9.9"', text))
    path = os.pathsep.join([str(other.parent), os.environ.get("PYTHONPATH", "")])
    with worker_of(cluster, env={**os.environ, "PYTHONPATH": path}, cwd=tmp_path):
        _, err = completed("boost --out {}", run, *BOOST, "--dask", cluster.scheduler_address)
    assert re.search(
        rf"warning: --dask \S+ worker \S+ runs bchisto 9\.9\.9, and this is bchisto {bchisto.__version__}",
        err,
    ), err
    (made_with,) = read_json(run / "boost" / "2-lightgbm" / "settings.json")["made_with"]
    assert made_with["bchisto"] == "9.9.9"


def test_a_worker_that_does_not_see_the_run_is_named(
    cluster, described, run_copy, tmp_path, refused, on_small_disk
):
    run = run_copy(described)

    def hidden(*command):
        return on_small_disk(run, "1m", *command)

    with worker_of(cluster, wrap=hidden, cwd="/"):
        err = refused("boost --out {}", run, *BOOST, "--dask", cluster.scheduler_address)
    assert re.search(
        rf"error: --dask \S+ worker \S+ does not see {run}/boost/2-lightgbm; all workers", err
    ), err


def test_a_worker_that_lacks_a_package_is_named(cluster, described, run_copy, tmp_path, refused):
    run = run_copy(described)
    (tmp_path / "sitecustomize.py").write_text(
        "from importlib import metadata\n"
        "version = metadata.version\n"
        "def without(name):\n"
        "    if name == 'lightgbm':\n"
        "        raise metadata.PackageNotFoundError(name)\n"
        "    return version(name)\n"
        "metadata.version = without\n"
    )
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    with worker_of(cluster, env={**os.environ, "PYTHONPATH": path}):
        err = refused("boost --out {}", run, *BOOST, "--dask", cluster.scheduler_address)
    assert list(run.rglob("boost/*/models/*")) == [], err
    assert re.search(
        r"error: --dask \S+ worker \S+ has no lightgbm, which this work needs; install", err
    ), err


def test_one_of_two_workers_is_killed_in_the_middle(
    cluster, described, run_copy, tissue, tmp_path, completed, start
):
    alone, run = tmp_path / "alone", run_copy(described)
    shutil.copytree(run, alone)
    options = typed("--folds 3 --seeds 6 --head lightgbm --head svm --param min_data_in_leaf=2")
    completed("boost --out {}", alone, *options, "--jobs", 1)
    address = cluster.scheduler_address
    with worker_of(cluster) as first, worker_of(cluster, workers=2):
        command = start("boost", "--out", run, *options, "--dask", address)
        deadline = time.monotonic() + 120
        while not list(run.rglob("boost/*/models/*")):
            assert command.poll() is None, command.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        first.kill()
        out, err = command.communicate(timeout=300)
        assert command.returncode == 0, out + err
        model = run / "boost" / "3-lightgbm" / "model.bchisto"
        assert model.read_bytes() == (alone / "boost" / "3-lightgbm" / "model.bchisto").read_bytes()
        predicting = typed("predict {} --images {} --weights random --out", model, tissue)
        completed(*predicting, tmp_path / "p.csv", "--dask", address)
        completed(*predicting, tmp_path / "q.csv", "--jobs", 1)
        explaining = typed(
            "explain {} --images {} --weights random --out", model, tissue / "benign"
        )
        completed(*explaining, tmp_path / "p", "--dask", address)
        completed(*explaining, tmp_path / "q")
    assert (tmp_path / "p.csv").read_bytes() == (tmp_path / "q.csv").read_bytes()
    arrays = sorted((tmp_path / "q" / "map" / "arrays").iterdir())
    assert len(arrays) == 6
    for path in (*arrays, tmp_path / "q" / "map" / "explain.csv"):
        assert path.read_bytes() == (tmp_path / "p" / path.relative_to(tmp_path / "q")).read_bytes()
