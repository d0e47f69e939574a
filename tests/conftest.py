"""Fixtures of all rooms. Nothing heavy is imported here: the StainTools tests run without TensorFlow."""

import atexit
import contextlib
import functools
import gc
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import types
from pathlib import Path

import numpy as np
import pytest

TESTS = Path(__file__).parent
PLUGINS = TESTS / "plugins"
REPOSITORY = TESTS.parent

# One thread, as bchisto's own workers have, so that results in this process and in workers are the same.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# else a fold alone is trained by a process of its own, with all cores
os.environ.setdefault("BCHISTO_THREADS", "1")
# XLA takes ten times as long to compile what tests run once
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
if not Path("/dev/nvidiactl").exists():
    # so that no test loads TensorFlow to look for GPUs
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
if "BCHISTO_CACHE" not in os.environ:  # test processes inherit it
    os.environ["BCHISTO_CACHE"] = tempfile.mkdtemp(prefix="bchisto-cache-")
    atexit.register(shutil.rmtree, os.environ["BCHISTO_CACHE"], ignore_errors=True)
os.environ["PYTHONPATH"] = os.pathsep.join(
    filter(None, [str(PLUGINS), os.environ.get("PYTHONPATH", "")])
)
# each of the hundreds of processes that tests start would compile the package anew
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.path.insert(0, str(PLUGINS))
pytest.register_assert_rewrite("whole_road")


HOSTILE = (
    "commands/test_fuzzed.py",
    "commands/test_pipes.py",
    "commands/test_strange_names.py",
    "hostile/test_altered.py",
    "hostile/test_hostile.py",
    "hostile/test_odd.py",
)
"""Files of tests of altered files. The first case of each test is run always, the others are marked `hostile`."""


LOST = pytest.StashKey[bool]()
"""Whether a test process ended before its time."""

PASSED = Path(os.environ["BCHISTO_PASSED"]) if "BCHISTO_PASSED" in os.environ else None
"""File with a line for each test that passed. A run without it writes it; a run with it leaves these tests out."""


def pytest_configure(config):
    if PASSED is not None and not PASSED.exists() and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Passing())


class Passing:
    """Writes `PASSED` at the end of a run."""

    def pytest_terminal_summary(self, terminalreporter):
        PASSED.write_text(
            "".join(f"{one.nodeid}\n" for one in terminalreporter.getreports("passed"))
        )


def pytest_collection_modifyitems(config, items):
    first = set()
    for item in items:
        name = item.path.relative_to(TESTS).as_posix()
        if name in HOSTILE and (name, item.originalname) in first:
            item.add_marker("hostile")
        first.add((name, item.originalname))
    if PASSED is not None and PASSED.exists():
        before = set(PASSED.read_text().splitlines())
        config.hook.pytest_deselected(items=[item for item in items if item.nodeid in before])
        items[:] = [item for item in items if item.nodeid not in before]


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Let no search for garbage look through what collection imports, which lives as long as its process."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_runtest_setup(item):
    if item.path.relative_to(TESTS).is_relative_to("apps/explain") or item.path.relative_to(
        TESTS
    ).parts[0] in ("encoders", "finetune"):
        from bchisto.core.jobs import prepare_backend

        prepare_backend()  # TensorFlow keeps the threads with which it first computes, whichever test that is in


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error):
    """Say how a test process ended that ended before its time: a signal from outside leaves no words of its own."""
    if not error:
        return
    import resource

    try:
        code = node.gateway._io.popen.wait(timeout=20)
    except (AttributeError, subprocess.TimeoutExpired):  # of another machine, or it lives on
        code = "unknown, it may still run"
    used = resource.getrusage(resource.RUSAGE_CHILDREN)  # of those that have ended
    said = f"exit status {code}; {used.ru_maxrss >> 10} MB, {used.ru_utime + used.ru_stime:.0f} s of computing"
    if (memory := Path("/proc/meminfo")).is_file():
        said += "".join(
            f"; {line}"
            for line in memory.read_text().splitlines()
            if line.startswith(("MemA", "Shmem:"))
        )
    node.config.get_terminal_writer().line(f"\n[{node.gateway.id}] {said}")
    node.config.stash[LOST] = True


def pytest_sessionfinish(session):
    # --reruns may have repeated its test, but those it held never ran
    if session.config.stash.get(LOST, False):
        session.exitstatus = pytest.ExitCode.INTERNAL_ERROR


