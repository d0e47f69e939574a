from dataclasses import replace

import numpy as np
import pytest
from bchisto.core import InputError, MissingInputError
from bchisto.evaluate import (
    PredictionTable,
    compare_tables,
    evaluate,
    measure,
    read_predictions,
    write_predictions,
)
from numpy.testing import assert_array_equal
from written_tables import read_json


def write(path, text, encoding="utf-8"):
    path.write_text(text, encoding=encoding)
    return path


def read_text(tmp_path, text):
    (table,) = read_predictions(write(tmp_path / "t.csv", text))
    return table


def test_probabilities_folds_groups(tmp_path):
    text = "image_id,label,group,fold,p_b,p_a\nx,a,g1,1,0.25,0.75\ny,b,g2,2,0.5,0.5\n"
    table = read_text(tmp_path, text)
    assert table.classes == ("b", "a")
    assert_array_equal(table.labels, [1, 0])
    assert_array_equal(table.predicted, [1, 0])
    assert table.folds == (1, 2)
    assert table.groups == ("g1", "g2")
    assert table.fold_numbers == [1, 2]


def test_predicted_classes_alone(tmp_path):
    """An empty label is no class, also where classes are known from the columns of labels alone."""
    table = read_text(tmp_path, "image_id,label,predicted\nx,a,b\ny,,b\nz,b,b\n")
    assert (table.probabilities, table.unlabelled) == (None, 1)
    assert table.classes == ("a", "b")
    assert_array_equal(table.predicted, [1, 1])


def test_known_classes_come_in_their_order_whatever_the_spelling(tmp_path):
    text = "image_id,label,predicted\n1,in_situ,normal\n2,invasive,benign\n3,normal,normal\n4,benign,invasive\n"
    (table,) = read_predictions(write(tmp_path / "t.csv", text))
    assert table.classes == ("Normal", "Benign", "InSitu", "Invasive")
    assert_array_equal(table.labels, [2, 3, 0, 1])


