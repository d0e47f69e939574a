"""Stages of `bchisto submit` beside the chain of features, models and evaluation, by processes of this machine."""

import json
import os
import shutil
import signal
from importlib.resources import files

import numpy as np
import psutil
import pytest
import yaml
from conftest import typed
from job_chain import FEATURES, chain, wait
from miniatures import write_bach
from PIL import Image
from written_tables import read_json

LOCAL = typed("submit --scheduler local --tasks 2")


@pytest.mark.slow
def test_what_one_job_does_is_checked_and_submitted_again_after_growth(
    refused, cli, tissue, boosted_model, tmp_path
):
    images = shutil.copytree(tissue, tmp_path / "images")
    predicting = typed("predict {} --images {} --out {}", boosted_model, images, tmp_path / "p.csv")
    err = refused(*LOCAL, "--", *predicting, "--threshold", "2")
    assert "error: predict: --threshold 2" in err, err
    scores = typed("evaluate {} --out {} --bootstrap 20", tmp_path / "p.csv", tmp_path / "scores")
    explaining = typed(
        "explain {} --images {} --out {}", boosted_model, images / "malignant", tmp_path / "maps"
    )
    words = (*LOCAL, "--", *predicting, "then", *scores, "then", *explaining)
    for rows in (12, 11):
        code, out, err = cli(*words)
        assert (code, out) == (0, "predict: one job\nevaluate: one job\nexplain: one job\n"), err
        if rows == 12:
            assert cli(*words)[:2] == (4, "nothing is missing\n")
        tables = [
            path.read_text()
            for path in (tmp_path / "p.csv", tmp_path / "maps" / "map" / "explain.csv")
        ]
        assert [len(table.splitlines()) for table in tables] == [rows + 1, rows - 5]
        assert read_json(tmp_path / "scores" / "metrics.json")["tables"]["p"]["n"] == rows
        (images / "malignant" / "malignant00.png").unlink(missing_ok=True)
    assert cli("status", tmp_path)[1].endswith("predict: done\nevaluate: done\nexplain: done\n")


@pytest.mark.slow
def test_a_chain_goes_on_after_growth(cli, completed, tissue, tmp_path):
    images, run = shutil.copytree(tissue, tmp_path / "images"), tmp_path / "run"
    words = (*LOCAL, "--", *chain(images, run, network=False))
    completed(*words)
    first = (run / "evaluation" / "metrics.json").read_bytes()
    pixels = np.asarray(Image.open(images / "benign" / "benign03.png"))
    Image.fromarray(pixels[::-1].copy()).save(images / "benign" / "other.png")
    out, err = completed(*words)
    assert "featurize: 1 task of 2 and a merge; " in out, err
    assert (run / "evaluation" / "metrics.json").read_bytes() != first
    # options that only change outputs, and outputs that are lacking
    lacking = [run / "boost" / "3-lightgbm" / "model.bchisto", run / "evaluation" / "report.html"]
    for path in lacking:
        path.unlink()
    at = words.index("--folds")
    given = (*words[:at], "--sensitivity", "0.9", *words[at:])
    out, err = completed(*given)
    assert out.startswith("boost: one job; 0 of 6 models left\n"), err
    assert all(path.is_file() for path in lacking)
    assert cli(*given)[:2] == (4, "nothing is missing\n")
    (images / "benign" / "other.png").unlink()
    # a round that fails after one that was done
    assert cli(LOCAL[0], "--before", "exit 3", *words[1:])[0] == 1
    assert "(no job is left that does it)" in cli("status", run)[1]
    assert cli(*words)[0] == 0
    again = (run / "evaluation" / "metrics.json").read_bytes()
    assert json.loads(again)["tables"] == json.loads(first)["tables"]


@pytest.mark.slow
def test_what_a_kill_leaves_of_a_local_submit(cli, start, tissue, tmp_path):
    run = tmp_path / "run"
    words = typed("-- featurize --images {} --out {}", tissue, run)
    words = (*LOCAL, *words, *FEATURES, "--augmentations", 300)

    def begin():
        known = set(run.glob("records/*-featurize-*.json"))
        process = start(*words)
        wait(lambda: len(set(run.glob("records/*-featurize-*.json")) - known) >= 2, process=process)
        return process

    process = begin()
    left = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate()
    wait(lambda: not any(child.is_running() for child in left), 30)
    process = begin()
    record = next(
        path for path in run.glob("records/*-featurize-*.json") if '"running"' in path.read_text()
    )
    os.kill(read_json(record)["process"]["pid"], signal.SIGKILL)
    ended = process.communicate(timeout=120)
    assert process.returncode == 0, ended
    logs = "".join(path.read_text() for path in run.glob("jobs/*/logs/1-featurize-?.log"))
    assert (
        "error: ended by SIGKILL; often for lack of memory: ask for more, bchisto submit --sbatch mem-per-cpu=4G\n"
        in logs
    )


@pytest.mark.slow
def test_a_published_system_is_divided_at_each_of_its_steps(cli, completed, tmp_path):
    content = yaml.safe_load((files("bchisto.apps.recipes") / "rakhlin2018.yaml").read_text())
    content |= {"name": "small", "full_scale": {"source": "x", "views": ["0.5:32"]}}
    content["featurize"]["encoders"]["value"] = ["tiny"]
    content["featurize"]["views"]["value"] = ["1.0:48"]
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    images = write_bach(tmp_path, height=66, width=88)
    words = typed("reproduce T/small.yaml --images {} --weights random --quick --out", images)
    completed(*words, tmp_path / "alone", "--jobs", 1)
    out, err = completed(*LOCAL, "--", *words, tmp_path / "run", "--jobs", 1)
    assert "reproduce: 2 tasks of 2 and a merge\n" in out, err
    code, out, _ = cli("status T/run")
    assert (code, out.splitlines()[0]) == (0, f"{tmp_path / 'run'}: done")
    logs = [path.read_text() for path in tmp_path.glob("run/jobs/*/logs/1-reproduce-?.log")]
    assert all("small: published: boost" in log for log in logs)
    compared = [
        path
        for pattern in ("reproduce/small/*.csv", "boost/*/predictions.csv", "boost/*/model.bchisto")
        for path in tmp_path.glob(f"alone/{pattern}")
    ]
    assert len(compared) > 3
    for path in compared:
        same = tmp_path / "run" / path.relative_to(tmp_path / "alone")
        assert path.read_bytes() == same.read_bytes(), path
    assert cli(*LOCAL, "--", *words, tmp_path / "run", "--jobs", 1)[:2] == (
        4,
        "nothing is missing\n",
    )
