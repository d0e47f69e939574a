"""The choice of the best result of a run stands in its ``choice.json``, whichever command trained what and when."""

import shutil

import numpy as np
import pytest
from bchisto.core import InputError
from bchisto.evaluate import Panel, choice_in_run, measure
from bchisto.evaluate.report import known_of
from bchisto.predict import find_bundle
from conftest import typed
from written_tables import predictions, read_json

HEADS = ("lda", "prototype", "knn")
OTHERS = "{} other result{} of this run {} of other images or folds, so {} not part of {} choice."


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    """Embeddings of 40 images of 20 cases that hold nothing of their classes."""
    rng = np.random.default_rng(3)
    path = tmp_path_factory.mktemp("noise") / "vectors é.npz"
    np.savez(
        path,
        features=rng.normal(size=(40, 4)),
        image_id=[f"slide {k:02d} ä" for k in range(40)],
        label=["benign" if k % 4 < 2 else "malignant" for k in range(40)],
        group=[f"case {k // 2}" for k in range(40)],
    )
    return path


def boost(completed, run, noise, head, *options, folds=5):
    return completed(
        "boost --out {} --features {} --folds {} --head {}", run, noise, folds, head, *options
    )


def metrics_of(folder):
    metrics, *_ = read_json(folder / "metrics.json")["tables"].values()
    return metrics


def choices_of(run):
    """Return of each result that ``choice.json`` names what the choice added."""
    results = read_json(run / "choice.json")["results"]
    return {name.removeprefix("boost/5-grouped-"): added for name, added in results.items()}


def said(folder):
    """Return what is said of the choice wherever a model is used."""
    return " ".join(known_of(folder / "model.bchisto")["lines"])


@pytest.fixture(scope="module")
def three(noise, tmp_path_factory):
    """A run folder of three commands, and the files of the first result before the others were trained."""
    from bchisto.cli import cli
    from click.testing import CliRunner

    run = tmp_path_factory.mktemp("three") / "run"
    alone = {}
    for head in HEADS:
        arguments = typed("boost --out {} --features {} --folds 5 --head {}", run, noise, head)
        result = CliRunner().invoke(cli, list(map(str, arguments)))
        assert result.exit_code == 0, result.output
        if head == HEADS[0]:
            assert choices_of(run) == {}
            first = run / "boost" / f"5-grouped-{head}"
            alone = {path: path.read_bytes() for path in first.iterdir() if path.is_file()}
    return run, alone


def test_the_choice_is_beside_the_results_and_each_of_them_names_it(three):
    """What one result holds depends on itself only: the report of the run and `predict` have the corrected figures."""
    run, alone = three
    assert {path: path.read_bytes() for path in alone} == alone
    found = choices_of(run)
    assert found.keys() == {*HEADS}
    folders = {head: run / "boost" / f"5-grouped-{head}" for head in sorted(HEADS)}
    values = {head: metrics_of(folder)["balanced_accuracy"] for head, folder in folders.items()}
    values = {head: figure["value"] for head, figure in values.items()}
    best = max(values, key=values.get)
    equal = list(values.values()).count(values[best]) - 1
    kept = {"kind": "highest", "count": 3, "chosen": folders[best].name, "by": "balanced_accuracy"}
    of_run = (run / "report.html").read_text()
    assert "corrected for the choice among 3 (BBC-CV)" in of_run
    for head, folder in folders.items():
        assert found[head]["choice"] == kept | {"equal": equal, "idle": 0, "elsewhere": 0}
        names = [f"{name}_chosen" for name in ("accuracy", "patient_recognition_rate")]
        names.append("balanced_accuracy_chosen")
        figures = [name for name in found[head] if name.endswith("_chosen")]
        assert sorted(figures) == (sorted(names) if head == best else [])
        assert not {name for name in metrics_of(folder) if "cho" in name}
        page = (folder / "report.html").read_text()
        assert '<a href="../../report.html">report of the run</a>' in page
        card = (folder / "model-card.md").read_text()
        assert "the report of that run has these figures corrected for the choice" in card
        if head == best:
            share = found[head]["balanced_accuracy_chosen"]
            assert share["value"] < values[head]
            low, high = (100 * end for end in share["interval"])
            figure = (
                f"balanced accuracy {100 * share['value']:.1f} % (95 % CI {low:.1f} to {high:.1f})"
            )
            assert "Chosen among 3 results on the same images and folds" in said(folder)
            assert figure in said(folder)
            assert f"{100 * share['value']:.1f} ({low:.1f}\u00a0to\u00a0{high:.1f})" in of_run
        else:
            assert (
                f"One of 3 results on the same images and folds; none is the best: {folders[best].name}"
                in said(folder)
            )


