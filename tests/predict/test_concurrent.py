"""Several `predict` on one table at once, as a requeued job and its predecessor are; with real processes."""

import csv
import shutil
import subprocess
import sys

import pytest
from bchisto.core import OutputError
from bchisto.core.jobs import Work, write_pack
from bchisto.predict import predict

pytestmark = pytest.mark.slow

ROUNDS, PROCESSES = 4, 2

SCRIPT = f"""
import sys, time
from pathlib import Path
import bchisto.featurize.settings
from bchisto.core.jobs import Work
from bchisto.predict import predict

bchisto.featurize.settings._MOST_IMAGES = 2
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


@pytest.fixture
def after_pack(monkeypatch):
    """Do something when so many blocks of four images are kept, as another process might."""
    monkeypatch.setattr("bchisto.featurize.settings._MOST_IMAGES", 4)

    def arrange(number, then):
        written = []

        def write(path, *content):
            write_pack(path, *content)
            written.append(path)
            if len(written) == number:
                then()

        monkeypatch.setattr("bchisto.predict.predicted.write_pack", write)

    return arrange


def test_packs_that_vanish_cost_no_row(model, tissue, tmp_path, after_pack, monkeypatch):
    """Another process, which has finished the table, removes them: between two blocks, or while one is written."""
    out, parts = tmp_path / "p.csv", tmp_path / "p.csv.parts"
    after_pack(2, lambda: shutil.rmtree(parts))
    assert predict(model, [tissue], out=out, work=Work(jobs=1)).images == 12
    assert len(rows(out)) == 13
    assert not parts.exists()

    def gone(*_):
        raise OutputError("cannot be written") from FileNotFoundError()

    monkeypatch.setattr("bchisto.predict.predicted.write_pack", gone)
    predict(model, [tissue], out=tmp_path / "q.csv", work=Work(jobs=1))
    assert rows(tmp_path / "q.csv") == rows(out)


def test_the_same_table_made_meanwhile_is_kept_and_another_is_not_touched(model, tissue, tmp_path, after_pack, caplog):
    alone, out = tmp_path / "alone.csv", tmp_path / "p.csv"
    predict(model, [tissue], out=alone, work=Work(jobs=1))
    after_pack(1, lambda: shutil.copy(alone, out))
    with caplog.at_level("INFO", logger="bchisto"):
        assert predict(model, [tissue], out=out, work=Work(jobs=1)).images == 12
    assert "another process finished the same table meanwhile; it is kept" in caplog.text
    other = tmp_path / "q.csv"
    after_pack(1, lambda: other.write_text("image_id\nmine\n"))
    with pytest.raises(OutputError, match=r"q\.csv: another process wrote another table meanwhile; use `overwrite`"):
        predict(model, [tissue], out=other, work=Work(jobs=1))
    assert other.read_text() == "image_id\nmine\n"
