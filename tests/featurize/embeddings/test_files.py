"""Embeddings of other programs: every format read as it was written, and what does not hold refused in one line."""

import json

import h5py
import numpy as np
import pytest
from bchisto.core import BchistoError, InputError, OutputError, StoreError
from bchisto.featurize import export_features, import_features, open_store, read_embeddings
from numpy.testing import assert_allclose, assert_array_equal
from refusals import refuses
from written_tables import read_json

IDS = ["a b/é.png", "x", "7"]
VALUES = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)


def slide(path, features, *, encoder=None, coords=True):
    """A file as TRIDENT writes it: a growing dataset of one tile a chunk, and coordinates beside it."""
    with h5py.File(path, "w") as file:
        rest = features.shape[1:]
        found = file.create_dataset(
            "features", data=features, maxshape=(None, *rest), chunks=(1, *rest)
        )
        found.attrs["name"], found.attrs["savetodir"] = path.stem, str(path.parent)
        if encoder is not None:
            found.attrs["encoder"] = encoder
        if coords:
            file.create_dataset("coords", data=np.zeros((len(features), 2), np.int64))
    return path


@pytest.mark.parametrize(("augmentations", "pooled"), [(1, {"pooled": "mean of 2 tiles"}), (2, {})])
def test_what_is_written_is_read(tmp_path, augmentations, pooled):
    facts = {
        "encoder": "uni",
        "layers": ["top"],
        "scale": 0.5,
        "synthetic": True,
        "classes": ["b", "a"],
        **pooled,
    }
    values = np.random.default_rng(1).normal(size=(3, augmentations, 4)).astype(np.float32)
    np.savez(
        tmp_path / "first.npz",
        features=values[:, 0] if augmentations == 1 else values,
        image_id=IDS,
        label=["a", "b", ""],
        group=["p", "", "q"],
        bchisto=json.dumps({**facts, "strange": 1}),
    )
    export_features(tmp_path / "first.npz", tmp_path / "second.npz")
    with np.load(tmp_path / "second.npz") as file:  # as other programs see it
        assert file["features"].shape == ((3, 4) if augmentations == 1 else (3, 2, 4))
    found = read_embeddings(tmp_path / "second.npz")
    assert found.image_ids == tuple(IDS)
    assert found.labels == ("a", "b", "")
    assert found.groups == ("p", "", "q")
    assert (found.facts, found.name, found.encoder) == (facts, "second", "uni")
    assert found.pooled == pooled.get("pooled", "")
    assert_array_equal(found.features, values)
    with pytest.raises(OutputError, match="exists already"):
        export_features(tmp_path / "first.npz", tmp_path / "second.npz")
    before = (tmp_path / "second.npz").read_bytes()
    export_features(tmp_path / "first.npz", tmp_path / "second.npz", overwrite=True)
    assert (tmp_path / "second.npz").read_bytes() == before


def test_arrays_of_strangers(tmp_path):
    np.savez(
        tmp_path / "plain.npz",
        X=VALUES.astype(np.float64),
        filenames=np.array([one.encode() for one in IDS]),
    )
    found = read_embeddings(tmp_path / "plain.npz")
    assert_array_equal(found.features[:, 0], VALUES)
    assert (found.encoder, found.image_ids) == ("unknown", tuple(IDS))


def test_slides_are_the_means_of_their_tiles(tmp_path):
    """A folder of TRIDENT's or CLAM's files; of CLAM's, features may have a first axis of one."""
    rng = np.random.default_rng(3)
    tiles = {
        "TCGA-01": rng.normal(size=(5, 3)),
        "TCGA-02.x": rng.normal(size=(1, 3)),
        "é 3": rng.normal(size=(9, 3)),
    }
    folder = tmp_path / "features_uni_v1"
    folder.mkdir()
    for name, values in tiles.items():
        slide(
            folder / f"{name}.h5",
            values.astype(np.float32)[None if len(values) == 9 else ...],
            encoder="uni_v1",
        )
    expected = np.array([values.astype(np.float32).mean(axis=0) for values in tiles.values()])
    found = read_embeddings(folder)
    assert found.image_ids == tuple(tiles)
    assert (found.pooled, found.encoder) == ("mean of 1 to 9 tiles", "uni_v1")
    assert_allclose(found.features[:, 0], expected, rtol=1e-6)
    # CLAM has them in a folder of their own
    (tmp_path / "FEATURES").mkdir()
    folder.rename(tmp_path / "FEATURES" / "h5_files")
    clam = read_embeddings(tmp_path / "FEATURES")
    assert (clam.name, clam.image_ids) == ("FEATURES", tuple(tiles))
    with pytest.raises(InputError, match="has no labels"):
        import_features([tmp_path / "FEATURES"], folder=tmp_path / "features")
    # an encoder of slides leaves one vector for each
    whole = slide(tmp_path / "one.h5", VALUES[0], coords=False)
    assert (read_embeddings(whole).pooled, read_embeddings(whole).image_ids) == ("", ("one",))
    # TRIDENT writes the text None where it does not know the network
    assert read_embeddings(slide(tmp_path / "two.h5", VALUES, encoder="None")).encoder == "unknown"