def test_one_table_per_model_and_classes_by_request(tmp_path):
    text = "image_id,label,predicted,model\nx,a,b,m1\nx,a,a,m2\n"
    tables = read_predictions(write(tmp_path / "t.csv", text), classes=["b", "a"])
    assert [table.name for table in tables] == ["t: m1", "t: m2"]
    assert tables[0].classes == ("b", "a")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "name,label,p_a\n",
            r"t\.csv: the header must have a column `image_id` \(image_id, label, and p_<class>",
        ),
        ("image_id,label\nx,a\n", "expected the columns"),
        (
            "image_id,label,p_a,p_b\nx,a,1,0\ny,a,1\n",
            r"t\.csv:3: has another number of cells than the header",
        ),
        ("image_id,label,p_a,p_b\n", "no row has a label"),
        (
            "image_id,label,p_a,p_b\nx,a,0.4,0.4\n",
            r"t\.csv:2: the probabilities sum to 0\.8, not 1",
        ),
        ("image_id,label,p_a,p_b\nx,a,nan,1\n", r"t\.csv:2: p_a is nan, not a probability"),
        ("image_id,label,p_a,p_b\nx,a,,1\n", r"t\.csv:2: p_a is '', not a number"),
        ("image_id,label,p_a,p_b\nx,a,\u0661,0\n", "p_a is '\u0661', not a number"),
        ("image_id,label,p_a,p_b\nx,a,0_1,0\n", "p_a is '0_1', not a number"),
        ("image_id,label,fold,p_a,p_b\nx,a,\u0661,1,0\n", "fold '\u0661' is not a whole number"),
        (
            "image_id,label,p_a,p_b\nx,c,0.5,0.5\n",
            r"t\.csv:2: label 'c' is not among the classes a, b",
        ),
        (
            "image_id,label,fold,p_a,p_b\nx,a,1,1,0\nx,a,1,1,0\n",
            r"t\.csv:3: x is listed twice in fold 1",
        ),
        ("image_id,label,fold,predicted\nx,a,one,a\n", r"fold 'one' is not a whole number"),
        (
            "image_id,label,p_a,p_b\nx,,0.5,0.5\n",
            r"t\.csv: no row has a label, so nothing can be evaluated; fill in",
        ),
        (
            "image_id,label,model,predicted\nx,a,m,a\nx,,n,a\n",
            r"t\.csv: no row of t: n has a label",
        ),
        (
            "image_id,label,p_a-b,p_x\n1,a b,1,0\n2,a_b,1,0\n",
            r"the labels 'a b' and 'a_b' both fit the class a-b",
        ),
        (
            "image_id,label,p_A,p_a\n1,a,1,0\n",
            r"t\.csv: two columns p_ name one class, among A, a;",
        ),
        (
            "image_id,label,fold,patient,predicted\nx,a,1,P1,a\nx,a,2,P2,b\n",
            r"t\.csv:3: x is of P2 here, and of P1 in t.csv:2; an image has one patient",
        ),
        (
            "image_id,label,predicted,P_ID\nx,a,a,1\ny,b,b,2\n",
            r"t\.csv:2: label 'a' is not among the classes ID",
        ),
        (
            "image_id,label,patient,case_id,predicted\nx,a,P,1,a\ny,b,P,2,b\n",
            "the columns patient and case_id may both hold the patient or slide, and differ; "
            "call one group, or remove one",
        ),
        (
            "image_id,label,score\nx,a,0.5\n",
            "found image_id, label, score; call the probabilities of a class p_ and",
        ),
        ("image_id,label,p_a,P_a\nx,a,0,1\n", "two columns are named P_a"),
    ],
)
def test_tables_that_do_not_fit(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        read_predictions(write(tmp_path / "t.csv", text))


def test_a_prediction_that_is_not_of_the_largest_probability(tmp_path):
    """Called malignant from 0.33 on: wholly right by the column, and not by the probabilities."""
    text = "image_id,label,predicted,p_benign,p_malignant\nx,malignant,malignant,0.6,0.4\ny,benign,benign,0.5,0.5\n"
    path = write(tmp_path / "t.csv", text)
    message = (
        r"t\.csv:2: predicted is malignant \(probability 0\.4\), but benign has the largest, 0\.6; "
        "remove the column predicted, or those of probabilities"
    )
    with pytest.raises(InputError, match=message):
        read_predictions(path)
    tied = text.replace("x,malignant,malignant,0.6,0.4", "x,malignant,malignant,0.5,0.5")
    (table,) = read_predictions(write(path, tied))
    assert table.predicted.tolist() == [1, 0]  # a tie is settled by the column


def test_another_encoding_and_a_missing_file(tmp_path):
    with pytest.raises(InputError, match='not a UTF-8 CSV file .*; save it as "CSV UTF-8"'):
        read_predictions(
            write(tmp_path / "t.csv", "image_id,label,predicted\nä,a,a\n", encoding="latin-1")
        )
    with pytest.raises(MissingInputError, match="no such predictions file"):
        read_predictions(tmp_path / "none.csv")


def test_written_tables_read_back_exactly(tmp_path, rng):
    p = rng.dirichlet([1, 1, 1], size=5)
    rows = [(f"i{k}", "xyz"[k % 3], None, k) for k in range(5)]
    write_predictions(
        tmp_path / "p.csv", classes="xyz", rows=rows, probabilities=p, extra=[("store", ["s"] * 5)]
    )
    (table,) = read_predictions(tmp_path / "p.csv")
    assert_array_equal(table.probabilities, p)


def test_spellings_of_a_class_are_one_and_said(tmp_path, caplog):
    rows = "1,Tumor,Tumor\n2,TUMOR,Tumor\n3,Be\u0301nin,B\u00e9nin\n4,B\u00e9nin,TUMOR\n"
    table = read_text(tmp_path, "image_id,label,predicted\n" + rows)
    assert table.classes == ("B\u00e9nin", "Tumor")
    assert table.labels.tolist() == [1, 1, 0, 0]
    assert table.predicted.tolist() == [1, 1, 0, 1]
    assert (
        "Tumor: one class in several spellings: TUMOR (2 images), Tumor (3 images)" in caplog.text
    )


def test_rows_without_a_label_are_left_out_and_counted(tmp_path, completed):
    text = "image_id,label,p_b,p_a\nx,a,0.2,0.8\ny,,0.9,0.1\nz, ,0.4,0.6\nw,b,0.3,0.7\n"
    path = write(tmp_path / "t.csv", text)
    (table,) = read_predictions(path)
    assert table.image_ids == ("x", "w")
    assert table.unlabelled == 2
    assert table.classes == ("b", "a")
    out, err = completed("evaluate -v {} --out T/e --bootstrap 0 --level image", path)
    assert "1 of 2 images right: 50.0 %" in out
    assert "t: 2 rows without a label left out; these numbers are about the other 2" in err
    assert read_json(tmp_path / "e" / "metrics.json")["tables"]["t"]["unlabelled"] == 2
    assert "2 rows without a label left out" in (tmp_path / "e" / "report.html").read_text()


def test_classes_that_differ_in_punctuation_stay_apart(tmp_path):
    table = read_text(tmp_path, "image_id,label,p_-1,p_1\n1,-1,0.9,0.1\n2,1,0.2,0.8\n")
    assert table.classes == ("-1", "1")
    assert table.labels.tolist() == [0, 1]
    assert table.predicted.tolist() == [0, 1]
    table = read_text(tmp_path, "image_id,label,predicted\n1,1-0,10\n2,10,10\n")
    assert (table.classes, table.labels.tolist()) == (("1-0", "10"), [0, 1])


CLASSIFIED = {
    "classes": np.array(["a", "b"]),
    "labels": np.array(["a", "b", "b", "a"]),
    "probabilities": np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.3, 0.7]]),
}


