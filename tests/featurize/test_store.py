import json
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from bchisto.core import MissingInputError, StoreError
from bchisto.data import decode_image, pixels_sha256
from bchisto.featurize import open_store
from conftest import typed
from numpy.testing import assert_array_equal


@pytest.fixture
def store_path(described, tmp_path):
    return Path(shutil.copy(described / "features" / "tiny-1.0-64.h5", tmp_path))


def test_holds_what_the_interface_says(described, tissue):
    with h5py.File(described / "features" / "tiny-1.0-64.h5") as file:
        assert file["features"].dtype == np.float32
        assert file["features"].shape == (24, 16)
        assert file["augmentation"].dtype == np.int32
        assert_array_equal(file["augmentation"][:4], [0, 1, 0, 1])
        ids = [text.decode() for text in file["image_id"][:]]
        assert ids == sorted(ids)
        assert ids[:2] == ["benign/benign00.png"] * 2
        assert {text.decode() for text in file["label"][:]} == {"benign", "malignant"}
        assert {text.decode() for text in file["group"][:]} == {""}
        expected = typed(
            "schema_version encoder layers weights weights_sha256 weights_file_sha256 scale crop crops augmentations "
            "pool stain color_range mode engine precision seed dataset classes bchisto_version"
        )
        about = json.loads(file.attrs["settings"]) | json.loads(file.attrs["origin"])
        assert {*expected} <= about.keys() | set(file.attrs)
        assert about["weights"] == "random"
        assert about["color_range"] == [0.7, 1.3]
        assert about["classes"] == ["benign", "malignant"]
        images = file["images"]
        assert images["stains"].shape == (12, 3, 2)
        assert not images["normalisation_skipped"][:].any()
        assert ((images["tissue"][:] > 0.3) & (images["tissue"][:] <= 1)).all()
        assert (images["residual"][:] < 0.2).all()


def test_reads_images_in_any_order(described):
    with open_store(described / "features" / "tiny-1.0-64.h5") as store:
        whole = store.features()
        assert whole.shape == (12, 2, 16)
        assert_array_equal(store.features([5, 0]), whole[[5, 0]])
        assert (store.name, store.dim, store.augmentations) == ("tiny-1.0-64", 16, 2)


def test_missing_and_truncated(store_path, tmp_path):
    with pytest.raises(
        MissingInputError, match=r"none\.h5: no such feature file; run bchisto featurize first"
    ):
        open_store(tmp_path / "none.h5")
    store_path.write_bytes(store_path.read_bytes()[:3000])
    with pytest.raises(
        StoreError, match=r"tiny-1\.0-64\.h5: not a whole HDF5 file, .*truncated file: eof = 3000"
    ):
        open_store(store_path)


@pytest.mark.parametrize("mode", ["r", "r+"])
@pytest.mark.parametrize("locking", [None, False, "best-effort"])
def test_a_store_that_is_open_in_h5py_is_read(store_path, mode, locking):
    with h5py.File(store_path, mode, locking=locking) as theirs:
        rows = theirs["features"]
        with open_store(store_path) as store:
            assert store.features().shape == (12, 2, 16)
        assert rows[0].shape == (16,)  # closing ours leaves theirs alone


_HOLD = """
import sys, h5py
with h5py.File(sys.argv[1], "r+") as file:
    print("open", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def held(store_path):
    """A store that another process has open for writing."""
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(store_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout.readline() == b"open\n"
        yield store_path
        other.stdin.close()


def test_a_store_that_another_process_has_open_is_read(held):
    with open_store(held) as store:
        assert store.features().shape == (12, 2, 16)


def test_causes_have_their_own_lines(store_path, tmp_path, monkeypatch):
    (tmp_path / "empty.h5").touch()
    (tmp_path / "text.h5").write_text("no HDF5 at all")
    (tmp_path / "link.h5").symlink_to(tmp_path / "gone.h5")
    for name, line in [
        ("empty.h5", "not a whole HDF5 file, .*file signature not found"),
        ("text.h5", "not a whole HDF5 file, .*file signature not found"),
        ("link.h5", "No such file or directory"),
        (".", "a folder, a pipe or a device, not an HDF5 file"),
    ]:
        with pytest.raises(StoreError, match=line) as told:
            open_store(tmp_path / name)
        assert "make it again" not in str(told.value)

    def denied(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied")

    # tests may run as root, who may read anything
    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(StoreError, match="Permission denied") as told:
        open_store(store_path)
    assert "make it again" not in str(told.value)


def test_the_hash_of_decoded_pixels_is_kept(described, tissue):
    with open_store(described / "features" / "tiny-1.0-64.h5") as store:
        one = "benign/benign00.png"
        assert store.pixels[one] == pixels_sha256(decode_image(tissue / one))
        assert len(set(store.pixels.values())) == 12
