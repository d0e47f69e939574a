"""A run folder says what the choice of its best result leaves of it, whichever command trained what and when."""

import json
import re
import shutil

import numpy as np
import pytest
from bchisto.evaluate.report import report as run_report

HEADS = ("lda", "prototype", "knn")
BLANK = "**to be filled in by the author**"


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
        "boost", "--out", run, "--features", noise, "--folds", folds, "--head", head, *options
    )


def metrics_of(folder):
    metrics, *_ = json.loads((folder / "metrics.json").read_text())["tables"].values()
    return metrics


def said(path):
    """Return the sentence on the choice that stands between the marks of a report or card."""
    text = path.read_text(encoding="utf-8")
    (answer,) = re.findall("<!-- answer -->(.*)<!-- end of answer -->", text, re.DOTALL)
    found = re.findall(r"(?:Chosen among|One of|\d+ other results?) .*?(?=</p>|\n)", answer)
    outside = text.replace(answer, "")
    assert "on the same images and folds" not in outside
    return " ".join(found)


@pytest.fixture(scope="module")
def three(noise, tmp_path_factory):
    """A run folder of three commands, and of each folder its metrics before the others were trained."""
    from bchisto.cli import cli
    from click.testing import CliRunner

    run = tmp_path_factory.mktemp("three") / "run"
    alone = {}
    for head in HEADS:
        arguments = ["boost", "--out", run, "--features", noise, "--folds", 5, "--head", head]
        result = CliRunner().invoke(cli, list(map(str, arguments)))
        assert result.exit_code == 0, result.output
        if head == HEADS[0]:
            alone = metrics_of(run / "boost" / f"5-grouped-{head}")
    return run, alone


def folders_of(run):
    return {path.name: path for path in sorted((run / "boost").iterdir()) if path.is_dir()}


def test_each_folder_says_it_whenever_it_was_trained(three):
    run, alone = three
    folders = folders_of(run)
    found = {name: metrics_of(folder) for name, folder in folders.items()}
    assert "choice" not in alone
    values = {name: one["balanced_accuracy"]["value"] for name, one in found.items()}
    chosen = max(values, key=values.get)
    equal = list(values.values()).count(values[chosen]) - 1
    told = {0: "", 1: " (equal: 1 other)"}[equal]
    for name, metrics in found.items():
        kept = {"kind": "highest", "count": 3, "chosen": chosen, "by": "balanced_accuracy"}
        assert metrics["choice"] == kept | {"equal": equal, "idle": 0, "elsewhere": 0}
        added = {key for key in metrics if key.endswith("_chosen")}
        if name == chosen:
            assert added == {
                "accuracy_chosen",
                "balanced_accuracy_chosen",
                "patient_recognition_rate_chosen",
            }
            assert metrics["accuracy_chosen"]["value"] < metrics["accuracy"]["value"]
        else:
            assert added == set()
        for file in ("report.html", "model-card.md"):
            sentence = said(folders[name] / file)
            if name == chosen:
                share = metrics["balanced_accuracy_chosen"]
                low, high = share["interval"]
                figure = f"balanced accuracy {100 * share['value']:.1f} % (95 % CI {100 * low:.1f} to {100 * high:.1f})"
                assert sentence.startswith("Chosen among 3 results on the same images and folds")
                if file == "model-card.md":
                    assert "corrected for the choice (BBC-CV) expect accuracy" in sentence
                    assert figure in sentence
                else:  # it begins with the corrected figure
                    lead, _, rest = (folders[name] / file).read_text().partition("Measured, ")
                    assert f"Balanced accuracy: {100 * share['value']:.1f} %" in lead
                    right = round(metrics["accuracy"]["value"] * 40)
                    assert rest.startswith(
                        f"without the correction for the choice (BBC-CV): {right} of 40 images"
                    )
                    assert f"{right} of 40" not in lead
                    # the drawing was made before the choice, and has it now
                    ends = f"({100 * low:.1f} to {100 * high:.1f} %)"
                    drawn = f"corrected for the choice (BBC-CV) {100 * share['value']:.1f} % {ends}"
                    assert drawn in re.search('alt="Results: ([^"]*)"', rest)[1]
            else:
                assert sentence == (
                    f"One of 3 results on the same images and folds; none is the best: {chosen}, the highest by "
                    f"balanced accuracy{told}, is not shown to be better than chance."
                )
    first = found[f"5-grouped-{HEADS[0]}"]
    assert {name: first[name] for name in alone} == alone


def test_only_the_answer_of_a_report_is_written_anew(three, noise, run_copy, completed):
    """What users filled in stays, and so does all else, byte for byte; line ends too."""
    run = run_copy(three[0])
    folders = folders_of(run)
    before = {}
    for folder in folders.values():
        card = folder / "model-card.md"
        card.write_bytes(card.read_bytes().replace(BLANK.encode(), b"Institute of Pathology\r\n"))
        for file in ("report.html", "model-card.md"):
            before[folder / file] = re.split(
                b"<!-- (?:end of )?(?:answer|drawing|choice) -->", (folder / file).read_bytes()
            )
    others = {path: path.read_bytes() for path in run.rglob("predictions*.csv")}
    out, _ = boost(completed, run, noise, "logistic")
    assert "among 4 results" in " ".join(out.split()) or "One of 4 results" in " ".join(out.split())
    for path, parts in before.items():
        now = re.split(b"<!-- (?:end of )?(?:answer|drawing|choice) -->", path.read_bytes())
        assert now[::2] == parts[::2]
        assert now[1] != parts[1]
        assert "4 results" in said(path)
    assert {path: path.read_bytes() for path in others} == others
    names = [path.name for path in run.rglob("*") if re.search(r"tmp|\.old|partial", path.name)]
    assert names == []