def test_arrays_make_a_table_that_a_frame_gives_too(tmp_path, pandas):
    """Rows have numbers as names; groups, folds and names are arrays, as scikit-learn has them."""
    plain = PredictionTable.from_probabilities(**CLASSIFIED)
    assert (plain.name, plain.image_ids) == ("predictions", ("0", "1", "2", "3"))
    assert (plain.folds, plain.groups) == ((None,) * 4, (None,) * 4)
    table = PredictionTable.from_probabilities(
        **CLASSIFIED,
        name="mine",
        image_ids=np.array([7, 8, 9, 10]),
        folds=np.array([1, 1, 2, 2]),
        groups=np.array(["p", "p", "q", "q"]),
    )
    assert (table.image_ids, table.folds) == (("7", "8", "9", "10"), (1, 1, 2, 2))
    assert {type(value) for value in (*table.image_ids, *table.groups, *table.classes)} == {str}
    metrics = measure(table)
    assert metrics["units"]["kind"] == "group"
    assert metrics["accuracy"].value == 0.75
    frame = table.to_pandas()
    assert list(frame) == ["image_id", "label", "predicted", "p_a", "p_b", "fold", "group"]
    assert list(frame.predicted) == ["a", "b", "b", "b"]
    assert list(plain.to_pandas()) == list(frame)[:-2]
    evaluation = evaluate({"mine": frame}, out=tmp_path / "e")
    assert evaluation.panels[0].metrics["auc"] == metrics["auc"]
    frame.to_csv(tmp_path / "t.csv", index=False)
    (again,) = read_predictions(tmp_path / "t.csv")
    pandas.testing.assert_frame_equal(again.to_pandas(), frame.astype({"image_id": str}))
    patches = replace(table, patches=("x", "y", "x", "y"))
    assert list(patches.to_pandas()["patch"]) == ["x", "y", "x", "y"]
    assert "p_a" not in replace(table, probabilities=None).to_pandas()


