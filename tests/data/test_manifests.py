"""Manifests: which columns are read under which names, and what is said of the others."""

import pytest
from bchisto.core import InputError
from bchisto.data import read_dataset
from sample_trees import findings, tree


def manifest(folder, text):
    tree(folder, "1.png", "2.png", "3.png")
    (folder / "m.csv").write_text(text)
    return folder / "m.csv"


def test_headers_with_blanks_and_capitals(tmp_path):
    dataset = read_dataset(manifest(tmp_path, " Path , LABEL,Group , Image_ID\n1.png,a,p,x\n2.png,b,q,\n"))
    assert [(r.image_id, r.label, r.group) for r in dataset.records] == [("2.png", "b", "q"), ("x", "a", "p")]
    assert dataset.findings == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label,Label\n1.png,a,b\n", r"m\.csv: two columns are named Label; remove or rename one"),
        ("Bild;label\n1.png;a\n", r"m\.csv: the header must have a column `path` .*; there are Bild, label"),
        ("Bild,label\n1.png,a\n", r"m\.csv: the header must have a column `path` .*; there are Bild, label"),
        ("path;Label;label\n1.png;a;b\n", r"m\.csv: two columns are named label; remove or rename one"),
        ("p\0a\0t\0h\0\n\0", r"m\.csv: not a UTF-8 CSV file \(null characters in its header\); save it as"),
        ("path,label\n1.png,a,b\n2.png,b\n", r"m\.csv:2: more cells than the header has columns"),
        (f"path,label\n{'x' * 5000}.png,a\n", r"m\.csv:2: .* cannot be read \(File name too long\)"),
        ("path,label,image_id\n1.png,a,x\0y\n2.png,b,z\n", r"holds a null character; give it another name"),
    ],
)
def test_manifests_that_are_refused(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        read_dataset(manifest(tmp_path, text)).raise_errors()


def test_a_list_of_the_command_is_a_manifest(tmp_path, cli):
    tree(tmp_path / "images", "benign/P1/1.png", "malignant/P2/2.png")
    code, out, err = cli("data", "list", "--images", tmp_path / "images")
    assert code == 0
    assert "benign/P1, malignant/P2: these folders below the classes are not taken for patients" in err
    (tmp_path / "m.csv").write_text(out)
    again = read_dataset(tmp_path / "m.csv")
    assert again.class_counts() == {"benign": 1, "malignant": 1}
    assert "columns that are not used: magnification, source" in findings(again, "note")[0]
