import html
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from bchisto.core import InputError
from bchisto.evaluate import (
    Figure,
    compare_pairs,
    compare_tables,
    measure,
    unlike_pairs,
)
from bchisto.evaluate.compare import FOLDS, FOLDS_OF_GROUPS, holm, sign_flip
from bchisto.evaluate.predictions import take_rows
from bchisto.evaluate.report import comparison_lines
from bchisto.evaluate.report.methods import methods_text
from scipy.stats import binom, norm, t
from written_tables import flat, predictions, read_json, saved


def table(name, hits, *, folds=5, groups=None):
    hits = np.asarray(hits)
    numbers = [k % folds + 1 for k in range(len(hits))]
    return predictions(
        np.where(hits, 0.2, 0.8),
        "a" * len(hits),
        "ab",
        name=name,
        folds=numbers,
        groups=groups or [None] * len(hits),
    )


@pytest.fixture
def hits(rng):
    first = rng.random(100) < 0.75
    return first, np.where(rng.random(100) < 0.2, rng.random(100) < 0.9, first)


def test_mcnemar_equals_statsmodels(hits):
    from statsmodels.stats.contingency_tables import mcnemar

    a, b = hits
    found = compare_tables(table("a", a, folds=1), table("b", b, folds=1))
    counts = [[(a & b).sum(), (a & ~b).sum()], [(~a & b).sum(), (~a & ~b).sum()]]
    few, many = sorted((counts[0][1], counts[1][0]))
    exact = mcnemar(counts, exact=True).pvalue
    assert found["p"] == pytest.approx(exact - binom.pmf(few, few + many, 0.5))  # mid-p
    assert (found["only_first"], found["only_second"]) == (counts[0][1], counts[1][0])
    assert found["differences"]["accuracy"]["value"] == pytest.approx(b.mean() - a.mean())


def test_equal_tables_and_tables_of_other_images(hits):
    a, _ = hits
    same = compare_tables(table("a", a), table("b", a))
    assert same["differences"]["accuracy"]["value"] == 0.0
    assert same["p"] == 1.0
    assert same["units_needed"] is None
    assert compare_pairs([table("a", a), table("b", a[:50])]) == []
    (pair,) = compare_pairs([table("a", a), table("b", ~a)])
    assert (pair["first"], pair["second"]) == ("a", "b")


def shown(pair):
    """Return the lines of a comparison of patients, or of images."""
    named = {pair["first"]: {"names": {"image": "image", "group": "patient"}}}
    return comparison_lines({"tables": named, "comparisons": [pair]})


def clustered(rng, units, per):
    """Two classifiers of equal skill whose accuracy differs from patient to patient."""
    hits = [rng.random((units, per)) < rng.beta(6.4, 1.6, units)[:, None] for _ in range(2)]
    groups = [f"g{k // per}" for k in range(units * per)]
    return [table(name, one.ravel(), groups=groups) for name, one in zip("ab", hits, strict=True)]


@pytest.mark.parametrize("units", [3, 8])
def test_the_sign_flip_test_by_counting_patterns(rng, units):
    changes = rng.integers(-4, 5, units)
    sums = np.array([abs(np.dot(signs, changes)) for signs in product((-1, 1), repeat=units)])
    reached = abs(changes.sum())
    assert sign_flip(changes) == pytest.approx(
        (np.mean(sums > reached) + np.mean(sums >= reached)) / 2
    )


def gain(change, low=-1.0, high=1.0):
    return {"differences": {"accuracy": Figure(change, low, high, "t")}}


