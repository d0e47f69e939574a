"""Several `predict` on one table at once, as a requeued job and its predecessor are; with real processes."""

import csv
import json
import shutil
import subprocess
import sys

import pytest
from bchisto.errors import OutputError
from bchisto.jobs import Work
from bchisto.predict import predict

ROUNDS, PROCESSES = 4, 2

SCRIPT = f"""
import sys, time
from pathlib import Path
import bchisto.featurize.blocks
from bchisto.jobs import Work
from bchisto.predict import predict

bchisto.featurize.blocks._MOST_IMAGES = 2
model, images, folder, name = sys.argv[1:]
for number in range({ROUNDS}):
    Path(folder, f"ready-{{number}}-{{name}}").touch()
    deadline = time.monotonic() + 240
    while len(list(Path(folder).glob(f"ready-{{number}}-*"))) < {PROCESSES}:
        assert time.monotonic() < deadline, "the other process is gone"
        time.sleep(0.001)
    result = predict(model, [images], out=Path(folder, f"{{number}}.csv"), work=Work(jobs=1))
    assert result.images == 12, result
"""


@pytest.fixture
def model(boosted):
    return boosted / "boost" / "3-lightgbm" / "model.bchisto"


def rows(path):
    with path.open(newline="") as handle:
        return list(csv.reader(handle))


