"""The learning curve of `bchisto next --curve`, on made data of which it is known what helps."""

import csv
import re

import numpy as np
import pytest
from bchisto.apps.next import curve
from bchisto.apps.next.images import RunImages

PATIENTS = 24
OF_EACH = 12


@pytest.fixture(autouse=True)
def _once(monkeypatch):
    """Draw folds once: it takes a third of the time."""
    monkeypatch.setattr(curve, "_REPEATS", 1)


def images_of(rows, truth, groups, *, chosen=()):
    """Return made images, all of which have a label."""
    names = [f"{place:03d}.png" for place in range(len(rows))]
    cells = {
        "label": {name: "ab"[label] for name, label in zip(names, truth, strict=True)},
        "group": {name: f"P{group}" for name, group in zip(names, groups, strict=True)},
        "chosen": {names[place]: "doubt 1" for place in chosen},
    }
    if groups is None:
        cells["group"] = {}
    return RunImages(
        names, rows.astype(np.float32), [{place} for place in range(len(names))], (), cells
    )


def made(rng, *, of_patient, of_image, features=12):
    """Return features, labels and patients: a signal in one axis, and noise of patients and of images in all."""
    groups = np.repeat(np.arange(PATIENTS), OF_EACH)
    truth = rng.integers(2, size=len(groups))
    rows = of_patient * rng.normal(size=(PATIENTS, features))[groups]
    rows = rows + of_image * rng.normal(size=(len(groups), features))
    rows[:, 0] += 2.0 * truth
    return rows, truth, groups


def curves_of(table):
    return {of_unit.unit: of_unit for of_unit in curve.learning_curves(table, seed=0)}


def twins(rng, *, of_each):
    """72 patients in pairs that look alike, and unlike all others: the class of one is learnt from its twin only."""
    groups = np.repeat(np.arange(72), of_each)
    pair = groups // 2
    truth = rng.permutation(36)[pair] % 2
    rows = rng.normal(size=(36, 200))[pair] + 0.02 * rng.normal(size=(len(groups), 200))
    return rows, truth, groups


def test_further_images_of_the_same_patients_do_not_help_and_patients_do(rng):
    curves = curves_of(images_of(*twins(rng, of_each=6)))
    labels, patients = curves["labels"], curves["patients"]
    assert abs(labels.gain.value) < 0.05
    assert re.search(
        r"going from \d+ to \d+ labels gained nothing that can be shown: ", str(labels)
    )
    assert patients.gain.low > 0
    assert re.search(r"going from \d+ to \d+ patients gained \+\d", str(patients))
    assert patients.sizes[-1] == 2 * patients.sizes[0] == round(0.8 * 72)
    assert labels.sizes[-1] == 2 * labels.sizes[0] == round(0.8 * 432)


def test_labels_that_help_are_shown(rng):
    """Each image is of a patient of its own, so that a label is a patient."""
    kept = curves_of(images_of(*twins(rng, of_each=1)))["labels"]
    assert kept.gain.low > 0
    assert re.search(r"going from 29 to 58 labels gained \+\d", str(kept))


def test_what_is_learnt_already_gains_nothing(rng):
    rows, truth, groups = made(rng, of_patient=0.1, of_image=0.3)
    for of_unit in curves_of(images_of(rows, truth, groups)).values():
        assert "gained nothing that can be shown" in str(of_unit)
        assert of_unit.figures[-1].value > 0.95


def test_images_that_a_model_chose_are_not_tested(rng):
    rows, truth, groups = made(rng, of_patient=0.1, of_image=0.3)
    chosen = np.flatnonzero(np.arange(len(truth)) % 3 == 0)
    truth[chosen] = 1 - truth[chosen]  # they would be wrong
    curves = curves_of(images_of(rows, truth, groups, chosen=chosen))
    assert curves["labels"].images == len(truth) - len(chosen)
    assert curves["labels"].figures[-1].value > 0.8
    assert "on 192 images that a model did not learn from" in str(curves["labels"])


def test_no_patient_trains_the_model_that_tests_it(rng):
    """Each patient has a look of its own, and labels that nothing shows: of a known patient they would be right."""
    groups = np.repeat(np.arange(PATIENTS), OF_EACH)
    truth = rng.integers(2, size=PATIENTS)[groups]
    rows = 3 * rng.normal(size=(PATIENTS, 60))[groups] + rng.normal(size=(len(groups), 60))
    for of_unit in curves_of(images_of(rows, truth, groups)).values():
        assert of_unit.figures[-1].value < 0.75


def test_without_patients_there_is_one_curve(rng):
    rows, truth, _ = made(rng, of_patient=0, of_image=1)
    table = images_of(rows, truth, range(len(truth)))
    table.cells["group"] = {}
    assert [*curves_of(table)] == ["labels"]


@pytest.mark.parametrize("labels", [0, 1, 2])
def test_too_few_labels_have_no_curve(rng, labels):
    truth = np.arange(2 * labels) % 2
    rows = rng.normal(size=(2 * labels, 3))
    assert curves_of(images_of(rows, truth, range(2 * labels))) == {}


def test_the_command_prints_and_draws_it(tmp_path, completed, rng):
    rows, truth, groups = made(rng, of_patient=0.5, of_image=1)
    names = np.array([f"ü{place}" for place in range(len(rows) + 4)])
    labels = np.array([*np.array(["gut", "böse"])[truth], "", "", "", ""])
    np.savez(
        tmp_path / "x.npz",
        features=np.concatenate([rows, rows[:4]]).astype(np.float32),
        labels=labels,
        image_ids=names,
        groups=np.array([f"P{group}" for group in (*groups, *groups[:4])]),
    )
    run = tmp_path / "run"
    completed("boost --features T/x.npz --out {} --head prototype --folds 2 --jobs 1", run)
    printed, _ = completed("next {} --count 2 --curve", run)
    lines = [line for line in printed.splitlines() if "labels gained" in line]
    lines += [line for line in printed.splitlines() if "patients gained" in line]
    assert len(lines) == 2
    page = (run / "next" / "index.html").read_text()
    assert page.count("<svg") == 2
    for line in lines:
        assert f"{line[0].upper()}{line[1:]}." in page
    printed, _ = completed("next {} --count 2", run)
    assert "gained" not in printed
    with (run / "next" / "manifest.csv").open(encoding="utf-8") as file:
        assert next(csv.DictReader(file)).keys() == {
            *("path", "image_id", "mpp", "group", "label", "chosen", "why")
        }
