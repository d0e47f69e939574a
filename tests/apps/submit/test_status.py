"""`bchisto status` against prepared runs: its words, its exit code, and that it writes nothing."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys

import pytest
from bchisto.apps.submit import JobStage, read_status
from bchisto.core.jobs import this_process
from job_chain import BOOST, FEATURES, wait
from written_tables import read_json


@pytest.fixture
def status(cli):
    """Run `bchisto status` as JSON and as lines; nothing in the run may change."""

    def read(run, command=None):
        before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
        code, out, err = cli("status {} --json", run)
        content = json.loads(out)
        assert err == ""
        assert (content["exit_code"], content["run"]) == (code, str(run))
        again, lines, _ = cli("status", run)
        assert again == code
        assert lines.startswith(f"{run}: {content['state']}\n")
        with contextlib.chdir(run):
            assert cli("status .")[0] == code
        assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before
        stages = {stage["command"]: stage for stage in content["stages"]}
        return code, content["state"], stages[command] if command else content, lines

    return read


@pytest.fixture(scope="session")
def killed(tmp_path_factory, tissue, start):
    """A run whose `featurize` was killed when its first block was done."""
    run = tmp_path_factory.mktemp("killed") / "run"
    process = start("featurize", "--images", tissue, "--out", run, *FEATURES, "--jobs", 1)
    wait(lambda: list(run.glob("features/*.parts/*.npz")), process=process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL  # and had not ended before
    return run


@pytest.fixture
def copied(killed, tmp_path):
    """A copy of the killed run, whose record a function changes."""
    run = shutil.copytree(killed, tmp_path / "run")

    def change(**values):
        content = read_json(run / "run.json")
        record = content["records"][-1]
        for name, value in values.items():
            record[name] = {**record.get(name, {}), **value} if isinstance(value, dict) else value
        (run / "run.json").write_text(json.dumps(content))
        return run

    return change


def test_a_folder_that_is_not_there_is_refused(cli, tmp_path):
    run, then = tmp_path / "run", "folder; give that of a run, or of a table of predict\n"
    assert cli("status", run) == (2, "", f"error: {run}: no such {then}")
    run.touch()
    assert cli("status", run) == (2, "", f"error: {run}: not a {then}")


def all_parts(run, change):
    (listing,) = run.glob("features/*.parts/units.json")
    for group in read_json(listing)["groups"]:
        (listing.parent / group[0]).touch()
    change(status="ok")


def merged(run, change):
    (folder,) = run.glob("features/*.parts")
    shutil.rmtree(folder)
    folder.with_suffix(".h5").touch()
    change(status="ok")


def some_failed(run, change):
    merged(run, change)
    change(notes={"failures": 2})
    (run / "failures.csv").write_text("image_id,path,error\na,a.png,damaged\nb,b.png,damaged\n")


def first_shard(run, change):
    all_parts(run, change)
    (listing,) = run.glob("features/*.parts/units.json")
    (listing.parent / read_json(listing)["groups"][1][0]).unlink()
    change(shard="1/2", config={"shard": "1/2"})


def planned(run, change, jobs=(), **values):
    """What `submit` writes of features and an evaluation."""
    merged(run, change)
    stage = {"words": [], "jobs": []}
    stages = [
        {**stage, "command": "featurize", "run": str(run)},
        {**stage, "command": "evaluate", "run": str(run / "evaluation"), "jobs": jobs},
    ]
    planned_stages(run, stages, **values)


def planned_stages(run, stages, **values):
    content = {
        "schema_version": 1,
        "scheduler": "local",
        "line": "bchisto submit -- ...",
        "cwd": str(run),
        "python": "python",
        "stages": stages,
        "process": {},
        **values,
    }
    (run / "jobs" / "1" / "logs").mkdir(parents=True)
    (run / "jobs" / "1" / "plan.json").write_text(json.dumps(content))


def done_earlier(run, change):
    """A stage that was submitted again after it was done, and whose jobs never began."""
    merged(run, change)
    seen = read_json(run / "run.json")["records"][-1]["started"]
    planned_stages(run, [{"command": "featurize", "run": str(run), "words": [], "seen": seen}])


def without_an_answer(run, change):
    """The queue does not answer, its `squeue` is out of reach; the job was put back into it."""
    planned(run, change, ["12"], scheduler="slurm")
    log = "12 images\nslurmstepd-vm: error: *** JOB 12 ON vm CANCELLED AT 2026-01-01T00:00:00 DUE TO JOB REQUEUE ***\n"
    (run / "jobs" / "1" / "logs" / "2-evaluate-merge.log").write_text(log)


def failed_log(run, change, **values):
    """A task that failed before it had a record; what its log says is not read."""
    planned(run, change, **values)
    (run / "jobs" / "1" / "logs" / "2-evaluate-merge.log").write_text("12 images\nFehler: keine\n")
    keep_error(run, "2-evaluate-merge", "no such column")


def keep_error(run, task, error):
    """What a task that fails leaves for `status`."""
    (run / "jobs" / "1" / "logs" / f"{task}.json").write_text(json.dumps({"error": error}))


def killed_task(run, change):
    """A shard that was killed, of which the log has Slurm's words."""
    first_shard(run, change)
    stage = {
        "command": "featurize",
        "run": str(run),
        "words": [],
        "jobs": ["12"],
        "shards": 2,
        "tasks": [1, 2],
    }
    planned_stages(run, [stage])
    change(status="interrupted")
    log = run / "jobs" / "1" / "logs" / "1-featurize-1.log"
    log.write_text(
        "slurmstepd-node7: error: *** JOB 12 ON node7 CANCELLED DUE TO TIME LIMIT ***\n\n"
    )


