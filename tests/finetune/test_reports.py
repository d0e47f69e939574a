"""What a fine-tuned network says of its tables, and evaluate says again."""

import json

import pytest
from bchisto.core import InputError, ReportError
from bchisto.core.jobs import Work
from bchisto.evaluate import TwoClassView, evaluate
from bchisto.evaluate.report import write_evaluation
from bchisto.finetune import CnnBundle, FinetuneSettings, finetune

pytestmark = pytest.mark.slow

SETTINGS = FinetuneSettings(
    "convs",
    weights="random",
    size=32,
    epochs=1,
    batch_size=4,
    patches="random:64:2",
    validation=False,
    augmentations=(),
)
CLASSES = ("Tissu sain", "é_1", "x$2")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Three classes of one's own, four images each, as a manifest."""
    import numpy as np
    from PIL import Image

    root = tmp_path_factory.mktemp("own")
    rng = np.random.default_rng(0)
    lines = ["path,label"]
    for place, name in enumerate(CLASSES):
        for number in range(4):
            pixels = rng.integers(0, 80 + 60 * place, (96, 96, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / f"{place}{number}.png")
            lines.append(f"{place}{number}.png,{name}")
    (root / "list.csv").write_text("\n".join(lines), encoding="utf-8")
    return root / "list.csv"


def test_evaluate_says_what_finetune_said(images, tmp_path, monkeypatch):
    """With a two-class view and without, of images and patches; a failing report costs nothing."""
    from bchisto.evaluate.report import sections

    run = tmp_path / "run"
    with pytest.raises(InputError, match="`positive` malignant: no such class"):
        finetune(images, out=run, settings=SETTINGS, folds=["2"], work=Work(jobs=1), view=TwoClassView(("malignant",)))

    def fail(value):
        raise ValueError("no figure")

    with monkeypatch.context() as broken:
        broken.setattr(sections, "other_figures", fail)
        with pytest.raises(ReportError, match=r"ValueError: no figure; .* model\.bchisto are written") as caught:
            finetune(images, out=run, settings=SETTINGS, folds=["2"], work=Work(jobs=1))
    (first,) = caught.value.results
    assert not (run / "report.html").exists()
    assert not (first.folder / "report.html").exists()
    assert set(CnnBundle.load(first.folder / "model.bchisto").classes) == set(CLASSES)
    for view in (TwoClassView(), TwoClassView(("é_1", "x$2"), "max", (0.4,))):
        result = first
        if view.positive:
            (result,) = finetune(images, out=run, settings=SETTINGS, folds=["2"], work=Work(jobs=1), view=view)
            assert "2-convs" in (run / "report.html").read_text(encoding="utf-8")
            assert (result.folder / "report.html").is_file()
        tables = json.loads((result.folder / "metrics.json").read_text(encoding="utf-8"))["tables"]
        names = ("predictions", "predictions-by-patch")
        found = write_evaluation(evaluate([result.folder / f"{name}.csv" for name in names], out=tmp_path / "e"))[
            "tables"
        ]
        assert found["predictions"] == tables["convs"]
        assert found["predictions-by-patch"] == tables["convs (patch)"]
        assert ("two_class" in found["predictions"]) == bool(view.positive)
        assert all(" trained on 2 images of " in note for note in found["predictions"]["fold_notes"])
        of_each = [found[name]["trained_per_fold"] for name in names]
        assert of_each == [of_each[0]] * 2
        assert [sum(counts) for counts in of_each[0]] == [6, 6]
