"""The index of IDC patches: one pass, remembered by the stamps of folders."""

import os
import shutil
from pathlib import Path

import pytest
from bchisto.core import InputError
from bchisto.data import read_dataset
from bchisto.data.layouts import index as module
from bchisto.data.layouts.index import FileIndex, cache_folder


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BCHISTO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def patches(root, slides=(8863, 9173), count=3, age=100):
    for slide in slides:
        for label in "01":
            folder = root / str(slide) / label
            folder.mkdir(parents=True)
            for number in range(count):
                content = f"{slide}{label}{number}".encode()
                (folder / f"{slide}_idx5_x{50 * number + 1}_y{51 + 50 * int(label)}_class{label}.png").write_bytes(
                    content
                )
    settle(root, age)
    return root


def settle(root, age=100):
    """Let the folders look as if they were written a while ago."""
    for folder, _, _ in os.walk(root):
        stat = Path(folder).stat()
        os.utime(folder, ns=(stat.st_atime_ns, stat.st_mtime_ns - age * 10**9))


def listed(root):
    index = FileIndex.open(root)
    index.save()
    return index.listed


def test_only_changed_folders_are_listed_again(tmp_path, cache):
    root = patches(tmp_path / "idc")
    assert listed(root) == 7
    assert listed(root) == 0
    extra = root / "8863" / "0" / "8863_idx5_x999_y1_class0.png"
    extra.write_bytes(b"new")
    assert listed(root) == 1
    assert len(list(FileIndex.open(root).files())) == 13
    shutil.rmtree(root / "9173")
    index = FileIndex.open(root)
    assert len(list(index.files())) == 7
    assert not any(folder.startswith("9173") for folder in index.folders)


def test_a_folder_changed_just_now_is_not_trusted(tmp_path, cache):
    root = patches(tmp_path / "idc", age=0)
    assert listed(root) == 7
    assert listed(root) == 7


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"schema": 0}', b'{"schema": 1, "root": 1}', b"\xff"])
def test_a_damaged_cache_is_read_anew(tmp_path, cache, content):
    root = patches(tmp_path / "idc")
    listed(root)
    (path,) = (cache / "index").iterdir()
    path.write_bytes(content)
    assert listed(root) == 7
    assert listed(root) == 0


def test_a_cache_folder_that_cannot_be_written_is_no_error(tmp_path, cache):
    cache.write_text("a file where the folder belongs")
    assert len(read_dataset(patches(tmp_path / "idc"))) == 12


def test_the_cache_folder_follows_convention(monkeypatch, tmp_path):
    monkeypatch.delenv("BCHISTO_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "bchisto"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "bchisto"


def test_repeated_patches_are_compared_once(tmp_path, cache, monkeypatch):
    import bchisto.data.layouts.idc as idc

    root = tmp_path / "idc"
    patches(root)
    shutil.copytree(root, tmp_path / "copy")
    shutil.move(tmp_path / "copy", root / "IDC_regular_ps50_idx5")
    settle(root)
    compared = []
    real = idc.same_content
    monkeypatch.setattr(idc, "same_content", lambda a, b: (compared.append(a), real(a, b))[1])
    first = read_dataset(root)
    assert (len(first), len(compared)) == (12, 12)
    second = read_dataset(root)
    assert (second, len(compared)) == (first, 12)
    assert sum("12 patches lie at two paths with equal content" in str(f) for f in first.findings) == 1
    folder = root / "IDC_regular_ps50_idx5" / "8863" / "0"
    next(folder.iterdir()).unlink()
    next(folder.iterdir()).write_bytes(b"other")
    with pytest.raises(InputError, match="two different patches have this name"):
        read_dataset(root).raise_errors()
    assert len(compared) == 14


def test_the_index_lies_outside_the_images(tmp_path, cache):
    root = patches(tmp_path / "idc")
    before = sorted(root.rglob("*"))
    read_dataset(root)
    assert sorted(root.rglob("*")) == before
    assert module.cache_folder() == cache