def killed_command(run, change):
    """Its task was not killed, and says so."""
    killed_task(run, change)
    keep_error(run, "1-featurize-1", "ended by SIGKILL; often for lack of memory")


def no_python(run, change):
    planned(run, change)
    (run / "jobs" / "1" / "logs" / "2-evaluate-merge.log").write_text(
        "line 5: exec: apptainer: not found\n"
    )


def only_checked(run, change):
    change(command="submit", status="ok")
    for path in run.glob("features/*.parts/*.npz*"):
        path.unlink()


def checked_classifiers(run, change):
    merged(run, change)
    (run / "boost" / "2").mkdir(parents=True)
    (run / "boost" / "2" / "settings.json").touch()


def failed_evaluation(run, change):
    planned(run, change)
    record = read_json(run / "run.json")["records"][-1]
    failed = {**record, "command": "evaluate", "status": "error", "error": "InputError: no table"}
    (run / "evaluation").mkdir()
    (run / "evaluation" / "run.json").write_text(
        json.dumps({"schema_version": 1, "records": [failed]})
    )
    (run / "jobs" / "1" / "logs" / "2-evaluate-merge.log").touch()


STATES = {
    "empty": (
        lambda run, _: [
            shutil.rmtree(path) if path.is_dir() else path.unlink() for path in run.iterdir()
        ],
        4,
        "not started",
        [],
    ),
    "on another host": (
        lambda _, change: change(process={"host": "other"}),
        3,
        "running",
        ["featurize: running (since ", "not asked from here)", "--watch"],
    ),
    "failed": (
        lambda run, change: change(status="error", error="InputError: no"),
        1,
        "failed",
        ["read: "],
    ),
    "all parts": (all_parts, 3, "ready to merge", ["next: bchisto featurize --config"]),
    "some images failed": (
        some_failed,
        0,
        "done",
        [
            "featurize: done (without 2 images that cannot be used, see ",
            "feature files complete: 1 of 1",
        ],
    ),
    "first of two shards": (
        first_shard,
        1,
        "interrupted",
        ["shard 1 of 2: done", "shard 2 of 2: not started"],
    ),
    "planned, and no job is left": (
        planned,
        1,
        "interrupted",
        ["evaluate: interrupted (no job is left that does it)", "&& bchisto submit -- ..."],
    ),
    "done before it was submitted": (
        done_earlier,
        1,
        "interrupted",
        ["(no job is left that does it)"],
    ),
    "planned, and Slurm does not answer": (
        without_an_answer,
        3,
        "unknown",
        [
            "evaluate: unknown (Slurm does not answer here, and was not asked)\nnext: bchisto status "
        ],
    ),
    "a task left its error": (
        failed_log,
        1,
        "failed",
        ["evaluate: failed (no such column)\n", "read: ", "2-evaluate-merge.log"],
    ),
    "it failed, and Slurm does not answer": (
        lambda run, change: failed_log(run, change, scheduler="slurm"),
        1,
        "failed",
        ["evaluate: failed (no such column)\n", "&& bchisto submit"],
    ),
    "a command was killed": (
        killed_command,
        1,
        "failed",
        ["shard 1 of 2: interrupted (ended by SIGKILL; often"],
    ),
    "Slurm killed a task": (
        killed_task,
        1,
        "interrupted",
        ["shard 1 of 2: interrupted (its log ends with: slurmstepd-node7: error: *** JOB 12"],
    ),
    "a command cannot begin": (
        no_python,
        1,
        "interrupted",
        ["(its log ends with: line 5: exec: ", "read: "],
    ),
    "only checked": (
        only_checked,
        4,
        "not started",
        ["featurize: not started; blocks done: 0 of "],
    ),
    "features done, and classifiers only checked": (
        checked_classifiers,
        1,
        "interrupted",
        ["featurize: done", "boost: not started"],
    ),
    "waits for this process": (
        lambda run, change: planned(run, change, process=this_process()),
        3,
        "queued",
        ["evaluate: queued", "--watch"],
    ),
    "evaluation failed": (
        failed_evaluation,
        1,
        "failed",
        ["evaluate: failed (InputError: no table)", "2-evaluate-"],
    ),
}


