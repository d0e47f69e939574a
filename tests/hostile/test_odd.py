"""Files that are odd and yet right are read as they are, in bounded time and memory; and what no corpus can hold."""

import io
import random
import shutil
import struct
import time
import tracemalloc
import zlib
from pathlib import Path

import h5py
import hostile_arrays
import hostile_pictures
import numpy as np
import pictures
import pytest
from bchisto.boost import Bundle
from bchisto.core import BchistoError, BundleError, InputError, StoreError
from bchisto.core.formats import check_tree, read_header, refuse_deadly
from bchisto.data import decode_image
from bchisto.featurize import open_store
from conftest import typed
from hostile_pictures import (
    PICTURE,
    deflated,
    interlaced,
    jpeg,
    jpeg2000,
    jpeg_in_tiff,
    packed,
    png,
    tiff,
)
from numpy.testing import assert_array_equal
from pictures import chunk
from PIL import Image
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit
from refusals import refuses
from written_tables import read_json

BENCHMARKS = Path(__file__).parents[2] / "tools" / "benchmarks"
SMOOTH = np.dstack([np.add.outer(np.arange(64) * 2, np.arange(80)).astype(np.uint8)] * 3)
SMALL = np.random.default_rng(3).integers(0, 256, (3, 5), dtype=np.uint8)
GREY = np.rint(hostile_pictures.GREY * (255 / int(hostile_pictures.GREY.max())))

FLAT = np.full((16, 16, 3), 0x55)


def pillow(data):
    return np.array(Image.open(io.BytesIO(data)).convert("RGB"))


def pixels_beside(kind, content, times=1):
    """A PNG with much beside its pixels."""
    return png(before=[(kind, content)] * times)


def more_pixels():
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 16, 16, 8, 0, 0, 0, 0))
    data = head + chunk(b"IDAT", zlib.compress(bytes(300_000_000), 9)) + chunk(b"IEND", b"")
    return pictures.PNG_BEGIN + data


def tags_that_name_the_whole_file():
    data = bytearray(tiff(more=[(5000 + i, 8) for i in range(900)])) + bytes(10_000_000)
    for place in range(8 + 256 + 2 + 12 * 9, 8 + 256 + 2 + 12 * 909, 12):
        data[place + 4 : place + 8] = struct.pack("<I", 2_500_000)
    return data


GREY_JPEGS = {
    f"a grey JPEG of {level} {options}": (
        "a.jpg",
        lambda level=level, options=options: pictures.jpeg(
            np.full((64, 80, 3), level, np.uint8), **options
        ),
        None,
    )
    for level in (0, 127, 128, 129, 255)
    for options in ({}, {"progressive": True}, {"restart_marker_blocks": 2}, {"subsampling": 2})
}
"""Whole, and of the grey that fills up what is missing."""

RIGHT = GREY_JPEGS | {
    "a JPEG before 5,000 zeros": ("a.jpg", lambda: jpeg() + bytes(5000), pillow(jpeg())),
    "a JPEG before another": ("a.jpg", lambda: jpeg() + pictures.jpeg(SMOOTH), pillow(jpeg())),
    "a PNG before a JPEG": ("a.png", lambda: png() + pictures.jpeg(SMOOTH), PICTURE),
    "a small JPEG of 400 scans": (
        "a.jpg",
        lambda: hostile_pictures.scans(400),
        np.zeros((8, 8, 3)),
    ),
    "an interlaced PNG": ("a.png", lambda: interlaced(SMALL), pictures.grey3(SMALL)),
    "a PNG without its end": ("a.png", lambda: png()[:-12], PICTURE),
    "a PNG with 20,000 texts": ("a.png", lambda: pixels_beside(b"tEXt", b"", 20_000), PICTURE),
    "a PNG of more pixels than it says": ("a.png", more_pixels, np.zeros((16, 16, 3))),
    "a TIFF": ("a.tif", tiff, FLAT),
    "a TIFF of another length": ("a.tif", lambda: tiff({279: 2**31}), FLAT),
    "a TIFF of no length": ("a.tif", lambda: tiff({279: None}), FLAT),
    "a TIFF in a circle": ("a.tif", lambda: tiff(after=8 + 256), FLAT),
    "a TIFF of 501 pages": (
        "a.tif",
        lambda: hostile_pictures.pages(500),
        FLAT,
    ),
    "a TIFF of large tags": ("a.tif", tags_that_name_the_whole_file, FLAT),
    "a TIFF of a JPEG": ("a.tif", lambda: bytes(jpeg_in_tiff()), pillow(jpeg_in_tiff())),
}


