"""Every pipeline ends in what a fresh run on the same inputs gives, whatever was there, and a check tells before."""

import shutil
from dataclasses import dataclass
from importlib import import_module

import numpy as np
import pytest
from conftest import write_tissue
from engine_jobs import content
from PIL import Image
from slide_files import NAMES, stained, write_slide

TINY = "--encoder tiny --weights random --view 1.0:64 --augmentations 2 --crops 3"
FEATURIZE = f"featurize --images {{images}} --out {{run}} {TINY}"


@dataclass(frozen=True)
class Pipeline:
    """A command that computes, and what decides about its outputs.

    Attributes
    ----------
    words : str
        The command, with places for the images or slides, the run folder and a model.
    outputs : tuple of str
        Patterns of the outputs of which a fresh run makes the same.
    other : str
        Options of another result, where test_engine.py has none.
    before : str
        A command that it needs.
    shards : bool
        Whether it has shards.
    listed : bool
        Whether a check tells by the list of units that there is something to do; otherwise by its exit code.
    """

    words: str
    outputs: tuple[str, ...]
    other: str = ""
    before: str = ""
    shards: bool = False
    listed: bool = False


CROSS_VALIDATED = ("predictions.csv", "metrics.json", "model.bchisto")
PIPELINES = {
    "featurize": Pipeline(FEATURIZE, ("features/*.h5",), shards=True),
    "boost": Pipeline(
        "boost --out {run} --folds 3 --head logistic",
        tuple(f"boost/*/{name}" for name in CROSS_VALIDATED),
        before=FEATURIZE,
        shards=True,
        listed=True,
    ),
    "finetune": Pipeline(
        "finetune --images {images} --out {run} --network speck --folds 3 --epochs 2 --batch-size 4",
        tuple(f"finetune/*/{name}" for name in CROSS_VALIDATED),
        shards=True,
        listed=True,
    ),
    "predict": Pipeline(
        "predict {model} --images {images} --out {run}/p.csv --weights random --update",
        ("p.csv",),
        "--threshold 0.3",
    ),
    "explain": Pipeline(
        "explain {model} --images {images} --out {run} --weights random --method map",
        ("map/explain.csv",),
        "--target malignant",
    ),
    "cut": Pipeline(
        "slides cut {images} --out {run} --field 48 --tissue 0.2",
        ("manifest.csv",),
        "--scale 0.6",
    ),
    "map": Pipeline(
        "slides map {model} {images} --out {run} --weights random --field 48 --scale 0.5 --tissue 0.2",
        ("slides.csv", "maps/*/tiles.csv"),
        "--tissue 0.4",
        shards=True,
    ),
}
COMPUTATIONS = {
    "featurize": "featurize.pipeline.FeatureExtraction",
    "boost": "boost.training.BoostTraining",
    "finetune": "finetune.training.CnnTraining",
    "predict": "predict.run.ImagePrediction",
    "explain": "apps.explain.run.Explanations",
    "cut": "apps.slides.cut.Fields",
    "map": "apps.slides.map.SlideMaps",
}
"""Pipeline to its class."""
SLIDES = ("cut", "map")
FAST = ("featurize", "boost", "predict")


def removed(files):
    files[1].unlink()


def added(files):
    shutil.copy(files[0], files[0].with_stem("another"))
    change_pixels(files[0].with_stem("another"))


def relabelled(files):
    shutil.move(files[0], files[-1].parent / files[0].name)


def replaced(files):
    change_pixels(files[0])


def change_pixels(path):
    if path.suffix == ".tif":
        path.unlink()
        write_slide(path, (640, 512), {(128, 96): stained(NAMES[1], 384, 288, seed=9)})
        return
    pixels = np.asarray(Image.open(path)).copy()
    pixels[:20] //= 2
    Image.fromarray(pixels).save(path)


def interrupt(*_, **__):
    raise KeyboardInterrupt


CHANGES = {change.__name__: change for change in (removed, added, relabelled, replaced)}


