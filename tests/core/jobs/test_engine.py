"""Every command that is a `Computation` ends in what one uninterrupted process gives, whatever happened before."""

import csv
import errno
import os
import shutil
import signal
import subprocess
import sys

import pytest
from engine_jobs import JOBS, at_pack, contents
from own_process import run_process
from PIL import Image
from written_tables import read_json

SLOW = ("finetune",)
"""Jobs that load TensorFlow."""


def jobs(*names, slow=SLOW):
    return [
        pytest.param(name, marks=[pytest.mark.slow] if name in slow else [])
        for name in names or JOBS
    ]


class Place:
    """A run folder in which a job can begin, and its images."""

    def __init__(self, name, folder, images, fixtures, cli):
        self.name, self.job, self.images, self.run, self._cli = (
            name,
            JOBS[name],
            images,
            folder / "run",
            cli,
        )
        self.model = fixtures("boosted_model") if name == "predict" else ""
        if name == "boost":
            shutil.copytree(fixtures("described"), self.run)
        self.run.mkdir(exist_ok=True, parents=True)

    def words(self, *more, name=None):
        job = JOBS[name or self.name]
        return [
            *(
                w.format(images=self.images, run=self.run, model=self.model)
                for w in job.words.split()
            ),
            *more,
        ]

    def go(self, *more, pack=0, act=None, moment="after", seen=None, jobs=1, name=None):
        """Run the command in this process; return its exit code, stdout and stderr."""
        with at_pack(pack, act, moment=moment, seen=seen):
            return self._cli(*self.words("--jobs", jobs, *more, name=name))

    def finish(self, *more, **options):
        code, out, err = self.go(*more, **options)
        assert code == 0, err
        return out + err

    def packs(self):
        return sorted(self.run.glob(self.job.packs))

    def interrupt(self, pack):
        """Interrupt the command at a pack, in this process."""

        def act():
            raise KeyboardInterrupt

        code, _, err = self.go(pack=pack, act=act)
        assert code == 130, err

    def stop(self, pack, number):
        """Interrupt the command at a pack, in a process of its own, and return its messages."""
        process = self.process(pack, number, "after")
        _, err = process.communicate(timeout=240)
        assert process.returncode == 143, err
        return err

    def results(self):
        return contents(self.run)

    def process(self, pack, number, moment):
        """Start the command in a process of its own, which gets a signal at a pack."""
        words = [
            sys.executable,
            "-m",
            "engine_jobs",
            str(pack),
            number,
            moment,
            *map(str, self.words("--jobs", 1)),
        ]
        return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def place(tmp_path, tissue, request, cli):
    """Return a function that makes a `Place` for a job."""

    def make(name, folder="here", images=tissue):
        return Place(name, tmp_path / folder, images, request.getfixturevalue, cli)

    return make


_WHOLE = {}


@pytest.fixture
def whole(place):
    """Return a function from a job to what one uninterrupted process leaves of `tissue`."""

    def of(name):
        if name not in _WHOLE:
            alone = place(name, "whole")
            alone.finish()
            _WHOLE[name] = alone.results()
        return _WHOLE[name]

    return of