def test_what_p_and_the_interval_of_a_comparison_say():
    """Holm's p decides, whatever the interval; where that holds 0 although p is small, or not, they disagree."""
    cases = [
        ("better", False, 0.01, gain(0.1, 0.05, 0.2)),
        ("better", True, 0.01, gain(0.1, -0.05, 0.2)),
        ("worse", False, 0.01, gain(-0.1, -0.2, -0.05)),
        ("worse", True, 0.01, gain(-0.1, -0.2, 0.05)),
        ("not shown", False, 0.2, gain(0.1, -0.05, 0.2)),
        ("not shown", True, 0.2, gain(0.1, 0.05, 0.2)),
        ("not shown", False, 0.2, {"differences": {"accuracy": Figure(0.1, reason="one patient")}}),
        ("better", False, 0.01, {"differences": {"accuracy": Figure(0.1, reason="one patient")}}),
    ]
    for verdict, disagree, p, differences in cases:
        (found,) = holm([{"p": p, **differences}])
        assert (found["verdict"], found["disagree"]) == (verdict, disagree)
    first, second = holm([{"p": 0.03, **gain(0.1, 0.05, 0.2)}, {"p": 0.04, **gain(0.1, 0.05, 0.2)}])
    assert (first["p_holm"], first["verdict"], first["disagree"]) == (0.06, "not shown", True)
    assert second["disagree"]


def unequal(seed):
    """Return two tables of the same patients, of very unequal size, of which the second is better."""
    rng = np.random.default_rng(seed)
    sizes = np.exp(rng.normal(1.5, 1.2, 20)).astype(int) + 1
    owner = np.repeat(np.arange(20), sizes)
    hard = rng.normal(size=20)[owner]
    hits = [rng.random(len(owner)) < 1 / (1 + np.exp(-better - hard)) for better in (0.3, 0.9)]
    labels = rng.integers(0, 2, len(owner))
    return [
        predictions(
            np.where(right == (labels == 1), 0.8, 0.2),
            labels,
            name=name,
            groups=[f"p{k}" for k in owner],
        )
        for name, right in zip("xyz", (*hits, hits[0]), strict=True)
    ]


def test_lines_whose_p_and_interval_disagree_say_which_decides(tmp_path, completed):
    tables = next(
        tables for tables in map(unequal, range(200)) if compare_pairs(tables[:2])[0]["disagree"]
    )
    paths = [saved(table, tmp_path / f"{table.name}.csv") for table in tables]
    decides = "95 % CI and p disagree, and Holm's p decides: "
    for names in (paths[:2], paths):
        out, _ = completed("evaluate", "-v", *names, "--out", tmp_path / f"e{len(names)}")
        written = read_json(tmp_path / f"e{len(names)}" / "metrics.json")
        pairs = [pair for pair in written["comparisons"] if pair["disagree"]]
        report = (tmp_path / f"e{len(names)}" / "report.html").read_text()
        said = {"better": "better", "worse": "worse", "not shown": "no difference is shown"}
        for pair in pairs:
            line = decides + said[pair["verdict"]]
            assert f"{pair['second']} against {pair['first']}: {line}." in html.unescape(report)
            assert line in flat(out)
        assert out.count("Holm's p decides") <= len(pairs)
        assert html.unescape(report).count(decides) == len(pairs)
    (pair,) = compare_pairs(tables[:2])
    assert pair["verdict"] == ("better" if pair["p"] <= 0.05 else "not shown")


def test_holm_equals_statsmodels(rng):
    from statsmodels.stats.multitest import multipletests

    p = rng.random(7) ** 3
    corrected = [pair["p_holm"] for pair in holm([{"p": value, **gain(0.1)} for value in p])]
    np.testing.assert_allclose(corrected, multipletests(p, method="holm")[1])
    assert holm([]) == []


def scored(name, *, truth, noise):
    score = 1 / (1 + np.exp(-(2 * truth - 1 + noise)))
    return predictions(score, truth.astype(int), name=name)


