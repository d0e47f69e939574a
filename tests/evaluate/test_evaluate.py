import json
import re

import numpy as np
import pytest
from bchisto.core import InputError
from bchisto.evaluate import (
    Panel,
    Sample,
    TableChoice,
    TwoClassView,
    as_json,
    evaluate,
    measure,
    paper_table,
    read_predictions,
)
from bchisto.evaluate.facts import read_facts
from bchisto.evaluate.report import report as run_report
from bchisto.evaluate.report import thumbnail, write_evaluation, write_report
from written_tables import predictions, read_json, rows_of, write_json, write_lines


def test_the_published_predictions_give_the_published_figures(shared, tmp_path):
    result = write_evaluation(
        evaluate([shared / "reference" / "rakhlin2018" / "crossvalidation.csv"], out=tmp_path)
    )
    metrics = result["tables"]["crossvalidation"]
    assert metrics["accuracy"]["value"] == 0.8725
    assert metrics["accuracy_per_fold"] == [
        0.925,
        0.825,
        0.875,
        0.875,
        0.875,
        0.9,
        0.85,
        0.875,
        0.875,
        0.85,
    ]
    assert metrics["confusion"] == [[95, 5, 0, 0], [8, 81, 2, 9], [4, 5, 86, 5], [2, 3, 8, 87]]
    assert metrics["classes"] == ["Normal", "Benign", "InSitu", "Invasive"]
    assert round(100 * metrics["accuracy_std"], 1) == 2.6
    assert round(100 * metrics["two_class"]["accuracy"]["value"], 1) in (93.7, 93.8)
    assert read_json(tmp_path / "metrics.json") == result
    assert (
        (tmp_path / "tables.csv")
        .read_text()
        .startswith("table,protocol,n,accuracy,accuracy_low,accuracy_high")
    )


def test_a_run_folder_brings_its_protocol_and_warnings(boosted, tmp_path, boosted_result):
    result = write_evaluation(evaluate([boosted], out=tmp_path, bootstrap=50))
    (name,) = result["tables"]
    assert name == "3-lightgbm"
    own = read_json(boosted_result / "metrics.json")["tables"]["fusion"]
    assert result["tables"][name]["accuracy"]["value"] == own["accuracy"]["value"]
    assert result["tables"][name]["protocol"] == "3 stratified image-level folds (seed 0)"
    rows = [(row["label"], row["fold"]) for row in rows_of(boosted_result / "folds.csv")]
    expected = [
        [
            sum(label == name and number != str(fold) for label, number in rows)
            for name in own["classes"]
        ]
        for fold in (1, 2, 3)
    ]
    assert result["tables"][name]["trained_per_fold"] == own["trained_per_fold"] == expected
    assert "RANDOM WEIGHTS" in (tmp_path / "report.html").read_text()


def test_tables_of_the_same_name_are_named_from_their_common_folder(tmp_path, boosted_result):
    """So that metrics.json does not depend on where that lies."""
    table = boosted_result / "predictions.csv"
    copies = [
        tmp_path / "x" / name
        for name in (
            "a/t.csv",
            "b/t.csv",
            "run/boost/5/predictions.csv",
            "run/finetune/5/predictions.csv",
        )
    ]
    for copy in copies:
        copy.parent.mkdir(parents=True)
        copy.write_bytes(table.read_bytes())
    sources = [*copies[:2], tmp_path / "x" / "run"]
    result = evaluate(sources, out=tmp_path / "out", bootstrap=0).result
    assert list(result["tables"]) == ["a/t", "b/t", "run/boost/5", "run/finetune/5"]


def test_what_does_not_fit(tmp_path, boosted, boosted_result):
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        InputError, match=r"no predictions\.csv in this folder; give a run folder of bchisto boost"
    ):
        evaluate([tmp_path / "empty"], out=tmp_path / "out")
    for changes, message in (
        ({"bootstrap": -1}, "`bootstrap` -1: give 0 to 100,000 draws"),
        ({"bootstrap": 10**12}, "`bootstrap` 1000000000000: give 0 to 100,000 draws"),
    ):
        with pytest.raises(InputError, match=message):
            evaluate([boosted], out=tmp_path / "out", **changes)
    table = boosted_result / "predictions.csv"
    with pytest.raises(InputError, match="two tables have the same name"):
        evaluate([table, table], out=tmp_path / "out", bootstrap=0)


def test_operating_points_need_a_positive_class_and_tables_a_table(tmp_path):
    rows = [f"i{k},{'ab'[k % 2]},p{k // 2},{k % 3},0.6,0.4" for k in range(12)]
    write_lines(tmp_path / "t.csv", "image_id,label,group,fold,p_a,p_b", *rows)
    for view in (TwoClassView(sensitivities=0.9), TwoClassView(thresholds=0.8)):
        with pytest.raises(InputError, match="^t: no class is known to be positive"):
            evaluate(tmp_path / "t.csv", out=tmp_path / "out", view=view)
    named = TwoClassView(positive="b", sensitivities=0.9)
    metrics = evaluate(tmp_path / "t.csv", out=tmp_path / "out", view=named).panels[0].metrics
    assert metrics["two_class"]["positive"] == ["b"]
    with pytest.raises(InputError, match="give at least one table"):
        evaluate([], out=tmp_path / "none")


def tiny_table(name="fusion", flip=()):
    p = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]])
    for row in flip:
        p[row] = p[row, ::-1]
    return predictions(
        p,
        [0, 1, 0, 1],
        name=name,
        image_ids=list("wxyz"),
        folds=[1, 1, 2, 2],
        protocol="2 test folds",
    )


