"""Names, numbers and texts that would bite: formulas, control characters, huge numbers, names of patients."""

import csv
import json
import shutil

import numpy as np
import pytest
from bchisto.evaluate import read_predictions

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


def table(path, *, classes=("a", "b"), rows=12, folds=3, more=""):
    lines = []
    for row in range(rows):
        shares = np.full(len(classes), 0.2 / max(1, len(classes) - 1))
        shares[row % len(classes)] = 0.8
        shares[-1] = 1 - shares[:-1].sum()
        cells = [f"i{row}", classes[row % len(classes)], str(row % folds), *map(repr, shares.tolist())]
        lines.append(cells)
    with path.open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerows([["image_id", "label", "fold", *(f"p_{name}" for name in classes)], *lines])
    return path


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


def test_formulas_are_texts_in_every_table_and_read_back(biting, tmp_path, cli, tiny_options):
    run = tmp_path / "run"
    options = ["--view" if one == "--view" else one for one in tiny_options]
    assert cli("featurize", "--images", biting, "--out", run, *options)[0] == 0
    folds = tmp_path / "folds.csv"
    assert cli("data", "folds", "--images", biting, "--folds", 3, "--out", folds)[0] == 0
    settings = ("--seeds", 1, "--jobs", 1, "--param", "min_data_in_leaf=1", "--param", "num_iterations=2")
    code, out, said = cli("boost", "--out", run, "--folds", folds, *settings)
    assert code == 0, said
    code, shown, more = cli("evaluate", run, "--out", tmp_path / "evaluation", "--bootstrap", 0)
    assert code == 0, more
    (model,) = run.glob("boost/*/model.bchisto")
    code, _, again = cli("predict", model, "--images", biting, "--out", tmp_path / "p.csv", "--weights", "random")
    assert code == 0, again
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
    written = shutil.copy(written, folds)
    code, _, said = cli("boost", "--out", run, "--folds", written, *settings)
    assert code == 0, said


def test_a_manifest_from_a_spreadsheet_means_the_same(tissue, tmp_path, cli):
    shutil.copytree(tissue / "benign", tmp_path / "=b")
    rows = sorted(path.name for path in (tmp_path / "=b").iterdir())
    tables = []
    for mark in ("", "'"):
        path = tmp_path / f"m{len(mark)}.csv"
        path.write_text(
            "path,label,group\n" + "".join(f"{mark}=b/{name},x,{mark}@p{n}\n" for n, name in enumerate(rows))
        )
        code, out, said = cli("data", "list", "--images", path)
        assert code == 0, said
        tables.append(out)
    assert tables[0] == tables[1]
    assert f"'=b/{rows[0]},{tmp_path}/=b/{rows[0]},x,'@p0," in tables[0]


def test_control_characters_of_a_record_are_not_printed(tmp_path, cli):
    run = tmp_path / "run"
    (run / "records").mkdir(parents=True)
    record = {"command": f"boost{ESCAPE}", "status": f"ok{ESCAPE}", "started": "x\ny", "seconds": 1,
              "config": {f"folds{ESCAPE}": [ESCAPE]}, "error": f"a\r{ESCAPE}\x9b"}  # fmt: skip
    (run / "run.json").write_text(json.dumps({"records": [record]}))
    (run / "records" / "a.json").write_text(json.dumps(record))
    for arguments in (("list", tmp_path), ("show", run), ("diff", run, run)):
        _, out, said = cli("runs", *arguments)
        assert not {"\x1b", "\r", "\x9b"} & set(out + said)
    assert "boost\\x1b[2J" in cli("runs", "list", tmp_path)[1]


