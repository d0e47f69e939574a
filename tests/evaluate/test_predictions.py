import numpy as np
import pytest
from bchisto.errors import InputError, MissingInputError
from bchisto.evaluate import read_predictions, write_predictions


def write(path, text, encoding="utf-8"):
    path.write_text(text, encoding=encoding)
    return path


def test_probabilities_folds_groups(tmp_path):
    (table,) = read_predictions(
        write(tmp_path / "t.csv", "image_id,label,group,fold,p_b,p_a\nx,a,g1,1,0.25,0.75\ny,b,g2,2,0.5,0.5\n")
    )
    assert table.classes == ("b", "a")
    np.testing.assert_array_equal(table.labels, [1, 0])
    np.testing.assert_array_equal(table.predicted, [1, 0])
    assert (table.folds, table.groups, table.fold_numbers) == ((1, 2), ("g1", "g2"), [1, 2])


def test_predicted_classes_alone(tmp_path):
    (table,) = read_predictions(write(tmp_path / "t.csv", "image_id,label,predicted\nx,a,b\ny,b,b\n"))
    assert table.probabilities is None
    assert table.classes == ("a", "b")
    np.testing.assert_array_equal(table.predicted, [1, 1])


def test_known_classes_come_in_their_order_whatever_the_spelling(tmp_path):
    text = "image_id,label,predicted\n1,in_situ,normal\n2,invasive,benign\n3,normal,normal\n4,benign,invasive\n"
    (table,) = read_predictions(write(tmp_path / "t.csv", text))
    assert table.classes == ("Normal", "Benign", "InSitu", "Invasive")
    np.testing.assert_array_equal(table.labels, [2, 3, 0, 1])


def test_one_table_per_model_and_classes_by_request(tmp_path):
    text = "image_id,label,predicted,model\nx,a,b,m1\nx,a,a,m2\n"
    tables = read_predictions(write(tmp_path / "t.csv", text), classes=["b", "a"])
    assert [table.name for table in tables] == ["t: m1", "t: m2"]
    assert tables[0].classes == ("b", "a")


def test_a_byte_order_mark_is_no_problem(tmp_path):
    (table,) = read_predictions(write(tmp_path / "t.csv", "image_id,label,predicted\nx,a,b\n", encoding="utf-8-sig"))
    assert len(table) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,label,p_a\n", r"t\.csv: expected the columns image_id, label and p_<class>"),
        ("image_id,label\nx,a\n", "expected the columns"),
        ("image_id,label,p_a,p_b\n", "the table has no rows"),
        ("image_id,label,p_a,p_b\nx,a,0.4,0.4\n", r"t\.csv:2: the probabilities of x sum to 0\.8, not 1"),
        ("image_id,label,p_a,p_b\nx,a,nan,1\n", r"t\.csv:2: p_a is nan, not a probability"),
        ("image_id,label,p_a,p_b\nx,a,,1\n", r"t\.csv:2: p_a is '', not a number"),
        ("image_id,label,p_a,p_b\nx,a,-0.5,1.5\n", r"p_a is -0\.5, not a probability"),
        ("image_id,label,p_a,p_b\nx,c,0.5,0.5\n", r"t\.csv:2: label 'c' is none of the classes a, b"),
        ("image_id,label,fold,p_a,p_b\nx,a,1,1,0\nx,a,1,1,0\n", r"t\.csv:3: x is listed twice in fold 1"),
        ("image_id,label,predicted\nx,a,a\nx,a,a\n", r"t\.csv:3: x is listed twice; keep one row"),
        ("image_id,label,fold,predicted\nx,a,one,a\n", r"fold 'one' is not a whole number"),
    ],
)
def test_tables_that_do_not_fit(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        read_predictions(write(tmp_path / "t.csv", text))


def test_another_encoding_and_a_missing_file(tmp_path):
    with pytest.raises(InputError, match="not a UTF-8 CSV file .*; save it as UTF-8"):
        read_predictions(write(tmp_path / "t.csv", "image_id,label,predicted\nä,a,a\n", encoding="latin-1"))
    with pytest.raises(MissingInputError, match="no such predictions file"):
        read_predictions(tmp_path / "none.csv")


def test_an_image_tested_in_two_folds_is_two_rows(tmp_path):
    (table,) = read_predictions(write(tmp_path / "t.csv", "image_id,label,fold,predicted\nx,a,1,a\nx,a,2,b\n"))
    assert len(table) == 2


def test_written_tables_read_back_exactly(tmp_path, rng):
    p = rng.dirichlet([1, 1, 1], size=5)
    rows = [(f"i{k}", "xyz"[k % 3], None, k) for k in range(5)]
    write_predictions(tmp_path / "p.csv", classes="xyz", rows=rows, probabilities=p, extra=[("store", ["s"] * 5)])
    (table,) = read_predictions(tmp_path / "p.csv")
    np.testing.assert_array_equal(table.probabilities, p)


@pytest.mark.parametrize("row", ["b,benign,0.4", "b,benign,0.4,0.6,0.1"])
def test_a_row_of_missing_or_surplus_cells_is_named(tmp_path, row):
    path = tmp_path / "t.csv"
    path.write_text(f"image_id,label,p_benign,p_malignant\na,benign,0.4,0.6\n{row}\n")
    with pytest.raises(InputError, match=r"t\.csv:3: has another number of cells than the header"):
        read_predictions(path)