@pytest.mark.parametrize("name", STATES)
def test_a_prepared_state_has_its_words_and_its_exit_code(
    name, status, copied, tmp_path, monkeypatch
):
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    prepare, code, state, words = STATES[name]
    run = copied()
    prepare(run, copied)
    now = status(run)
    assert now[:2] == (code, state), now[3]
    assert all(word in now[3] for word in words), now[3]


def test_a_killed_run_is_interrupted_and_its_command_goes_on(status, cli, copied):
    run = copied()
    code, state, stage, lines = status(run, "featurize")
    assert (code, state, stage["state"], stage["unit"]) == (
        1,
        "interrupted",
        "interrupted",
        "blocks",
    )
    assert 1 <= stage["done"] < stage["units"]
    assert f"blocks done: {stage['done']} of {stage['units']}; " in lines
    then = lines.splitlines()[-1]
    assert then == f"next: bchisto featurize --config {run / 'run.json'} --out {run}"
    assert cli(*then.split()[2:])[0] == 0
    code, state, stage, lines = status(run, "featurize")
    assert (code, state, stage["folders"]) == (0, "done", [["tiny-1.0-64", True]])
    assert "next:" not in lines


def test_a_run_that_works_is_running_and_one_that_is_told_to_stop_interrupted(
    status, cli, start, tissue, tmp_path
):
    run = tmp_path / "run"
    process = start("featurize", "--images", tissue, "--out", run, *FEATURES, "--jobs", 1)
    wait((run / "run.json").is_file, process=process)
    process.send_signal(signal.SIGSTOP)  # it cannot end before it was asked
    code, out, _ = cli("status", run)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGCONT)
    process.communicate(timeout=60)
    assert (code, out.splitlines()[0]) == (3, f"{run}: running")
    assert process.returncode == 143
    assert status(run)[:2] == (1, "interrupted")


def test_a_full_disk_is_named(killed, tmp_path, on_small_disk):
    copy = 'cp -r "$1" run && { yes > run/fill 2> /dev/null || true; } && exec "$2" -m bchisto status run'
    words = on_small_disk(
        tmp_path, "3M", "sh", "-c", f'cd "$3" && {copy}', "sh", killed, sys.executable, tmp_path
    )
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout.splitlines()[0]) == (1, "run: interrupted"), ended
    assert "the disk of run is full; make room first\n" in ended.stdout


