"""The recipe that measures an encoder: all of it on small synthetic BACH, planned, and refused without an encoder."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
from bchisto.apps.recipes import list_recipes, load_recipe
from bchisto.apps.recipes.recipe import ReproduceRequest
from bchisto.apps.recipes.settings import build_steps
from bchisto.core.jobs import Work
from bchisto.core.runs import science
from bchisto.featurize import View
from bchisto.featurize.crops import GRID
from conftest import typed
from documented import breakhis, idc
from miniatures import write_bach


def marked(root):
    (root / "bchisto-synthetic.json").write_text("{}")
    return root


@pytest.fixture(scope="module")
def bach(tmp_path_factory):
    return marked(write_bach(tmp_path_factory.mktemp("bach"), height=820, width=1024))


@pytest.fixture(scope="module")
def small_bach(tmp_path_factory):
    return marked(write_bach(tmp_path_factory.mktemp("bach"), height=300, width=400))


def test_it_needs_an_encoder_and_others_take_none(small_bach, refused, tmp_path):
    assert "bach-encoder" in list_recipes()
    err = refused("reproduce bach-encoder --images {} --out T/run", small_bach)
    assert "measures an encoder; name it with --encoder NAME" in err
    words = typed("--encoder tiny --images {} --out T/run", small_bach)
    assert "--encoder tiny: rakhlin2018 names its own" in refused("reproduce rakhlin2018", *words)


def test_what_the_encoder_brings_is_printed_and_its_weights_are_asked_for(
    small_bach, refused, tmp_path
):
    err = refused(
        "reproduce bach-encoder --encoder uni2-h --images {} --out T/run --quick --variant eva-logistic",
        small_bach,
    )
    assert "--weights uni2-h=DIR" in err
    assert "uni2-h brings" in err
    request = ReproduceRequest(
        images=small_bach, run=tmp_path, work=Work(), encoders=("uni2-h",), weights=()
    )
    step, _ = build_steps(load_recipe("bach-encoder"), request, "eva-logistic")
    assert (step.settings.views, step.settings.crops) == ((View(0.5, 224, "um"),), GRID)
    assert (step.settings.augmentations, step.settings.stain, step.settings.color_range) == (
        1,
        "none",
        (1.0, 1.0),
    )


@pytest.mark.slow
def test_three_protocols_and_three_heads_beside_published_rows(bach, completed, tmp_path):
    words = typed("--encoder tiny --weights random --images {} --quick --jobs 1", bach)
    out, _ = completed("reproduce bach-encoder", *words, "--plan")
    assert "rakhlin10-lightgbm: boost" in out
    completed("reproduce bach-encoder", *words, "--out", tmp_path / "run")
    folder = tmp_path / "run" / "reproduce" / "bach-encoder"
    for key, row in (
        ("eva", "UNI2-h, linear"),
        ("thunder", "GenBio-PathFM, kNN"),
        ("rakhlin10", "LightGBM"),
    ):
        text = (folder / f"{key}.csv").read_text().replace('"', "")
        assert row in text
        assert all(f"{key}-{head}" in text for head in ("logistic", "knn", "lightgbm"))
    tables = {path.parent.name for path in (tmp_path / "run" / "boost").glob("*/metrics.json")}
    assert len(tables) == 9
    for path in (tmp_path / "run" / "boost").glob("*eva*logistic/metrics.json"):
        assert json.loads(path.read_text())["run"]["protocol"].count("eva")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "write", "folder", "unit"),
    [
        ("breakhis-encoder", breakhis, "BreaKHis_v1", "patient"),
        ("idc-encoder", idc, "IDC_regular_ps50_idx5", "slide"),
    ],
)
def test_an_encoder_elsewhere_adds_its_rows(name, write, folder, unit, tmp_path):
    """The command of docs/reproduce.md: groups stay whole, and each classifier has its rows."""
    write(tmp_path)
    file = tmp_path / "measured.csv"
    tool = Path(__file__).resolve().parents[3] / "tools" / "benchmarks" / "ledger.py"
    command = typed(
        "reproduce {} --images {} --out {} --encoder tiny --weights random --jobs 1 --all-variants --quick",
        name,
        tmp_path / folder,
        tmp_path / "run",
    )
    subprocess.run([sys.executable, tool, file, *command], check=True)
    with file.open(encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    assert {row["name"] for row in rows} >= {
        f"{name} tiny: {head}" for head in ("logistic", "knn", "lightgbm")
    }
    assert {row["unit"] for row in rows} == {unit}
    assert {"accuracy", "balanced_accuracy", "auc"} <= {row["figure"] for row in rows}
    digests = " ".join(f"{part}:{digest}" for part, digest in sorted(science().items()))
    assert {row["science"] for row in rows} == {digests}