OBJECTS = "plain numbers and text, or damaged .Object arrays cannot be loaded"
REFUSED = {
    "object ids": ({"image_id": np.array(IDS, dtype=object)}, OBJECTS),
    "object features": ({"features": np.array([1, "x", None])}, OBJECTS),
    "no features": ({"features": None}, r"has no array features .* it has \['image_id'\]"),
    "no ids": ({"image_id": None}, "has no image_id"),
    "rank": ({"features": VALUES[0]}, r"float32 of shape \(4,\); they must be numbers"),
    "empty": ({"features": VALUES[:0], "image_id": np.array([], dtype=str)}, r"of shape \(0, 4\)"),
    "text": ({"features": np.array([["a"]] * 3)}, "its features are <U1"),
    "few ids": ({"image_id": IDS[:2]}, r"2 of image_id do not fit features of shape \(3, 4\)"),
    "few labels": ({"label": ["a"]}, "1 of label do not fit"),
    "id twice": ({"image_id": ["a", "b", "a"]}, "the id a is in it twice"),
    "no id": ({"image_id": ["a", " ", "b"]}, "row 2 has no id"),
    "float ids": ({"image_id": [0.5, 1.5, 2.5]}, r"image_id is float64 of shape \(3,\)"),
    "nan": (
        {"features": VALUES * [1, 1, np.nan, 1]},
        "float32 cannot hold is in the embedding of a b/é.png, x, 7",
    ),
    "large": (
        {"features": np.diag([1.0, 1e39, 1.0])},
        "NaN, infinity, or a number that float32 cannot hold is in the embedding of x",
    ),
    "facts": ({"bchisto": '{"layers": 4}'}, "its attribute layers"),
    "pooled": ({"bchisto": '{"pooled": 3}'}, "its attribute pooled"),
    "json": ({"bchisto": "{"}, "not an NPZ file of plain numbers and text, or damaged"),
}
"""What is exchanged, added, or left out (None), and the words of the refusal."""


@pytest.mark.parametrize("name", REFUSED)
def test_arrays_that_do_not_hold(tmp_path, name):
    changes, message = REFUSED[name]
    arrays = {"features": VALUES, "image_id": IDS, **changes}
    np.savez(
        tmp_path / "bad.npz", **{name: array for name, array in arrays.items() if array is not None}
    )
    with pytest.raises(InputError, match=message) as told:
        read_embeddings(tmp_path / "bad.npz")
    assert str(told.value).startswith(f"{tmp_path / 'bad.npz'}: ")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("name", ["a.npz", "slide.h5"])
def test_damage_anywhere_is_one_line(tmp_path, name):
    """Bytes altered, cut off, or set to nought at random: either it reads, or one line says what is the matter."""
    if name == "slide.h5":
        slide(tmp_path / name, VALUES, encoder="uni")
    else:
        np.savez(tmp_path / "first.npz", features=VALUES, image_id=IDS, label=["a", "b", "a"])
        export_features(tmp_path / "first.npz", tmp_path / name)
    whole, rng, refused = (tmp_path / name).read_bytes(), np.random.default_rng(0), []
    for turn in range(60 if not name.endswith(".h5") else 4):
        content = bytearray(whole)
        at = int(rng.integers(len(content)))
        content = content[:at] if turn % 3 == 0 else content
        content[at : at + 30] = (
            bytes(len(content[at : at + 30]))
            if turn % 3 == 1
            else rng.bytes(len(content[at : at + 30]))
        )
        (tmp_path / name).write_bytes(content)
        try:
            read_embeddings(tmp_path / name)
        except BchistoError as error:
            refused.append(str(error))
    assert len(refused) > 0
    assert all(one.startswith(f"{tmp_path / name}: ") for one in refused)
    assert not any("\n" in one for one in refused)


