"""What an interrupted prediction keeps: one image's prediction by its key, whatever else is predicted beside it."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from archives import altered
from bchisto.core import ImageError, OutputError
from bchisto.core.jobs import Work, in_turn, write_pack
from bchisto.data import ImageRecord
from bchisto.predict import ModelFile, Predictor, PredictSettings, outputs, predict, table
from bchisto.predict.blocks import Prediction, image_units, keep, read_kept
from conftest import typed
from packs import predict_here
from PIL import Image
from written_tables import rows_of as rows


@pytest.fixture
def images(tissue, tmp_path):
    """A copy of six images, which a test may change."""
    return shutil.copytree(tissue / "benign", tmp_path / "images")


@pytest.fixture
def record(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"pixels")
    return ImageRecord(image_id="a.png", path=path, label=None)


FILE = ModelFile("model.bchisto", (), "0" * 64, ())


def key(record, file=FILE, **computed_by):
    model = SimpleNamespace(
        computed_by=computed_by or {"a": {"weights": "w", "precision": "float32"}}, rescales=False
    )
    (unit,) = image_units([record], file=file, model=model)
    return unit.key


def test_a_key_holds_what_changes_a_prediction_and_nothing_else(record, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    moved = Path(shutil.copy(record.path, tmp_path / "elsewhere" / "b.png"))
    same = [
        key(record),
        key(replace(record, image_id="b.png", path=moved, label="benign", group="p")),
        key(
            record,
            file=replace(
                FILE, path="other.bchisto", weights=("elsewhere.h5",), weights_sha256=("1",)
            ),
        ),
    ]
    assert len(set(same)) == 1
    other = tmp_path / "c.png"
    other.write_bytes(b"other pixels")
    different = [
        key(record, file=replace(FILE, sha256="1" * 64)),
        key(record, a={"weights": "w", "precision": "bfloat16"}),
        key(record, a={"weights": "x", "precision": "float32"}),
        key(record, backend="jax"),
        key(replace(record, path=other)),
        key(replace(record, box=(0, 0, 2, 2))),
        key(replace(record, stretch=True)),
    ]
    assert len({same[0], *different}) == 1 + len(different)


def test_what_is_kept_is_read_back_bit_by_bit_and_damage_is_named(tmp_path, caplog):
    predictions = {
        f"{number:064x}": Prediction(
            np.random.default_rng(number).dirichlet(np.ones(3)),
            bool(number % 2),
            np.arange(7.0),
            warnings="\n".join(["a; ä"] * number),
        )
        for number in range(3)
    }
    keep(tmp_path, {**predictions, "f" * 64: "a.png: cannot be decoded"})
    kept = read_kept(tmp_path)
    assert list(kept) == list(predictions)
    for name, prediction in predictions.items():
        assert kept[name].probabilities.tobytes() == prediction.probabilities.tobytes()
        assert kept[name].trained is prediction.trained
        assert kept[name].warnings == prediction.warnings
        assert kept[name].compared.tobytes() == prediction.compared.tobytes()
    (pack,) = tmp_path.glob("*.npz")
    whole = pack.read_bytes()
    for damage in (b"", whole[: len(whole) // 2], whole[:200] + b"x" * 8 + whole[208:]):
        pack.write_bytes(damage)
        assert read_kept(tmp_path) == {}
        assert f"{pack}: incomplete" in caplog.text
        caplog.clear()
    pack.write_bytes(whole)
    pack.rename(tmp_path / f"{'0' * 64}.npz")  # is not what its name says
    assert read_kept(tmp_path) == {}
    keep(tmp_path / "none", {"f" * 64: "a.png: cannot be decoded"})
    assert not (tmp_path / "none").exists()


def spoil(path):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 200, 3)).astype(np.uint8)).save(
        path
    )
    path.write_bytes(path.read_bytes()[:-60_000])


@pytest.fixture
def written(monkeypatch):
    """Return how many predictions each pack got that was written."""
    counts = []

    def write(path, name, arrays):
        counts.append(len(arrays["keys"]))
        write_pack(path, name, arrays)

    monkeypatch.setattr("bchisto.predict.blocks.write_pack", write)
    monkeypatch.setattr("bchisto.featurize.settings._MOST_IMAGES", 4)
    return counts


def test_warnings_of_an_image_stand_in_the_table_also_of_those_that_were_kept(
    boosted_model, tissue, tmp_path, written, monkeypatch
):
    """As `Predictor` gives them. The column is only there if an image has one."""
    monkeypatch.setattr("bchisto.featurize.settings._MOST_IMAGES", 2)
    images = tmp_path / "images"
    images.mkdir()
    for path in sorted((tissue / "benign").iterdir())[:3]:
        shutil.copy(path, images)
    out, sheet = tmp_path / "p.csv", tmp_path / "s.html"
    settings = PredictSettings(update=True, html=sheet)

    def night():
        written.clear()
        return predict_here(boosted_model, images, out, settings=settings)

    night()
    assert "warnings" not in rows(out)[0]
    Image.new("RGB", (96, 96), "white").save(images / "a white.png")
    Image.new("RGB", (192, 96), (60, 20, 90)).save(images / "large.png")
    spoil(images / "zz.tif")
    with pytest.raises(ImageError):
        night()
    (images / "zz.tif").unlink()
    assert written[0] == 2  # in the first block, which is kept
    result = night()
    assert written == []  # nothing is predicted again
    answer = Predictor(boosted_model).predict(images)
    texts = {
        image: "; ".join(texts)
        for image, texts in zip(answer.image_ids, answer.warnings, strict=True)
    }
    assert {row["image_id"]: row["warnings"] for row in rows(out)} == texts
    assert sum(map(bool, texts.values())) == 2
    assert "shows nothing" in texts["a white.png"]
    assert "too little tissue" in texts["a white.png"]
    sizes = "other sizes than those of training (96x96): 192x96; export in the same way"
    assert texts["large.png"].startswith(sizes)
    assert texts["large.png"] in sheet.read_text()
    assert night().unchanged
    pytest.importorskip("pandas")
    frame = result.to_pandas()
    assert dict(zip(frame["image_id"], frame["warnings"], strict=True)) == texts


def test_an_update_says_if_most_kept_predictions_are_of_another_model_or_of_images_that_are_gone(
    tissue, images, tmp_path, written, caplog, boosted_model
):
    other = altered(boosted_model, tmp_path / "other.bchisto", calibration=None)
    out = tmp_path / "p.csv"
    settings = PredictSettings(update=True)

    def night(path):
        """Return how many images were predicted, and how many kept predictions a line says to be left out."""
        written.clear()
        caplog.clear()
        predict_here(path, images, out, settings=settings)
        line = rf"{out}: (.*) kept predictions are not of this model and these images, and are left out"
        return max(written, default=0), *re.findall(line, caplog.text)

    assert night(boosted_model) == (6,)
    assert night(boosted_model) == (0,)
    shutil.copy(sorted((tissue / "malignant").iterdir())[0], images)
    assert night(boosted_model) == (7,)
    assert night(other) == (7, "7 of 7")
    assert night(other) == (0,)
    for path in sorted(images.iterdir())[:3]:
        path.unlink()
    assert night(other) == (4,)  # fewer than half
    for path in sorted(images.iterdir())[:3]:
        path.unlink()
    assert night(other) == (1, "3 of 4")
    assert len(rows(out)) == 1


def test_each_night_only_what_is_new_or_changed_is_predicted_and_the_table_stays_one(
    tmp_path, written, cli, tissue_files, boosted_model
):
    folder, out, sheet = tmp_path / "incoming", tmp_path / "p.csv", tmp_path / "sheet.html"
    (folder / "benign").mkdir(parents=True)
    (folder / ".DS_Store").touch()
    first, second, third, other = tissue_files[:4]

    def night(*options):
        """Return the exit code, and how many images were predicted."""
        written.clear()
        code = cli(
            "predict {} --images {} --out {} --update", boosted_model, folder, out, *options
        )[0]
        return code, *written[:1]

    def whole():
        predict(
            boosted_model, [folder], out=tmp_path / "whole.csv", work=Work(jobs=1, overwrite=True)
        )
        return (tmp_path / "whole.csv").read_bytes()

    # there is no image yet
    assert night() == (4,)
    assert not out.exists()
    for path in (first, second):
        shutil.copy(path, folder / "benign")
    assert night() == (0, 2)
    assert out.read_bytes() == whole()
    before = out.stat()
    assert night() == (4,)
    assert out.stat().st_mtime_ns == before.st_mtime_ns
    assert night("--html", sheet) == (0,)
    assert sheet.is_file()
    assert night("--html", sheet) == (4,)
    shutil.copy(third, folder / "benign")
    shutil.copy(other, folder / "benign" / first.name)  # another image under the old name
    assert night("--html", sheet) == (0, 2)
    assert out.read_bytes() == whole()
    (folder / "benign" / second.name).unlink()
    (folder / "benign" / third.name).rename(folder / "benign" / "renamed.png")
    assert night()[0] == 0
    assert out.read_bytes() == whole()
    assert [path.suffix for path in (tmp_path / "p.csv.parts").iterdir()] == [".npz"]
    half = folder / "benign" / "half-copied.tif"
    spoil(half)
    assert night()[0] == 1
    assert night("--skip-errors")[0] == 1
    assert night("--overwrite")[0] == 2
    Image.open(second).save(half)
    assert night() == (0, 1)
    assert out.read_bytes() == whole()
    assert not (tmp_path / "p.csv.failures.csv").exists()
    # as ever without --update
    assert cli("predict {} --images {} --out {}", boosted_model, folder, out)[0] == 2
    before = out.read_bytes()
    shutil.rmtree(folder / "benign")
    (folder / "Thumbs.db").touch()
    # a disk that is not mounted is no night without new images
    assert night() == (2,)
    assert out.read_bytes() == before
    (folder / "first.png").write_bytes(first.read_bytes()[:3000])
    (folder / "text.png").write_text("x")
    # nor one whose files are all damaged
    assert night("--skip-errors") == (1,)
    assert out.read_bytes() == before
    (folder / "text.png").unlink()
    (folder / "first.png").unlink()
    shutil.copy(first, folder)
    with in_turn(tmp_path / "p.csv.parts"):
        assert night() == (3,)
    assert night() == (0, 1)
    (folder / "later" / "benign").mkdir(parents=True)  # beside which the first image has no class
    shutil.copy(second, folder / "later" / "benign")
    assert night() == (0, 1)
    assert len(out.read_text().splitlines()) == 3
    spoil(half := folder / "half-copied.tif")
    # after which the table is still known
    assert night()[0] == 1
    assert night()[0] == 1
    half.unlink()
    noted = out.read_text() + "a note by hand\n"
    out.write_text(noted)
    assert night() == (2,)
    assert out.read_text() == noted


@pytest.mark.parametrize("kind", ["cut", "text"])
def test_an_image_that_fails_again_is_nothing_new(
    boosted_model, tissue, images, tmp_path, cli, kind
):
    """Also if its header shows it; another image or reason is new, and so is one that can be used by now."""
    out = tmp_path / "p.csv"

    def spoiled(name):
        if kind == "text":
            (images / name).write_text("no image")
        else:
            spoil(images / name)

    def night():
        settings = PredictSettings(update=True)
        work = Work(jobs=1, skip_errors=True)
        return predict(boosted_model, images, out=out, settings=settings, work=work)

    spoiled("a.tif")
    first = night()
    assert not first.unchanged
    assert [*first.failures] == ["a.tif"]
    before = out.stat().st_mtime_ns
    again = night()
    assert again.unchanged
    assert again.failures == first.failures
    assert again.images == first.images == 6
    lines = [f"nothing new for {out}", "1 image cannot be used, as before"]
    assert again.summary() == lines
    assert out.stat().st_mtime_ns == before
    words = typed(
        "predict {} --images {} --out {} --update --skip-errors", boosted_model, images, out
    )
    code, text, _ = cli(*words, "--jobs", 1)
    assert (code, text.splitlines()) == (4, lines)
    spoiled("b.tif")
    assert [*night().failures] == ["a.tif", "b.tif"]
    listed = tmp_path / "p.csv.failures.csv"
    assert [row["image_id"] for row in rows(listed)] == ["a.tif", "b.tif"]
    listed.unlink()
    assert not night().unchanged
    assert listed.exists()
    (images / "a.tif").unlink()
    (images / "b.tif").write_bytes(b"x" * 9)
    assert not night().unchanged
    assert night().unchanged
    shutil.copy(sorted((tissue / "malignant").iterdir())[0], images / "b.tif")
    assert night().summary() != night().summary() == [f"nothing new for {out}"]
    assert not listed.exists()


def test_an_empty_folder_beside_others_costs_no_row(
    boosted_model, tissue, tmp_path, refused, completed
):
    out, later, disk = (
        tmp_path / "p.csv",
        tmp_path / "later",
        shutil.copytree(tissue / "benign", tmp_path / "disk"),
    )
    later.mkdir()
    words = typed(
        "predict {} --update --out {} --images {} --images {}",
        boosted_model,
        out,
        tissue / "malignant",
        later,
    )
    completed(*words, "--images", disk)
    shutil.rmtree(disk)
    disk.mkdir()
    err = refused(*words, "--images", disk)
    assert len(rows(out)) == 12
    said = f"--images {disk}: is empty, so its rows would go; mount its disk or leave it out"
    assert said in err
    before = out.read_bytes()
    assert said in refused(*words[:5], "--images", disk)
    assert out.read_bytes() == before
    completed(*words)
    assert len(rows(out)) == 6


@pytest.mark.parametrize("at", ["finish", "write_or_remove", "write_html"])
def test_what_a_night_did_not_reach_is_written_in_the_next(
    boosted_model, images, tmp_path, cli, monkeypatch, at
):
    out = tmp_path / "p.csv"
    sheet, other = tmp_path / "sheet.html", tmp_path / "other.html"
    words = typed("predict {} --images {} --update --out {} --html", boosted_model, images, out)
    assert [cli(*words, page)[0] for page in (sheet, other)] == [0, 0]
    (images / "benign00.png").unlink()
    with monkeypatch.context() as killed:
        killed.setattr(table.Table if at == "finish" else outputs, at, lambda *_, **__: 1 / 0)
        assert cli(*words, sheet)[0] != 0
    assert [cli(*words, page)[0] for page in (sheet, sheet, other, other)] == [0, 4, 0, 4]
    assert not [path for path in (out, sheet, other) if "benign00.png" in path.read_text()]


@pytest.mark.parametrize("name", ["p.csv", "sheet.html"])
def test_an_update_replaces_only_what_an_earlier_call_wrote(
    boosted_model, images, tmp_path, cli, name, completed, refused
):
    mine = tmp_path / name
    words = typed("predict {} --images {} --update --out T/p.csv", boosted_model, images)
    spoil(images / "half-copied.tif")
    assert cli(*words, "--html", tmp_path / "sheet.html")[0] == 1  # which wrote neither
    (images / "half-copied.tif").unlink()
    if name != "p.csv":
        completed(*words)
    mine.write_text("mine")
    err = refused(*words, "--html", tmp_path / "sheet.html")
    assert f"{mine}: exists already" in err, err
    assert mine.read_text() == "mine", err


@pytest.mark.slow
def test_the_script_of_the_documents_prints_only_what_somebody_must_see(
    boosted_model, tissue, tmp_path
):
    text = (Path(__file__).parents[2] / "docs" / "predict.md").read_text()
    (script,) = re.findall(r"```text\n(bchisto predict .*?)```", text, re.DOTALL)
    (tmp_path / "run").symlink_to(boosted_model)
    (tmp_path / "new").mkdir()

    def night():
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        called = {
            "cwd": tmp_path,
            "env": {**os.environ, "PATH": path},
            "capture_output": True,
            "text": True,
        }
        return subprocess.run(["sh", "-c", script], check=False, **called).stdout

    assert night() == ""
    assert (tmp_path / "night.log").read_text() == "nothing new for nightly.csv\n"
    shutil.copy(tissue / "benign" / "benign00.png", tmp_path / "new")
    assert night() == ""
    assert len(rows(tmp_path / "nightly.csv")) == 1
    spoil(tmp_path / "new" / "half-copied.tif")
    assert "1 image was left out, listed in nightly.csv.failures.csv" in night()


@pytest.fixture
def after_pack(monkeypatch, written):
    """Do something when so many blocks of four images are kept, as another process might."""
    from bchisto.predict import blocks

    real = blocks.write_pack

    def arrange(number, then):
        written.clear()

        def write(path, *content):
            real(path, *content)
            if len(written) == number:
                then()

        monkeypatch.setattr(blocks, "write_pack", write)

    return arrange


def test_packs_that_vanish_cost_no_row(boosted_model, tissue, tmp_path, after_pack, monkeypatch):
    """Another process, which has finished the table, removes them: between two blocks, or while one is written."""
    out, parts = tmp_path / "p.csv", tmp_path / "p.csv.parts"
    after_pack(2, lambda: shutil.rmtree(parts))
    assert predict_here(boosted_model, tissue, out).images == len(rows(out)) == 12
    assert not parts.exists()

    def gone(*_):
        raise OutputError("cannot be written") from FileNotFoundError()

    monkeypatch.setattr("bchisto.predict.blocks.write_pack", gone)
    predict_here(boosted_model, tissue, tmp_path / "q.csv")
    assert rows(tmp_path / "q.csv") == rows(out)


def test_another_table_written_meanwhile_is_not_touched(
    boosted_model, tissue, tmp_path, after_pack
):
    other = tmp_path / "q.csv"
    after_pack(1, lambda: other.write_text("image_id\nmine\n"))
    with pytest.raises(
        OutputError, match=r"q\.csv: another process wrote another table meanwhile; use `overwrite`"
    ):
        predict_here(boosted_model, tissue, other)
    assert other.read_text() == "image_id\nmine\n"