needs_repository = pytest.mark.skipif(
    not (REPOSITORY / "docs").is_dir(), reason="needs the repository"
)


def need(name, available, how):
    """Skip a test that needs `name`; fail instead where BCHISTO_REQUIRE lists it, as continuous integration does."""
    if not available:
        if name in os.environ.get("BCHISTO_REQUIRE", "").split(","):
            pytest.fail(f"{name} is required here but missing: {how}")
        pytest.skip(f"needs {name}: {how}")


@pytest.fixture(scope="session")
def shared():
    """The folder of real images, tables and weights."""
    root = Path(os.environ.get("BCHISTO_SHARED", TESTS.parent.parent / "shared"))
    need("shared", (root / "data").is_dir(), "set BCHISTO_SHARED to the folder of real data")
    return root


def need_extra(name, module=None):
    """Skip, or fail where required, without the packages that ``bchisto[name]`` installs."""
    found = importlib.util.find_spec(module or name) is not None
    need(name, found, f"pip install 'bchisto[{name}]'")


@pytest.fixture(scope="session")
def dask():
    """Skip, or fail where required, without Dask."""
    need_extra("dask", "distributed")


@pytest.fixture(scope="session")
def openvino():
    """Skip, or fail where required, without OpenVINO."""
    need_extra("openvino")


@pytest.fixture(scope="session")
def staintools():
    """Skip, or fail where required, without StainTools."""
    found = importlib.util.find_spec("staintools") is not None
    need("staintools", found, "pip install 'bchisto[staintools]' in an environment of its own")


@pytest.fixture(scope="session")
def browser():
    """The command of a headless browser."""
    command = shutil.which("chromium") or shutil.which("chromium-browser")
    need("browser", command is not None, "install chromium")
    return command


@pytest.fixture(scope="module")
def chrome(browser):
    """The browser, with which tests open pages."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=browser, args=["--no-sandbox", "--disable-gpu"]
        )
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def slurm():
    """Skip, or fail where required, without a running Slurm."""
    found = (
        shutil.which("sinfo") is not None
        and subprocess.run(["sinfo", "-h"], capture_output=True).returncode == 0
    )
    need("slurm", found, "a running Slurm with sbatch (slurm-wlm, munge)")


@pytest.fixture(scope="session")
def on_small_disk(tmp_path_factory):
    """Return a function that makes a command run where a folder is a full disk, seen by this command alone.

    ``on_small_disk(folder, size, *command)``: `size` as tmpfs takes it. Needs a kernel that lets this user mount one.
    """

    def wrapped(folder, size, *command):
        script = 'mount -t tmpfs -o "size=$2" none "$1" && shift 2 && exec "$@"'
        return [
            "unshare",
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            script,
            "sh",
            *map(str, (folder, size, *command)),
        ]

    trial = wrapped(tmp_path_factory.mktemp("disk"), "64k", "true")
    found = (
        shutil.which("unshare") is not None
        and subprocess.run(trial, capture_output=True).returncode == 0
    )
    need(
        "namespaces",
        found,
        "unshare (util-linux) and user namespaces, in which a disk of one's own is mounted",
    )
    return wrapped


def _no_process(*arguments, **options):
    raise OSError("no process for a first look, in tests of files of ours")


@pytest.fixture(autouse=True)
def no_first_look(request, monkeypatch):
    """Read files of ours at once; strangers' files alone are first read in a process of its own."""
    probe = sys.modules.get("bchisto.core.formats.hdf5")
    name = request.path.relative_to(TESTS).as_posix()
    if (
        probe is not None
        and name not in HOSTILE
        and not name.startswith(
            ("commands/", "jobs/", "journeys/", "matrix/", "featurize/test_embeddings")
        )
    ):
        stand_in = types.SimpleNamespace(run=_no_process, TimeoutExpired=subprocess.TimeoutExpired)
        monkeypatch.setattr(probe, "subprocess", stand_in)