def test_a_watched_status_tells_the_time(start, copied):
    run = copied(process={"host": "other"})
    process = start(
        "status", run, "--watch", env={**os.environ, "TZ": "UTC", "PYTHONUNBUFFERED": "1"}
    )
    try:
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\n", process.stdout.readline())
        assert process.stdout.readline() == f"{run}: running\n"
    finally:
        process.kill()
        process.communicate()


def test_shards_until_they_are_merged(status, cli, described, tmp_path):
    run = shutil.copytree(described, tmp_path / "run")
    assert status(run)[:2] == (0, "done")
    options = ("boost --out {}", run, *BOOST, "--jobs", 1)
    assert cli(*options, "--shard", "1/3")[0] == 0
    code, state, stage, lines = status(run, "boost")
    assert (code, state, stage["done"], stage["units"]) == (1, "interrupted", 2, 6)
    assert [shard["state"] for shard in stage["shards"]] == ["done", "not started", "not started"]
    assert "  shards 2-3 of 3: not started\n" in lines
    for shard in ("2/3", "3/3"):
        assert cli(*options, "--shard", shard)[0] == 0
    code, state, stage, lines = status(run, "boost")
    assert (code, state, stage["state"]) == (3, "ready to merge", "ready to merge")
    assert "  shards 1-3 of 3: done\n" in lines
    assert cli("boost --config {} --jobs 1", run / "run.json")[0] == 0
    assert status(run)[:2] == (0, "done")
    # more seeds are further units of a folder that is put together
    assert cli(*options, "--seeds", 3, "--shard", "2/3")[0] == 0
    code, state, stage, _ = status(run, "boost")
    assert (code, state, stage["done"], stage["units"]) == (1, "interrupted", 7, 9)


def test_jobs_that_ended_without_a_result_are_not_under_way(status, copied, tmp_path, monkeypatch):
    """Otherwise ``status --watch`` would never end."""
    run, squeue = copied(), tmp_path / "bin" / "squeue"
    squeue.parent.mkdir()
    monkeypatch.setenv("PATH", str(squeue.parent), prepend=os.pathsep)
    without_an_answer(run, copied)
    squeue.write_text("#!/bin/sh\necho '12|N/A|PENDING|Priority'\n")
    squeue.chmod(0o755)
    assert status(run)[:2] == (3, "queued")
    squeue.write_text("#!/bin/sh\n")
    code, state, stage, lines = status(run, "evaluate")
    assert (code, state, stage["state"]) == (1, "interrupted", "interrupted"), lines


def test_each_saved_epoch_of_a_network_is_progress(tmp_path):
    folder, run = tmp_path / "finetune" / "3-speck", str(tmp_path)
    (folder / "logs").mkdir(parents=True)
    (folder / "settings.json").write_text("{}")
    groups = [[f"models/fold{fold}-abc.npz"] for fold in (1, 2, 3)]
    (folder / "units.json").write_text(
        json.dumps({"schema_version": 1, "unit": "folds", "groups": groups})
    )
    shards, one_job = JobStage("finetune", [], run, shards=3), JobStage("finetune", [], run)
    assert [stage.units for stage in read_status(run).stages] == [3]

    def progress():
        return [shards.progress(task) for task in ("1", "2", "merge")] + [one_job.progress()]

    before = progress()
    log = folder / "logs" / "fold2.csv"
    log.write_text("epoch,loss\n1,0.5\n")
    first = progress()
    log.write_text("epoch,loss\n1,0.5\n2,0.4\n3,0.3\n")
    later = progress()
    assert [now - then for now, then in zip(later, first, strict=True)] == [0, 2, 2, 2]
    assert [now > then for now, then in zip(first, before, strict=True)] == [
        False,
        True,
        True,
        True,
    ]
