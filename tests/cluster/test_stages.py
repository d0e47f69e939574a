"""Stages of `bchisto submit` beside the chain of features, models and evaluation, by processes of this machine."""

import shutil
import signal
import time
from importlib.resources import files

import numpy as np
import pytest
import yaml
from job_chain import assert_equal, chain
from PIL import Image

LOCAL = ("submit", "--scheduler", "local", "--tasks", "2")


@pytest.mark.slow
def test_what_one_job_does_is_checked_and_submitted_again_after_growth(cli, tissue, boosted, tmp_path):
    images, run = shutil.copytree(tissue, tmp_path / "images"), tmp_path / "run"
    predicting = ("predict", boosted / "boost" / "3-lightgbm", "--images", images, "--out")
    code, out, err = cli(*LOCAL, "--", *predicting, tmp_path / "p.csv", "--threshold", "2")
    assert (code, "error: predict: --threshold 2" in err) == (2, True), err
    code, out, err = cli(*LOCAL, "--", *predicting, tmp_path / "p.csv")
    assert (code, out.startswith("predict: one job\n")) == (0, True), err
    assert len((tmp_path / "p.csv").read_text().splitlines()) == 13
    assert cli("status", tmp_path)[:2] == (0, f"{tmp_path}: done\npredict: done\n")
    words = (
        *LOCAL, "--", *chain(images, run),
        "then", "explain", boosted / "boost" / "3-lightgbm", "--images", images / "benign", "--out", run / "why",
    )  # fmt: skip
    code, _, err = cli(*words)
    assert code == 0, err
    assert (run / "why" / "map" / "index.html").is_file()
    first = (run / "evaluation" / "metrics.json").read_bytes()
    assert cli(*words)[:2] == (0, "nothing is missing\n")
    shutil.copy(images / "benign" / "benign03.png", images / "benign" / "other.png")
    pixels = np.asarray(Image.open(images / "benign" / "other.png"))
    Image.fromarray(pixels[::-1].copy()).save(images / "benign" / "other.png")
    code, out, err = cli(*words)
    assert (code, "featurize: 1 task of 2 and a merge; " in out) == (0, True), err
    assert (run / "evaluation" / "metrics.json").read_bytes() != first
    assert cli(*words)[:2] == (0, "nothing is missing\n")


@pytest.mark.slow
def test_a_local_submit_is_cancelled_and_goes_on(cli, start, tissue, alone, tmp_path):
    run = tmp_path / "run"
    process = start(*LOCAL, "--", *chain(tissue, run))
    deadline = time.monotonic() + 120
    while not list(run.glob("records/*-featurize-*.json")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    code, _, err = cli(*LOCAL, "--", *chain(tissue, run))
    assert (code, f"(process {process.pid}); wait, or use --cancel" in err) == (2, True), err
    code, out, err = cli("submit", "--cancel", run)
    assert (code, out) == (0, f"cancelled: process {process.pid}\n"), err
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    code, out, _ = cli("status", run)
    # a task that is told to stop ends its unit first, which may have been its last
    assert (code, out.splitlines()[0]) in {(1, f"{run}: interrupted"), (1, f"{run}: ready to merge")}
    assert cli(*LOCAL, "--", *chain(tissue, run))[0] == 0
    assert_equal(run, alone)
    code, out, _ = cli("submit", "--cancel", run)
    assert (code, out) == (0, "no job of this run is in the queue, and no local submit works on it\n")


@pytest.mark.slow
def test_a_published_system_is_divided_at_each_of_its_steps(cli, tmp_path):
    content = yaml.safe_load((files("bchisto.apps.recipes") / "rakhlin2018.yaml").read_text(encoding="utf-8"))
    content |= {"name": "small", "full_scale": {"source": "x", "views": ["0.5:32"]}}
    content["featurize"]["encoders"]["value"] = ["tiny"]
    content["featurize"]["views"]["value"] = ["1.0:48"]
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    images, rng = tmp_path / "ICIAR2018_BACH_Challenge", np.random.default_rng(0)
    for position, (label, prefix) in enumerate(
        [("Normal", "n"), ("Benign", "b"), ("InSitu", "is"), ("Invasive", "iv")]
    ):
        (images / "Photos" / label).mkdir(parents=True)
        for number in range(1, 101):
            pixels = rng.integers(60 + 20 * position, 250, (66, 88, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(images / "Photos" / label / f"{prefix}{number:03d}.tif")
    words = ("reproduce", tmp_path / "small.yaml", "--images", images, "--weights", "random", "--quick", "--out")
    code, _, err = cli(*words, tmp_path / "alone", "--jobs", 1)
    assert code == 0, err
    code, out, err = cli(*LOCAL, "--", *words, tmp_path / "run", "--jobs", 1)
    assert (code, "reproduce: 2 tasks of 2 and a merge\n" in out) == (0, True), err
    code, out, _ = cli("status", tmp_path / "run")
    assert (code, out.splitlines()[0]) == (0, f"{tmp_path / 'run'}: done")
    logs = [path.read_text() for path in tmp_path.glob("run/jobs/*/logs/1-reproduce-?.log")]
    assert all("small: published: boost" in log for log in logs)
    compared = [path for pattern in ("reproduce/small/*.csv", "boost/*/predictions.csv", "boost/*/model.bchisto")
                for path in tmp_path.glob(f"alone/{pattern}")]  # fmt: skip
    assert len(compared) > 3
    for path in compared:
        same = tmp_path / "run" / path.relative_to(tmp_path / "alone")
        assert path.read_bytes() == same.read_bytes(), path
    assert cli(*LOCAL, "--", *words, tmp_path / "run", "--jobs", 1)[:2] == (0, "nothing is missing\n")