@pytest.fixture(autouse=True, scope="session")
def disk_not_awaited():
    """Do not wait for the disk, which protects from a power cut: no test makes one. Other processes wait."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield


@pytest.fixture(autouse=True, scope="session")
def versions_read_once():
    """Read the version of each package once for records of runs, which name all of them."""
    from bchisto.core.runs import record

    version = functools.cache(record.metadata.version)
    reader = types.SimpleNamespace(**{**vars(record.metadata), "version": version})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(record, "metadata", reader)
        yield


@pytest.fixture(autouse=True, scope="session")
def threads_left_alone():
    """Limit no threads for each model: `OMP_NUM_THREADS` does, and a search of TensorFlow's libraries takes 20 ms."""
    with pytest.MonkeyPatch.context() as patch:
        if importlib.util.find_spec("threadpoolctl") is not None:
            patch.setattr(
                "threadpoolctl.threadpool_limits", lambda limits: contextlib.nullcontext()
            )
        yield


@pytest.fixture(autouse=True, scope="session")
def pictures_in_outline():
    """Leave pictures of reports out, which takes most of a report; not in other processes.

    Tests that look at them ask for them with `outlines.drawn`.
    """
    # not in the environment of StainTools, which makes no page
    if importlib.util.find_spec("matplotlib") is None:
        yield
        return
    from outlines import in_outline

    with in_outline():
        yield


STRENGTHS = ("boost/", "evaluate/", "house/", "matrix/", "stains/")
"""Where linear models have the best of five strengths. Elsewhere they are only used."""


@pytest.fixture(autouse=True)
def one_strength(request, monkeypatch):
    """Train linear models with one strength, a sixth of the fits."""
    if not request.path.relative_to(TESTS).as_posix().startswith(STRENGTHS):
        monkeypatch.setattr("bchisto.boost.array_heads._TRIED_C", (0.01,))


def empty_tables(page):
    """Return the tables of a page that have no row, each by its caption."""
    empty = []
    for table in re.findall(r"<table.*?</table>", page, flags=re.DOTALL):
        body = table.partition("<tbody>")[2]
        if "<tr" not in body or "<thead><tr></tr></thead>" in table:
            empty.append(table[:300])
    return empty


@pytest.fixture(scope="session")
def rendered():
    """Keep each table without a row of any page that a template makes in this process."""
    empty = []
    try:
        from jinja2 import Template
    except ModuleNotFoundError:  # in the environment of StainTools, which makes no page
        yield empty
        return
    render = Template.render

    def checked(self, *arguments, **values):
        page = render(self, *arguments, **values)
        empty.extend(f"{self.name}: {table}" for table in empty_tables(page))
        return page

    Template.render = checked
    yield empty
    Template.render = render


@pytest.fixture(autouse=True)
def no_table_is_empty(rendered):
    """Fail a test that makes a page with a table without a row."""
    yield
    empty = rendered.copy()
    rendered.clear()
    assert empty == []


@pytest.fixture
def rng():
    return np.random.default_rng(42)


@pytest.fixture(scope="session")
def he_image():
    """A synthetic H&E image, 256x192."""
    from bchisto.data.synthetic import make_tissue

    return make_tissue("Benign", seed=1, index=1, size=(256, 192))


@pytest.fixture(scope="session")
def pale_image():
    """A weakly stained image, 96x96, of which Macenko's method turns half of the tissue white."""
    from bchisto.data.synthetic import make_tissue

    tissue = make_tissue("Benign", seed=1, index=1, size=(96, 96))
    return np.clip(240 * ((tissue + 1.0) / 240) ** 0.25 - 0.5, 0, 255).astype(np.uint8)


TIMED = (
    "apps/",
    "commands/test_commands.py",
    "featurize/test_encoder_defaults.py",
    "house/test_printed.py",
    "journeys/",
)
"""Where `data check` times the networks that it proposes, which takes seconds each time."""


def typed(line="", *arguments):
    """Return the words of a line, whose {} the arguments fill one after the other; what is left of them follows.

    A line that is no text is one word.
    """
    rest = map(str, arguments)
    words = line.split() if isinstance(line, str) else [str(line)]
    return [*(next(rest) if word == "{}" else word for word in words), *rest]


@pytest.fixture
def cli(request, capsys, monkeypatch, tmp_path):
    """Run the command line, `typed`, in this process: returns (exit code, stdout, stderr).

    With one job unless --jobs says more. ``T/`` at the beginning of a word is the folder of the test, `tmp_path`.
    """
    from bchisto.cli import main

    monkeypatch.setattr("bchisto.core.jobs.resources.default_jobs", lambda: 1)
    if not request.path.relative_to(TESTS).as_posix().startswith(TIMED):
        monkeypatch.setattr("bchisto.apps.check.run.measure_describing", lambda *_: None)

    def run(*line):
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([re.sub("^T/", f"{tmp_path}/", word) for word in typed(*line)])
        output = capsys.readouterr()
        return ended.value.code, output.out, output.err

    import logging

    levels = {name: logging.getLogger(name).level for name in ("bchisto", None)}
    handlers = logging.getLogger().handlers[:]
    yield run
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    logging.getLogger().handlers[:] = handlers
    logging.captureWarnings(False)