def test_every_difference_is_that_of_the_figures(rng):
    truth, noise = rng.random(150) < 0.3, rng.normal(size=(2, 150))
    a, b = (scored(name, truth=truth, noise=one) for name, one in zip("ab", noise, strict=True))
    found = compare_tables(a, b)["differences"]
    first, second = measure(a, bootstrap=0), measure(b, bootstrap=0)
    assert list(found) == ["accuracy", "balanced_accuracy", "auc", "sensitivity", "specificity"]
    for name in ("accuracy", "balanced_accuracy", "auc"):
        assert found[name]["value"] == pytest.approx(second[name]["value"] - first[name]["value"])
    recall = [one["per_class"]["malignant"] for one in (first, second)]
    for name, key in (("sensitivity", "recall"), ("specificity", "specificity")):
        assert found[name]["value"] == pytest.approx(
            recall[1][key]["value"] - recall[0][key]["value"]
        )
    for one in found.values():
        assert one["interval"][0] < one["value"] < one["interval"][1]


def test_equal_tables_still_leave_room_for_a_difference():
    truth = np.arange(40) % 2 == 0
    a = scored("a", truth=truth, noise=np.zeros(40))
    for name, one in compare_tables(a, replace(a, name="b"))["differences"].items():
        assert one["value"] == 0.0
        assert one["interval"][0] < -0.02 < 0.02 < one["interval"][1], name


def test_a_group_that_one_table_lacks_is_that_of_the_other(rng):
    a, b = clustered(rng, 40, 10)
    found = compare_tables(replace(a, groups=(None,) * 400), b)
    assert found["unit"] == "group"
    assert found["units"] == 40
    assert found["p"] == compare_tables(a, b)["p"]


def test_tables_of_other_classes_are_named_and_not_compared(rng):
    a, b = (table(name, rng.random(20) < 0.7) for name in "ab")
    four = replace(b, classes=("a", "b", "c", "d"))
    for pair in ((a, four), (four, a)):
        assert compare_pairs(pair) == []
        (note,) = unlike_pairs(pair, rows=False)
        first, second = pair
        assert note.startswith(f"{first.name} and {second.name} are not compared")
        assert "has the classes" in note
        with pytest.raises(InputError, match="cannot be compared: the first has the classes"):
            compare_tables(*pair)
    assert len(compare_pairs((a, replace(b, classes=("b", "a"), labels=1 - b.labels)))) == 1


def test_tables_that_contradict_each_other_are_named_and_not_compared(rng):
    a, b = (table(name, rng.random(20) < 0.7) for name in "ab")
    grouped = replace(a, groups=("p",) * 20)
    for first, second, said in (
        (a, replace(b, labels=np.where(np.arange(20) < 5, 1, b.labels)), "true classes {}i0"),
        (grouped, replace(b, groups=("p",) * 19 + ("q",)), "patients {}i19"),
    ):
        said = said.format("for the same row, ")
        assert compare_pairs((first, second)) == []
        assert unlike_pairs((first, second)) == [
            f"a and b are not compared: they name different {said}"
        ]
        with pytest.raises(InputError, match=said):
            compare_tables(first, second)
    # a table without patients takes those of the other
    assert len(compare_pairs((grouped, b))) == 1


def test_a_table_without_folds_is_compared_by_image(rng):
    """As a table of another program; its rows are in another order."""
    a, b = (
        replace(table(name, rng.random(20) < 0.7, folds=5), labels=np.arange(20) % 2)
        for name in "ab"
    )
    order = rng.permutation(20)
    bare = take_rows(replace(b, folds=(None,) * 20), order)
    (expected,), (pair,), (turned,) = (
        compare_pairs((a, b)),
        compare_pairs((a, bare)),
        compare_pairs((bare, a)),
    )
    same = ("p", "least_p", "variance_factor", "only_first")
    assert [pair[name] for name in same] == [expected[name] for name in same]
    assert turned["p"] == pair["p"]
    assert pair["differences"]["auc"] == expected["differences"]["auc"]
    assert turned["variance_factor"] == pair["variance_factor"] > 1
    other = replace(b, folds=b.folds[1:] + b.folds[:1])
    assert unlike_pairs((a, other)) == [
        "a and b are not compared: they test the same images in other folds"
    ]


