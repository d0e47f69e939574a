"""`bchisto submit`: chains of jobs end as one process does, on this machine and on a real Slurm."""

import re
import shutil
import subprocess
import time

import pytest
from job_chain import BOOST, FEATURES, assert_equal, chain


def test_two_processes_end_as_one_does(cli, tissue, alone, tmp_path):
    run = tmp_path / "Läufe von 'gestern' 100 %" / "ein Lauf"
    words = ("submit", "--scheduler", "local", "--tasks", "2", "--", *chain(tissue, run))
    code, out, err = cli(*words)
    assert code == 0, err
    assert re.sub(r"[0-9]:[0-9]{2}:[0-9]{2}", "H:MM:SS", out).splitlines()[:3] == [
        "featurize: 2 tasks of 2 and a merge; 2 blocks; about H:MM:SS in one process, H:MM:SS side by side",
        "boost: 2 tasks of 2 and a merge; 6 units; about H:MM:SS in one process, H:MM:SS side by side",
        "evaluate: one job; time not known before the first part",
    ]
    logs = {path.name: path.read_text() for path in run.glob("jobs/*/logs/*.log")}
    assert {
        f"{stage}-{task}.log" for stage in ("1-featurize", "2-boost") for task in ("1", "2", "merge")
    } <= logs.keys()
    assert "shard 2/2 has 1 of 2 blocks" in logs["1-featurize-2.log"]
    assert_equal(run, alone)
    code, out, _ = cli("status", run)
    assert (code, out.splitlines()[0]) == (0, f"{run}: done")
    assert cli(*words)[:2] == (0, "nothing is missing\n")
    # what is lacking later is submitted, and no more
    for path in (run / "boost").rglob("seed1-fold2-*"):
        path.unlink()
    code, out, err = cli(*words[:6], "boost", "--out", run, *BOOST, "--jobs", 1)
    assert (code, "boost: 1 task of 2 and a merge; 1 of 6 models left; about " in out) == (0, True), err
    assert_equal(run, alone)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("featurize", "--images", "IMAGES", "--out", "RUN", *FEATURES), "--time 3: between its start and its signal"),
        (("featurise", "--out", "run"), "'featurise': each stage begins with one of featurize, boost"),
        (("featurize", "--images", "IMAGES", "--out", "RUN", "--corps", "3"), "No such option ... --corps"),
        (("featurize", "--images", "IMAGES", "--out", "RUN", "then"), "'': each stage begins with"),
        (("featurize", "--images", "IMAGES", "--out", "RUN", "--shard", "1/2"), "--shard: does not go with submit"),
        (("featurize", "--images", "IMAGES", "--out", "RUN", *FEATURES[:4], "--view", "1.0:400"), "featurize: "),
        (("featurize", "--images", "IMAGES", "--out", "RUN", *FEATURES, "then", "boost", "--out", "RUN",
          "--folds", "50"), "boost: "),
        (("featurize", "--images", "IMAGES", "--out", "RUN", *FEATURES, "then", "boost", "--out", "RUN",
          "--head", "forest"), "boost: "),
        (("reproduce", "rakhlin2018", "--images", "IMAGES", "--out", "RUN"), "reproduce: "),
        (("explain", "RUN", "--images", "IMAGES", "--out", "RUN"), "explain: "),
        (("boost", "--out", "RUN"), "boost: "),
    ],
)  # fmt: skip
def test_what_every_task_would_refuse_is_refused_before_anything_is_queued(cli, tissue, tmp_path, words, named):
    run = tmp_path / "run"
    words = [{"IMAGES": tissue, "RUN": run}.get(word, word) for word in words]
    code, out, err = cli("submit", "--scheduler", "local", "--time", "3", "--", *words)
    assert (code, out) == (2, ""), err
    assert all(part in err.splitlines()[-1] for part in named.split(" ... ")), err  # click words it by its version
    assert not (run / "jobs").exists()