@pytest.fixture
def completed(cli):
    """Run the command line, which is to succeed: returns (stdout, stderr)."""

    def run(*arguments):
        code, out, err = cli(*arguments)
        assert code == 0, err
        return out, err

    return run


@pytest.fixture
def refused(cli):
    """Run the command line, which is to refuse with one line: returns stderr."""

    def run(*arguments):
        code, _, err = cli(*arguments)
        assert (code, err.count("error: ")) == (2, 1), err
        return err

    return run


@pytest.fixture(scope="session")
def start():
    """Start the command line in a process of its own."""

    def popen(*arguments, **options):
        command = [sys.executable, "-m", "bchisto", *typed(*arguments)]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
        )

    return popen


@contextlib.contextmanager
def seen_gpus(seen):
    """Let stage 1 see a GPU, or none, and count the images that `DeviceDescriber` starts.

    No GPU is at hand: what computes is the device of Keras's backend in any case.
    """
    from bchisto.featurize.device import DeviceDescriber

    counts = {"started": 0}
    start = DeviceDescriber.start

    def counted(*arguments):
        counts["started"] += 1
        return start(*arguments)

    gpus = ("0",) if seen else ()
    with pytest.MonkeyPatch.context() as patch:
        for module in (
            "featurize.stream",
            "featurize.plan",
            "encoders.engines",
            "core.jobs.resources",
        ):
            patch.setattr(f"bchisto.{module}.visible_gpus", lambda: gpus)
        patch.setattr(DeviceDescriber, "start", counted)
        yield counts


def assert_same_descriptors(found, expected):
    """Check descriptors of two roads that round colours apart.

    A pixel here and there differs by one grey level, which moves a feature of these small networks by up to 0.2 % of
    the largest (400 stores of 3 crops); crops of another place move half of the features by 3 % and more.
    """
    assert found.shape == expected.shape
    distance = np.abs(found - expected) / np.abs(expected).max()
    assert np.median(distance) <= 1e-4
    assert distance.max() <= 1e-2


def write_tissue(root, *, per_class=6, size=(96, 96), classes=("benign", "malignant"), seed=0):
    """Write small textured H&E-like images, a folder per class; the classes differ in texture."""
    from PIL import Image

    rng = np.random.default_rng(seed)
    for place, name in enumerate(classes):
        folder = root / name
        folder.mkdir(parents=True)
        for number in range(per_class):
            coarse = rng.random((6 + 10 * place, 6 + 10 * place), dtype=np.float32)
            import cv2

            haem = cv2.resize(coarse, size, interpolation=cv2.INTER_LINEAR) * 1.2
            eosin = rng.random((size[1], size[0]), dtype=np.float32) * 0.5 + 0.2
            od = haem[..., None] * np.array([0.65, 0.70, 0.29]) + eosin[..., None] * np.array(
                [0.2, 0.9, 0.4]
            )
            image = np.clip(240 * np.exp(-od) + rng.normal(0, 2, od.shape), 0, 255).astype(np.uint8)
            Image.fromarray(image).save(folder / f"{name}{number:02d}.png")
    return root


@pytest.fixture(scope="session")
def tissue(tmp_path_factory):
    """Twelve small images in two class folders. Read only."""
    return write_tissue(tmp_path_factory.mktemp("tissue") / "images")


TINY = typed("--encoder tiny --weights random --view 1.0:64 --augmentations 2 --crops 3 --jobs 1")


@pytest.fixture(scope="session")
def tissue_files(tissue):
    """The images of `tissue`, in the order of their paths."""
    return sorted(tissue.rglob("*.png"))


@pytest.fixture(scope="session")
def one_file(tissue_files):
    """The first image of `tissue`."""
    return tissue_files[0]


@pytest.fixture(scope="session")
def pandas():
    return pytest.importorskip("pandas")


@pytest.fixture(scope="session")
def tiny_options():
    """Options of a small `bchisto featurize`."""
    return TINY


