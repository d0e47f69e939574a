"""`bchisto submit`: chains of jobs end as one process does, on this machine and on a real Slurm."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from bchisto.apps.submit import JobStage, Plan, TaskOptions, options_of, planning
from bchisto.apps.submit.__main__ import main
from bchisto.commands.submit import submit
from bchisto.commands.terminal import in_flags
from bchisto.core import InputError, message_of
from bchisto.core.runs import write_listing
from conftest import typed
from job_chain import BOOST, FEATURES, NETWORK, assert_equal, chain, wait

BEFORE = f"featurize --images IMAGES --out RUN {' '.join(FEATURES)} then"
LATER = f"{BEFORE} boost --out RUN --folds 3 then"


def leave_out_checks(monkeypatch, *commands):
    """Start no process that checks one of these commands; what a check of features leaves is written."""
    check_of_process = planning._check

    def check(stage, warn, *, repeats):
        if stage.command not in commands:
            return check_of_process(stage, warn, repeats=repeats)
        if stage.command == "featurize":
            stage.megabytes = 800
            stage.stores = ["features/tiny-1.0-64.h5"]
            parts = Path(stage.run, "features", "tiny-1.0-64.parts")
            write_listing(parts, "blocks", [["1.npz"], ["2.npz"]])
        return True

    monkeypatch.setattr(planning, "_check", check)


@pytest.fixture
def unchecked(monkeypatch):
    leave_out_checks(monkeypatch, "featurize", "boost", "finetune", "predict")


@pytest.mark.slow
def test_two_processes_end_as_one_does_also_after_they_were_cancelled(
    completed, cli, start, tissue, alone, tmp_path
):
    run = tmp_path / "Läufe von 'gestern' 100 %" / "ein Lauf"
    words = typed(
        "submit --scheduler local --tasks 2 --before {} --python {} --at-once 1 --",
        "echo loaded",
        f"env {sys.executable}",
    )
    chained = (*words, *chain(tissue, run, network=False))
    process = start(*chained)
    wait(lambda: list(run.glob("records/*-featurize-*.json")), process=process)
    code, _, err = cli(*chained)
    assert code == 3, err
    assert f"(process {process.pid}); wait, or use --cancel" in err, err
    code, out, err = cli("submit --cancel {}", run)
    assert (code, out) == (0, f"cancelled: process {process.pid}\n"), err
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    divided = "2 tasks of 2 and a merge"
    assert out.splitlines()[:3] == [
        f"featurize: {divided}; 2 blocks",
        f"boost: {divided}",
        "evaluate: one job",
    ]
    # a task that is told to stop ends its unit first, which may have been its last
    code, out, _ = cli("status", run)
    states = {f"{run}: interrupted", f"{run}: ready to merge"}
    assert out.splitlines()[0] in states, out
    assert cli(*chained)[0] == 0
    assert_equal(run, alone)
    logs = {path.name: path.read_text() for path in run.glob("jobs/*/logs/*.log")}
    assert "shard 2/2 has 1 of 2 blocks" in "".join(logs.values())
    assert all(log.startswith("loaded\n") for log in logs.values())
    code, out, _ = cli("status", run)
    assert (code, out.splitlines()[0]) == (0, f"{run}: done")
    none = "no job of this run is in the queue, and no local submit works on it\n"
    assert cli("submit --cancel {}", run)[:2] == (0, none)
    # what is lacking later is submitted, and no more
    for path in (run / "boost").rglob("seed1-fold2-*"):
        path.unlink()
    out, err = completed(*words[:5], "--", "boost", "--out", run, *BOOST, "--jobs", 1)
    assert "boost: 1 task of 2 and a merge; 1 of 6 models left\n" in out, err
    assert_equal(run, alone)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("featurise --out run", "'featurise': each stage begins with one of featurize, boost"),
        ("featurize --images IMAGES --out RUN --corps 3", "No such option ... --corps"),
        ("featurize --images IMAGES --out RUN then", "'': each stage begins with"),
        ("featurize --images IMAGES --out RUN --shard 1/2", "--shard: does not go with submit"),
        (
            "featurize --images IMAGES --out RUN --encoder tiny --weights random --view 1.0:400",
            "featurize: ",
        ),
        (f"{BEFORE} boost --out RUN --folds 50", "boost: "),
        ("reproduce rakhlin2018 --images IMAGES --out RUN", "reproduce: "),
        (
            "reproduce rakhlin2018 --out RUN --settings",
            "reproduce --settings: does not go with submit",
        ),
        ("evaluate TABLE --out RUN", "evaluate: ... table.csv:2: the probabilities sum to"),
        (f"{BEFORE} boost --out RUN --param foo=bar", "boost: --param foo"),
        (f"{BEFORE} boost --out RUN --features nosuch", "boost: nosuch: no such feature file"),
        (f"{BEFORE} boost --out OTHER", "other: no such run folder"),
        (f"{BEFORE} boost --out RUN --folds none", "boost: --folds none"),
        (f"{LATER} evaluate x9 --out OTHER", "evaluate: x9: no such predictions file"),
        (f"{LATER} evaluate RUN --out OTHER --positive nosuch", "evaluate: --positive nosuch"),
        (
            f"{LATER} predict RUN --images IMAGES --out OTHER --threshold=5",
            "predict: --threshold 5",
        ),
        (
            f"{LATER} predict RUN --images nosuch --out OTHER",
            "predict: nosuch: no such file or folder",
        ),
        (f"{LATER} explain RUN --images IMAGES --method no --out OTHER", "explain: "),
    ],
)
def test_what_every_task_would_refuse_is_refused_before_anything_is_queued(
    cli, tissue, tmp_path, words, named, monkeypatch
):
    if words.startswith(BEFORE):
        leave_out_checks(monkeypatch, "featurize")
    run, other, table = tmp_path / "run", tmp_path / "other", tmp_path / "table.csv"
    table.write_text("image_id,label,p_a,p_b\n1,a,0.5,0.9\n")
    words = [
        {"IMAGES": tissue, "RUN": run, "TABLE": table, "OTHER": other}.get(word, word)
        for word in words.split()
    ]
    code, out, err = cli("submit --scheduler local --dry-run --", *words)
    assert (code, out) == (2, ""), err
    # click words it by its version
    assert all(part in err.splitlines()[-1] for part in named.split(" ... ")), err
    assert not (run / "jobs").exists()


def test_a_dry_run_prints_scripts_that_a_shell_reads(
    completed, cli, tissue, tmp_path, programs, unchecked
):
    """Of a Slurm of few tasks, which counts memory."""
    run = tmp_path / "ein Lauf"
    jobs, fewer = (chain(tissue, run, network=network) for network in (True, False))
    counts = "echo 'SelectTypeParameters    = CR_CPU_MEMORY'"
    programs(scontrol=f"echo 'MaxArraySize            = 4'; {counts}", sbatch="")
    options = typed(
        "--tasks 9 --time 1:00:00 --gpus 1 --sbatch account=lab --at-once 2 --before {} --before {} --python",
        "module load cuda",
        "export x='a b'",
        "apptainer exec b.sif python3",
    )
    out, _ = completed("submit --dry-run", *options, "--", *jobs)
    lines = out.splitlines()
    # there are no more blocks, and no more models of a seed
    assert lines[:2] == [
        "featurize: 2 tasks of 2 and a merge; 2 blocks",
        "boost: 3 tasks of 3 and a merge",
    ]
    submitted = [line for line in lines if line.startswith("sbatch ")]
    gpus = ["--gres=gpu:1" in line for line in submitted]
    assert gpus == [True, True, False, False, True, True, False]
    assert all("--account=lab" in line and "--time=1:00:00" in line for line in submitted)
    assert "--array=1,2%2 " in submitted[0]
    # what its check took and a margin; of those that wait nothing is known yet
    asked = [int(re.search("--mem-per-cpu=([0-9]+)00M ", line)[1]) for line in submitted]
    assert asked == [12, 12, *[20] * 5]
    assert lines.count("module load cuda") == lines.count("export x='a b'") == 4
    begin = "exec apptainer exec b.sif python3 -m bchisto.apps.submit "
    assert sum(line.startswith(begin) for line in lines) == 4
    assert "--dependency=afterok:PREVIOUS" in submitted[2]
    # a merge waits for the stage before, too: its array may be cancelled
    assert ",afterok:PREVIOUS" in submitted[3]
    scripts = "\n".join(line for line in lines[4:] if not line.startswith("sbatch "))
    subprocess.run(["/bin/bash", "-n"], input=scripts, text=True, check=True)
    assert f"'{run}/jobs/" in scripts
    assert not (run / "jobs").exists()
    assert cli("status", run)[0] == 4  # it was only checked
    code, out, err = cli("submit --dry-run --sbatch mem=3G --", *fewer)
    # the limit of the partition
    assert not any(option in out for option in ("--time", "--mem-per-cpu"))
    programs(scontrol="echo 'MaxArraySize = 2'", sbatch="")
    out = cli("submit --dry-run --", *fewer)[1]
    assert out.startswith("featurize: one job; 2 blocks\nboost: one job\n")
    down = "echo 'error: Unable to contact slurm controller (connect failure)' >&2; exit 1"
    programs(scontrol=down, sbatch=down)
    code, out, err = cli("submit --dry-run --", *fewer)
    assert (code, out.count("# Slurm does not answer here, and was not asked\n")) == (0, 3), err


@pytest.mark.parametrize(
    ("option", "named"),
    [
        ("array=1-4", "--sbatch array=1-4: bchisto sets this itself; leave it out"),
        ("boost:open-mode=truncate", "--sbatch boost:open-mode=truncate: bchisto sets this itself"),
        (
            "featurise:gres=gpu:1",
            "--sbatch featurise:gres=gpu:1: featurise is not a stage; give featurize, boost, ",
        ),
        ("", "--sbatch '': names no option of sbatch; write it as KEY=VALUE"),
        ("boost:=5", "--sbatch 'boost:=5': names no option of sbatch"),
    ],
)
def test_options_of_sbatch_that_would_break_a_chain_are_refused(option, named):
    with pytest.raises(InputError) as caught:
        options_of(JobStage("boost", [], "run"), TaskOptions(1, sbatch=[option]))
    assert message_of(caught.value).written(in_flags(submit)).startswith(named)


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Put programs in the place of those of Slurm, by the lines of their scripts; without any, there is no Slurm."""

    def put(*path, **scripts):
        folder = tmp_path / "programs"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name, lines in scripts.items():
            (folder / name).write_text(f"#!/bin/sh\n{lines}\n")
            (folder / name).chmod(0o755)
        monkeypatch.setenv("PATH", os.pathsep.join([str(folder), *path]))

    return put


