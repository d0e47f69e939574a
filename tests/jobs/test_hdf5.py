from bchisto.core.formats import hdf5_reason, hdf5_trouble


def test_what_hdf5_says_is_put_in_words():
    shared = "Unable to synchronously open file (file locking flag values don't match)"
    assert hdf5_reason([shared]) == (
        "open in this program already, in a way that cannot be shared (file locking flag values don't match); "
        "close it first"
    )
    assert "HDF5 cannot open it (bad superblock version number)" in hdf5_reason(
        ["Unable to synchronously open file (bad superblock version number)"]
    )


def test_a_file_behind_something_of_somebody_else(tmp_path):
    import h5py

    with h5py.File(tmp_path / "behind.h5", "w", userblock_size=512) as file:
        file["data"] = [1]
    assert hdf5_trouble(tmp_path / "behind.h5") is None
    assert hdf5_trouble(tmp_path / "gone.h5") == "no such file"
    (tmp_path / "text.h5").write_text("no HDF5 at all")
    assert hdf5_trouble(tmp_path / "text.h5") == "not an HDF5 file"
