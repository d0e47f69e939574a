"""A pipe or a device in the place of a file is refused at once: no command waits for what nobody writes."""

import os

import pytest

NOT_A_FILE = "a folder, a pipe or a device, not an HDF5 file"


@pytest.mark.parametrize("name", ["s.h5", "a.npz", "a.csv"])
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_pipe_in_the_place_of_a_store(name, kind, tmp_path, start):
    path = tmp_path / "run" / "features" / name
    path.parent.mkdir(parents=True)
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    given = [] if name == "s.h5" else ["--features", path]
    code, text = ended(start("boost --out {}", tmp_path / "run", *given))
    assert code == 2, text
    assert f"{path}: {NOT_A_FILE}" in text
    assert "Traceback" not in text


def test_a_pipe_in_the_place_of_a_manifest(tmp_path, start):
    os.mkfifo(tmp_path / "images.csv")
    code, text = ended(start("data check --table - --images {}", tmp_path / "images.csv"))
    assert code == 2, text
    assert "neither a folder nor a manifest, but a pipe or a device; check --images" in text


def ended(process):
    try:
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, out + err