def test_without_sbatch_the_whole_command_is_printed_and_nothing_is_left(
    cli, tmp_path, programs, unchecked
):
    run = tmp_path / "run"
    run.mkdir()
    programs()
    code, _, err = cli("submit --tasks 2 -- boost --out {}", run, *BOOST)
    assert code == 1
    typed = f"cd {Path.cwd()} && bchisto submit --tasks 2 -- boost --out {run} "
    assert f"sbatch: not found on this machine; on one that submits to Slurm type: {typed}" in err
    assert not (run / "jobs").exists()


def test_jobs_are_cancelled_only_if_slurm_answers(
    refused, cli, tmp_path, programs, monkeypatch, unchecked
):
    run = tmp_path / "run"
    programs()
    gone = f"error: {run}: no such folder; give the run whose jobs to cancel\n"
    assert cli("submit --cancel {}", run) == (2, "", gone)
    plan = Plan(
        run / "jobs" / "1", "slurm", "", "", "", [JobStage("boost", [], str(run), jobs=["7", "8"])]
    )
    plan.write()
    silent = f"error: {run}: Slurm{{}} does not answer here whether jobs 7, 8 run; "
    silent += "ask on its machines, or use --force\n"
    assert cli("submit --cancel {}", run) == (2, "", silent.format(""))
    monkeypatch.setattr("bchisto.apps.submit.scheduler._MOST_SECONDS", 0.2)
    programs(squeue="while :; do :; done")
    assert cli("submit --cancel {}", run) == (2, "", silent.format(""))
    assert cli("status", run)[:2] == (
        3,
        f"{run}: unknown\nboost: unknown (Slurm does not answer here, and was not "
        f"asked)\nnext: bchisto status {run} --watch\n",
    )
    # the first of a submit that was killed before it could read the number
    programs(
        squeue=f"echo '10|N/A|PENDING|Priority|{run}/jobs/1/1-boost.sh merge'; echo '7|1|PENDING|Priority'"
    )
    code, _, err = cli("submit -- boost --out {}", run)
    assert code == 3, err
    assert "its jobs 7, 10 are in the queue; wait for them, or use --cancel" in err, err
    # has nothing of these
    other = typed("predict x --images y --out {}", run / "t.csv")
    assert cli("submit --dry-run --", *other)[0] == 0
    # a predict --update beside it
    monkeypatch.setattr("bchisto.apps.submit.__main__._run", lambda *_: (3, False))
    monkeypatch.setenv("SLURM_JOB_ID", "8")
    programs(scontrol=f'echo "$@" > {run}/requeued')
    assert (main([plan.folder, "0", "merge"]), (run / "requeued").read_text()) == (3, "requeue 8\n")
    programs(squeue="echo '8|N/A|PENDING|Priority'", scancel=f'echo "$@" > {run}/cancelled')
    assert (cli("submit --cancel {}", run)[:2], (run / "cancelled").read_text()) == (
        (0, "cancelled: 8\n"),
        "8\n",
    )
    programs(squeue="echo '9|N/A|PENDING|Priority|/jobs/2/1-boost.sh merge'")  # of another
    none = "no job of this run is in the queue, and no local submit works on it\n"
    assert cli("submit --cancel {}", run)[:2] == (0, none)
    plan.cluster = "far"
    plan.write()
    programs(
        squeue="echo '8|N/A|PENDING|Priority'", scontrol="echo 'ClusterName             = near'"
    )
    assert cli("submit --cancel {}", run) == (2, "", silent.format(" far"))
    code, _, err = cli("submit -- boost --out {}", run)
    assert (code, err) == (2, silent.format(" far"))
    err = refused("submit --cancel {} other", run)
    assert "'other': --cancel takes one run; leave it out" in err, err


