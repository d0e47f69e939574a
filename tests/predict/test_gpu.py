"""`predict` beside a GPU with a model of a CPU: its features, if they are alike and the work is worth it, or one line.

No GPU is at hand where these tests run. Only what is seen is made up (`visible_gpus`), and how long a GPU takes to
start, which small images do not; the way of a GPU is then that of Keras's backend on the CPU.
"""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from bchisto.core import BchistoError
from bchisto.core.jobs import Work
from bchisto.encoders import executed_precision
from bchisto.featurize import featurize
from bchisto.featurize.device import DeviceDescriber
from bchisto.predict.blocks import keep
from bchisto.predict.model_file import GPU_SECONDS
from conftest import typed
from onnx_files import write_onnx
from packs import train_small
from written_tables import read_json, rows_of

pytest.importorskip("openvino")
pytestmark = pytest.mark.slow

MEASURED = 2
"""How often the first of several images is computed to tell how long the others take."""

IDLE = "Keras leaves the GPU idle: "


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tissue, tiny_settings):
    """Return a function that trains a model on features of these settings, once each; its file is read only."""
    made = {}

    def train(**options):
        key = repr(options)
        if key not in made:
            run = tmp_path_factory.mktemp("trained") / "run"
            settings = replace(
                tiny_settings, **{"encoders": ("convs",), "engine": "openvino", **options}
            )
            featurize(tissue, out=run, settings=settings, work=Work(jobs=1))
            made[key] = train_small(run, seeds=2)[0].model
        return made[key]

    return train


@pytest.fixture
def model(trained):
    return trained()


@pytest.fixture
def gpu(monkeypatch):
    """Let Keras see a GPU that starts at once; returns a function that hides it again."""

    def show(*gpus):
        for module in ("core.jobs.resources", "featurize.stream", "predict.model_file"):
            monkeypatch.setattr(f"bchisto.{module}.visible_gpus", lambda: gpus)

    show("0")
    monkeypatch.setattr("bchisto.predict.model_file.GPU_SECONDS", 0.0)
    return show


@pytest.fixture
def started(monkeypatch):
    """Return the list of the images, by their sizes, of which the device's way computed the features."""
    images = []
    start = DeviceDescriber.start

    def counted(self, scales, drawn):
        images.append([pixels.shape for pixels in scales.values()])
        return start(self, scales, drawn)

    monkeypatch.setattr(DeviceDescriber, "start", counted)
    return images


@pytest.fixture
def changed(monkeypatch):
    """Return a function that multiplies the features of the device."""
    start = DeviceDescriber.start

    def change(factor):
        def other(self, scales, drawn):
            fetch = start(self, scales, drawn)
            return lambda: {name: rows * np.float32(factor) for name, rows in fetch().items()}

        monkeypatch.setattr(DeviceDescriber, "start", other)

    return change


@pytest.fixture
def by_cpu(model, tissue, tmp_path, completed):
    """The table of the CPU."""
    completed("predict {} --images {} --out T/cpu.csv", model, tissue)
    return tmp_path / "cpu.csv"


def notes(table):
    (record,) = read_json(table.with_name(f"{table.name}.run.json"))["records"]
    return record["notes"]


def shares(table):
    rows = rows_of(table)
    return np.array([[float(row[name]) for name in row if name.startswith("p_")] for row in rows])


def lines(err):
    return [line.partition(IDLE)[2] for line in err.splitlines() if IDLE in line]


def test_a_model_of_a_cpu_uses_the_gpu(model, tissue, tmp_path, by_cpu, gpu, started, completed):
    out = tmp_path / "gpu.csv"
    _, err = completed("predict {} --images {} --out {}", model, tissue, out)
    assert lines(err) == []
    # one image is compared
    assert len(started) == 1 + MEASURED + 12
    np.testing.assert_allclose(shares(out), shares(by_cpu), atol=0.02)
    assert (notes(out)["engine"], notes(out)["gpus"]) == ("keras", ["0"])
    (by,) = notes(out)["computed_by"].values()
    assert by["backend"] == "tensorflow"
    assert (notes(by_cpu)["engine"], notes(by_cpu)["gpus"]) == ("as trained", [])
    (by,) = notes(by_cpu)["computed_by"].values()
    assert by["backend"] == "openvino"