def test_other_files(tmp_path):
    for name, message in (
        ("e.pt", "embeddings are read from"),
        ("e.npy", "numpy.savez"),
        ("gone.npz", "no such"),
    ):
        if name != "gone.npz":
            (tmp_path / name).write_bytes(b"x")
        refuses(InputError, message, read_embeddings, tmp_path / name)
    refuses(InputError, "a file for each slide", read_embeddings, tmp_path)
    np.savez(tmp_path / "e.npz", features=VALUES, image_id=IDS)
    with pytest.raises(InputError, match="choose a name that ends in"):
        export_features(tmp_path / "e.npz", tmp_path / "e.csv")


STRANGE = {
    "soft link": (
        lambda f: f.__setitem__("features", h5py.SoftLink("/coords")),
        "features is a link",
    ),
    "no tile": (
        lambda f: f.create_dataset("features", data=VALUES[:0]),
        "no slide in it holds a tile",
    ),
    "rank": (
        lambda f: f.create_dataset("features", data=np.zeros((2, 3, 4))),
        r"features have the shape \(2, 3, 4\)",
    ),
    "rows without end": (
        lambda f: f.create_dataset(
            "features", (10**12, 0), "f4", chunks=(1, 1), maxshape=(None, None)
        ),
        "which holds nothing",
    ),
    "text": (lambda f: f.create_dataset("features", data=["a"]), "features holds .*, not float"),
    "nothing": (
        lambda f: f.create_dataset("numbers", data=VALUES),
        "it has coords, numbers: name embeddings features",
    ),
    "group": (lambda f: f.create_group("features"), "features is not a dataset"),
}


@pytest.mark.parametrize("name", STRANGE)
def test_slides_that_do_not_hold(tmp_path, name):
    make, message = STRANGE[name]
    with h5py.File(tmp_path / "bad.h5", "w") as file:
        file["coords"] = np.zeros((3, 2))
        make(file)
    with pytest.raises(BchistoError, match=message) as told:
        read_embeddings(tmp_path / "bad.h5")
    assert str(told.value).startswith(f"{tmp_path / 'bad.h5'}: ")


@pytest.mark.parametrize(
    "read",
    [
        read_embeddings,
        lambda path: read_embeddings(path.parent),
        lambda path: read_embeddings(path, by="wsi"),
        lambda path: import_features([path], folder=path.parent),
    ],
)
def test_no_file_is_opened_before_a_process_has_read_it(tmp_path, monkeypatch, read):
    path = slide(tmp_path / "a.h5", VALUES)

    def refuse(paths):
        assert paths == [path]
        raise StoreError("deadly")

    for module in ("files", "imported"):
        monkeypatch.setattr(f"bchisto.featurize.embeddings.{module}.refuse_deadly", refuse)
    opened = []
    monkeypatch.setattr("bchisto.featurize.embeddings.files.open_for_reading", opened.append)
    refuses(StoreError, "deadly", read, path)
    assert opened == []


def test_slides_that_do_not_belong_together(tmp_path):
    slide(tmp_path / "a.h5", VALUES, encoder="uni")
    slide(tmp_path / "b.h5", VALUES, encoder="conch")
    with pytest.raises(
        InputError,
        match=r"slides of several encoders: a \(uni, 4 numbers\), b \(conch, 4 numbers\)",
    ):
        read_embeddings(tmp_path)
    slide(tmp_path / "b.h5", VALUES[:, :2], encoder="uni")
    with pytest.raises(
        InputError, match=r"slides of several encoders: a \(uni, 4 numbers\), b \(uni, 2 numbers\)"
    ):
        read_embeddings(tmp_path)
    slide(tmp_path / "b.h5", VALUES, coords=False)
    refuses(InputError, "b.h5: .* come without coords", read_embeddings, tmp_path)