@pytest.mark.slow
def test_an_image_that_fails_stops_the_chain_unless_it_is_left_out(
    completed, cli, tissue, tmp_path
):
    images, run = shutil.copytree(tissue, tmp_path / "images"), tmp_path / "run"
    broken = images / "benign" / "benign03.png"
    broken.write_bytes(broken.read_bytes()[:-2000])
    submit = typed("submit --scheduler local --tasks 2 --")
    features = typed("featurize --images {} --out {}", images, run, *FEATURES)
    boost = typed("then boost --out {}", run, *BOOST)
    code, _, err = cli(*submit, *features, *boost)
    assert code == 1
    assert "error: featurize failed; its logs are in " in err
    code, out, _ = cli("status", run)
    assert (code, out.splitlines()[0]) == (1, f"{run}: failed")
    assert "benign03.png: cannot be decoded" in out, out
    line = " ".join(map(str, (*features, *boost)))
    assert out.endswith(f"bchisto submit --scheduler local --tasks 2 -- {line}\n")
    # without this image, and one that is not even an image, the chain goes on to its end
    (images / "benign" / "benign04.png").write_bytes(b"")
    words = (*submit, *features, "--skip-errors", *boost)
    done = cli(*words)
    assert done[0] == 1, done
    assert f"2 images were left out, listed in {run / 'failures.csv'}" in done[2], done
    assert cli(*words)[0] == 4
    out, _ = completed("status", run)
    assert f"(without 2 images that cannot be used, see {run / 'failures.csv'})" in out, out
    assert "boost: done" in out, out