def test_control_characters_of_tables_and_names_are_not_printed(tmp_path, cli):
    path = tmp_path / "t.csv"
    path.write_text(f"image_id,label,predicted\n{ESCAPE}x,a,b\n{ESCAPE}x,a,b\n")
    said = refused(cli, "evaluate", path, "--out", tmp_path / "out", said="listed twice")
    assert "\x1b" not in said
    said = refused(cli, "evaluate", tmp_path / f"{ESCAPE}\nok", "--out", tmp_path / "out", said="\\x0aok: no such")
    assert "\x1b" not in said
    (tmp_path / "c.yaml").write_text('heads: "\\e[2Jx"\n')
    code, _, said = cli("boost", "--config", tmp_path / "c.yaml", "--out", tmp_path / "run")
    assert (code, "\x1b" in said) == (2, False)


HUGE = "9" * 5000


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (f"i0,a,{HUGE},.8,.2", "is not a whole number"),
        (f"i0,a,0,{HUGE},.2", "not a probability"),
        ("i0,a,0,0x1p-1,.5", "not a number"),
        (f"i0,{'x' * 5000},0,.8,.2", "5,000 letters of a class are more than"),
    ],
)
def test_numbers_of_prediction_tables(tmp_path, cli, row, said):
    path = tmp_path / "t.csv"
    path.write_text(f"image_id,label,fold,p_a,p_b\ni9,b,0,.2,.8\n{row}\n")
    refused(cli, "evaluate", path, "--out", tmp_path / "out", said=said)


@pytest.mark.parametrize(
    ("fold", "said"),
    [(HUGE, "is not a whole number"), ("-1", "is not a whole number"), ("1e3", "is not a whole number")],
)
def test_numbers_of_fold_lists(tissue, tmp_path, cli, fold, said):
    path = tmp_path / "folds.csv"
    path.write_text(f"image_id,fold\nbenign/benign00.png,{fold}\n")
    refused(cli, "data", "folds", "--images", tissue, "--folds", path, "--out", tmp_path / "x.csv",
            said="is not a whole number")  # fmt: skip


@pytest.mark.parametrize(
    ("header", "cell", "said"),
    [
        ("path,label,image_id", "{first},x,a\0b", "null character"),
        ("path,label", "{long},x", "name too long"),
        ("path,label", "a\0b.png,x", "there is no file"),
        ("path,label", "/dev/zero,x", "there is no file"),
        ("path,label,image_id", "{first},x," + "9" * 5000, "too long"),
    ],
)
def test_paths_and_ids_of_manifests(tissue, tmp_path, cli, tiny_options, header, cell, said):
    first = sorted(tissue.rglob("*.png"))[0]
    path = tmp_path / "m.csv"
    path.write_text(f"{header}\n{cell.format(first=first, long='x' * 5000)}\n")
    code, _, text = cli("featurize", "--images", path, "--out", tmp_path / "run", *tiny_options)
    assert code == 2, text
    assert said.casefold() in text.casefold()
    assert "unexpected" not in text
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"classes": tuple(f"c{n}" for n in range(300)), "rows": 300}, "300 classes are more than the 100"),
        ({"classes": tuple(f"c{n}" for n in range(5000)), "rows": 2}, "columns are more than the 1,000"),
        ({"rows": 6000, "folds": 6000}, "6,000 folds are more than the 5,000"),
    ],
)
def test_evaluate_is_bounded(tmp_path, cli, more, said):
    refused(cli, "evaluate", table(tmp_path / "t.csv", **more), "--out", tmp_path / "out", said=said)


def test_a_label_for_each_row_is_no_class(tmp_path, cli):
    """The column of another thing, as in a table of 30,000 rows, is refused before its names are compared."""
    path = tmp_path / "t.csv"
    path.write_text("image_id,label,predicted\n" + "".join(f"i{n},l{n},l{n}\n" for n in range(30_000)))
    refused(cli, "evaluate", path, "--out", tmp_path / "out", said="30,000 classes are more than the 100")
    path.write_text("image_id,label,predicted,model\n" + "".join(f"i,a,b,m{n}\n" for n in range(101)))
    refused(cli, "evaluate", path, "--out", tmp_path / "out", said="101 models are more than the 100")
