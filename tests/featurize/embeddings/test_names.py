"""Embeddings of which ids, labels and patients stand under other names, and tables of labels of other names."""

import numpy as np
import pytest
from bchisto.core import InputError
from bchisto.featurize import import_features, read_embeddings
from written_tables import read_json

IDS, LABELS, PATIENTS = ["a", "b", "c", "d"], ["x", "y", "x", "y"], ["p", "p", "q", "r"]
VALUES = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)


def npz(path, **arrays):
    np.savez(path, **{name: np.array(array) for name, array in arrays.items()})


def known(found):
    return [list(column) for column in (found.image_ids, found.labels, found.groups)]


@pytest.mark.parametrize(
    ("ids", "label", "group"),
    [
        ("image_id", "label", "group"),
        ("ids", "labels", "patients"),
        ("slide_id", "Diagnosis", "case_id"),
        ("filenames", "target", "PatientID"),
        ("ImageID", "class", "slide_id"),
    ],
)
def test_every_spelling_is_read(tmp_path, ids, label, group):
    path = tmp_path / "e.npz"
    npz(path, features=VALUES, **{ids: IDS, label: LABELS, group: PATIENTS}, age=[1, 2, 3, 4])
    found = read_embeddings(path)
    assert known(found) == [IDS, LABELS, PATIENTS]
    np.testing.assert_array_equal(found.features[:, 0], VALUES)


@pytest.mark.parametrize("y", [[0, 1, 0, 1], [0.0, 1.0, 0.0, 1.0]])
def test_arrays_as_scikit_learn_calls_them(tmp_path, y, caplog):
    npz(tmp_path / "Xy.npz", X=VALUES, y=y, ids=IDS)
    with caplog.at_level("INFO", "bchisto"):
        found = read_embeddings(tmp_path / "Xy.npz")
    assert known(found) == [IDS, ["0", "1", "0", "1"], [""] * 4]
    assert "Xy.npz: the label is taken from y" in caplog.text


def test_places_of_tiles_are_no_labels(tmp_path):
    npz(tmp_path / "t.npz", image_id=IDS, x=[1, 2, 3, 4], y=[1, 2, 3, 4], features=VALUES)
    assert read_embeddings(tmp_path / "t.npz").labels == ("", "", "", "")


def test_what_pandas_writes_for_a_missing_patient(tmp_path):
    npz(
        tmp_path / "t.npz",
        image_id=IDS,
        label=LABELS,
        patient=[1.0, 1.0, 1.0, float("nan")],
        features=VALUES,
    )
    assert read_embeddings(tmp_path / "t.npz").groups == ("1", "1", "1", "")


def test_spellings_of_patients(tmp_path, caplog):
    npz(
        tmp_path / "e.npz",
        features=VALUES,
        ids=IDS,
        labels=LABELS,
        patients=["P1", "p1", "NA", "001"],
    )
    assert read_embeddings(tmp_path / "e.npz").groups == ("P1", "P1", "", "001")
    assert "taken for one patient: P1 and p1" in caplog.text


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"ids": IDS, "Befund": LABELS}, "has no labels; .* call them label, class, .* or y"),
        (
            {"names": IDS},
            r"has no image_id \(or ids, slide_id, filenames\); it has features, names",
        ),
        (
            {"ids": IDS, "labels": ["x", "NA", "x", "y"]},
            "the label NA means unknown; leave it empty, or",
        ),
        (
            {"ids": IDS, "labels": LABELS, "patient": PATIENTS, "case": IDS},
            "patient and case may both hold the patient or slide",
        ),
        ({"ids": IDS, "labels": ["x", "\ud800", "x", "y"]}, "a label is not a name"),
    ],
)
def test_what_is_in_doubt_is_refused(tmp_path, arrays, message):
    npz(tmp_path / "e.npz", features=VALUES, **arrays)
    with pytest.raises(InputError, match=message):
        import_features([tmp_path / "e.npz"], folder=tmp_path / "features")


def test_a_class_may_be_called_na(tmp_path):
    npz(tmp_path / "e.npz", features=VALUES, ids=IDS, labels=["x", "NA", "x", "NA"])
    assert import_features([tmp_path / "e.npz"], folder=tmp_path / "features", classes=["x", "NA"])


TABLES = {
    "plain": ("image_id,label,group", "{0},{1},{2}"),
    "CLAM": ("case_id,slide_id,label", "{2},{0},{1}"),
    "capitals and semicolons": ("Image-ID;Diagnosis;PatientID", "{0};{1};{2}"),
    "a file beside the slide": ("slide_id,path,class,patient", "{0},/data/{0}.svs,{1},{2}"),
    "slides of images": ("image,slide,target", "{0},{2},{1}"),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_of_labels(tmp_path, name):
    header, row = TABLES[name]
    lines = [header, *(row.format(*cells) for cells in zip(IDS, LABELS, PATIENTS, strict=True))]
    (tmp_path / "l.csv").write_text("\n".join(lines))
    npz(tmp_path / "e.npz", features=VALUES, ids=IDS)
    (store,) = import_features(
        [tmp_path / "e.npz"], folder=tmp_path / "features", labels=tmp_path / "l.csv"
    )
    found = read_embeddings(store)
    assert known(found) == [IDS, LABELS, PATIENTS]
    assert read_json(tmp_path / "features" / "dataset.json")["groups"] == dict(
        zip(IDS, PATIENTS, strict=True)
    )


def test_a_table_that_names_another_patient_is_refused(tmp_path):
    (tmp_path / "l.csv").write_text("image_id,label,patient\na,x,P\nb,y,p\nc,x,s\nd,y,\n")
    npz(tmp_path / "e.npz", features=VALUES, ids=IDS, patients=PATIENTS)
    with pytest.raises(
        InputError, match=r"l\.csv: c is of s, and of q in .*e\.npz; an image has one patient"
    ):
        import_features(
            [tmp_path / "e.npz"], folder=tmp_path / "features", labels=tmp_path / "l.csv"
        )
