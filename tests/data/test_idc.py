"""IDC patches: the published archive repeats its tree."""

import shutil

import pytest
from bchisto.core import InputError
from bchisto.data import read_dataset


def patches(root, slides=(8863, 9173), count=3):
    for slide in slides:
        for label in "01":
            folder = root / str(slide) / label
            folder.mkdir(parents=True)
            for number in range(count):
                content = f"{slide}{label}{number}".encode()
                name = f"{slide}_idx5_x{50 * number + 1}_y{51 + 50 * int(label)}_class{label}.png"
                (folder / name).write_bytes(content)
    return root


def test_repeated_patches_are_used_once(tmp_path):
    root = tmp_path / "idc"
    patches(root)
    shutil.copytree(root, tmp_path / "copy")
    shutil.move(tmp_path / "copy", root / "IDC_regular_ps50_idx5")
    dataset = read_dataset(root)
    assert len(dataset) == 12
    assert [f.kind for f in dataset.findings].count("at two paths with equal content; used once") == 12
    folder = root / "IDC_regular_ps50_idx5" / "8863" / "0"
    next(folder.iterdir()).unlink()
    next(folder.iterdir()).write_bytes(b"other")
    with pytest.raises(InputError, match="two different images have this id"):
        read_dataset(root).raise_errors()