class Stage:
    """A pipeline in a run folder, on a copy of its images."""

    def __init__(self, name, folder, model, cli):
        self.pipeline = PIPELINES[name]
        self.model = model
        self.images = folder / "images"
        self.run = folder / "run"
        self._cli = cli
        if name in SLIDES:
            self.images.mkdir()
            for number, label in enumerate(NAMES):
                path = self.images / f"S{number}.tif"
                write_slide(path, (640, 512), {(64, 64): stained(label, 480, 384, seed=number)})
        else:
            write_tissue(self.images)

    @property
    def files(self):
        return sorted(path for path in self.images.rglob("*") if path.is_file())

    def words(self, words, *more):
        places = {"images": self.images, "run": self.run, "model": self.model}
        return [*(word.format(**places) for word in words.split()), *more]

    def go(self, *more):
        """Run the commands; return exit code and messages of the last."""
        if self.pipeline.before:
            self._refused_then_overwritten(self.words(self.pipeline.before))
        code, out, err = self._cli(*self.words(self.pipeline.words, *more))
        return code, out + err

    def finish(self, *more):
        """Run the commands; if what is there is refused, overwrite it."""
        if self.pipeline.before:
            self._refused_then_overwritten(self.words(self.pipeline.before))
        self._refused_then_overwritten(self.words(self.pipeline.words, *more))

    def _refused_then_overwritten(self, words):
        code, _, err = self._cli(*words)
        if code == 2:
            assert "--overwrite" in err
            code, _, err = self._cli(*(word for word in words if word != "--update"), "--overwrite")
        assert code in (0, 4), err

    def has_something_to_do(self, *more):
        """Ask by a check, which must not change the outputs."""
        before = self.outputs()
        words = ["--check", *more]
        if self.pipeline.shards:
            words += ["--shard", "1/1"]
        code, said = self.go(*words)
        assert self.outputs() == before
        if code == 2:
            return True
        assert code in (0, 4), said
        if self.pipeline.listed:
            return any(self.run.rglob("units.json"))
        return code == 0

    def outputs(self):
        return {
            path.relative_to(self.run).as_posix(): content(path)
            for pattern in self.pipeline.outputs
            for path in sorted(self.run.glob(pattern))
        }

    def fresh(self, folder, *more):
        """Return the outputs of a fresh run on the images as they are."""
        other = replace_run(self, folder)
        other.finish(*more)
        return other.outputs()


def replace_run(stage, folder):
    other = object.__new__(Stage)
    other.__dict__.update(stage.__dict__, run=folder)
    return other


@pytest.fixture
def stage(tmp_path, request, cli):
    """Return a function that makes the stage of a pipeline."""

    def make(name):
        if name in SLIDES:
            pytest.importorskip("openslide")
        model = ""
        if "{model}" in PIPELINES[name].words:
            model = request.getfixturevalue("boosted_model")
        return Stage(name, tmp_path, model, cli)

    return make


def cases(names=tuple(PIPELINES), *columns):
    """Return a parameter for each pipeline and value; those that take seconds each are slow."""
    rows = [(name,) for name in names]
    for column in columns:
        rows = [(*row, value) for row in rows for value in column]
    return [
        pytest.param(*row, marks=[] if row[0] in FAST else [pytest.mark.slow], id="-".join(row))
        for row in rows
    ]


CHECKED = tuple(name for name in PIPELINES if name != "cut")


# of features and models, by what is said of them and what is made anew: test_engine.py
CHANGED = [
    # one that is added: test_interrupted_before_the_outputs
    *cases(("predict",), ("removed", "relabelled", "replaced")),
    *cases(("explain",), ("relabelled", "replaced")),
    *cases(("map",), ("replaced",)),
    # a slide that is gone keeps its fields, and another one of its name is refused, by design
    *cases(("cut",), ("added",)),
]


@pytest.mark.parametrize(("name", "change"), CHANGED)
def test_outputs_are_of_exactly_these_images(stage, tmp_path, name, change):
    here = stage(name)
    here.finish()
    CHANGES[change](here.files)
    fresh = here.fresh(tmp_path / "fresh")
    assert fresh != here.outputs()
    if name in CHECKED:
        assert here.has_something_to_do()
    here.finish()
    after = here.outputs()
    assert {path: after.get(path) for path in fresh} == fresh  # a map of a slide that is gone stays
    if name in CHECKED:
        assert not here.has_something_to_do()


@pytest.mark.parametrize("name", cases(("predict", "explain", "cut", "map")))
def test_outputs_are_of_exactly_these_settings(stage, tmp_path, name):
    here = stage(name)
    here.finish()
    other = PIPELINES[name].other.split()
    fresh = here.fresh(tmp_path / "fresh", *other)
    if name in CHECKED:
        assert here.has_something_to_do(*other)
    here.finish(*other)
    after = here.outputs()
    assert {path: after.get(path) for path in fresh} == fresh


@pytest.mark.parametrize("name", cases())
def test_interrupted_before_the_outputs(stage, tmp_path, monkeypatch, name):
    """Of other images than those of the outputs that are there, and that nothing changes while nothing has changed."""
    here = stage(name)
    here.finish()
    before = here.outputs()
    assert before
    if name in CHECKED:
        assert not here.has_something_to_do()
    here.finish()
    assert here.outputs() == before
    added(here.files)
    fresh = here.fresh(tmp_path / "fresh")
    with monkeypatch.context() as patch:
        module, _, computation = COMPUTATIONS[name].rpartition(".")
        patch.setattr(getattr(import_module(f"bchisto.{module}"), computation), "write", interrupt)
        code, said = here.go()
        assert code == 130, said
    assert here.outputs() != fresh
    if name in CHECKED:
        assert here.has_something_to_do()
    here.finish()
    assert here.outputs() == fresh
