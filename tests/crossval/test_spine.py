"""What every road shares: folds by name, a selection that opens, the result in words."""

import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
from bchisto.core import InputError, as_banner
from bchisto.core.jobs import Shard, Share
from bchisto.core.models.bundles import BundleFacts
from bchisto.crossval import CrossValidation
from bchisto.crossval.outputs import Outputs
from bchisto.data import FoldChoice, ImageSelection
from bchisto.data.images import content
from bchisto.evaluate import Panel
from conftest import write_tissue
from written_tables import predictions


def test_a_choice_of_folds():
    assert FoldChoice.of(None) == FoldChoice.of(()) == FoldChoice()
    assert FoldChoice.of(4).folds == FoldChoice.of("4").folds == ("4",)
    assert FoldChoice.of([3, Path("mine.csv"), "eva"]).folds == ("3", "mine.csv", "eva")
    choice = FoldChoice("3", group_by="none", test_list="t.csv")
    assert FoldChoice.of(choice) is choice
    assert choice.test_list == Path("t.csv")
    images = {"labels": ["a", "b"] * 6, "groups": [None] * 12, "seed": 0}
    names = [f"{number}.png" for number in range(12)]
    assert [plan.name for plan in FoldChoice().plans(names, default="2", **images)] == ["2"]
    assert [plan.name for plan in FoldChoice([3, 2, "3"]).plans(names, default="10", **images)] == [
        "3",
        "2",
    ]
    with pytest.raises(InputError, match=r"folds=2.5: give a text, a path or a whole number"):
        FoldChoice.of(2.5)


@dataclass(frozen=True)
class AtLeast:
    """Images must have this side."""

    side: int

    def misfit(self, record, *, width, height):
        return (
            None
            if min(width, height) >= self.side
            else f"{record.path}: {width}x{height} is smaller than {self.side}"
        )


@pytest.fixture
def pictures(tmp_path):
    """Six images, of which one is small and one cannot be read."""
    from PIL import Image

    root = write_tissue(tmp_path / "pictures", per_class=3, size=(40, 40))
    Image.new("RGB", (20, 40), (200, 100, 150)).save(root / "benign" / "benign01.png")
    (root / "malignant" / "malignant02.png").write_bytes(b"no image")
    return root


def opened(root, tmp_path, **options):
    chosen = {"skip_errors": False, "needs": (AtLeast(32),), **options}
    return ImageSelection(root).open(
        cache=tmp_path / "images.csv", stain="macenko", colours=True, colours_off="--off", **chosen
    )


def test_sixteen_that_begin_at_once_open_each_image_once(tmp_path, monkeypatch):
    tissue, run, files = write_tissue(tmp_path / "tissue"), tmp_path / "run", Counter()
    for name in ("file_sha256", "read_header"):
        monkeypatch.setattr(content, name, partial(_counted, files, getattr(content, name)))
    begun = Barrier(16)

    def shard(_):
        begun.wait()
        return opened(tissue, run).unique.digest

    with ThreadPoolExecutor(16) as pool:
        digests = set(pool.map(shard, range(16)))
    assert len(digests) == 1
    assert set(files.values()) == {1}
    assert len(files) == 2 * 12
    assert [path.name for path in run.iterdir()] == ["images.csv"]
    os.utime(next(tissue.rglob("*.png")), (0, 0))
    opened(tissue, run)
    assert sorted(files.values()) == [*[1] * (len(files) - 2), 2, 2]


def _counted(counts, function, path):
    counts[function.__name__, path] += 1
    return function(path)


def test_a_selection_opens(pictures, tmp_path, caplog):
    small, torn = "benign/benign01.png", "malignant/malignant02.png"
    with pytest.raises(
        InputError,
        match=r"20x40 is smaller than 32 \(1 more cannot be used; `skip_errors` leaves them out\)",
    ):
        opened(pictures, tmp_path)
    assert not (tmp_path / "images.csv").exists()  # refused before anything is hashed
    images = opened(pictures, tmp_path, skip_errors=True)
    assert [name for name, _ in images.refused] == [small, torn]
    assert "left out: " in caplog.text
    used = {record.image_id for record in images.unique.dataset.records}
    assert {record.image_id for record in images.source.records} - used == {small, torn}
    kept = opened(pictures, tmp_path, skip_errors=True, keep_refused=True)
    assert kept.refused == ()
    assert len(kept.unique.dataset.records) == 6
    # what cannot be used is a part of the identity
    assert kept.unique.digest != images.unique.digest
    assert opened(pictures, tmp_path, skip_errors=True).unique.digest == images.unique.digest
    with pytest.raises(InputError, match="none of the 6 images can be used"):
        opened(pictures, tmp_path, skip_errors=True, needs=(AtLeast(99),))
    # nothing is kept that is not to be skipped
    with pytest.raises(InputError, match="20x40 is smaller"):
        opened(pictures, tmp_path, keep_refused=True)