@pytest.mark.parametrize("name", RIGHT)
def test_pictures(tmp_path, name):
    file, make, expected = RIGHT[name]
    data = make()
    (tmp_path / file).write_bytes(data)
    start = time.process_time()
    assert_array_equal(
        decode_image(tmp_path / file), pillow(data) if expected is None else expected
    )
    assert time.process_time() - start < 3


@pytest.mark.parametrize(
    ("syntax", "frame", "far"),
    [
        (JPEGBaseline8Bit, lambda: pictures.jpeg(hostile_pictures.GREY), 6),
        (JPEG2000Lossless, jpeg2000, 1),
    ],
)
def test_packed_pixels_of_dicom(tmp_path, syntax, frame, far):
    found = decode_image(packed(tmp_path / "a.dcm", syntax, frame=frame()))[..., 0]
    assert np.abs(found.astype(int) - GREY).max() <= far


def test_exif_blocks_that_repeat_themselves_take_no_memory(tmp_path):
    """Each of 5,400 entries names the same 64 KiB, in 100 segments; of all that the orientation alone is read."""
    entries = b"".join(struct.pack("<HHII", 0x9000 + i, 1, 65000, 8) for i in range(5400))
    block = (
        b"Exif\0\0II*\0\x08\0\0\0"
        + struct.pack("<H", 5401)
        + struct.pack("<HHIHH", 0x112, 3, 1, 8, 0)
        + entries
    )
    segment = b"\xff\xe1" + struct.pack(">H", 65535) + block.ljust(65533, b"\0")
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg()[:2] + segment * 100 + jpeg()[2:])
    tracemalloc.start()
    header, image = read_header(path), decode_image(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64 * 1024**2
    assert (header.width, header.height) == (64, 80)
    assert_array_equal(image, pictures.upright(pillow(jpeg()), 8))


def test_a_folder_of_such_files_is_named_file_by_file(tmp_path, cli, tissue):
    """By the command line: each is named by `data check`, and left out by `--skip-errors`; no other fails."""
    root = tmp_path / "images"
    shutil.copytree(tissue, root)
    files = {
        "chain.tif": hostile_pictures.EMPTY_DIRECTORIES,
        "signed.tif": pictures.kinds()["tiff int16"][1],
        "grown.jpg": hostile_pictures.resized(jpeg(), 900, 900),
        "scans.jpg": hostile_pictures.resized(hostile_pictures.scans(400), 8000, 8000),
        "bomb.tif": deflated(100_000_000),
        "cut.png": png()[:2000],
        "empty.png": b"",
    }
    for name, data in files.items():
        (root / "benign" / name).write_bytes(data)
    code, out, err = cli("data check --no-timing --images {} --decode --no-copies", root)
    assert code == 1
    for name in files:
        assert f"benign/{name}" in out + err
    assert "unexpected" not in out + err
    code, out, err = cli("stain {} --out T/out --skip-errors", root)
    assert code == 1
    assert "unexpected" not in out + err
    failures = (tmp_path / "out" / "failures.csv").read_text()
    for name in files:
        assert f"benign/{name}" in failures
    assert len(failures.splitlines()) == 1 + len(files)


# ---- feature files and weights

NAME = "tiny-1.0-64.h5"


@pytest.fixture
def store(described, tmp_path):
    return Path(shutil.copy(described / "features" / NAME, tmp_path))


@pytest.mark.parametrize(
    "value",
    [
        lambda file: np.arange(3),
        lambda file: np.bytes_(b"\xff\xfe"),
        lambda file: h5py.Empty("f"),
        lambda file: file.ref,
    ],
)
def test_an_attribute_that_we_do_not_know_goes_into_no_model_file(
    described, tmp_path, completed, value
):
    """Before, the model file could not be written after training."""
    from bchisto.featurize import export_features, import_features

    export_features(described / "features" / NAME, tmp_path / "x.npz")
    import_features([tmp_path / "x.npz"], folder=tmp_path / "features")
    path = tmp_path / "features" / "x.h5"
    with h5py.File(path, "a") as file:
        given = value(file)
        file.attrs.create(
            "more", given, dtype=h5py.ref_dtype if isinstance(given, h5py.Reference) else None
        )
    small = typed("--param num_iterations=1 --folds 2 --seeds 1 --jobs 1")
    completed("boost --features {}", path, *small, "--out", tmp_path / "r")
    assert "more" not in Bundle.load(tmp_path / "r/boost/2-lightgbm/model.bchisto").stores["x"]


def test_a_store_that_was_packed_anew_reads_as_before_and_its_damage_is_named(store):
    with open_store(store) as before:
        values = before.features()
    with h5py.File(store, "a") as file:
        packing = {"chunks": (24, 16), "compression": "gzip", "shuffle": True, "fletcher32": True}
        hostile_arrays.dataset("features", data=file["features"][:], **packing)(file, None)
        start = file["features"].id.get_chunk_info(0)
    with open_store(store) as after:
        assert_array_equal(after.features(), values)
    with store.open("r+b") as handle:
        handle.seek(start.byte_offset + 10)
        handle.write(b"\xff" * 50)
    with (
        open_store(store) as damaged,
        pytest.raises(StoreError, match="damaged, .*; make it again"),
    ):
        damaged.features()


def test_growing_a_strange_store_reads_nothing_outside(
    described, tissue, tiny_options, tmp_path, cli
):
    """A store that grows is copied, its columns too."""
    run = tmp_path / "run"
    shutil.copytree(described, run)
    other = hostile_arrays.elsewhere(tmp_path)
    with h5py.File(run / "features" / NAME, "a") as file:
        hostile_arrays.link("images/tissue", lambda other: h5py.ExternalLink(str(other), "tissue"))(
            file, other
        )
    images = shutil.copytree(tissue, tmp_path / "images")
    (images / "benign" / "more.png").write_bytes(
        (images / "benign" / "benign00.png").read_bytes() + b"0"
    )
    code, _, said = cli("featurize --images {} --out {}", images, run, *tiny_options)
    assert code != 0, said
    assert "tissue is a link to another object" in said
    assert read_json(run / "run.json")["records"][-1]["status"] == "error"


@pytest.mark.parametrize(("name", "signal"), [("ends-hdf5.h5", 11), ("hangs-hdf5.h5", 24)])
def test_a_store_that_ends_hdf5_is_one_line(refused, monkeypatch, name, signal):
    """Whether by a signal or without an end, in a process of its own."""
    monkeypatch.setattr("bchisto.core.formats.hdf5._SECONDS", 1)
    path = Path(__file__).parents[1] / "featurize" / "data" / name
    text = refused("boost --features {} --folds 2 --out T/run", path)
    assert f"{path}: HDF5 is ended by signal {signal} when it reads it: damaged, or" in text


def test_the_first_look_passes_what_is_right_or_said_better_later(store, tmp_path):
    (tmp_path / "text.h5").write_text("no HDF5 at all")
    refuse_deadly([store, tmp_path / "text.h5", tmp_path / "none.h5", tmp_path])
    with h5py.File(store, "r+"):  # as another part of this program may have it
        refuse_deadly([store])


def test_arrays_that_hold(tmp_path):
    from bchisto.encoders import read_weight_arrays

    hostile_arrays.savez(tmp_path / "w.npz", whole=np.arange(3), half=np.ones(2, "f2"))
    found = read_weight_arrays(tmp_path / "w.npz")
    assert_array_equal(found["first/kernel"], hostile_arrays.WHOLE["first/kernel"])
    names = {*hostile_arrays.WHOLE, "whole", "half"}
    assert set(read_weight_arrays(tmp_path / "w.npz", values=False)) == names


@pytest.mark.parametrize(
    ("limit", "most", "said"),
    [
        ("HDF5_OBJECTS", 2, "more than 2 objects"),
        ("HDF5_BYTES", 10, r"1\.0-64\.h5: holds more than 0 GiB"),
    ],
)
def test_too_much_of_anything(store, monkeypatch, limit, most, said):
    with h5py.File(store, "a") as file:  # texts are not numbers
        for name in [name for name in file if name != "features"]:
            del file[name]
        file["more/a"] = np.ones(3)
    check_tree(store)
    monkeypatch.setattr(f"bchisto.core.formats.limits.{limit}", most)
    refuses(StoreError, said, check_tree, store)


# ---- model files and recipes


def test_a_manifest_larger_than_one_can_be(boosted_model, monkeypatch):
    monkeypatch.setattr("bchisto.core.formats.limits.MANIFEST_BYTES", 1000)
    with pytest.raises(BundleError, match="its manifest is larger than one can be"):
        Bundle.load(boosted_model)


@pytest.mark.parametrize(
    "given",
    [lambda rows: rows[:, :2] * np.nan, lambda rows: rows[:, :3], lambda rows: rows[:, :2] * 0 - 1],
)
def test_a_head_whose_numbers_are_no_probabilities_leaves_no_parts(
    boosted_model, tissue, tmp_path, refused, monkeypatch, given
):
    """As one of another package may give."""
    monkeypatch.setattr("bchisto.boost.trees.Forest.predict_rows", lambda self, rows: given(rows))
    err = refused("predict {} --images {} --out T/p.csv --jobs 1", boosted_model, tissue)
    assert "give values that are not probabilities" in err
    assert [one.name for one in tmp_path.iterdir()] == ["p.csv.run.json"]


def test_names_of_recipes_are_no_paths_in_what_is_written_either(tmp_path):
    from bchisto.apps.recipes.image_sets import write_quick
    from bchisto.data import Dataset
    from bchisto.evaluate.report import PublishedTable, write_published

    with pytest.raises(InputError, match="becomes a part of a path"):
        write_published(tmp_path / "out", [PublishedTable("../x", "t", "s", ())])
    dataset = Dataset(name="bach", root=tmp_path, records=(), classes=(), findings=())
    with pytest.raises(InputError, match="no published list of this name"):
        write_quick(dataset, ["../../x"], count=1, folder=tmp_path / "a" / "b")
    assert not list(tmp_path.rglob("*.csv"))


def test_a_modest_alias_is_read(tmp_path):
    """What is said twice may be written once."""
    import yaml
    from bchisto.apps.recipes import load_recipe
    from hostile_texts import RECIPE

    text = yaml.safe_dump({**RECIPE, "notes": [RECIPE["title"]]}, sort_keys=True)
    (line,) = [line for line in text.splitlines() if line.startswith("- Boosted ensembles")]
    text = text.replace(line, f"- &t{line[1:]}").replace(f"title:{line[1:]}", "title: *t")
    assert text.count("*t") == 1
    (tmp_path / "mine.yaml").write_text(text)
    assert load_recipe(str(tmp_path / "mine.yaml")).notes == (RECIPE["title"],)


@pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="needs the repository")
@pytest.mark.parametrize(
    "kind", ["manifest", "model in a bundle", "zip of a bundle", "arrays", "weights"]
)
def test_the_campaign_of_mutations_in_short(tmp_path_factory, tmp_path, monkeypatch, kind):
    """Every mutation is refused on purpose, or gives probabilities; fuzz_bundles.py is the whole campaign."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    import fuzz_bundles

    seeds = tmp_path_factory.getbasetemp() / "mutated"
    if not seeds.is_dir():
        seeds.mkdir()
        fuzz_bundles.make_seeds(seeds)
    outcomes = set()
    for number in range(60):
        made, name = fuzz_bundles.prepare(kind, seeds, random.Random(f"short {kind} {number}"))
        path = tmp_path / (name or "text")
        path.write_bytes(made.encode("utf-8", "surrogatepass") if isinstance(made, str) else made)
        try:
            fuzz_bundles.execute(kind, made, name, path)
            outcomes.add("taken")
        except BchistoError as error:
            outcomes.add("refused" if "\n" not in str(error) else "in several lines")
    assert outcomes in ({"refused", "taken"}, {"refused"})
