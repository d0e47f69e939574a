"""External validation, and tables of images that are not new."""

import html
import json

import numpy as np
import pytest
from bchisto.core import Banner, InputError
from bchisto.evaluate import (
    Aggregation,
    Figure,
    Panel,
    TwoClassView,
    evaluate,
    measure,
    read_predictions,
)
from bchisto.evaluate.external import external_validation
from bchisto.evaluate.report import drops
from conftest import typed
from written_tables import flat, read_json, right_at, saved, write_lines

CLASSES = ("benign", "malignant")


def write(path, hits, *, trained=None, extra=""):
    """Write a table of which the first `hits` of 100 rows are right."""
    lines = ["image_id,label,p_benign,p_malignant" + (",trained" if trained is not None else "")]
    for row in range(100):
        sure = 0.9 if (row < hits) == (row % 2 == 1) else 0.2
        lines.append(f"{extra}{row},{CLASSES[row % 2]},{1 - sure:.1f},{sure}")
        if trained is not None:
            lines[-1] += ",yes" if row < trained else ",no"
    return write_lines(path, *lines)


@pytest.fixture
def validated(tmp_path):
    """Return a function that evaluates a table against another."""

    def evaluated(outside, inside, **more):
        out = tmp_path / "e"
        return evaluate([outside], out=out, against=[inside], bootstrap=0, **more).result

    return evaluated


def test_a_drop_has_the_interval_of_newcombe(tmp_path, completed):
    """Newcombe 1998, method 10, worked by hand from Wilson's intervals of 90 and 80 of 100."""
    from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

    made = [
        {
            "accuracy": Figure(
                hits / 100, *proportion_confint(hits, 100, method="wilson"), "Wilson"
            ),
            "n": 100,
        }
        for hits in (80, 90)
    ]
    (table,) = read_predictions(write(tmp_path / "x.csv", 80))
    found = external_validation(*(Panel(table, metrics) for metrics in made))["figures"][
        "accuracy"
    ]["drop"]
    assert found["value"] == pytest.approx(0.1)
    np.testing.assert_allclose(
        found["interval"], confint_proportions_2indep(90, 100, 80, 100, method="newcomb"), atol=1e-9
    )
    inside, outside = write(tmp_path / "in.csv", 90), write(tmp_path / "out.csv", 80, extra="x")
    out, _ = completed("evaluate {} --against {} --out T/e --bootstrap 200", outside, inside)
    out = flat(out)
    (row,) = read_json(tmp_path / "e" / "metrics.json")["external"]
    low, high = row["figures"]["balanced_accuracy"]["drop"]["interval"]
    assert low < 0 < high
    lower = f"10.0 points lower than internally (95 % CI {-100 * low:.1f} higher to {100 * high:.1f} lower)"
    answer = out.partition("for the models as they are trained")[0]
    assert f"out: balanced accuracy {lower} sensitivity at 0.5 10.0 points lower" in answer
    assert "80.0 % of 100, against 90.0 % of the 100 of in for the models" in out
    page = html.unescape((tmp_path / "e" / "report.html").read_text())
    drop = page.index("<strong>out: balanced accuracy 10.0 points lower than internally (95 % CI ")
    assert "<li>For the models as they are trained, unpaired." in page  # each figure is an item
    assert page.index("<h1>") < drop < page.index('<div class="answer">')
    out, _ = completed(
        "evaluate {} --against {} --out T/g --bootstrap 200 --sensitivity 0.6", inside, outside
    )
    assert (
        "in, threshold 0.900 of out for a target sensitivity of 60.0 %: sensitivity 90.0 %"
        in flat(out)
    )
    report = html.unescape((tmp_path / "g" / "report.html").read_text())
    assert "drop (internal minus external), with 95 % CI" in report
    assert "Thresholds of out for a target sensitivity, applied to in" in report
    view = TwoClassView(sensitivities=0.6)
    (row,) = evaluate(
        [outside], out=tmp_path / "f", against=inside, bootstrap=200, view=view
    ).result["external"]
    (point,) = row["wanted"]  # the threshold is that of the internal table
    assert (point["threshold"], point["sensitivity"]["value"]) == (0.9, 0.8)
    assert point["sensitivity"]["interval"][0] < 0.8
    rates = {"sensitivity_at_0.5", "specificity_at_0.5"}
    assert set(row["figures"]) == {"accuracy", "balanced_accuracy", "auc"} | rates
    inner, outer = (
        evaluate([file], out=tmp_path / file.stem).result["tables"][file.stem]["two_class"]
        for file in (inside, outside)
    )
    for name in ("sensitivity", "specificity"):
        values = [view["thresholds"][0][name]["value"] for view in (inner, outer)]
        drop = row["figures"][f"{name}_at_0.5"]["drop"]["value"]
        assert drop == pytest.approx(values[0] - values[1])
        side = "lower" if drop > 0 else "higher"
        assert f" {name} at 0.5 {abs(100 * drop):.1f} points {side} than internally" in answer


