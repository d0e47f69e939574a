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


def test_stain_keeps_the_name_of_its_sheet(pictures, cli, tmp_path):
    shutil.copy(sorted(pictures.iterdir())[0], pictures / "before-after.png")
    refused(cli, pictures, "stain", pictures, "--out", tmp_path / "out", said="rename it")


def test_stain_beside_its_images_still_works(pictures, cli):
    """A TIFF and the PNG made of it are two files."""
    first = sorted(pictures.iterdir())[0]
    with Image.open(first) as image:
        image.save(pictures / "slide.tif")
    code, _, said = cli("stain", pictures / "slide.tif", "--out", pictures)
    assert code == 0, said
    assert (pictures / "slide.png").is_file()


def test_evaluate_does_not_write_over_tables(tmp_path, cli, boosted):
    table = tmp_path / "t" / "tables.csv"
    table.parent.mkdir()
    table.write_text("image_id,label,p_a,p_b\nx,a,.9,.1\ny,b,.2,.8\n")
    refused(cli, table.parent, "evaluate", table, "--out", table.parent, said=f"would overwrite {table}")
    run = shutil.copytree(boosted, tmp_path / "run")
    (result,) = (run / "boost").iterdir()
    refused(cli, result, "evaluate", result, "--out", result, said=READ)
    refused(cli, result, "evaluate", result / "predictions.csv", "--out", result, said="metrics.json, which is read")
    refused(cli, run / "boost", "evaluate", run, "--out", run, said=READ)
    other = shutil.move(table, table.with_name("mine.csv"))
    for again in ((), ("--overwrite",)):  # its own results are no input
        assert cli("evaluate", other, "--out", table.parent, "--bootstrap", 0, *again)[0] == 0


def test_predict_does_not_write_over_what_it_reads(boosted, tissue, tmp_path, cli):
    (model,) = boosted.glob("boost/*/model.bchisto")
    model = shutil.copy(model, tmp_path)
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("path\n" + "".join(f"{path}\n" for path in sorted(tissue.rglob("*.png"))[:1]))
    picture = shutil.copy(sorted(tissue.rglob("*.png"))[0], tmp_path)
    for given, out in ((manifest, manifest), (manifest, model), (picture, picture)):
        refused(cli, tmp_path, "predict", model, "--images", given, "--out", out, "--overwrite", "--weights", "random",
                said=READ)  # fmt: skip
    listed = manifest.rename(tmp_path / "p.csv.failures.csv")
    refused(cli, tmp_path, "predict", model, "--images", listed, "--out", tmp_path / "p.csv", "--weights", "random",
            said=READ)  # fmt: skip
    refused(cli, tmp_path, "predict", model, "--images", listed, "--out", tmp_path / "q.csv", "--html", listed,
            "--overwrite", "--weights", "random", said="choose another --html")  # fmt: skip


def test_lists_are_not_written_over(tissue, tmp_path, cli, tiny_options):
    run = tmp_path / "run"
    (run / "features").mkdir(parents=True)
    rows = [f"{path},{path.parent.name}\n" for path in sorted(tissue.rglob("*.png"))]
    for place in (run / "features" / "images.csv", run / "failures.csv"):
        place.write_text("path,label\n" + "".join(rows))
        refused(cli, run, "featurize", "--images", place, "--out", run, *tiny_options, said=READ)
