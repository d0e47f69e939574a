"""A cure is checked before it is printed: the kind of a JPEG, columns of one class, groups that are classes."""

import io

import pytest
from PIL import Image
from sample_trees import tree
from written_tables import checked, lines


def jpeg(frame, bits):
    """Return a JPEG whose frame is of another kind."""
    data = io.BytesIO()
    Image.new("RGB", (32, 24), "pink").save(data, "JPEG", exif=Image.Exif())
    coded = bytearray(data.getvalue())
    start = coded.index(b"\xff\xc0")
    coded[start + 1] = frame
    coded[start + 4] = bits
    return bytes(coded)


@pytest.mark.parametrize(
    ("frame", "bits"), [(0xC1, 12), (0xC0, 12), (0xF7, 8), (0xC3, 16), (0xC9, 8)]
)
def test_a_rare_jpeg_is_not_to_be_downloaded_again(tmp_path, cli, frame, bits):
    tree(tmp_path, "a/1.png", "b/2.png")
    (tmp_path / "a" / "x.jpg").write_bytes(jpeg(frame, bits))
    code, text = checked(cli, tmp_path)
    assert code == 1
    assert "or not of 8 bits is not read; save it as PNG or TIFF" in text
    assert "download" not in text


@pytest.mark.parametrize(
    ("header", "labels", "said"),
    [
        (
            ("image_id", "label", "p_malignant"),
            ("benign", "malignant"),
            "p_malignant is the only column of probabilities, and benign is a label, too; "
            "add a column p_benign, which is 1 - p_malignant if there are two classes",
        ),
        (("id", "y_true", "p_1"), ("0", "1"), "add a column p_0, which is 1 - p_1"),
        (("id", "diagnosis", "P_krank"), ("gesund", "krank"), "add a column p_gesund"),
        (
            ("image_id", "y_true", "y_prob"),
            ("0", "1"),
            "p_ and its name; those of a second class are 1 - those of the first",
        ),
        (
            ("image_id", "label", "score"),
            ("b", "m"),
            "p_ and its name; those of a second class are 1 - those of the first",
        ),
        (("image_id", "label", "stage"), ("b", "7"), "call the probabilities of a class p_"),
    ],
)
def test_one_column_of_probabilities(tmp_path, refused, header, labels, said):
    rows = [(f"i{n}", labels[n % 2], "0.25" if header[2] != "stage" else n) for n in range(6)]
    path = lines(tmp_path / "t.csv", header, rows)
    err = refused("evaluate {} --out T/out", path)
    assert said in " ".join(err.split())


def test_a_class_of_one_patient_beside_others_is_not_called_so(tmp_path, refused):
    tree(tmp_path / "i", "a/P1_1.png", "a/P1_2.png", *(f"b/P{n}_1.png" for n in range(2, 6)))
    err = refused(r"data check --images T/i --group-from (P\d) --folds 2 --write-folds T/f.csv")
    assert "add images of a second patient with class a" in err
    assert "each class is one group" not in err


@pytest.mark.parametrize(
    ("labels", "predicted"),
    [
        (("benign", "malignant"), ("B", "M")),
        (("a", "b"), ("0.20", "0.95")),
    ],
)
def test_predicted_words_that_are_no_labels(tmp_path, refused, labels, predicted):
    rows = [(f"i{n}", labels[n % 2], predicted[n % 2]) for n in range(8)]
    path = lines(tmp_path / "t.csv", ("id", "y_true", "y_pred"), rows)
    err = refused("evaluate {} --out T/out", path)
    assert f"no predicted class ({predicted[0]}, {predicted[1]}) is a label" in err