def test_a_further_result_changes_no_other_folder(three, noise, run_copy, completed):
    run = run_copy(three[0])
    before = {path: path.read_bytes() for path in run.glob("boost/**/*") if path.is_file()}
    boost(completed, run, noise, "logistic")
    assert {path: path.read_bytes() for path in before} == before
    assert {added["choice"]["count"] for added in choices_of(run).values()} == {4}


def test_results_of_other_folds_are_counted_in_words(three, noise, run_copy, completed):
    run = run_copy(three[0])
    boost(completed, run, noise, "lda", folds=4)
    boost(completed, run, noise, "lda", folds=3)
    for folder in (run / "boost").iterdir():
        words = OTHERS.format(4, "s", "are", "they are", "a")
        kind = "single"
        if folder.name.startswith("5-"):
            words = OTHERS.format(2, "s", "are", "they are", "this")
            kind = "highest"
        assert choice_in_run(folder / "predictions.csv")["choice"]["kind"] == kind
        assert words in said(folder)


def test_results_of_other_images_are_counted_in_words(three, noise, run_copy, completed, tmp_path):
    """Two cases left the data set, so the next classifier is about other images."""
    run = run_copy(three[0])
    content = dict(np.load(noise))
    np.savez(tmp_path / "fewer.npz", **{name: values[4:] for name, values in content.items()})
    shutil.rmtree(run / "features", ignore_errors=True)
    boost(completed, run, tmp_path / "fewer.npz", "logistic")
    found = choices_of(run)
    single = {"kind": "single", "count": 1, "chosen": "", "by": "", "equal": 0}
    assert found["logistic"]["choice"] == single | {"idle": 0, "elsewhere": 3}
    for head in HEADS:
        choice = found[head]["choice"]
        assert (choice["count"], choice["elsewhere"]) == (3, 1)
        words = OTHERS.format(1, "", "is", "it is", "this")
        assert words in said(run / "boost" / f"5-grouped-{head}")


def test_a_choice_that_no_longer_holds_vanishes(three, noise, run_copy, completed):
    """What is set aside or unfinished does not count: of one result that is left nothing was chosen."""
    run = run_copy(three[0])
    (run / "boost" / "5-grouped-lda").rename(run / "boost" / "5-grouped-lda.old-0a1b2c3d")
    (run / "boost" / "5-grouped-knn" / "metrics.json").unlink()
    left = run / "boost" / "5-grouped-prototype"
    assert choice_in_run(left / "predictions.csv")
    boost(completed, run, noise, "prototype")
    assert choices_of(run) == {}
    assert choice_in_run(left / "predictions.csv") == {}


@pytest.mark.parametrize(
    "content",
    ["[]", "{}", '{"results": []}', '{"results": {"boost/5-grouped-lda": 3}}'],
)
def test_a_choice_holds_only_of_what_was_compared(three, run_copy, content):
    """Not of other predictions, nor in a folder elsewhere; what is not ours says nothing."""
    run = run_copy(three[0])
    folder = run / "boost" / "5-grouped-lda"
    table = folder / "predictions.csv"
    assert choice_in_run(table)["choice"]["count"] == 3
    elsewhere = shutil.copytree(folder, run.parent / "elsewhere")
    assert choice_in_run(elsewhere / "predictions.csv") == {}
    lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join(lines[:-1]))
    assert choice_in_run(table) == {}
    table.write_text("".join(lines))
    (run / "choice.json").write_text(content)
    assert choice_in_run(table) == {}