def test_a_p_over_folds_is_said_to_be_approximate(hits, rng):
    a, b = hits
    one, several = (
        compare_pairs([table("a", a, folds=k), table("b", b, folds=k)])[0] for k in (1, 5)
    )
    assert (one["variance_factor"], several["variance_factor"]) == (1.0, FOLDS)
    changed = one["only_first"] + one["only_second"]
    student = 2 * t.sf(norm.isf(one["p"] / 2) / FOLDS**0.5, changed - 1)
    assert one["p"] < several["p"] == pytest.approx(student)
    flipped = compare_pairs([replace(each, group_is="patient") for each in clustered(rng, 4, 5)])[0]
    for pair, test in (
        (one, "McNemar p = "),
        (several, f"McNemar, variance times {FOLDS:g}, p = "),
        (flipped, f"sign flips of 4 patients, variance times {FOLDS_OF_GROUPS:g}, p = "),
    ):
        lines = shown(pair)
        assert test in flat(" ".join(lines))
        assert max(map(len, lines)) <= 100
    metrics = measure(table("a", a, folds=5), bootstrap=0)
    exact, approximate = (
        methods_text([metrics], runs=[{}], pairs=[pair]) for pair in (one, several)
    )
    assert (
        "The accuracies of two tables of the same images were compared by McNemar's mid-p test [@mcnemar1947]."
        in exact
    )
    assert "approximate" not in exact
    assert "such a p is approximate" in approximate
    assert "most probable class" not in exact


def test_the_difference_of_two_aucs_has_the_variance_of_delong(rng):
    """Against covariances of structural components; the jackknife's factors are of 1 in a hundred."""
    truth, noise = rng.random(300) < 0.4, rng.normal(size=(2, 300))
    tables = [scored(name, truth=truth, noise=one) for name, one in zip("ab", noise, strict=True)]
    parts = []
    for one in tables:
        score = one.probabilities[:, 1]
        wins = (score[truth][:, None] > score[~truth][None]).astype(float)
        parts.append((wins.mean(axis=1), wins.mean(axis=0)))
    variance = sum(np.var(parts[1][side] - parts[0][side]) / len(parts[0][side]) for side in (0, 1))
    low, high = compare_tables(*tables)["differences"]["auc"]["interval"]
    assert high - low == pytest.approx(2 * norm.ppf(0.975) * np.sqrt(variance), rel=0.03)


def test_a_margin_that_the_interval_excludes(hits):
    a, b = hits
    low = compare_tables(table("a", a), table("b", b))["differences"]["accuracy"]["interval"][0]
    assert [
        compare_tables(table("a", a), table("b", b), margin=m)["not_inferior"]
        for m in (abs(low) + 0.01, 0.0)
    ] == [
        True,
        low > 0,
    ]


def test_by_unit_patients_weigh_the_same():
    """One patient of 60 % of the images cannot be estimated over images; over patients it can."""
    member = np.r_[np.zeros(60, int), np.repeat(np.arange(1, 11), 4)]
    a, b = np.arange(100) % 4 < 2, np.arange(100) % 4 < 3
    tables = [
        table(name, one, folds=1, groups=[f"g{k}" for k in member])
        for name, one in (("a", a), ("b", b))
    ]
    found = compare_tables(*tables)
    assert found["differences"]["accuracy"]["interval"] is None
    assert found["detectable"] > 0  # by patient
    text = flat(" ".join(shown({"first": "a", "second": "b", **found})))
    assert "not estimable: one patient holds 60 % of the 100 images); by patient +25.0" in text
    assert found["differences"]["accuracy"]["reason"] == "one patient holds 60 % of the 100 images"
    assert found["differences"]["by_unit"]["value"] == pytest.approx(0.25)
    assert found["differences"]["by_unit"]["interval"]