@pytest.mark.parametrize(
    ("right", "explained"), [((9, 54), True), ((9, 20), False), ((3, 54), True)]
)
def test_other_shares_of_classes_explain_a_lower_accuracy(tmp_path, validated, right, explained):
    """Internally half is malignant, sensitivity 0.9 and specificity 0.6; outside a tenth is."""

    def table(name, sizes, right):
        rows = [
            (f"{name}{label}{k}", label, label if k < hits else "mb"["mb".index(label) - 1])
            for label, size, hits in zip("mb", sizes, right, strict=True)
            for k in range(size)
        ]
        return write_lines(
            tmp_path / f"{name}.csv", "image_id,label,predicted", *map(",".join, rows)
        )

    inside, outside = table("in", (50, 50), (45, 30)), table("out", (10, 90), right)
    (row,) = validated(outside, inside)["external"]
    assert row["shares"]["expected"] == pytest.approx(0.9 * 0.1 + 0.6 * 0.9)
    text = "; ".join(drops([row]))
    reason = ", as expected (63.0 %) from other shares of classes (m 10.0 %, there 50.0 %)"
    assert (reason in text) == explained
    (same,) = validated(inside, table("too", (50, 50), (45, 20)))["external"]
    assert same["shares"] is None


def test_a_drop_is_told_in_words_of_one_direction():
    """Both ends of an interval on one side, on both, or none; and nothing that rounds to 0 is lower."""
    for drop, words in (
        (
            Figure(0.123, 0.041, 0.198, "x"),
            "12.3 points lower than internally (95 % CI 4.1 to 19.8)",
        ),
        (
            Figure(-0.05, -0.08, -0.01, "x"),
            "5.0 points higher than internally (95 % CI 1.0 to 8.0)",
        ),
        (
            Figure(0.0001, -0.02, 0.02, "x"),
            "as high as internally (95 % CI 2.0 higher to 2.0 lower)",
        ),
        (
            Figure(0.1, reason="one patient"),
            "10.0 points lower than internally (95 % CI not estimable: one patient)",
        ),
    ):
        rates = {"accuracy": {"internal": 0.9, "external": 0.9 - drop.value, "drop": drop}}
        values = {"table": "o", "against": "i", "n": 9, "n_against": 8, "figures": rates}
        text, unpaired = drops([values])
        assert unpaired == "for the models as they are trained, unpaired"
        assert text.startswith(f"o: accuracy {words}: ")


def test_the_drop_by_patient_is_told_with_the_others(tmp_path, validated):
    tables = [right_at(rate, patients=40, per=3, seed=seed) for rate, seed in ((0.7, 1), (0.9, 2))]
    paths = [saved(table, tmp_path / f"t{k}.csv") for k, table in enumerate(tables)]
    result = validated(*paths)
    rates = [measure(table)["patient_recognition_rate"].value for table in tables]
    drop = 100 * (rates[1] - rates[0])
    assert drop > 5
    by_patient = f"by patient {drop:.1f} points lower than internally"
    assert sum(text.startswith(by_patient) for text in drops(result["external"])) == 1