@pytest.fixture(scope="session")
def tiny_settings():
    """The settings that `tiny_options` give."""
    from bchisto.featurize import FeaturizeSettings

    return FeaturizeSettings(
        encoders=("tiny",), weights=("random",), views=("1.0:64",), augmentations=2, crops=3
    )


def snapshot(folder):
    """Path and content of every file below a folder."""
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="session")
def described(tmp_path_factory, tissue, tiny_settings):
    """A run folder with the descriptors of `tissue`. Read only, which is checked at the end; copy it to change it."""
    from bchisto.core.jobs import Work
    from bchisto.featurize import featurize

    run = tmp_path_factory.mktemp("described") / "run"
    featurize(tissue, out=run, settings=tiny_settings, work=Work(jobs=1))
    before = snapshot(run)
    yield run
    assert snapshot(run) == before, "a test changed the shared run folder"


@pytest.fixture(scope="session")
def boosted(tmp_path_factory, described):
    """A run folder with descriptors and a small ensemble. Read only, which is checked at the end."""
    from packs import train_small

    run = tmp_path_factory.mktemp("boosted") / "run"
    shutil.copytree(described, run)
    train_small(run, seeds=2)
    before = snapshot(run)
    yield run
    assert snapshot(run) == before, "a test changed the shared run folder"


@pytest.fixture(scope="session")
def calm(tmp_path_factory, tiny_settings):
    """A folder of eight pictures ``P`` and its run ``R``, with features and a model file. Read only."""
    from packs import featurize_here, train_small

    root = tmp_path_factory.mktemp("calm")
    write_tissue(root / "P", per_class=4, classes=("calm", "wild"))
    featurize_here(root / "P", root / "R", tiny_settings)
    train_small(root / "R", "2", params={}, settings={"heads": ["prototype"]})
    return root


@pytest.fixture(scope="session")
def boosted_result(boosted):
    """The folder of the classifier that was trained in `boosted`."""
    return boosted / "boost" / "3-lightgbm"


@pytest.fixture(scope="session")
def boosted_model(boosted_result):
    """The model file of `boosted`."""
    return boosted_result / "model.bchisto"


@pytest.fixture(scope="session")
def every_head(tmp_path_factory, described):
    """A run folder of three heads, and the result of each. Read only."""
    from packs import train_small

    run = tmp_path_factory.mktemp("heads") / "run"
    shutil.copytree(described, run)
    heads = ("lightgbm", "logistic", "svm")
    results = train_small(run, seeds=2, settings={"heads": heads})
    return run, dict(zip(heads, results, strict=True))


@pytest.fixture(scope="session")
def boosted_maps(tmp_path_factory, tissue, tiny_settings):
    """As `boosted`, of an encoder that has feature maps: a network, and so TensorFlow. Read only."""
    from dataclasses import replace

    from bchisto.core.jobs import Work
    from bchisto.featurize import featurize
    from packs import train_small

    run = tmp_path_factory.mktemp("maps") / "run"
    featurize(
        tissue, out=run, settings=replace(tiny_settings, encoders=("convs",)), work=Work(jobs=1)
    )
    train_small(run, seeds=2)
    before = snapshot(run)
    yield run
    assert snapshot(run) == before, "a test changed the shared run folder"


@pytest.fixture
def run_copy(tmp_path):
    """Return a function that copies a run folder so that a test can change it."""

    def copy(source):
        return Path(shutil.copytree(source, tmp_path / "copy"))

    return copy


@pytest.fixture(scope="session")
def served_model(boosted, tmp_path_factory):
    """The model file of a run whose name has a blank. Read only."""
    from packs import model_file

    return model_file(shutil.copytree(boosted, tmp_path_factory.mktemp("runs") / "first run"))


@pytest.fixture(scope="session")
def running_page(start, served_model):
    from page_server import serving

    with serving(start, served_model) as server:
        yield server


@pytest.fixture
def page(running_page):
    """A page that runs, and is empty."""
    yield running_page
    running_page.clear()


@pytest.fixture(scope="session")
def alone(tmp_path_factory, tissue):
    """The run of one process, to which jobs of a cluster are compared."""
    from job_chain import chain, stages

    run = tmp_path_factory.mktemp("alone") / "run"
    for words in stages(chain(tissue, run, network=False)):
        subprocess.run([sys.executable, "-m", "bchisto", *words], check=True, capture_output=True)
    return run