@pytest.mark.parametrize(
    ("precision", "factor", "is_alike"),
    [
        ("float32", 1.002, True),
        ("float32", 1.006, False),
        ("float32", np.nan, False),
        pytest.param("bfloat16", 1.006, True, marks=pytest.mark.slow),
        pytest.param("bfloat16", 1.06, False, marks=pytest.mark.slow),
    ],
)
def test_other_features_leave_it_idle(
    trained, precision, factor, is_alike, tissue, tmp_path, gpu, changed, completed
):
    if executed_precision(precision, engine="openvino") != precision:
        pytest.skip("OpenVINO does not compute in this precision on this CPU")
    gpu()
    model = trained(precision=precision)
    completed("predict {} --images {} --out T/cpu.csv", model, tissue)
    gpu("0")
    changed(factor)
    out = tmp_path / "p.csv"
    _, err = completed("predict {} --images {} --out {}", model, tissue, out)
    assert (lines(err) == []) == is_alike, err
    if not is_alike:
        said = "its features of convs-1.0-64 differ by "
        if np.isnan(factor):
            said = f"it fails ({min(tissue.rglob('*.png'))}: its features of convs-1.0-64 are not finite"
        assert lines(err)[0].startswith(said), err
        assert out.read_bytes() == (tmp_path / "cpu.csv").read_bytes()
        assert notes(out)["engine"] == "as trained"


def test_little_work_leaves_it_idle(
    model, tissue, tmp_path, by_cpu, gpu, started, completed, monkeypatch
):
    monkeypatch.setattr("bchisto.predict.model_file.GPU_SECONDS", GPU_SECONDS)
    monkeypatch.setattr(DeviceDescriber, "start", None)
    out = tmp_path / "p.csv"
    _, err = completed("predict {} --images {} --out {} --jobs 1", model, tissue, out)
    (line,) = lines(err)
    assert line.startswith("the CPU takes "), err
    assert line.endswith(", and the GPU longer to start"), err
    assert out.read_bytes() == by_cpu.read_bytes()


@pytest.mark.slow
def test_what_it_does_not_compute_leaves_it_idle(
    trained, tissue, tmp_path, gpu, started, completed
):
    pytest.importorskip("onnx")
    (tmp_path / "onnx").mkdir()
    encoder = write_onnx(tmp_path / "onnx")
    for options in ({"crops": "grid"}, {"encoders": (encoder,), "weights": ("imagenet",)}):
        started.clear()
        gpu()
        model = trained(**options)
        out = tmp_path / f"{len(options)}.csv"
        gpu("0")
        words = typed("predict {} --images {} --out {}", model, tissue, out)
        _, err = completed(*words)
        (line,) = lines(err)
        assert line.startswith("it does not compute "), err
        assert started == []
        assert notes(out)["engine"] == "as trained"


@pytest.mark.parametrize(
    "error", [BchistoError("no room"), RuntimeError("no room\nin a\ntrace"), MemoryError("no room")]
)
def test_a_gpu_that_fails_is_left_alone(
    model, tissue, tmp_path, by_cpu, gpu, completed, monkeypatch, error
):
    def fail(*_):
        raise error

    monkeypatch.setattr(DeviceDescriber, "start", fail)
    out = tmp_path / "p.csv"
    _, err = completed("predict {} --images {} --out {}", model, tissue, out)
    assert lines(err) == ["it fails (no room)"]
    assert out.read_bytes() == by_cpu.read_bytes()


@pytest.mark.slow
def test_a_first_image_that_cannot_be_used_does_not_decide(
    model, tissue, tmp_path, gpu, started, cli, monkeypatch
):
    images = shutil.copytree(tissue, tmp_path / "images")
    # two processes start slower than one
    monkeypatch.setattr("bchisto.core.jobs.resources.default_jobs", lambda: 2)
    first = min(images.rglob("*.png"))
    first.write_bytes(first.read_bytes()[:3000])
    words = typed("predict {} --images {} --out T/p.csv --skip-errors", model, images)
    code, _, err = cli(*words)
    assert (code, lines(err)) == (1, []), err
    assert len(started) == 1 + 11