def test_an_import_is_a_store(tmp_path):
    """Its rows, labels and groups; in the order of the first file; kept where nothing changed."""
    np.savez(tmp_path / "one.npz", features=VALUES, image_id=IDS)
    np.savez(tmp_path / "two.npz", features=VALUES[::-1, :2], image_id=IDS[::-1])
    (tmp_path / "labels.csv").write_text(
        "Image-ID;Label;Patient;Site\n7;b;q;s\na b/é.png;a;;t\nx;;p;\nmore;a;;\n", "utf-8"
    )
    sources, labels = [tmp_path / "one.npz", tmp_path / "two.npz"], tmp_path / "labels.csv"
    made = import_features(sources, folder=tmp_path / "features", labels=labels)
    for path, values in zip(made, (VALUES, VALUES[:, :2]), strict=True):
        with open_store(path) as store:
            assert_array_equal(store.features()[:, 0], values)
            assert store.image_ids == IDS
            assert store.labels == ["a", "", "b"]
            assert store.groups == ["", "p", "q"]
            assert store.header["mode"] == "imported"
            assert store.header["encoder"] == "unknown"
            assert store.header["classes"] == ["a", "b"]
    known = read_json(tmp_path / "features" / "dataset.json")
    assert known["columns"]["site"] == {"7": "s", "a b/é.png": "t"}
    before = [path.stat().st_mtime_ns for path in made]
    import_features(sources, folder=tmp_path / "features", labels=labels)
    assert [path.stat().st_mtime_ns for path in made] == before
    np.savez(tmp_path / "one.npz", features=VALUES + 1, image_id=IDS)
    with pytest.raises(InputError, match="or of other embeddings than"):
        import_features(sources, folder=tmp_path / "features", labels=labels)
    import_features(sources, folder=tmp_path / "features", labels=labels, overwrite=True)
    with open_store(made[0]) as store:
        assert_array_equal(store.features()[:, 0], VALUES + 1)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (None, "one.npz: has no labels; give a table of them with `labels`"),
        (
            "image_id,label\nx.png,a\n",
            "labels.csv: has no row for 2 of 3 images of .*: a b/é.png, 7; add them",
        ),
        (
            "image_id,label\ny.png,a\n",
            "no row for 3 of 3 images of .*: a b/é.png, x, 7; its rows are named as y.png",
        ),
        ("image_id,Befund\nx,a\n", "must have a column `label`"),
        ("name,label\nx,a\n", "must have a column `image_id`"),
        ("image_id,label\nx,a\nx,b\n", "line 3: x is already in line 2"),
        ("image_id,label\n,a\n", "line 2: an empty image_id"),
        ("image_id,label\n", "the table has no rows"),
        ("image_id,label\nx,a,b\n", "line 2 has more cells than the header"),
        ("", "must have a column `label`"),
    ],
)
def test_labels_that_do_not_hold(tmp_path, table, message):
    np.savez(tmp_path / "one.npz", features=VALUES, image_id=IDS)
    if table is not None:
        (tmp_path / "labels.csv").write_text(table, "utf-8")
    labels = None if table is None else tmp_path / "labels.csv"
    with pytest.raises(InputError, match=message):
        import_features([tmp_path / "one.npz"], folder=tmp_path / "features", labels=labels)
    assert not (tmp_path / "features").exists()


def test_labelled_rows_without_features_are_named(tmp_path, caplog):
    """A slide of which no field was cut; one without a label is of no interest."""
    np.savez(tmp_path / "one.npz", features=VALUES, image_id=IDS)
    table = "image_id,label\n" + "".join(f"{name},a\n" for name in IDS)
    (tmp_path / "labels.csv").write_text(f"{table}Größe-1,b\nGHOST,\n", "utf-8")
    with caplog.at_level("WARNING"):
        import_features(
            [tmp_path / "one.npz"], folder=tmp_path / "f", labels=tmp_path / "labels.csv"
        )
    assert f"1 of {len(IDS) + 1} labelled rows have no features in" in caplog.text
    assert "take no part: Größe-1" in caplog.text
    assert "GHOST" not in caplog.text


def test_slides_of_stamp(tmp_path):
    for name in ("a", "b"):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["feats"], file["coords"] = VALUES, np.zeros((len(VALUES), 2))
            file.attrs["extractor"] = "uni2-h"
    found = read_embeddings(tmp_path)
    assert found.facts["encoder"] == "uni2-h"
    assert_allclose(found.features[:, 0], [VALUES.mean(axis=0)] * 2, rtol=1e-6)


def test_slides_without_a_tile_are_left_out_by_name(tmp_path, caplog):
    for name, values in (("a", VALUES), ("b", VALUES[:0]), ("c", VALUES)):
        slide(tmp_path / f"{name}.h5", values)
    assert list(read_embeddings(tmp_path).image_ids) == ["a", "c"]
    assert "1 of 3 slides hold no tile and are left out: b" in caplog.text
    for name in "ac":
        (tmp_path / f"{name}.h5").unlink()
    refuses(InputError, "no slide in it holds a tile", read_embeddings, tmp_path)


def test_a_folder_of_pickles_is_told(tmp_path):
    (tmp_path / "a.pt").write_bytes(b"x")
    with pytest.raises(
        BchistoError, match="run code when they are read; docs/encoders.md shows how to convert"
    ):
        read_embeddings(tmp_path)