def test_a_table_has_all_its_rows_whoever_finishes_it(model, tissue, tmp_path):
    alone = tmp_path / "alone.csv"
    predict(model, [tissue], out=alone, work=Work(jobs=1))
    folder = tmp_path / "together"
    folder.mkdir()
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(model), str(tissue), str(folder), str(number)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(PROCESSES)
    ]
    try:
        errors = [process.communicate(timeout=280)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()  # waits, and closes the pipe
    assert [process.returncode for process in processes] == [0] * PROCESSES, "\n".join(errors)
    for number in range(ROUNDS):
        assert rows(folder / f"{number}.csv") == rows(alone)
    assert sorted(path.name for path in folder.iterdir() if not path.name.startswith("ready")) == [
        name for number in range(ROUNDS) for name in (f"{number}.csv", f"{number}.csv.run.json")
    ]


def interrupted(model, images, out, monkeypatch, *, after, then):
    """Predict; when `after` blocks are done, do `then`, as another process might."""
    import bchisto.predict.blocks as blocks

    monkeypatch.setattr("bchisto.featurize.blocks._MOST_IMAGES", 4)
    write, done = blocks.write_rows, []

    def write_rows(path, *arguments):
        write(path, *arguments)
        done.append(path)
        if len(done) == after:
            then()

    monkeypatch.setattr(blocks, "write_rows", write_rows)
    return predict(model, [images], out=out, work=Work(jobs=1))


def test_parts_that_vanish_cost_no_row(model, tissue, tmp_path, monkeypatch):
    out = tmp_path / "p.csv"
    parts = tmp_path / "p.csv.parts"
    result = interrupted(model, tissue, out, monkeypatch, after=2, then=lambda: shutil.rmtree(parts))
    assert result.images == 12
    assert len(rows(out)) == 13
    assert not parts.exists()


def vanished(parts):
    shutil.rmtree(parts)


def failed(parts):
    """As when the folder goes while the file is written."""
    shutil.rmtree(parts)
    raise OutputError("cannot be written") from FileNotFoundError()


@pytest.mark.parametrize(("moment", "happens"), [("read_json", vanished), ("write_json", failed)])
def test_parts_that_vanish_while_they_are_claimed_are_claimed_again(tmp_path, monkeypatch, moment, happens):
    """Another process, which has finished the table, removes them between two calls."""
    from bchisto.predict import blocks

    parts, basis, left = tmp_path / "p.csv.parts", {"model_sha256": "a"}, [happens]
    blocks.claim(parts, basis, overwrite=False)
    real = getattr(blocks, moment)

    def removed(*given):
        if left:
            left.pop()(parts)
        return real(*given)

    monkeypatch.setattr(blocks, moment, removed)
    blocks.claim(parts, basis, overwrite=False)
    assert left == []
    assert json.loads((parts / "settings.json").read_text()) == basis
    with pytest.raises(OutputError, match="left by other work: other model"):
        blocks.claim(parts, {"model_sha256": "b"}, overwrite=False)


def test_the_same_table_made_meanwhile_is_kept_and_another_is_not_touched(model, tissue, tmp_path, monkeypatch, caplog):
    alone, out = tmp_path / "alone.csv", tmp_path / "p.csv"
    predict(model, [tissue], out=alone, work=Work(jobs=1))
    with caplog.at_level("INFO", logger="bchisto"):
        result = interrupted(model, tissue, out, monkeypatch, after=1, then=lambda: shutil.copy(alone, out))
    assert result.images == 12
    assert "another process finished the same table meanwhile; it is kept" in caplog.text
    other = tmp_path / "q.csv"
    with pytest.raises(OutputError, match=r"q\.csv: another process wrote another table meanwhile; use `overwrite`"):
        interrupted(model, tissue, other, monkeypatch, after=1, then=lambda: other.write_text("image_id\nmine\n"))
    assert other.read_text() == "image_id\nmine\n"


def test_a_part_of_other_work_is_not_taken(model, tissue, tmp_path, monkeypatch, caplog):
    """A command without a claim, `--overwrite` beside it, may leave parts of another model in the folder."""
    out, parts = tmp_path / "p.csv", tmp_path / "p.csv.parts"

    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted(model, tissue, out, monkeypatch, after=2, then=stop)
    monkeypatch.undo()
    monkeypatch.setattr("bchisto.featurize.blocks._MOST_IMAGES", 4)
    kept = sorted(parts.glob("block-*.csv"))
    assert len(kept) == 2
    lines = kept[0].read_text().splitlines()
    names, work = lines[0].rsplit(",", 1)
    assert work.startswith("work:")
    faked = [",".join([*line.split(",")[:2], "0.0", "1.0"]) for line in lines[1:]]
    kept[0].write_text("\n".join([f"{names},work:0000", *faked]) + "\n")
    # as 0.1 wrote it: without the last cell of the header
    kept[1].write_text(kept[1].read_text().replace(f",{work}", "", 1))
    predict(model, [tissue], out=out, work=Work(jobs=1))
    assert "block-00000.csv: does not hold the predictions of its images; predicted again" in caplog.text
    assert "block-00001.csv" not in caplog.text
    alone = tmp_path / "alone.csv"
    predict(model, [tissue], out=alone, work=Work(jobs=1))
    assert rows(out) == rows(alone)


@pytest.mark.parametrize("damage", ["", "\n", "image_id,error,p_benign", "\0", "image_id,error\nx\n"])
def test_a_damaged_part_is_made_again(model, tissue, tmp_path, monkeypatch, damage):
    out = tmp_path / "p.csv"

    def spoil():
        (tmp_path / "p.csv.parts" / "block-00000.csv").write_text(damage)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted(model, tissue, out, monkeypatch, after=1, then=spoil)
    monkeypatch.undo()
    monkeypatch.setattr("bchisto.featurize.blocks._MOST_IMAGES", 4)
    assert predict(model, [tissue], out=out, work=Work(jobs=1)).images == 12


def test_work_that_fails_before_its_first_block_leaves_nothing(model, tissue, tmp_path):
    from PIL import Image

    bad = tmp_path / "bad.tif"
    Image.open(sorted(tissue.rglob("*.png"))[0]).save(bad)
    bad.write_bytes(bad.read_bytes()[:-9_000])
    with pytest.raises(ValueError, match=r"bad\.tif"):
        predict(model, [bad], out=tmp_path / "p.csv", work=Work(jobs=1))
    assert not (tmp_path / "p.csv.parts").exists()