@pytest.fixture(autouse=True)
def ctrl_c():
    """Take Ctrl-C, also in the background, where a shell has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_interrupted_and_resumed(place, whole):
    """By the signal of a scheduler; Ctrl-C is in test_interrupts.py."""
    here = place("featurize")
    said = here.stop(2, "SIGTERM")
    assert said.endswith("interrupted; run the same command again to resume\n")
    assert "Traceback" not in said
    assert len(here.packs()) == 2
    seen = []
    said = here.finish(seen=seen)
    assert here.job.already in said
    assert len(seen) == here.job.units - 2
    assert here.results() == whole("featurize")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "moment"),
    [
        ("featurize", "before"),
        ("boost", "after"),
        ("finetune", "after"),
        ("predict", "before"),
    ],
)
def test_killed_and_resumed(place, whole, name, moment):
    """A real kill -9, while a pack is written, or as soon as it has its name."""
    here = place(name)
    process = here.process(2, "SIGKILL", moment)
    process.communicate(timeout=240)
    assert process.returncode == -signal.SIGKILL
    assert len(here.packs()) == {"before": 1, "after": 2}[moment]
    here.finish()
    assert here.results() == whole(name)
    if name != "predict":  # whose record is written with its table
        statuses = [entry["status"] for entry in read_json(here.run / "run.json")["records"]]
        assert statuses[-2:] == ["interrupted", "ok"]


@pytest.mark.parametrize("name", jobs("featurize", "boost", "finetune"))
def test_shards_in_any_order_one_of_them_twice(place, whole, name):
    here, seen = place(name), []
    for number in (2, 3, 2, 4, 1):
        said = here.finish("--shard", f"{number}/4", seen=seen)
        words = "is empty, since there is no more work than" if number == 4 else "has "
        assert f"shard {number}/4 {words}" in said
    assert len(seen) == len(here.packs()) == here.job.units
    assert f"{here.job.units} of {here.job.units} done" in said
    assert not list(here.run.rglob("predictions.csv"))
    here.finish(seen=seen)
    assert len(seen) == here.job.units
    assert here.results() == whole(name)


@pytest.mark.parametrize("name", jobs("featurize", "boost", "finetune", slow=(*SLOW, "boost")))
def test_processes(place, whole, name):
    here = place(name)
    here.finish(jobs=2)
    assert here.results() == whole(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["featurize", "finetune"])
def test_workers_of_dask(dask, place, whole, name, monkeypatch):
    """Models are trained, and images predicted, in tests/crossval/test_dask_workers.py, where a worker is killed."""
    import distributed

    expected, here = whole(name), place(name)
    # these workers have their own
    monkeypatch.setitem(JOBS, name, JOBS[name].without("--threads 1"))
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None
    ) as cluster:
        here.finish("--dask", cluster.scheduler_address)
    differing = {path for path, hashed in here.results().items() if expected[path] != hashed}
    # which name the threads
    assert {path.rpartition("/")[2] for path in differing} <= {
        "settings.json",
        "report.html",
    }


@pytest.mark.parametrize("name", ["featurize", "boost", "predict"])
def test_another_process_finishes_meanwhile(place, whole, name):
    """Its packs may be gone when this one comes to write the next."""
    here = place(name)
    here.finish(pack=1, act=here.finish)
    assert here.results() == whole(name)


@pytest.mark.slow
def test_two_processes_at_once(place, whole):
    here = place("featurize")
    both = [here.process(0, "SIGKILL", "after") for _ in range(2)]
    for process in both:
        _, err = process.communicate(timeout=240)
        assert process.returncode == 0, err
    assert here.results() == whole("featurize")


@pytest.mark.parametrize("name", jobs())
def test_packs_that_do_not_hold_are_made_again(place, whole, name):
    here, held, seen = place(name), [], []
    here.interrupt(here.job.units)
    cut, moved, *others = here.packs()
    cut.write_bytes(cut.read_bytes()[:-99])
    shutil.copy(others[0], moved)
    before = {path: path.stat().st_mtime_ns for path in others}
    said = here.finish(
        "-v",
        pack=1,
        act=lambda: held.append({path: path.stat().st_mtime_ns for path in others}),
        seen=seen,
    )
    for path, fault in ((cut, ""), (moved, "made under other settings")):
        assert f"{path}: incomplete ({fault}" in said
    assert len(seen) == said.count("; made again") == 2
    assert held == [before]
    assert here.results() == whole(name)


@pytest.mark.parametrize("name", ["featurize", "boost", "predict"])
def test_a_disk_that_is_full(place, whole, name):
    here = place(name)

    def full():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    code, _, err = here.go(pack=2, act=full, moment="before")
    (line,) = (line for line in err.splitlines() if line.startswith("error: "))
    assert (code, len(here.packs())) == (1, 1)
    assert line.endswith(
        "cannot be written (No space left on device); what is done is kept, free some space and run the command again"
    )
    assert not list(here.run.rglob("*.part-*"))
    here.finish()
    assert here.results() == whole(name)


REALLY_FULL = """
import shutil, subprocess, sys
from pathlib import Path