@pytest.mark.slow
def test_slurm_is_asked_before_it_gets_a_job(slurm, cli, tissue, tmp_path, unchecked):
    run = tmp_path / "run"
    words = typed("-- featurize --images {} --out {}", tissue, run, *FEATURES)
    refused = "error: sbatch: invalid partition specified: nope; "
    for option in ((), ("--dry-run",)):
        code, _, err = cli("submit", *option, "--sbatch", "partition=nope", *words)
        assert code == 1, err
        assert err.splitlines()[-1].startswith(refused), err
    code, out, err = cli("submit --dry-run --sbatch begin=now+1hour", *words)
    assert (code, "# sbatch: Job " in out) == (0, True), err
    assert not squeue("--name=bchisto-featurize", "-o", "%Z").count(str(tmp_path))


@pytest.mark.slow
def test_of_two_submits_at_once_one_goes_on_and_its_merge_says_why_it_waits(
    slurm, cli, start, tissue, tmp_path
):
    run = tmp_path / "run"
    words = typed("submit --tasks 2 --sbatch begin=now+1hour -- featurize --images {}", tissue)
    both = [start(*words, "--out", run, *FEATURES) for _ in range(2)]
    try:
        ends = [(*process.communicate(), process.returncode) for process in both]
        assert sorted(code for _, _, code in ends) == [0, 3], ends
        (jobs,) = [
            out.splitlines()[-1].removeprefix("jobs: ").split(", ")
            for out, _, code in ends
            if not code
        ]
        assert any("another submit works on it at this moment" in err for _, err, _ in ends), ends
        assert len(list(run.glob("jobs/*/plan.json"))) == 1
        wait(lambda: "shards 1-2 of 2: queued (BeginTime)" in cli("status", run)[1], 60)
        subprocess.run(["scancel", jobs[0]], check=True)
        wait(
            lambda: cli("status", run)[1].startswith(
                f"{run}: queued\nfeaturize: queued (BeginTime); "
            ),
            60,
        )
    finally:
        cli("submit --cancel {}", run)