def test_a_dry_run_prints_scripts_that_a_shell_reads(cli, tissue, tmp_path):
    run = tmp_path / "ein Lauf"
    options = ("--tasks", 9, "--time", "1:00:00", "--sbatch", "featurize:gres=gpu:1", "--sbatch", "account=lab")
    code, out, err = cli("submit", "--dry-run", *options, "--", *chain(tissue, run))
    assert code == 0, err
    lines = out.splitlines()
    assert lines[0].startswith("featurize: 2 tasks of 2 and a merge; 2 blocks; ")  # there are no more blocks
    assert lines[1].startswith("boost: 3 tasks of 3 and a merge; 6 units; about ")
    submitted = [line for line in lines if line.startswith("sbatch ")]
    assert ["--gres=gpu:1" in line for line in submitted] == [True, True, False, False, False]
    assert all("--account=lab" in line and "--time=1:00:00" in line for line in submitted)
    assert lines[0].split(",")[0].endswith(" in one process without a GPU")
    assert "--array=1,2 " in submitted[0]
    assert "--dependency=afterok:PREVIOUS" in submitted[2]
    assert ",afterok:PREVIOUS" in submitted[3]  # a merge waits for the stage before, too: its array may be cancelled
    scripts = "\n".join(line for line in lines[3:] if not line.startswith("sbatch "))
    subprocess.run(["bash", "-n"], input=scripts, text=True, check=True)
    assert f"'{run}/jobs/" in scripts
    assert not (run / "jobs").exists()
    code, _, err = cli("submit", "--dry-run", "--sbatch", "array=1-4", "--", *chain(tissue, run))
    assert (code, "--sbatch array=1-4: bchisto sets this itself" in err) == (2, True)
    code, out, err = cli("submit", "--dry-run", "--", *chain(tissue, run))
    limited = ["--time=0:30:00" in line for line in out.splitlines() if line.startswith("sbatch ")]
    assert limited == [True, True, True, True, False]


def test_limits_follow_from_what_units_take(cli, tissue, tmp_path, monkeypatch):
    """Blocks by recorded speeds, models and epochs by a few that are timed; a limit that is too short is refused."""
    from bchisto.recipes import Estimate

    run, estimate = tmp_path / "run", Estimate("", units=6, seconds=72000.0, bytes=0, saves=4)
    monkeypatch.setattr("bchisto.recipes.estimate_step", lambda step, images: estimate)
    words = ("--", *chain(tissue, run))
    code, out, err = cli("submit", "--dry-run", "--tasks", 3, *words)
    assert code == 0, err
    submitted = [line for line in out.splitlines() if line.startswith("sbatch ")]
    # four hours are too short for three units of 3000 s on a core three times slower
    assert ["--time=7:34:00" in line for line in submitted] == [False, False, True, True, False], submitted
    code, _, err = cli("submit", "--dry-run", "--time", "2:00:00", *words)
    assert code == 2
    assert "a task of boost does not do 3 units of about 3000 s; give 2:34:00" in err
    code, _, _ = cli("submit", "--dry-run", "--time", "2:00:00", "--sbatch", "boost:gres=gpu:1", *words)
    assert code == 0  # a GPU takes less
    code, out, _ = cli("submit", "--dry-run", "--tasks", 3, "--sbatch", "gres=gpu:1", *words)
    submitted = [line for line in out.splitlines() if line.startswith("sbatch ")]
    assert ["--time=4:00:00" in line for line in submitted] == [False, False, True, True, False], submitted
    assert all("--signal=B:USR1@120" in line for line in submitted[2:]), submitted


def test_an_earlier_featurize_tells_how_long_boost_takes(cli, described, run_copy):
    run = run_copy(described)
    code, out, err = cli("submit", "--dry-run", "--tasks", 9, "--", "boost", "--out", run, *BOOST)
    assert code == 0, err
    assert out.startswith("boost: 3 tasks of 3 and a merge; 6 models; about 0:00:")
    submitted = [line for line in out.splitlines() if line.startswith("sbatch ")]
    assert ["--time=0:30:00" in line and "USR1@60" in line for line in submitted] == [True, True]
    (run / "run.json").unlink()
    shutil.rmtree(run / "records")
    code, out, err = cli("submit", "--dry-run", "--tasks", 9, "--", "boost", "--out", run, *BOOST)
    assert (code, out.splitlines()[0]) == (
        0,
        "boost: 3 tasks of 3 and a merge; 6 models; time not known before the first part",
    ), err