@pytest.mark.parametrize("first", ["cpu", "gpu"])
def test_an_update_keeps_what_computed_its_table(
    model, tmp_path, gpu, started, cli, first, tissue_files, completed
):
    images = tmp_path / "images"
    images.mkdir()
    for path in tissue_files[:2]:
        shutil.copy(path, images / f"{path.parent.name}-{path.name}")
    out = tmp_path / "p.csv"
    words = typed("predict {} --images {} --out {} --update", model, images, out)
    if first == "cpu":
        gpu()
    completed(*words)
    before = rows_of(out)
    gpu("0")
    started.clear()
    code, _, err = cli(*words)
    # nothing is new
    assert (code, started) == (4, []), err
    shutil.copy(tissue_files[-1], images / "new.png")
    _, err = completed(*words)
    assert [row for row in rows_of(out) if row["image_id"] != "new.png"] == before
    if first == "cpu":
        assert lines(err) == ["checks, shards, Dask and what was begun on the CPU stay there"]
        assert started == []
        assert notes(out)["engine"] == "as trained"
    else:
        assert lines(err) == []
        assert len(started) == 1
        assert notes(out)["engine"] == "keras"
        # on a machine without a GPU too
        gpu()
        shutil.copy(tissue_files[-2], images / "newer.png")
        completed(*words)
        assert [
            row for row in rows_of(out) if row["image_id"] not in ("new.png", "newer.png")
        ] == before
        assert notes(out)["engine"] == "keras"


def test_a_table_of_an_earlier_version_is_one_of_the_cpu(
    model, tissue, tmp_path, gpu, started, cli
):
    images = shutil.copytree(tissue, tmp_path / "images")
    out = tmp_path / "p.csv"
    words = typed("predict {} --images {} --out {} --update", model, images, out)
    gpu()
    assert cli(*words)[0] == 0
    file = out.with_name("p.csv.run.json")
    content = read_json(file)
    for name in ("engine", "computed_by", "gpus"):
        del content["records"][0]["notes"][name]
    file.write_text(json.dumps(content))
    gpu("0")
    code, _, err = cli(*words)
    assert code == 4, err
    assert started == []


def test_an_interrupted_call_goes_on_where_it_began(
    model, tissue, tmp_path, gpu, started, cli, monkeypatch
):
    images = shutil.copytree(tissue, tmp_path / "images")
    monkeypatch.setattr("bchisto.predict.run._GPU_BLOCK", 4)
    recorded = []

    def noted(folder, predictions):
        recorded.append(notes(out)["engine"])
        return keep(folder, predictions)

    monkeypatch.setattr("bchisto.predict.blocks.keep", noted)
    monkeypatch.setattr("bchisto.featurize.settings._MOST_IMAGES", 4)
    last = max(images.rglob("*.png"))
    whole = last.read_bytes()
    last.write_bytes(whole[:3000])
    out = tmp_path / "p.csv"
    words = typed("predict {} --images {} --out {}", model, images, out)
    assert cli(*words)[0] == 1
    assert notes(out)["engine"] == "keras"
    # a killed call goes on too
    assert set(recorded) == {"keras"}
    last.write_bytes(whole)
    started.clear()
    monkeypatch.setattr("bchisto.predict.model_file.GPU_SECONDS", 60.0)
    code, _, err = cli(*words)
    assert (code, lines(err)) == (0, []), err
    assert len(started) == MEASURED + 4


def test_a_check_does_not_decide(model, tissue, gpu, started, cli):
    words = typed("predict {} --images {} --out T/p.csv --check", model, tissue)
    code, _, err = cli(*words)
    assert (code, started) == (0, []), err
    assert lines(err) == ["checks, shards, Dask and what was begun on the CPU stay there"]
