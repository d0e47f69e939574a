"""Figures of the images that share a value of a column."""

import csv
import json
import re

import pytest
from bchisto.core import InputError
from bchisto.data import DatasetFacts, write_dataset_facts
from bchisto.evaluate import Aggregation, TableChoice, evaluate
from scipy.stats import binomtest
from written_tables import read_json, rows_of, write_lines

SITES = ["north"] * 10 + ["south"] * 6 + [""] * 4
WRONG = (0, 1, 10)


def written(path, *, sites=SITES, groups=None):
    """Twenty images of two classes, 8 of 10 right in the north, 5 of 6 in the south, 4 of 4 elsewhere."""
    names = ("benign", "malignant")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(
            ["image_id", "label", "group", "predicted", *(["Clinical Site"] if sites else [])]
        )
        for k in range(20):
            called = names[(k + (k in WRONG)) % 2]
            group = groups[k] if groups else ""
            writer.writerow(
                [f"i{k:02d}", names[k % 2], group, called, *([sites[k]] if sites else [])]
            )
    return path


def test_by_hand(tmp_path, completed):
    table = written(tmp_path / "t.csv")
    out, _ = completed("evaluate {} --by clinical-site --out T/out", table)
    metrics = read_json(tmp_path / "out" / "metrics.json")["tables"]["t"]
    north, south, unknown = metrics["subgroups"]["clinical-site"]
    assert [one["value"] for one in (north, south, unknown)] == ["north", "south", "not known"]
    assert [(one["n"], one["units"]) for one in (north, south, unknown)] == [
        (10, 10),
        (6, 6),
        (4, 4),
    ]
    assert [one["accuracy"]["value"] for one in (north, south, unknown)] == [
        0.8,
        pytest.approx(5 / 6),
        1.0,
    ]
    exact = binomtest(8, 10).proportion_ci(method="exact")
    assert north["accuracy"]["interval"] == pytest.approx([exact.low, exact.high])
    assert north["difference"]["value"] == pytest.approx(0.8 - 0.9)
    rest = binomtest(9, 10).proportion_ci(method="exact")
    low = -0.1 - ((0.8 - exact.low) ** 2 + (rest.high - 0.9) ** 2) ** 0.5  # Zou & Donner 2008
    assert north["difference"]["interval"][0] == pytest.approx(low)
    assert north["balanced_accuracy"]["value"] == pytest.approx((4 / 5 + 4 / 5) / 2)
    line = r"  north +8 of 10 +80\.0 \(.*\) +80\.0 \(.*\) +-10\.0 \(-.*\)$"
    assert any(re.match(line, text) for text in out.splitlines())
    report = (tmp_path / "out" / "report.html").read_text()
    assert "<h2>Subgroups</h2>" in report
    assert "Subgroups are exploratory" in report
    rows = rows_of(tmp_path / "out" / "figures.csv")
    accuracies = {row["part"]: row["value"] for row in rows if row["metric"] == "accuracy"}
    for one in (north, south, unknown):
        part = f"subgroups clinical-site {one['value']}"
        assert float(accuracies[part]) == one["accuracy"]["value"]


def test_a_patient_of_several_sites_is_said(tmp_path):
    groups = [f"p{k // 2}" for k in range(20)]  # of one class each below
    table = written(tmp_path / "t.csv", sites=["a", "b", *["a"] * 8, *["b"] * 10], groups=groups)
    lines = table.read_text().splitlines()
    same = [re.sub(r",(benign|malignant),(p\d),", r",benign,\2,", line) for line in lines]
    write_lines(table, *same)
    found = evaluate(
        [table],
        out=tmp_path / "out",
        bootstrap=20,
        aggregation=Aggregation("group", "vote"),
        tables=TableChoice(by="clinical site"),
    ).result
    (metrics,) = found["tables"].values()
    (subgroups,) = metrics["subgroups"].values()
    assert {one["value"]: one["n"] for one in subgroups} == {"a": 4, "b": 5, "several": 1}


def test_the_column_may_stand_in_the_manifest_of_the_run(tmp_path):
    """Stage 1 keeps further columns beside its stores, fine-tuning in its folder."""
    columns = {"site": {f"i{k:02d}": site for k, site in enumerate(SITES) if site}}
    for kept in ("features", "finetune"):
        run = tmp_path / kept
        table = written(
            run / ("boost" if kept == "features" else kept) / "5-x" / "predictions.csv", sites=None
        )
        content = {
            "tables": {"x": {"two_class": None}},
            "run": {"images_sha256": "ab", "banners": []},
        }
        table.with_name("metrics.json").write_text(json.dumps(content))
        (run / kept).mkdir(exist_ok=True)
        write_dataset_facts(
            run / kept / "dataset.json", DatasetFacts(columns=columns), images_sha256="ab"
        )
        found = evaluate(
            [table], out=run / "out", bootstrap=20, tables=TableChoice(by="Site")
        ).result
        ((subgroups,),) = [one["subgroups"].values() for one in found["tables"].values()]
        assert [(one["value"], one["n"]) for one in subgroups] == [
            ("north", 10),
            ("south", 6),
            ("not known", 4),
        ]


def test_what_makes_no_subgroups(tmp_path):
    table = written(
        tmp_path / "t.csv", sites=[f"s{k}" for k in range(20)], groups=[f"s{k}" for k in range(20)]
    )
    for by, message in (
        (
            "scanner",
            "`by` scanner: neither this table nor the manifest of its run has such a column",
        ),
        ("clinical_site", "`by` clinical_site: has 20 values, or names patients or slides"),
    ):
        with pytest.raises(InputError, match=message):
            evaluate([table], out=tmp_path / "out", bootstrap=0, tables=TableChoice(by=by))
    text = table.read_text().splitlines()
    write_lines(table, text[0] + ",fold", *(line + ",1" for line in text[1:]), text[1] + "x,2")
    with pytest.raises(InputError, match="i00 has two values in column Clinical Site, s0 and s0x"):
        evaluate([table], out=tmp_path / "out", bootstrap=0, tables=TableChoice(by="clinical_site"))