def test_numbers_with_gaps_are_those_of_pandas(tmp_path, pandas):
    """A column of whole numbers with gaps is of floats there: 2.0 is patient 2 everywhere, and NaN is unknown."""
    numbers = {"groups": [2, None, 6, 6], "folds": [0, 0, 1, 1], "image_ids": [1, 2, 3, 4]}
    kinds = [
        {name: pandas.Series(values, dtype=kind) for name, values in numbers.items()}
        for kind in ("float", "Int64")
    ]
    for fields in (numbers, *kinds):
        table = PredictionTable.from_probabilities(**CLASSIFIED, **fields)
        assert (table.groups, table.folds) == (("2", None, "6", "6"), (0, 0, 1, 1))
        assert table.image_ids == ("1", "2", "3", "4")
    frame = table.to_pandas().assign(group=[2, None, 6, 6], fold=[0.0, 0.0, 1.0, 1.0])
    frame.to_csv(tmp_path / "gaps.csv", index=False)
    assert ",0.0,2.0" in (tmp_path / "gaps.csv").read_text()
    for source in (frame, tmp_path / "gaps.csv"):
        (again,) = read_predictions(source)
        assert (again.groups, again.folds) == (table.groups, table.folds)
        assert compare_tables(table, again)["differences"]["accuracy"].value == 0.0


def test_columns_of_a_data_frame_are_taken_by_name(pandas):
    plain = PredictionTable.from_probabilities(**CLASSIFIED)
    frame = pandas.DataFrame(CLASSIFIED["probabilities"], columns=["a", "b"])[["b", "a"]]
    fields = CLASSIFIED | {"probabilities": frame}
    turned = PredictionTable.from_probabilities(**fields)
    assert_array_equal(turned.probabilities, plain.probabilities)
    fields["probabilities"] = frame.rename(columns={"a": "c"})
    with pytest.raises(
        InputError, match="columns b, c in the data frame, not those of the classes a, b"
    ):
        PredictionTable.from_probabilities(**fields)


def test_tables_are_equal_only_to_themselves():
    table = PredictionTable.from_probabilities(**CLASSIFIED)
    assert table == table
    assert table != PredictionTable.from_probabilities(**CLASSIFIED)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"labels": ["a", "b", "c", "a"]}, "mine, in row 2: label 'c' is not among the classes a"),
        ({"labels": ["a"]}, "`labels`: 1 value for 4 rows of `probabilities`"),
        ({"labels": [0.5] * 4}, "labels=0.5: give a text"),
        ({"image_ids": ["x"]}, "`image_ids`: 1 value for 4 rows"),
        ({"image_ids": [None, "x", "y", "z"]}, "image_ids=None: give a text"),
        ({"image_ids": ["x", "y", "z", "y"]}, "`image_ids`: y is listed twice"),
        (
            {"image_ids": [*"xyzy"], "folds": [1, 1, 1, 2], "groups": [None, "p", None, "q"]},
            "`groups`: y has p and q; give it one",
        ),
        ({"probabilities": [[0.5, 0.5], [1]]}, "`probabilities`: not rows of numbers"),
        ({"folds": np.array([1, 2])}, "`folds`: 2 values for 4 rows"),
        ({"folds": [1.5] * 4}, "folds=1.5: give a whole number"),
        ({"groups": np.array(["p"] * 5)}, "`groups`: 5 values for 4 rows"),
        ({"classes": ["a"]}, r"each of 1 class, not the shape \(4, 2\)"),
        (
            {"probabilities": [0.1, 0.2, 0.3, 0.4]},
            r"a column for each of 2 classes, not the .*\(4,\)",
        ),
        ({"probabilities": np.empty((0, 2))}, r"a row per image .* not the shape \(0, 2\)"),
        (
            {"probabilities": [[1, 0]] * 3 + [[0.5, 0.4]]},
            "in row 3: the probabilities sum to 0.9, not 1; give more digits, or divide each row by",
        ),
        ({"probabilities": [[1, 0], [1.2, -0.2]] * 2}, "in row 1: a is 1.2, not a probability"),
        ({"probabilities": [[np.nan, 0.5]] * 4}, "in row 0: a is nan, not a probability between"),
    ],
)
def test_arrays_are_checked_as_a_frame_is(fields, message):
    with pytest.raises(InputError, match=message):
        PredictionTable.from_probabilities(**{"name": "mine", **CLASSIFIED, **fields})
