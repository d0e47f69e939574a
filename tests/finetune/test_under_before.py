"""The whole set balanced before it is split: what is left out, and that every output says so."""

import csv
import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from bchisto.finetune import FinetuneSettings
from bchisto.finetune.run import _left_out
from PIL import Image

pytestmark = pytest.mark.slow

OPTIONS = ("--network", "speck", "--size", 32, "--epochs", 1, "--batch-size", 2, "--jobs", 1)


@pytest.fixture(scope="module")
def uneven(tmp_path_factory):
    """Twelve images of one class and four of the other, and one that has no label."""
    root = tmp_path_factory.mktemp("uneven")
    rng = np.random.default_rng(0)
    rows = ["path,label,group"]
    for number in range(17):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(root / f"à {number:02d}.png")
        rows.append(f"à {number:02d}.png,{'' if number == 16 else 'ab'[number % 4 == 0]},p{number}")
    (root / "manifest.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return root / "manifest.csv"


def test_what_is_tested_is_balanced_and_every_output_says_so(uneven, tmp_path, cli):
    options = ("finetune", "--images", uneven, *OPTIONS, "--folds", 2, "--sampling", "under-before")
    code, out, err = cli(*options, "--out", tmp_path / "run")
    assert code == 0, err
    (folder,) = (tmp_path / "run" / "finetune").glob("*-speck")
    with (folder / "predictions.csv").open(newline="", encoding="utf-8") as handle:
        labels = {row["image_id"]: row["label"] for row in csv.DictReader(handle)}
    assert sorted(labels.values()) == ["a"] * 4 + ["b"] * 4
    with (folder / "folds.csv").open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    assert {row["image_id"] for row in rows} == set(labels)  # nor does any other train or validate
    for fold in "12":
        assert sorted(row["label"] for row in rows if row["fold"] == fold) == ["a", "a", "b", "b"]
    metrics = json.loads((folder / "metrics.json").read_text())
    banner = "BALANCED BEFORE THE SPLIT: random images of the larger classes were removed"
    assert any(one.startswith(banner) for one in metrics["run"]["banners"])
    assert {name: metrics["run"]["flow"][name] for name in ("found", "unlabelled", "balanced", "used")} == {
        "found": 17, "unlabelled": 1, "balanced": 8, "used": 8,
    }  # fmt: skip
    report = (folder / "report.html").read_text()
    assert banner in report
    assert banner in out
    assert "Before the split, random images of the larger classes were removed" in report
    assert "under-before-sampling" not in report


def test_the_seed_chooses_what_is_left_out_among_what_can_be_used():
    records = tuple(SimpleNamespace(image_id=f"{n}", label=[None, "a", "b", "b"][n % 4]) for n in range(40))
    settings = FinetuneSettings("speck", sampling="under-before")
    first, again = (_left_out(records, {"2": "broken"}, settings) for _ in range(2))
    assert first == again
    assert len(first) == 9  # of 19 that have 10 on the other side
    assert {int(one) % 4 for one in first} <= {2, 3}
    assert first != _left_out(records, {"2": "broken"}, replace(settings, seed=1))
    assert _left_out(records, {}, replace(settings, sampling="under")) == set()
    assert _left_out(records, {record.image_id: "broken" for record in records}, settings) == set()


def test_a_list_names_images_that_would_be_left_out(uneven, tmp_path, cli):
    listed = tmp_path / "list.csv"
    listed.write_text("image_id\n" + "".join(f"à {number:02d}.png\n" for number in range(4)), encoding="utf-8")
    options = ("finetune", "--images", uneven, "--out", tmp_path / "run", *OPTIONS, "--sampling", "under-before")
    code, _, err = cli(*options, "--folds", "none", "--test-list", listed)
    assert code == 2
    assert "--sampling under-before: goes with folds that are drawn, not with" in err
    assert "Traceback" not in err
    assert not list((tmp_path / "run").rglob("*.bin"))