def test_the_table_of_the_paper_by_hand():
    seeds = [tiny_table("s", flip=[0]), tiny_table("s", flip=[])]
    table = paper_table({"s": seeds}, {"s": tiny_table("s")}, tiny_table(flip=[2, 3]))
    assert table.folds == [1, 2]
    assert table.lines()[1:] == [
        ["s", "75.0", "100.0", "87.5", "12.5", "100.0"],
        ["Model fusion", "100.0", "0.0", "50.0", "50.0", ""],
    ]


@pytest.fixture
def report(tmp_path, he_image):
    table = tiny_table(flip=[3])
    paper = paper_table({"<b>store</b>": [table]}, {"<b>store</b>": table}, table)
    sample = Sample("w<script>.png", "benign", "benign", 0.9, thumbnail(he_image))
    panels = [Panel(table, measure(table, bootstrap=200), paper, [sample])]
    panels.append(Panel(tiny_table("other"), measure(tiny_table("other"), bootstrap=0)))
    path = tmp_path / "report.html"
    write_report(
        path,
        title="A & B",
        panels=panels,
        banners=["SYNTHETIC IMAGES: mind <this>"],
        settings={"stain": "macenko"},
    )
    return path


def test_the_report_is_one_escaped_self_contained_file(report):
    text = report.read_text()
    assert text.index("SYNTHETIC IMAGES") < text.index("<nav")
    assert "A &amp; B" in text
    assert "w<script>" not in text
    assert "<b>store" not in text
    assert not re.findall(r'(?:src|href)="(?!data:|#)', text)
    assert text.count('alt="') == text.count("<img ")


def recorded(folder, rng, *, positive=("Invasive",), images="x"):
    """A finished folder of a run that recorded its two-class view."""
    folder.mkdir(parents=True)
    classes = ["Normal", "Benign", "InSitu", "Invasive"]
    lines = ["image_id,label," + ",".join(f"p_{name}" for name in classes)]
    for k in range(60):
        p = rng.dirichlet([1, 1, 1, 1 + k % 4])
        lines.append(f"i{k},{classes[k % 4]}," + ",".join(f"{value:.6f}" for value in p))
    write_lines(folder / "predictions.csv", *lines)
    run = {
        "classes": classes,
        "protocol": "p",
        "images_sha256": images,
        "banners": [],
        "command": "finetune",
        "two_class": {"positive": positive, "rule": "max", "thresholds": [0.5]},
    }
    (table,) = read_predictions(folder / "predictions.csv", classes=classes)
    content = {"tables": {folder.name: as_json(measure(table))}, "run": run}
    (folder / "metrics.json").write_text(json.dumps(content))
    return folder / "predictions.csv"


def test_comparisons_follow_the_view_that_the_runs_recorded(rng, tmp_path, monkeypatch):
    folder = tmp_path / "run" / "finetune"
    a, b = (recorded(folder / name, rng) for name in "ab")
    recorded(folder / "elsewhere", rng, images="y")
    result = write_evaluation(evaluate([a, b], out=tmp_path / "out", bootstrap=0))
    first, second = (one["two_class"]["thresholds"][0] for one in result["tables"].values())
    shown = {}
    monkeypatch.setattr(run_report, "write_report", lambda *_, **given: shown.update(given))
    run_report.write_run_report(tmp_path / "run", images="x", made={})
    text = "finetune/elsewhere is not shown: it is about other images"
    assert shown["banners"] == [text]
    for pairs in (result["comparisons"], shown["pairs"]):
        for name in ("sensitivity", "specificity"):
            found = pairs[0]["differences"][name]["value"]
            assert found == pytest.approx(second[name]["value"] - first[name]["value"])
    other = recorded(folder / "c", rng, positive=["Benign"])
    (pair,) = write_evaluation(evaluate([a, other], out=tmp_path / "out", bootstrap=0))[
        "comparisons"
    ]
    assert list(pair["differences"]) == ["accuracy", "balanced_accuracy", "auc"]


def test_what_a_run_wrote_beside_its_table_is_not_replaced(rng, tmp_path, monkeypatch):
    folder = recorded(tmp_path / "run" / "boost" / "a", rng).parent
    before = (folder / "metrics.json").read_bytes()
    monkeypatch.chdir(folder)
    with pytest.raises(InputError, match="would overwrite"):
        evaluate("predictions.csv", out=".", bootstrap=0)
    assert (folder / "metrics.json").read_bytes() == before


def test_an_order_of_classes_that_is_given_comes_before_that_of_the_run(rng, tmp_path):
    table = recorded(tmp_path / "run" / "boost" / "a", rng)
    classes = ("Invasive", "Benign", "Normal", "InSitu")
    for given, order in ((classes, classes), ((), ("Normal", "Benign", "InSitu", "Invasive"))):
        choice = TableChoice(classes=given)
        (metrics,) = (
            evaluate(table, out=tmp_path / "e", bootstrap=0, tables=choice)
            .result["tables"]
            .values()
        )
        assert metrics["classes"] == [*order]


def test_facts_of_a_run_whose_images_are_called_patches_are_read(boosted_result, run_copy):
    path = run_copy(boosted_result) / "metrics.json"
    content = read_json(path)
    for metrics in content["tables"].values():
        metrics["names"] |= {"row": "patch", "image": "patch"}
    write_json(path, content)
    assert read_facts(path.with_name("predictions.csv")).metrics["trained_per_fold"]