@pytest.mark.slow
def test_what_an_interrupted_submit_sent_is_taken_back_or_found_later(
    slurm, cli, start, tissue, tmp_path, programs
):
    """Each interrupt arrives when Slurm has a job, of which sbatch has not told the number."""
    run = tmp_path / "a b %a"
    sbatch = f'{shutil.which("sbatch")} "$@" || exit; [ "$1" = --test-only ] || sleep 3'
    programs(os.environ["PATH"], sbatch=sbatch)
    later = typed("submit --tasks 2 --sbatch begin=now+1hour")
    words = typed("-- featurize --images {} --out {}", tissue, run, *FEATURES)
    for number in (signal.SIGTERM, 0, signal.SIGKILL):
        process = start(*later, *words)
        if not number:
            wait(Path(f"{run}.submit").is_dir, process=process)  # it checks its commands
            assert cli("submit --cancel {}", run)[0] == 3
        wait(lambda: f"{run}/jobs/" in squeue("-o", "%o"), process=process)
        assert number or cli("submit --cancel {}", run)[0] == 0
        process.send_signal(number)
        ended = process.communicate()
        assert process.returncode == {15: 143, 0: 1, 9: -9}[number], ended
        assert (f"{run}/jobs/" in squeue("-o", "%o")) == (number == signal.SIGKILL), number
    code, _, err = cli(*later, *words)
    assert code == 3, err
    assert "are in the queue; wait for them, or use --cancel" in err, err
    assert cli("status", run)[0] == 3
    assert cli("submit --cancel {}", run)[1].startswith("cancelled: ")
    wait(lambda: f"{run}/jobs/" not in squeue("-o", "%o"), 30)
    mark = max(run.glob("jobs/*/cancelled.json"))
    merge = subprocess.run(
        ["bash", mark.parent / "1-featurize.sh", "merge"], stdout=subprocess.PIPE, check=False
    )
    assert (merge.returncode, merge.stdout[:9]) == (1, b"this chai"), merge
    assert cli(*later[:3], *words)[0] == 0
    wait(lambda: cli("status", run)[0] == 0, 120)
    logs = {path.name: path.read_text() for path in run.glob("jobs/*/logs/1-featurize-*.log")}
    assert "shard 2/2" in logs.pop("1-featurize-2.log")
    assert {*logs} == {"1-featurize-1.log", "1-featurize-merge.log"}


