"""A label for a slide: the lines of docs/slides.md as they stand, from slides to predictions of new ones."""

import re
import shlex

import numpy as np
import pytest
from bchisto.featurize import read_embeddings
from documented import REPOSITORY
from slide_files import NAMES, stained, table, write_slide

openslide = pytest.importorskip("openslide")

SIDE = 400
"""Pixels of a field of 200 micrometres."""


def lines():
    """Return the command lines of the section."""
    text = (REPOSITORY / "docs" / "slides.md").read_text(encoding="utf-8")
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


@pytest.mark.slow
def test_lines_of_the_page(tmp_path, monkeypatch, completed, refused, tiny_options):
    monkeypatch.chdir(tmp_path)
    labels = write_slides(tmp_path / "slides", range(8), seed=0)
    new = write_slides(tmp_path / "new", (20, 21), seed=900)
    rows = [f'{slide},"{label}"' for slide, label in labels.items()]
    (tmp_path / "labels.csv").write_text("\n".join(["slide,label", *rows]) + "\n", "utf-8")
    commands = lines()
    assert [command.split()[1] for command in commands[:4]] == [
        "slides",
        "featurize",
        "features",
        "boost",
    ]
    printed = [completed(*small(line, tiny_options)) for line in commands]
    assert "16 images, 2 rows each, 16 numbers, mean of 3 to 4 fields" in printed[2][0]
    assert "bchisto boost --out RUN --features slides.npz --labels TABLE" in printed[2][1]
    pooled = read_embeddings("slides.npz")
    assert set(pooled.image_ids) == set(labels)
    assert pooled.groups == tuple(slide.partition("-")[0] for slide in pooled.image_ids)
    # patients stay whole, and the two kinds of tissue are told apart on those that trained nothing
    (folds,) = (tmp_path / "study-slides").glob("boost/*/folds.csv")
    parts = {(row["group"], row["fold"]) for row in table(folds)}
    assert len(parts) == 8
    answers = table(folds.with_name("predictions.csv"))
    assert np.mean([row["predicted"] == row["label"] for row in answers]) == 1
    predicted = {row["image_id"]: row for row in table(tmp_path / "slides.csv")}
    assert {slide: row["predicted"] for slide, row in predicted.items()} == new
    assert {row["trained"] for row in predicted.values()} == {"no"}
    # a model of slides takes neither fields nor slides as they are
    for words in (
        ("predict", "study-slides", "--images", "fields/manifest.csv", "--out", "p.csv"),
        ("slides", "map", "study-slides", "new", "--out", "maps"),
    ):
        err = refused(*words)
        assert "takes embeddings of the same kind, and no images; make them as in training" in err