@pytest.mark.slow
def test_a_shard_that_fails_again_and_again_stops_the_chain(cli, tissue, tmp_path):
    images, run = tmp_path / "images", tmp_path / "run"
    shutil.copytree(tissue, images)
    broken = images / "benign" / "benign03.png"
    broken.write_bytes(broken.read_bytes()[:-2000])
    code, _, err = cli("submit", "--scheduler", "local", "--tasks", 2, "--", *chain(images, run))
    assert (code, "error: featurize failed; its logs are in " in err) == (1, True)
    (log,) = run.glob("jobs/*/logs/1-featurize-merge.log")
    again = "shards 1 of 2 lack units; they are submitted again"
    assert again in log.read_text()
    assert log.read_text().splitlines()[-1].startswith("stopped: shards 1 of 2 lack units, and doing them again added")
    code, out, _ = cli("status", run)
    assert (code, out.splitlines()[0]) == (1, f"{run}: failed")
    assert out.splitlines()[-1].endswith(f"bchisto submit --scheduler local --tasks 2 -- featurize --images {images} "
                                         + " ".join(map(str, chain(images, run)[3:])))  # fmt: skip


def squeue(*words):
    return subprocess.run(["squeue", "-h", "-r", *words], capture_output=True, text=True, check=True).stdout


def wait(reached, seconds):
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, squeue()
        time.sleep(0.2)


@pytest.mark.slow
def test_a_chain_on_slurm_of_which_one_task_is_lost_and_one_at_its_limit(slurm, cli, tissue, alone, tmp_path):
    """The limit's signal is sent by hand, since Slurm counts limits in minutes; it begins a task anew after two."""
    run = tmp_path / "Läufe" / "ein Lauf"
    words = ("submit", "--tasks", 2, "--", *chain(tissue, run))
    code, out, err = cli(*words)
    assert code == 0, err
    jobs = out.splitlines()[-1].removeprefix("jobs: ").split(", ")
    assert len(jobs) == 5
    try:
        code, _, err = cli(*words)
        assert (code, "its jobs " in err, "--cancel" in err) == (2, True, True)
        code, out, _ = cli("status", run)
        assert code == 3
        assert "boost: queued\n  shards 1-2 of 2: queued" in out  # the reason follows when Slurm has looked at them

        def begun(shard):
            return [
                path for path in run.glob("records/*-featurize-*.json") if f'"shard": "{shard}/2"' in path.read_text()
            ]

        wait(lambda: begun(1), 120)
        subprocess.run(["scancel", "--batch", "--signal=USR1", f"{jobs[0]}_1"], check=True)
        wait(lambda: begun(2), 120)
        subprocess.run(["scancel", f"{jobs[0]}_2"], check=True)
        wait(lambda: f"{jobs[0]}_2" not in squeue("-o", "%F_%K"), 60)
        wait(lambda: f"{jobs[0]}_1 PENDING" in squeue("-o", "%F_%K %T"), 60)
        wait(lambda: "shard 1 of 2: queued (BeginTime)" in cli("status", run)[1], 60)
        wait(lambda: (run / "evaluation" / "report.html").is_file() or cli("status", run)[0] == 1, 500)
        wait(lambda: cli("status", run)[0] != 3, 60)
    finally:
        logs = {path.name: path.read_text() for path in run.glob("jobs/*/logs/*.log")}
        cli("submit", "--cancel", run)
    assert_equal(run, alone)
    assert "they are submitted again" in logs["1-featurize-merge.log"]
    assert logs["1-featurize-1.log"].count("interrupted; run the same command again to resume") == 1
