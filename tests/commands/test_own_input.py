"""No command overwrites what it reads, by whatever path or link it is named."""

import shutil

import pytest
from PIL import Image

READ = "which is read"


def unchanged(folder):
    """What lies in a folder, but for the records of what ran in it, which a refused command has too."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {path: path.read_bytes() for path in files if path.name != "run.json" and path.parent.name != "records"}


@pytest.fixture
def pictures(tissue, tmp_path):
    return shutil.copytree(tissue / "benign", tmp_path / "pictures")


def refused(cli, folder, *arguments, said):
    before = unchanged(folder)
    code, _, text = cli(*arguments)
    assert (code, "Traceback" in text) == (2, False), text
    assert said in text.splitlines()[-1]
    after = unchanged(folder)
    assert {path: after.get(path) for path in before} == before


def test_stain_does_not_write_over_its_images(pictures, tmp_path, cli):
    first = sorted(pictures.iterdir())[0]
    refused(cli, pictures, "stain", first, "--out", pictures, said=f"would overwrite {first}, which is read")
    refused(cli, pictures, "stain", pictures, "--out", pictures, said="which is read; choose another --out")
    (tmp_path / "link").symlink_to(pictures)
    refused(cli, pictures, "stain", first, "--out", tmp_path / "link", said=READ)
    (tmp_path / "hard").mkdir()
    (tmp_path / "hard" / first.name).hardlink_to(first)
    refused(cli, pictures, "stain", first, "--out", tmp_path / "hard", said=READ)


def test_stain_beside_its_images_still_works(pictures, completed):
    """A TIFF and the PNG made of it are two files."""
    first = sorted(pictures.iterdir())[0]
    with Image.open(first) as image:
        image.save(pictures / "slide.tif")
    completed("stain", pictures / "slide.tif", "--out", pictures)
    assert (pictures / "slide.png").is_file()