start, disk, out, *words = sys.argv[1:]
shutil.copytree(start, f"{disk}/run")
for number in (1, 0):
    ended = subprocess.run([sys.executable, "-m", "engine_jobs", str(number), disk, "after", *words])
    print(ended.returncode, flush=True)
    Path(disk, "filler").unlink(missing_ok=True)
shutil.copytree(f"{disk}/run", out)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="mounts a disk of its own")
def test_a_disk_that_is_really_full(on_small_disk, place, whole, tmp_path):
    here, start, disk = place("boost"), tmp_path / "start", tmp_path / "disk"
    here.run.rename(start)
    disk.mkdir()
    out, here.run = here.run, disk / "run"
    script = [sys.executable, "-c", REALLY_FULL, start, disk, out, *here.words("--jobs", 1)]
    done = run_process(*on_small_disk(disk, "32m", *script), timeout=400)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line in "01"] == ["1", "0"]
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("error: "))
    assert "(No space left on device)" in line
    assert "Traceback" not in done.stderr
    assert "HDF5" not in done.stderr
    assert here.job.already in done.stderr
    assert contents(out) == whole("boost")


@pytest.mark.parametrize("name", jobs("featurize", "boost", "finetune"))
def test_other_settings_are_refused_unless_they_overwrite(place, whole, name):
    here, other = place(name), JOBS[name].other.split()
    here.interrupt(1)
    for _ in range(2):
        before = here.results()
        code, _, err = here.go(*other)
        assert (code, here.job.refused in err) == (2, True), err
        assert here.results() == before
        here.finish()
    assert here.results() == whole(name)
    code, _, err = here.go(*other, "--overwrite", "--shard", "1/2")
    assert (code, "what other shards did; leave out --shard" in err) == (2, True), err
    here.finish(*other, "--overwrite")
    assert here.results() != whole(name)


@pytest.mark.parametrize("name", ["featurize", "boost"])
def test_overwritten_beside_a_running_command(place, whole, name):
    """The first stops before it puts its units together, and what it left is not taken over."""
    here = place(name)
    code, _, err = here.go(*here.job.other.split(), pack=2, act=lambda: here.finish("--overwrite"))
    lost = "8 of 12 images are missing; run the same command again"  # of featurize, whose packs end in one file
    assert (
        (code, err.splitlines()[-1].endswith(lost)) == (2, True)
        if name == "featurize"
        else (code == 1 and "another command has overwritten this folder meanwhile" in err)
    ), err
    here.finish()
    # models of the first may lie beside them, and are not used
    assert whole(name).items() <= here.results().items()


def add(folder, rows):
    """Two images with pixels of their own."""
    for label in ("benign", "malignant"):
        turn(folder / label / f"{label}02.png", folder / label / f"between {label}.png")
        rows[f"{label}/between {label}.png"] = label


def turn(source, target):
    with Image.open(source) as image:
        image.transpose(Image.Transpose.ROTATE_90).save(target)


ONE = "benign/benign01.png"
GROWTH = {
    "add": (
        add,
        "2 images added (benign/between benign.png and 1 more)",
        {"featurize": 2},
    ),
    "remove": (
        lambda folder, rows: rows.pop(ONE),
        f"1 image removed ({ONE})",
        {"featurize": 0},
    ),
    "relabel": (
        lambda folder, rows: rows.update({ONE: "malignant"}),
        f"1 label changed ({ONE})",
        {"featurize": 0, "boost": 4, "finetune": 2},
    ),
    "alter": (
        lambda folder, rows: turn(folder / ONE, folder / ONE),
        f"images changed after their features were extracted: {ONE}",
        {"featurize": 1, "predict": 1},
    ),
}
"""A change to the images, what is said of it, and of how many images it asks something anew."""