def squeue(*words):
    return subprocess.run(
        ["squeue", "-h", "-r", *words], capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.slow
def test_a_chain_on_slurm_with_a_lost_task_and_one_at_its_limit(
    slurm, cli, completed, tissue, alone, tmp_path
):
    """The limit's signal is sent by hand, since Slurm counts limits in minutes; it begins a task anew after two."""
    run = tmp_path / "Läufe" / "ein Lauf"
    words = ("submit --tasks 2 --", *chain(tissue, run, network=False))
    out, _ = completed(*words)
    jobs = out.splitlines()[-1].removeprefix("jobs: ").split(", ")
    assert len(jobs) == 5
    try:
        # at once: later its few images may be done
        subprocess.run(["scancel", f"{jobs[0]}_2"], check=True)
        code, _, err = cli(*words)
        assert code == 3
        assert f"its jobs {', '.join(jobs[:1])}, " in err
        assert "--cancel" in err
        code, out, _ = cli("status", run)
        assert code == 3
        # the reason follows when Slurm has looked at them
        assert "boost: queued\n  shards 1-2 of 2: queued" in out

        wait(
            lambda: any(
                '"shard": "1/2"' in path.read_text()
                for path in run.glob("records/*-featurize-*.json")
            ),
            120,
        )
        subprocess.run(["scancel", "--batch", "--signal=USR1", f"{jobs[0]}_1"], check=True)
        wait(lambda: f"{jobs[0]}_2" not in squeue("-o", "%F_%K"), 60)
        wait(lambda: f"{jobs[0]}_1 PENDING" in squeue("-o", "%F_%K %T"), 60)
        wait(lambda: "shard 1 of 2: queued (BeginTime)" in cli("status", run)[1], 60)
        wait(
            lambda: (run / "evaluation" / "report.html").is_file() or cli("status", run)[0] == 1,
            500,
        )
        wait(lambda: cli("status", run)[0] != 3, 60)
    finally:
        logs = {path.name: path.read_text() for path in run.glob("jobs/*/logs/*.log")}
        cli("submit --cancel {}", run)
    assert_equal(run, alone)
    assert "1-featurize-2.log" not in logs or "wrote" not in logs["1-featurize-2.log"]
    assert logs["1-featurize-1.log"].count("interrupted; run the same command again to resume") == 1


@pytest.mark.slow
def test_a_network_that_saves_epochs_goes_on_after_each_limit(
    completed, tissue, tmp_path, programs, monkeypatch
):
    """Without a unit, epochs are progress; the signal of Slurm is sent by hand."""
    run, scontrol = tmp_path / "run", f'[ "$1" = show ] || echo "$@" >> {tmp_path}/requeued'
    programs(os.environ["PATH"], sbatch="echo 7", scontrol=scontrol, squeue="")
    words = typed("finetune --images {} --out {}", tissue, run, *NETWORK, "--epochs", "100000")
    completed("submit --tasks 1 --", *words)
    (script,) = run.glob("jobs/*/1-finetune.sh")
    monkeypatch.setenv("SLURM_JOB_ID", "7")

    def epochs():
        return sum(
            log.read_bytes().count(b"\n") - 1 for log in run.glob("finetune/*/logs/fold*.csv")
        )

    for limit in (1, 2):
        saved = epochs()
        with (tmp_path / "log").open("ab") as log:
            process = subprocess.Popen(["bash", script, "merge"], stdout=log, stderr=log)
        wait(lambda: epochs() > saved, 150, process=process)  # noqa: B023 - called at once
        process.send_signal(signal.SIGUSR1)
        process.wait(60)
        assert (tmp_path / "requeued").read_text() == "requeue 7\n" * limit, (
            tmp_path / "log"
        ).read_text()
