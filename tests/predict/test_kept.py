"""What an interrupted prediction keeps: one image's prediction by its key, whatever else is predicted beside it."""

import shutil
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from bchisto.core import ImageError, OutputError
from bchisto.core.jobs import Work, write_pack
from bchisto.data import ImageRecord
from bchisto.predict import ModelFile, predict
from bchisto.predict.predicted import Prediction, image_units, keep, read_kept
from PIL import Image
from written_tables import rows_of as rows


@dataclass
class FakeModel:
    """What is asked of a model for keys."""

    computed_by: dict[str, Any] = field(default_factory=lambda: {"a": {"weights": "w", "precision": "float32"}})

    @property
    def bundle(self):
        return self


@pytest.fixture
def record(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"pixels")
    return ImageRecord(image_id="a.png", path=path, label=None)


FILE = ModelFile("model.bchisto", (), "0" * 64, ())


def key(record, model=None, file=FILE):
    (unit,) = image_units([record], file=file, model=model or FakeModel())
    return unit.key


def test_a_key_holds_what_changes_a_prediction_and_nothing_else(record, tmp_path):
    moved = tmp_path / "elsewhere" / "b.png"
    moved.parent.mkdir()
    shutil.copy(record.path, moved)
    same = [
        key(record),
        key(replace(record, image_id="b.png", path=moved, label="benign", group="p")),
        key(record, file=replace(FILE, path="other.bchisto", weights=("elsewhere.h5",), weights_sha256=("1",))),
    ]
    assert len(set(same)) == 1
    other = tmp_path / "c.png"
    other.write_bytes(b"other pixels")
    different = [
        key(record, file=replace(FILE, sha256="1" * 64)),
        key(record, FakeModel({"a": {"weights": "w", "precision": "bfloat16"}})),
        key(record, FakeModel({"a": {"weights": "x", "precision": "float32"}})),
        key(record, FakeModel({"backend": "jax"})),
        key(replace(record, path=other)),
        key(replace(record, box=(0, 0, 2, 2))),
        key(replace(record, stretch=True)),
    ]
    assert len({same[0], *different}) == 1 + len(different)


def test_what_is_kept_is_read_back_bit_by_bit_and_damage_is_named(tmp_path, caplog):
    predictions = {
        f"{number:064x}": Prediction(
            np.random.default_rng(number).dirichlet(np.ones(3)), bool(number % 2), np.arange(7.0)
        )
        for number in range(3)
    }
    keep(tmp_path, {**predictions, "f" * 64: "a.png: cannot be decoded"})
    kept = read_kept(tmp_path)
    assert list(kept) == list(predictions)
    for name, prediction in predictions.items():
        assert kept[name].probabilities.tobytes() == prediction.probabilities.tobytes()
        assert kept[name].trained is prediction.trained
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
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 200, 3)).astype(np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:-60_000])


@pytest.fixture
def written(monkeypatch):
    """Return how many predictions each pack got that was written."""
    counts = []

    def write(path, name, arrays):
        counts.append(len(arrays["keys"]))
        write_pack(path, name, arrays)

    monkeypatch.setattr("bchisto.predict.predicted.write_pack", write)
    monkeypatch.setattr("bchisto.featurize.settings._MOST_IMAGES", 4)
    return counts


def test_another_model_takes_nothing_of_what_one_kept_and_overwrite_neither(boosted, tissue, tmp_path, written):
    images = shutil.copytree(tissue, tmp_path / "images")
    spoil(images / "malignant" / "zz.tif")
    out = tmp_path / "p.csv"
    with pytest.raises(ImageError):
        predict(boosted, [images], out=out, work=Work(jobs=1))
    (images / "malignant" / "zz.tif").unlink()
    model = tmp_path / "model.bchisto"
    shutil.copy(boosted / "boost" / "3-lightgbm" / "model.bchisto", model)
    predict(model, [images], out=tmp_path / "alone.csv", work=Work(jobs=1))
    written.clear()
    shutil.copytree(tmp_path / "p.csv.parts", tmp_path / "kept")
    assert predict(model, [images], out=out, work=Work(jobs=1)).images == 12
    assert written == []  # the same model elsewhere
    shutil.move(tmp_path / "kept", tmp_path / "p.csv.parts")
    predict(model, [images], out=out, work=Work(jobs=1, overwrite=True))
    assert sum(written) == 12
    assert out.read_bytes() == (tmp_path / "alone.csv").read_bytes()


def test_work_that_fails_before_its_first_block_leaves_nothing(boosted, tmp_path):
    spoil(tmp_path / "bad.tif")
    with pytest.raises(ValueError, match=r"bad\.tif"):
        predict(boosted, [tmp_path / "bad.tif"], out=tmp_path / "p.csv", work=Work(jobs=1))
    assert not (tmp_path / "p.csv.parts").exists()


@pytest.fixture
def after_pack(monkeypatch, written):
    """Do something when so many blocks of four images are kept, as another process might."""
    from bchisto.predict import predicted

    real = predicted.write_pack

    def arrange(number, then):
        written.clear()

        def write(path, *content):
            real(path, *content)
            if len(written) == number:
                then()

        monkeypatch.setattr(predicted, "write_pack", write)

    return arrange


def test_packs_that_vanish_cost_no_row(boosted, tissue, tmp_path, after_pack, monkeypatch):
    """Another process, which has finished the table, removes them: between two blocks, or while one is written."""
    out, parts = tmp_path / "p.csv", tmp_path / "p.csv.parts"
    after_pack(2, lambda: shutil.rmtree(parts))
    assert predict(boosted, [tissue], out=out, work=Work(jobs=1)).images == len(rows(out)) == 12
    assert not parts.exists()

    def gone(*_):
        raise OutputError("cannot be written") from FileNotFoundError()

    monkeypatch.setattr("bchisto.predict.predicted.write_pack", gone)
    predict(boosted, [tissue], out=tmp_path / "q.csv", work=Work(jobs=1))
    assert rows(tmp_path / "q.csv") == rows(out)


def test_another_table_written_meanwhile_is_not_touched(boosted, tissue, tmp_path, after_pack):
    other = tmp_path / "q.csv"
    after_pack(1, lambda: other.write_text("image_id\nmine\n"))
    with pytest.raises(OutputError, match=r"q\.csv: another process wrote another table meanwhile; use `overwrite`"):
        predict(boosted, [tissue], out=other, work=Work(jobs=1))
    assert other.read_text() == "image_id\nmine\n"
