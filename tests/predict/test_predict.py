import json
import shutil

import numpy as np
import pytest
from bchisto.boost import Bundle
from bchisto.core import InputError, MissingInputError, OutputError
from bchisto.core.jobs import Work
from bchisto.featurize import open_store
from bchisto.predict import PredictSettings, predict
from packs import predict_here
from PIL import Image
from written_tables import read_json
from written_tables import rows_of as rows


@pytest.fixture
def model(boosted_model):
    return boosted_model


def by_id(record, image, *, crop_seed):
    return record.image_id


def test_equals_the_bundle_on_the_stored_descriptors(boosted, model, tissue, tmp_path, monkeypatch):
    """New images are described again; with crops seeded by id, training images give what is stored of them."""
    monkeypatch.setattr("bchisto.featurize.prepare.crop_key", by_id)
    result = predict_here(model, tissue, tmp_path / "p.csv")
    assert result.images == 12
    assert result.failures == {}
    with open_store(boosted / "features" / "tiny-1.0-64.h5") as store:
        expected = Bundle.load(model).predict({"tiny-1.0-64": store.features()})
        ids = store.image_ids
    found = {row["image_id"]: row for row in rows(tmp_path / "p.csv")}
    for image, values in zip(ids, expected, strict=True):
        np.testing.assert_allclose(
            [float(found[image][f"p_{name}"]) for name in ("benign", "malignant")],
            values,
            rtol=1e-6,
        )
        assert found[image]["predicted"] == ["benign", "malignant"][int(values.argmax())]
    assert not (tmp_path / "p.csv.parts").exists()


def test_the_format_of_the_challenge(model, tmp_path, tissue_files):
    new = tmp_path / "new"
    new.mkdir()
    for number, path in zip((0, 2, 10, 9), tissue_files, strict=False):
        Image.open(path).save(new / f"test{number}.tif")
    challenge = PredictSettings(format="iciar2018")
    predict(model, [new], out=tmp_path / "pred.csv", settings=challenge, work=Work(jobs=2))
    lines = (tmp_path / "pred.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == [
        "test0.tif",
        "test2.tif",
        "test9.tif",
        "test10.tif",
    ]
    assert {line.split(",")[1] for line in lines} <= {"benign", "malignant"}


def unfinish(table):
    """Leave the record of a table as a command that is killed just before its end does."""
    path = table.with_name(f"{table.name}.run.json")
    content = read_json(path)
    content["records"][0]["status"] = "interrupted"
    path.write_text(json.dumps(content))


def test_a_command_that_was_killed_after_its_table_was_whole_is_resumed(model, tissue, tmp_path):
    table = tmp_path / "p.csv"
    predict_here(model, tissue, table)
    whole = table.read_bytes()
    unfinish(table)
    predict_here(model, tissue, table)
    assert table.read_bytes() == whole
    assert read_json(tmp_path / "p.csv.run.json")["records"][0]["status"] == "ok"
    unfinish(table)
    table.write_text("mine")  # not what it would have written
    with pytest.raises(OutputError, match="was changed since bchisto wrote it"):
        predict_here(model, tissue, table)
    assert table.read_text() == "mine"
    records = (
        "1",
        '{"config": {}}',
        *(f'{{"notes": {{"written": {kept}}}}}' for kept in ("3", '{"p.csv": 3}')),
    )
    for strange in ("[", "{}", *(f'{{"records": [{record}]}}' for record in records)):
        (tmp_path / "p.csv.run.json").write_text(strange)
        with pytest.raises(OutputError, match="exists already"):
            predict_here(model, tissue, table)
    table.unlink()
    predict_here(model, tissue, table)


def test_what_does_not_fit(model, tissue, tmp_path, one_file):
    with pytest.raises(MissingInputError, match="no such run folder or model file"):
        predict(tmp_path / "none.bchisto", [tissue], out=tmp_path / "p.csv")
    with pytest.raises(MissingInputError, match="no such image, folder or manifest"):
        predict(model, [tmp_path / "gone"], out=tmp_path / "p.csv")
    with pytest.raises(InputError, match="`format` excel: choose one of bchisto, iciar2018"):
        predict(model, [tissue], out=tmp_path / "p.csv", settings=PredictSettings(format="excel"))
    twin = tmp_path / "t" / one_file.name
    twin.parent.mkdir()
    shutil.copy(one_file, twin)
    with pytest.raises(InputError, match=r"two images have the id benign00\.png; rename one"):
        predict(model, [one_file, twin], out=tmp_path / "p.csv")
    (tmp_path / "text.png").write_text("x")
    with pytest.raises(InputError, match=r"text\.png: not a TIFF, PNG or JPEG image") as told:
        predict(model, [tmp_path / "text.png"], out=tmp_path / "p.csv")
    assert "leaves it out" not in str(told.value)  # there is no other image
    with pytest.raises(InputError, match="none of 1 image can be used"):
        predict(model, [tmp_path / "text.png"], out=tmp_path / "p.csv", work=Work(skip_errors=True))


@pytest.mark.parametrize("torn", [False, True])
@pytest.mark.parametrize("command", ["predict", "explain"])
def test_a_bad_image_among_others_is_named_with_the_option_that_leaves_it_out(
    cli, boosted_model, tissue_files, tmp_path, command, torn
):
    """Whether its header shows it, or only its pixels; with the option the others are done."""
    folder = tmp_path / "new"
    folder.mkdir()
    shutil.copy(tissue_files[0], folder / "a.png")
    content = tissue_files[1].read_bytes()
    (folder / "b.png").write_bytes(content[: len(content) // 2] if torn else b"x")
    words = f"{command} {boosted_model} --images {folder} --out {tmp_path / command}.csv"
    code, _, err = cli(*words.split())
    line = err.strip().splitlines()[-1]
    assert code == (1 if torn else 2)
    assert "b.png: " in line
    assert line.endswith("; --skip-errors leaves it out")
    assert cli(*words.split(), "--skip-errors")[0] == 1