@pytest.fixture
def learnt_by_patient(tmp_path):
    """Embeddings by which patients are known again, and not their classes: without patients, and with them."""
    rng = np.random.default_rng(5)
    patients = np.repeat(np.arange(16), 4)
    contents = {
        "features": rng.normal(size=(16, 6))[patients] + rng.normal(scale=0.05, size=(64, 6)),
        "image_id": [f"Bild {k:02d}.png" for k in range(64)],
        "label": [
            ("gutartig", "bösartig")[k] for k in rng.permutation(np.arange(16) % 2)[patients]
        ],
    }
    np.savez(tmp_path / "unknown.npz", **contents)
    np.savez(tmp_path / "known.npz", **contents, group=[f"Pat {k}" for k in patients])
    return tmp_path


def test_what_patients_refute_is_not_chosen(learnt_by_patient, completed, cli):
    """Folds that turn out to mix patients lead nowhere once others keep them apart; by its file such a model works."""
    run = learnt_by_patient / "Lauf 1"
    for file in ("unknown", "known"):
        for head in ("knn", "lda"):
            boost(completed, run, learnt_by_patient / f"{file}.npz", head, folds=4)
        if file == "unknown":
            assert find_bundle(run).parent.name == "4-knn"
    mixed = {name: run / "boost" / name for name in ("4-knn", "4-lda")}
    results = read_json(run / "choice.json")["results"]
    assert {results[f"boost/{name}"]["choice"]["kind"] for name in mixed} == {"mixed"}
    with pytest.raises(
        InputError, match="no single one is the highest and better than chance; to use one"
    ):
        find_bundle(run)
    for folder in mixed.values():
        with pytest.raises(InputError, match="its model is not shown to be better than chance"):
            find_bundle(folder)
        assert find_bundle(folder / "model.bchisto").is_file()
    _, out, _ = cli("evaluate {} --out {}", run, learnt_by_patient / "Vergleich")
    page = (run / "report.html").read_text()

    for text, first in ((" ".join(out.split()), "No result is"), (page, "4-grouped-")):
        assert "4-knn and 4-lda are not to be chosen: their folds mix patients" in text
        assert text.index(first) < text.index("4-knn")
    assert "With 16 patients in both training and test sets" in page
    for folder in mixed.values():
        known = known_of(folder / "model.bchisto")
        caution = (
            "Not to be chosen: its folds mix patients that other results of this run keep apart."
        )
        # the line that predict prints, and what a predictor says of its model
        assert known["lines"][1].startswith(caution)
        assert caution in known["verdict"]


def test_a_panel_with_groups_draws_nothing_that_was_drawn_without():
    table = predictions(np.eye(2)[[0, 1, 0, 1]], [0, 1, 1, 1], folds=[1, 1, 2, 2])
    panel = Panel(table, measure(table, bootstrap=0), drawn={"confusion": "old"})
    assert panel.with_groups({}) is panel
    known = panel.with_groups(dict.fromkeys(table.image_ids, "P"))
    assert known.drawn == {}
    assert (panel.metrics["units"]["divided"], known.metrics["units"]["divided"]) == (0, 1)


def test_evaluate_gives_the_same_choice(three, tmp_path, completed):
    """Of all results, of the folder of one; at another level only that it was one of three."""
    run, _ = three
    completed("evaluate {} --out T/out", run)
    found = read_json(tmp_path / "out" / "metrics.json")["tables"]
    for head, added in choices_of(run).items():
        folder = run / "boost" / f"5-grouped-{head}"
        del added["predictions_sha256"]
        completed("evaluate {} --out {}", folder, tmp_path / head)
        for metrics in (found[folder.name], metrics_of(tmp_path / head)):
            assert {name: figure for name, figure in metrics.items() if "cho" in name} == added
    page = (tmp_path / "out" / "report.html").read_text()
    assert "corrected for the choice among 3 (BBC-CV)" in page
    completed("evaluate {} --level group --out T/group", folder)
    metrics = metrics_of(tmp_path / "group")
    assert metrics["choice"]["uncorrected"]
    assert "accuracy_chosen" not in metrics
    page = (tmp_path / "group" / "report.html").read_text()
    assert "the report of the run has its figures corrected for the choice" in page