def test_a_file_without_marks_is_left_with_a_warning(three, noise, run_copy, completed):
    run = run_copy(three[0])
    folder = run / "boost" / "5-grouped-lda"
    card = folder / "model-card.md"
    card.write_bytes(b"\xff my own words\r\n")
    report = folder / "report.html"
    report.write_text(report.read_text().replace("<!-- end of answer -->", ""))
    unmarked = report.read_bytes()
    _, err = boost(completed, run, noise, "logistic")
    assert card.read_bytes() == b"\xff my own words\r\n"
    assert report.read_bytes() == unmarked
    warned = " ".join(err.split())
    assert f"{report}: the comments around its answer are gone" in warned
    assert "(1 more such warnings; -v prints them)" in warned
    assert metrics_of(folder)["choice"]["count"] == 4


def test_results_of_other_folds_are_counted_in_words(three, noise, run_copy, completed):
    run = run_copy(three[0])
    boost(completed, run, noise, "lda", folds=4)
    boost(completed, run, noise, "lda", folds=3)
    for folder in folders_of(run).values():
        sentence = said(folder / "model-card.md")
        if folder.name.startswith("5-"):
            assert metrics_of(folder)["choice"]["count"] == 3
            words = "2 other results of this run are of other images or folds, so they are not part of this choice."
        else:
            assert metrics_of(folder)["choice"]["kind"] == "single"
            words = "4 other results of this run are of other images or folds, so they are not part of a choice."
        assert sentence.endswith(words)
        assert words in said(folder / "report.html")


def test_results_of_other_images_are_counted_in_words(three, noise, run_copy, completed, tmp_path):
    """Two cases left the data set, so the next classifier is about other images."""
    run = run_copy(three[0])
    content = dict(np.load(noise))
    np.savez(tmp_path / "fewer.npz", **{name: values[4:] for name, values in content.items()})
    shutil.rmtree(run / "features", ignore_errors=True)
    boost(completed, run, tmp_path / "fewer.npz", "logistic")
    new = run / "boost" / "5-grouped-logistic"
    assert metrics_of(new)["choice"] == {
        "kind": "single",
        "count": 1,
        "chosen": "",
        "by": "",
        "equal": 0,
        "idle": 0,
        "elsewhere": 3,
    }
    for name in HEADS:
        metrics = metrics_of(run / "boost" / f"5-grouped-{name}")
        assert (metrics["choice"]["count"], metrics["choice"]["elsewhere"]) == (3, 1)
        assert (
            "1 other result of this run is of other images or folds, so it is not part of this choice."
            in said(run / "boost" / f"5-grouped-{name}" / "report.html")
        )


def test_what_is_set_aside_or_unfinished_does_not_count(three, noise, run_copy, completed):
    """The choice that no longer holds vanishes: of one result that is left nothing was chosen."""
    run = run_copy(three[0])
    folders = folders_of(run)
    folders["5-grouped-lda"].rename(run / "boost" / "5-grouped-lda.old-0a1b2c3d")
    (folders["5-grouped-knn"] / "metrics.json").unlink()
    boost(completed, run, noise, "prototype")
    left = run / "boost" / "5-grouped-prototype"
    assert not {name for name in metrics_of(left) if name == "choice" or name.endswith("_chosen")}
    assert said(left / "report.html") == said(left / "model-card.md") == ""


def test_a_choice_that_no_longer_holds_vanishes_from_folders_that_are_not_trained(
    three, noise, run_copy, completed
):
    run = run_copy(three[0])
    folders = folders_of(run)
    for name in ("lda", "knn"):
        shutil.rmtree(folders[f"5-grouped-{name}"])
    boost(completed, run, noise, "logistic", folds=4)
    left = folders["5-grouped-prototype"]
    assert metrics_of(left)["choice"]["kind"] == "single"
    assert "Chosen among" not in said(left / "report.html")
    assert "accuracy_chosen" not in metrics_of(left)


def test_an_interrupted_writing_is_repeated(three, noise, run_copy, completed, monkeypatch):
    """The metrics are last, so a card that could not be written is written by the next command."""
    run = run_copy(three[0])

    def fails(*_, **__):
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(run_report, "renew_card", fails)
        with pytest.raises(AssertionError, match="could not be written"):
            boost(completed, run, noise, "logistic")
    folder = run / "boost" / "5-grouped-lda"
    assert metrics_of(folder)["choice"]["count"] == 3
    boost(completed, run, noise, "logistic")
    assert metrics_of(folder)["choice"]["count"] == 4
    assert "4 results" in said(folder / "model-card.md")


def test_evaluate_gives_the_same_choice(three, tmp_path, completed):
    run, _ = three
    out, _ = completed("evaluate", run, "--out", tmp_path / "out")
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())["tables"]
    for name, folder in folders_of(run).items():
        metrics = metrics_of(folder)
        assert found[name]["choice"] == metrics["choice"]
        for key in ("accuracy_chosen", "balanced_accuracy_chosen"):
            assert found[name].get(key) == metrics.get(key)
    assert (
        "corrected for the choice among 3 (BBC-CV)"
        in (tmp_path / "out" / "report.html").read_text()
    )
    assert "Chosen among 3 results on the same images and folds" in " ".join(out.split())
