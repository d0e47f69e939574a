"""Journeys of newcomers by the command line: what each expected is its docstring.

Small images and an encoder of NumPy, since none is about networks.
"""

import re
import shlex

import pytest
from conftest import write_tissue
from written_tables import rows_of

BOOST = ("--seeds", 1, "--param", "num_iterations=3", "--param", "min_data_in_leaf=2", "--jobs", 1)


@pytest.fixture
def images(tmp_path):
    return write_tissue(tmp_path / "images", per_class=8)


def test_from_a_trial_to_labelled_new_images(images, cli, tmp_path):
    """I type what is printed, one command after the other, and expect to end with a report on my new images."""
    words = ("--encoder", "tiny", "--weights", "random", "--jobs", 1)
    code, out, err = cli("trial", "--images", images, "--out", tmp_path / "trial", *words)
    assert (code, "of 16 images right" in out) == (0, True), err
    new = write_tissue(tmp_path / "new", per_class=3, seed=5)
    for command, instead in (
        ("predict", {"DIR": str(new), "predictions.csv": str(tmp_path / "p.csv")}),
        ("evaluate", {}),
    ):
        (line,) = re.findall(rf"next\S*.*?(bchisto {command} .+)", err)
        typed = [instead.get(word, word) for word in shlex.split(line)[1:]]
        more = ("--weights", "random", "--jobs", 1) if command == "predict" else ("--bootstrap", 20)
        code, out, err = cli(*typed, *more)
        assert code == 0, err
    assert "of 6 images right" in out


def test_shares_of_train_validation_and_test(described, run_copy, cli):
    """I ask for 80/10/10 and expect about a tenth of the images to be tested, each once."""
    run = run_copy(described)
    code, out, err = cli("boost", "--out", run, "--folds", "50/25/25", *BOOST)
    assert code == 0, err
    (table,) = (run / "boost").glob("*/predictions.csv")
    rows = rows_of(table)
    assert len(rows) == len({row["image_id"] for row in rows})
    assert 2 <= len(rows) <= 4
    assert f"of {len(rows)} images right" in out