def test_a_selection_of_a_path_is_all_of_it(pictures, tmp_path):
    assert (
        ImageSelection.of(str(pictures)) == ImageSelection.of(pictures) == ImageSelection(pictures)
    )
    chosen = ImageSelection(pictures, only=tmp_path / "list.csv", classes=["malignant", "benign"])
    assert ImageSelection.of(chosen) is chosen
    (tmp_path / "list.csv").write_text("image_id\nmalignant/malignant00.png\nbenign/benign00.png\n")
    table = chosen.table()
    assert sorted(r.image_id for r in table.records) == [
        "benign/benign00.png",
        "malignant/malignant00.png",
    ]
    assert table.classes == ("malignant", "benign")
    assert chosen.reading == {"label_level": "class", "context": "tight"}
    with pytest.raises(InputError, match="images=3: give a path"):
        ImageSelection(3)


FIGURE = {"value": 0.75, "interval": None, "method": "", "reason": None}
METRICS = {
    "accuracy": FIGURE,
    "balanced_accuracy": FIGURE,
    "patient_recognition_rate": None,
    "n": 8,
    "tested": {"n": 8, "least": 1, "most": 1},
    "units": {
        "kind": "image",
        "count": 8,
        "trained": 0,
        "ungrouped": 0,
        "of_class": [4, 4],
        "trained_groups": 0,
        "divided": 0,
        "one_class_folds": False,
        "needed": {},
    },
    "auc": None,
    "chance": {"largest_class": 0.5, "balanced": 0.5},
    "folds": [1],
    "accuracy_per_fold": [0.75],
    "confusion": [[3, 1], [1, 3]],
    "classes": ["a", "b"],
    "protocol": "3 folds",
    "names": {"row": "image", "image": "image", "group": "patient"},
    "fold_notes": [],
}


def test_a_result_in_its_three_states():
    share = CrossValidation(
        Path("run/boost/3-svm"),
        "3 folds",
        6,
        "models",
        False,
        (as_banner("RANDOM"),),
        share=Share(Shard(2, 4), 1, 3, 6, "models"),
    )
    assert share.summary() == ["3-svm: shard 2/4 has 1 of 6 models; 3 of 6 done"]
    assert share.metrics is None
    untested = CrossValidation(
        Path("run/finetune/none-x"),
        "no folds",
        1,
        "folds",
        True,
        (as_banner("RANDOM"),),
        assembled=True,
    )
    assert untested.summary() == [
        "RANDOM",
        "none-x: trained on all images, none tested. Protocol: no folds",
    ]
    tested = CrossValidation(
        Path("run/boost/3-svm"),
        "3 folds",
        6,
        "models",
        True,
        (as_banner("RANDOM"),),
        Panel(None, METRICS),
        assembled=True,
    )
    summary = tested.summary()
    assert summary[0] == "3-svm: 6 of 8 images right: 75.0 %"
    assert "  RANDOM" in summary
    assert "  Protocol: 3 folds" in summary
    assert tested.summary("40x/3-svm")[0] == "40x/3-svm: 6 of 8 images right: 75.0 %"
    assert tested.model.name == "model.bchisto"
    assert tested.report.name == "report.html"


@pytest.mark.parametrize(
    ("groups", "names", "unit"),
    [
        (("p", "p", "q", "q"), {"image": "image", "group": "patient"}, "patients"),
        (("p", "p", "q", "q"), {}, "groups"),
        ((None,) * 4, {"image": "image", "group": "patient"}, "images"),
    ],
)
def test_a_temperature_is_drawn_by_units(groups, names, unit):
    """The penalty is that of five more independent units: patients where they are known."""
    p = np.array([[0.8, 0.2], [0.3, 0.7], [0.6, 0.4], [0.4, 0.6]])
    table = predictions(p, "abaa", "ab", folds=[1, 1, 2, 2], groups=groups)
    outputs = Outputs(None, tables=[table], methods=(), settings={}, picture=lambda _: None)
    text = outputs._calibration(
        BundleFacts(classes=("a", "b"), protocol="", temperature=1.2), names
    )["text"]
    assert f"a penalty that weighs as much as five {unit}" in text
