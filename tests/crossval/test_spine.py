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
from conftest import write_tissue
from refusals import refuses
from written_tables import panels_of, predictions


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
    refuses(InputError, r"folds=2.5: give a text, a path or a whole number", FoldChoice.of, 2.5)


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
    with pytest.raises(InputError, match="none of 6 images can be used"):
        opened(pictures, tmp_path, skip_errors=True, needs=(AtLeast(99),))
    # nothing is kept that is not to be skipped
    refuses(InputError, "20x40 is smaller", opened, pictures, tmp_path, keep_refused=True)


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
    refuses(InputError, "images=3: give a path", ImageSelection, 3)


def test_a_result_in_its_three_states():
    banners = (as_banner("RANDOM"),)
    boosted = (Path("run/boost/3-svm"), "3 folds", 6, "models")
    share = CrossValidation(*boosted, False, banners, share=Share(Shard(2, 4), 1, 3, 6, "models"))
    assert share.summary() == ["3-svm: shard 2/4 has 1 of 6 models; 3 of 6 done"]
    assert share.metrics is None
    tuned = (Path("run/finetune/none-x"), "no folds", 1, "folds")
    untested = CrossValidation(*tuned, True, banners, assembled=True)
    assert untested.summary() == [
        "RANDOM",
        "none-x: trained on all images, none tested. Protocol: no folds",
    ]
    scores = [0.2, 0.2, 0.2, 0.8, 0.8, 0.8, 0.8, 0.2]
    table = predictions(scores, [0] * 4 + [1] * 4, folds=[1] * 8, protocol="3 folds")
    (panel,) = panels_of(table, chosen=False)
    tested = CrossValidation(*boosted, True, banners, panel, assembled=True)
    summary = tested.summary()
    said = "3-svm: 6 of 8 images right: 75.0 % (95 % CI 34.9 to 96.8)"
    assert summary[0] == said
    assert "  RANDOM" in summary
    assert "  Protocol: 3 folds" in summary
    assert tested.summary("40x/3-svm")[0] == f"40x/{said}"
    assert tested.model.name == "model.bchisto"
    assert tested.report.name == "report.html"


@pytest.mark.parametrize(
    ("groups", "names", "unit"),
    [
        (("p", "p", "q", "q"), {"image": "image", "group": "mouse"}, "mice "),
        (("p", "p", "q", "q"), {}, "groups"),
        ((None,) * 4, {"image": "image", "group": "patient"}, "images"),
    ],
)
def test_a_temperature_is_drawn_by_units(groups, names, unit):
    """The penalty is that of five more independent units: patients where they are known."""
    p = np.array([[0.8, 0.2], [0.3, 0.7], [0.6, 0.4], [0.4, 0.6]])
    table = predictions(p, "abaa", "ab", folds=[1, 1, 2, 2], groups=groups)
    outputs = Outputs(None, tables=[table], methods=(), settings={}, picture=None)
    text = outputs._calibration(
        BundleFacts(classes=("a", "b"), protocol="", temperature=1.2), names
    )["text"]
    assert f"a penalty that weighs as much as five {unit}" in text