def test_tables_of_other_classes_have_no_drop(tmp_path, validated):
    other = tmp_path / "other.csv"
    other.write_text("image_id,label,predicted\na,x,x\nb,y,x\n")
    with pytest.raises(InputError, match="there is not a drop between them"):
        validated(write(tmp_path / "t.csv", 80), other)


def test_a_column_that_marks_no_image_is_no_caution(tmp_path):
    result = evaluate(write(tmp_path / "u.csv", 80, trained=0), out=tmp_path / "f", bootstrap=0)
    assert not any("SEEN IN TRAINING" in note for note in result.notes)


def patches(path, extra=""):
    """Write a table of three patches of each image."""
    lines = ["image_id,label,group,patch,p_benign,p_malignant"]
    for row in range(20):
        lines += [
            f"{extra}{row},{CLASSES[row % 2]},{extra}p{row // 2},{k},0.4,0.6" for k in range(3)
        ]
    return write_lines(path, *lines)


def test_a_run_of_patches_that_gives_images_is_compared_with_images(tmp_path, validated):
    """Its protocol says how patches became images; that of a table from elsewhere says nothing."""
    run = tmp_path / "run"
    run.mkdir()
    write(run / "predictions.csv", 90)
    said = "5 folds; by image, rule average"
    content = {
        "tables": {"t": {"protocol": said}},
        "run": {"protocol": "5 folds", "classes": CLASSES},
    }
    (run / "metrics.json").write_text(json.dumps(content))
    outside = write(tmp_path / "out.csv", 80, extra="x")
    result = validated(outside, run)
    (row,) = result["external"]
    assert row["figures"]["accuracy"]["drop"]["value"] == pytest.approx(0.1)
    assert not any("not compared" in note for note in map(Banner.read, result["notes"]))
    result = validated(patches(tmp_path / "p.csv", extra="x"), run)
    assert result["external"] == []
    said = "p is not compared with run: rows of one are patches, of the other whole images; choose a level that both"
    assert any(said in note for note in map(Banner.read, result["notes"]))
    levels = Aggregation(["row", "image"], ["average", "vote"])
    both = validated(tmp_path / "p.csv", run, aggregation=levels)
    assert len(both["external"]) == 2  # each rule with its own


def test_images_that_both_tables_hold_are_named(tmp_path, validated):
    inside = patches(tmp_path / "in.csv")
    result = validated(inside, inside)
    (row,) = result["external"]
    assert row["shared"] == {"image": 20, "patient": 10}
    said = "20 images and 10 patients named alike in both"
    assert any(said in note for note in map(Banner.read, result["notes"]))
    result = validated(patches(tmp_path / "out.csv", extra="x"), inside)
    assert result["external"][0]["shared"] == {}
    same = (
        ": NOTHING LEARNT: the models give all images the same probabilities"  # as these tables do
    )
    assert list(map(Banner.read, result["notes"])) == [f"in{same}", f"out{same}"]


def test_new_patients_are_promised_only_if_none_trained(tmp_path, completed):
    """Patients named as those of the table of the training, which a table with folds cannot have trained on."""
    header = "image_id,label,group,fold,p_benign,p_malignant"

    def table(name, patients, folds):
        rows = [
            f"{name}{k},{CLASSES[k % 2]},{patients}{k // 2},{k % 5 + 1 if folds else ''},"
            f"{0.3 + 0.4 * (k % 2 == (k % 7 == 0))},{0.7 - 0.4 * (k % 2 == (k % 7 == 0))}"
            for k in range(60)
        ]
        path = tmp_path / f"{name}.csv"
        return write_lines(path, header, *rows)

    inside = table("in", "p", True)
    options = typed("--against {} --bootstrap 0", inside)
    said = "30 patients trained the models, judging by names, so this does not show"
    out, _ = completed("evaluate -v {} --out T/a", table("same", "p", False), *options)
    assert said in flat(out)
    for number, other in enumerate((table("new", "q", False), table("folds", "p", True))):
        out, _ = completed("evaluate -v {} --out {}", other, tmp_path / f"b{number}", *options)
        assert "named as those that trained" not in flat(out)