def test_by_unit_images_of_no_known_patient_do_not_count():
    """The difference is that of the two means over patients; images of no known patient all change the other way."""
    member = [*np.repeat(["g1", "g2", "g3", "g4"], [6, 2, 4, 8]), *[None] * 20]
    known = np.array([name is not None for name in member])
    a, b = np.arange(40) % 2 < 1, (np.arange(40) % 4 < 3) & known
    tables = [table(name, one, groups=member) for name, one in (("a", a), ("b", b))]
    means = [measure(one)["patient_recognition_rate"].value for one in tables]
    differences = compare_tables(*tables)["differences"]
    assert differences["by_unit"].value == pytest.approx(means[1] - means[0])
    assert differences["by_unit"].value > 0 > differences["accuracy"].value


def test_units_of_a_test_are_called_what_they_are(rng):
    """Of 20 images of 4 patients, and 6 that name none, there are 10 units."""
    groups = [*(f"g{k // 5}" for k in range(20)), *[None] * 6]
    tables = [table(name, rng.random(26) < 0.8, groups=groups) for name in "ab"]
    (pair,) = compare_pairs([replace(each, group_is="patient") for each in tables])
    assert (pair["units"], pair["ungrouped"]) == (10, 6)
    text = flat(" ".join(shown(pair)))
    assert "sign flips of 4 patients and 6 images of no known patient" in text


def rare(seed, *, gain, groups=1):
    """Return two tables of 30 rows of one class and 150 of the other; the second gains rows of only the rare one."""
    rng = np.random.default_rng(seed)
    labels = np.repeat([1, 0], [30, 150])
    unit = np.arange(180) // groups
    hard = 0.5 * rng.normal(size=unit.max() + 1)[unit]
    tables = []
    for name, more in (("a", 0.0), ("b", gain)):
        right = rng.random(180) < norm.cdf(0.6 - hard + np.where(labels == 1, more, -more / 10))
        one = table(name, right) if groups == 1 else None
        one = one or replace(table(name, right), groups=tuple(f"p{k}" for k in unit))
        tables.append(replace(one, labels=labels, predicted=np.where(right, labels, 1 - labels)))
    return tables


@pytest.mark.parametrize("groups", [1, 5])
def test_what_is_tested_is_what_ranks(groups):
    """Of equal classifiers 5 % are told apart, by a test that rare classes weigh in as in the balanced accuracy."""
    equal = [compare_tables(*rare(seed, gain=0.0, groups=groups)) for seed in range(200)]
    assert {pair["tested"] for pair in equal} == {"balanced_accuracy"}
    assert np.mean([pair["p"] <= 0.05 for pair in equal]) <= 0.05 + 2 * (0.05 * 0.95 / 200) ** 0.5
    better = [compare_pairs(rare(seed, gain=2.0, groups=groups))[0] for seed in range(60)]
    shown = np.mean([pair["verdict"] == "better" for pair in better])
    for pair in better:
        moved = pair["differences"]["balanced_accuracy"].value > 0
        assert pair["verdict"] != ("worse" if moved else "better")
    tables = [rare(seed, gain=2.0, groups=groups) for seed in range(60)]
    of_accuracy = [compare_tables(*both, by="accuracy")["p"] <= 0.05 for both in tables]
    # six units of the rare class cannot show it
    if groups == 1:
        assert shown > np.mean(of_accuracy) + 0.1


def test_of_classes_equal_in_number_the_accuracy_is_tested(rng):
    labels = np.arange(40) % 2
    a, b = (
        replace(each, labels=labels, predicted=np.where(each.hits, labels, 1 - labels))
        for each in (table(name, rng.random(40) < 0.7) for name in "ab")
    )
    pair = compare_tables(a, b)
    assert pair["tested"] == "accuracy"
    assert pair["p"] == compare_tables(a, b, by="accuracy")["p"]
    assert pair["p"] == pytest.approx(compare_tables(a, b, by="balanced_accuracy")["p"])