@pytest.mark.parametrize(
    ("name", "begun", "change"),
    [
        *(("featurize", "finished", change) for change in GROWTH),
        ("featurize", "interrupted", "alter"),
        # changes of finished ones, and of all other pipelines, are in test_pipelines.py
        ("predict", "interrupted", "alter"),
        *(("boost", "finished", change) for change in ("add", "relabel", "alter")),
        *(
            pytest.param("finetune", "finished", change, marks=pytest.mark.slow)
            for change in ("add", "relabel")
        ),
    ],
)
def test_images_that_changed(place, tissue, tmp_path, monkeypatch, name, begun, change):
    alter, words, counts = GROWTH[change]
    folder = shutil.copytree(tissue, tmp_path / "im ages \u00e9")
    rows = {
        str(path.relative_to(folder)): path.parent.name for path in sorted(folder.rglob("*.png"))
    }

    def write():
        with (folder / "list.csv").open("w", newline="", encoding="utf-8") as handle:
            csv.writer(handle).writerows([("path", "label"), *rows.items()])

    write()
    # folds that do not follow from labels
    if change == "relabel" and name in ("boost", "finetune"):
        listed = "".join(f"{image},{1 + place % 3}\n" for place, image in enumerate(rows))
        (tmp_path / "mine.csv").write_text("image_id,fold\n" + listed)
        monkeypatch.setitem(JOBS, name, JOBS[name].folded(tmp_path / "mine.csv"))
    here, fresh = (place(name, run, folder / "list.csv") for run in ("here", "fresh"))
    before = ("featurize",) if name == "boost" else ()
    for earlier in before:
        here.finish("--overwrite", name=earlier)
    here.interrupt(here.job.units) if begun == "interrupted" else here.finish()
    alter(folder, rows)
    write()
    seen = []
    if change == "alter" and (name, begun) not in (
        ("featurize", "interrupted"),
        ("predict", "interrupted"),
    ):
        code, _, err = here.go(name=(*before, name)[0])
        assert (code, words in err or "other images" in err) == (2, True), err
        return
    for earlier in before:
        here.finish(name=earlier)
    said = here.finish(seen=seen)
    assert (words in said) == (begun == "finished" or name in ("boost", "finetune")), said
    if name in counts:
        assert sum(seen) == counts[name]
    for earlier in before:
        fresh.finish("--overwrite", name=earlier)
    fresh.finish()
    assert fresh.results().items() <= here.results().items()  # which keeps models of before


@pytest.mark.parametrize("skipped", [False, True])
@pytest.mark.parametrize("name", jobs("featurize", "predict"))
def test_an_image_that_cannot_be_decoded(place, tissue, tmp_path, name, skipped):
    images = shutil.copytree(tissue, tmp_path / "images")
    bad = images / "malignant" / "zz.png"
    turn(images / "malignant" / "malignant02.png", bad)
    good = bad.read_bytes()
    bad.write_bytes(good[: len(good) // 2])
    here, fresh, seen = place(name, "here", images), place(name, "fresh", images), []
    for _ in range(2):
        code, _, err = here.go(seen=seen)
        (line,) = (line for line in err.splitlines() if line.startswith("error: "))
        assert (code, "zz.png: cannot be decoded, the file is truncated" in line) == (1, True), err
    assert seen == [4, 4, 4]  # by the first of the two
    if not skipped:
        bad.write_bytes(good)
    for run in (here, fresh):
        code, _, err = run.go("--skip-errors", seen=seen)
        assert code == skipped, err
        assert ["zz.png" in path.read_text() for path in run.run.glob("*failures.csv")] == [
            True
        ] * skipped
    assert here.results() == fresh.results()
