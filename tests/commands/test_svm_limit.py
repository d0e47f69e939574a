"""The head svm beyond its limit of rows, which every output names. The limit is lowered, since its own is 3,000."""

import json
import sys

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture
def limit(monkeypatch):
    from bchisto.boost import inner

    limit = inner.MOST_ROWS
    for name, module in list(sys.modules.items()):
        if name.startswith("bchisto.") and getattr(module, "MOST_ROWS", None) == limit:
            monkeypatch.setattr(module, "MOST_ROWS", 6)
    monkeypatch.setitem(inner.few_images.__kwdefaults__, "most", 6)


def test_every_output_says_on_how_many_it_was_fitted(limit, described, run_copy, cli):
    run = run_copy(described)
    code, out, err = cli("boost", "--out", run, "--folds", 3, "--head", "svm", "--jobs", 1)
    assert code == 0, err
    said = "The head svm was fitted on 6 of up to 8 training images of a fold."
    folder = run / "boost" / "3-svm"
    assert said in out
    assert said in json.loads((folder / "metrics.json").read_text())["run"]["banners"]
    assert said in (folder / "report.html").read_text()
    assert json.loads((folder / "settings.json").read_text())["settings"]["svm_images"] == 6
    assert len((folder / "predictions.csv").read_text().splitlines()) == 13  # all are predicted
