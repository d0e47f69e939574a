"""A label for a slide: the lines of docs/slides.md as they stand, from slides to predictions of new ones."""

import json
import re
import shlex

import numpy as np
import pytest
from bchisto.boost import Bundle
from bchisto.featurize import read_embeddings
from documented import REPOSITORY
from slide_files import NAMES, stained, table, write_slide

openslide = pytest.importorskip("openslide")

SIDE = 400
"""Pixels of a field of 200 micrometres."""


def lines():
    """Return the command lines of the section."""
    text = (REPOSITORY / "docs" / "slides.md").read_text()
    section = text.partition("## A label for a slide\n")[2].partition("\n## ")[0]
    return re.findall(r"^bchisto .*$", section, re.MULTILINE)


def write_slides(folder, patients, *, seed):
    """Write two slides for each patient, those of every second one of another tissue; return their labels."""
    labels = {}
    for patient in patients:
        kind = patient % 2
        for part in ("ä 1", "b"):
            images = {
                (SIDE * place, SIDE): stained(
                    NAMES[kind], SIDE, SIDE, seed=seed + 20 * patient + 5 * len(part) + place
                )
                for place in range(1, 4 + kind)
            }
            write_slide(folder / f"P{patient}-{part}.tif", (2400, 1300), images)
            labels[f"P{patient}-{part}"] = ("kein, Befund", "Tumor: ja")[kind]
    return labels


def small(line, tiny_options):
    """Return the words of a line, with small settings and the name of the small feature file."""
    line = line.replace("resnet50-0.5-400", "tiny-1.0-64")
    words = shlex.split(line.replace("--encoder resnet50 --view 0.5:400", ""))[1:]
    if words[:2] == ["slides", "cut"]:
        words += ["--field", 200]
    if words[0] == "featurize":
        words += tiny_options
    if words[0] == "boost":
        words += ["--jobs", 1]
    return words


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Slides of twelve patients, two new ones, and a table of labels, in a folder with an odd name."""
    folder = tmp_path_factory.mktemp("Fälle 1")
    labels = write_slides(folder / "slides", range(12), seed=0)
    new = write_slides(folder / "new", (20, 21), seed=900)
    rows = [f'{slide},"{label}"' for slide, label in labels.items()]
    (folder / "labels.csv").write_text("\n".join(["slide,label", *rows]) + "\n")
    return folder, labels, new


@pytest.mark.slow
def test_lines_of_the_page(study, monkeypatch, completed, refused, tiny_options):
    folder, labels, new = study
    monkeypatch.chdir(folder)
    commands = lines()
    assert [command.split()[1] for command in commands] == [
        *("slides", "featurize", "features", "boost"),
        *("slides", "featurize", "features", "predict", "explain"),
    ]
    printed = [completed(*small(line, tiny_options)) for line in commands]
    following = "features study/features/tiny-1.0-64.h5 --by wsi --pool mean --out slides.npz"
    assert f"next: bchisto {following}" in printed[1][1]
    assert "24 images, 2 rows each, 16 numbers, mean of 3 to 4 fields" in printed[2][0]
    assert "bchisto boost --out RUN --features slides.npz --labels TABLE" in printed[2][1]
    pooled = read_embeddings("slides.npz")
    assert set(pooled.image_ids) == set(labels)
    assert pooled.groups == tuple(slide.partition("-")[0] for slide in pooled.image_ids)
    # patients stay whole, and the two kinds of tissue are told apart on those that trained nothing
    (folds,) = (folder / "study-slides").glob("boost/*/folds.csv")
    parts = {(row["group"], row["fold"]) for row in table(folds)}
    assert len(parts) == 12
    answers = table(folds.with_name("predictions.csv"))
    assert np.mean([row["predicted"] == row["label"] for row in answers]) == 1
    predicted = {row["image_id"]: row for row in table(folder / "slides.csv")}
    assert {slide: row["predicted"] for slide, row in predicted.items()} == new
    assert {row["trained"] for row in predicted.values()} == {"no"}
    # a model of slides takes neither fields nor slides as they are
    for words in (
        ("predict", "study-slides", "--images", "fields/manifest.csv", "--out", "p.csv"),
        ("slides map study-slides new --out maps",),
    ):
        err = refused(*words)
        assert "takes embeddings of the same kind, and no images; make them as in training" in err
    _check_contributions(folder, folds.with_name("model.bchisto"), new)
    _refuse_others(folder, completed, refused)


def _check_contributions(folder, model, new):
    """What the fields of a slide add to its scores, and the intercepts, are the scores of the model for the slide."""
    rows = table(folder / "why" / "fields.csv")
    assert len(rows) == 14
    bundle = Bundle.load(model)
    (models,) = bundle.models.values()
    slides = read_embeddings("new.npz")
    for slide, row in zip(slides.image_ids, slides.features, strict=True):
        own = [field for field in rows if field["slide"] == slide]
        added = [sum(float(field[f"adds {name}"]) for field in own) for name in bundle.classes]
        scores = []
        intercepts = []
        for linear in models:
            arrays = linear.arrays
            standard = (row.mean(axis=0) - arrays["mean"]) / arrays["scale"]
            scores.append(arrays["coefficients"] @ standard + arrays["intercepts"])
            intercepts.append(arrays["intercepts"])
        np.testing.assert_allclose(
            np.add(added, np.mean(intercepts, axis=0)), np.mean(scores, axis=0), atol=1e-6
        )
        assert bundle.classes[int(np.argmax(added))] == new[slide]
        tiles = json.loads((folder / "why" / f"{slide}.contributions.geojson").read_text())[
            "features"
        ]
        for field, tile in zip(own, tiles, strict=True):
            x, y = int(field["x"]), int(field["y"])
            assert field["image_id"] == f"fields/{slide}/{slide}_{x}_{y}.png"
            (ring,) = tile["geometry"]["coordinates"]
            assert sorted(map(tuple, ring[:4])) == sorted(
                [(x, y), (x + SIDE, y), (x + SIDE, y + SIDE), (x, y + SIDE)]
            )
            measured = tile["properties"]["measurements"]
            for name, value in measured.items():
                assert float(field[name]) == pytest.approx(value)


def _refuse_others(folder, completed, refused):
    """Only of a linear model of means, and of the fields of the features, are there contributions."""
    store = "study/features/tiny-1.0-64.h5"
    words = ("--features", store, "--out", "others")
    err = refused("explain study-slides --fields new-fields", *words)
    assert re.search("new-fields: has no field fields/P0-.*, which the features have", err), err
    words = ("--features", "slides.npz", "--out", "others")
    err = refused("explain study-slides --fields fields", *words)
    assert "slides.npz: not a feature file of bchisto, whose images have a column wsi" in err
    words = ("--features", store, "--out", "others")
    fitted = "--labels labels.csv --folds 2 --jobs 1"
    completed(f"boost --out trees --features slides.npz --seeds 1 {fitted}")
    err = refused("explain trees/boost/2-grouped-lightgbm/model.bchisto --fields fields", *words)
    assert "its classifier is lightgbm; only the score of a linear one" in err
    completed("features {} --by wsi --pool top-tenth --out top.npz", store)
    completed(f"boost --out top --features top.npz --head logistic {fitted}")
    err = refused("explain top --fields fields", *words)
    assert "their rows is the mean of tiles, that of training the mean of the largest tenth" in err
    both = "give --fields with --features, without --images or --method"
    assert both in refused("explain top --fields fields --out others")
    assert both in refused("explain top --fields fields", *words, "--images", "slides")
    assert not (folder / "others").exists()
