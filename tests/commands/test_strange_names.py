"""Names, numbers and texts that would bite: formulas, control characters, huge numbers, names of patients."""

import csv
import shutil

import pytest
from bchisto.evaluate import read_predictions
from conftest import typed
from written_tables import write_json

ESCAPE = "\x1b[2J\x1b[31m"


def refused(cli, *arguments, said):
    code, out, text = cli(*arguments)
    assert code == 2, text
    line = text.splitlines()[-1]
    assert line.startswith("error: ")
    assert said in line
    assert "Traceback" not in text
    assert "unexpected" not in text
    return out + text


@pytest.fixture(scope="module")
def biting(tmp_path_factory):
    """Images whose classes, names and patients begin like formulas, and one that holds control characters."""
    from conftest import write_tissue

    root = tmp_path_factory.mktemp("biting") / "images"
    write_tissue(root, per_class=3, size=(64, 64), classes=("=cmd|'x", f"@x{ESCAPE}"))
    for folder in sorted(root.iterdir()):
        for number, path in enumerate(sorted(folder.iterdir())):
            path.rename(folder / ("=1+1.png", "-2+3,é.png", "'=4.png")[number])
    return root


def test_formulas_are_texts_in_every_table_and_read_back(biting, tmp_path, completed, tiny_options):
    run = tmp_path / "run"
    completed("featurize --images {} --out {}", biting, run, *tiny_options)
    folds = tmp_path / "folds.csv"
    completed("data check --images {} --folds 3 --write-folds {}", biting, folds)
    settings = typed("--seeds 1 --jobs 1 --param min_data_in_leaf=1 --param num_iterations=2")
    out, said = completed("boost --out {} --folds {}", run, folds, *settings)
    shown, more = completed("evaluate {} --out T/evaluation --bootstrap 0", run)
    (model,) = run.glob("boost/*/model.bchisto")
    _, again = completed("predict {} --images {} --out T/p.csv --weights random", model, biting)
    for printed in (out, said, shown, more, again):
        assert "\x1b" not in printed
    assert "\\x1b[2J" in out + said + shown + more
    found = 0
    for path in [*tmp_path.rglob("*.csv")]:
        with path.open(newline="", encoding="utf-8") as handle:
            cells = [cell for row in csv.reader(handle) for cell in row]
        for cell in cells:
            if cell[:1] in ("=", "@", "+", "-"):
                float(cell)
        found += sum(cell.startswith("'") for cell in cells)
    assert found > 50
    ids = {f"{folder.name}/{path.name}" for folder in biting.iterdir() for path in folder.iterdir()}
    for path in (*run.glob("boost/*/predictions.csv"), tmp_path / "p.csv"):
        (read,) = read_predictions(path)
        assert set(read.image_ids) == ids
        assert set(read.classes) == {folder.name for folder in biting.iterdir()}
    (written,) = run.glob("boost/*/folds.csv")  # a list that we wrote is one that we read
    shutil.copy(written, folds)
    completed("boost --out {} --folds {}", run, folds, *settings)


def test_a_manifest_from_a_spreadsheet_means_the_same(tissue, tmp_path, completed):
    shutil.copytree(tissue / "benign", tmp_path / "=b")
    rows = sorted(path.name for path in (tmp_path / "=b").iterdir())
    tables = []
    for mark in ("", "'"):
        path = tmp_path / f"m{len(mark)}.csv"
        path.write_text(
            "path,label,group\n"
            + "".join(f"{mark}=b/{name},x,{mark}@p{n}\n" for n, name in enumerate(rows))
        )
        out, _ = completed("data check --table - --images {}", path)
        tables.append(out)
    assert tables[0] == tables[1]
    assert f"'=b/{rows[0]},{tmp_path}/=b/{rows[0]},x,'@p0," in tables[0]


def test_control_characters_of_a_record_are_not_printed(tmp_path, cli):
    run = tmp_path / "run"
    (run / "records").mkdir(parents=True)
    record = {
        "command": f"boost{ESCAPE}",
        "status": f"ok{ESCAPE}",
        "started": "x\ny",
        "seconds": 1,
        "config": {f"folds{ESCAPE}": [ESCAPE]},
        "error": f"a\r{ESCAPE}\x9b",
    }
    write_json(run / "run.json", {"records": [record]})
    write_json(run / "records" / "a.json", record)
    for arguments in ((tmp_path,), (run, "--history"), (run, run)):
        _, out, said = cli("status", *arguments)
        assert not {"\x1b", "\r", "\x9b"} & set(out + said)
    assert "boost\\x1b[2J" in cli("status", tmp_path)[1]


def test_control_characters_of_tables_and_names_are_not_printed(tmp_path, cli):
    path = tmp_path / "t.csv"
    path.write_text(f"image_id,label,predicted\n{ESCAPE}x,a,b\n{ESCAPE}x,a,b\n")
    said = refused(cli, "evaluate", path, "--out", tmp_path / "out", said="listed twice")
    assert "\x1b" not in said
    said = refused(
        cli,
        "evaluate",
        tmp_path / f"{ESCAPE}\nok",
        "--out",
        tmp_path / "out",
        said="\\x0aok: no such",
    )
    assert "\x1b" not in said
    (tmp_path / "c.yaml").write_text('heads: "\\e[2Jx"\n')
    code, _, said = cli("boost --config T/c.yaml --out T/run")
    assert code == 2
    assert "\x1b" not in said
