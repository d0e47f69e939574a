"""Bags of tiles with a table, and folds of BreakHis that are copied to folders."""

import csv
import shutil

import h5py
import numpy as np
import pytest
from sample_trees import tree

CLASSES = ("normal", "tumour")

BREAKHIS = [
    f"SOB_{kind}_{subtype}-14-{patient}-{power}-{n:03d}.png"
    for power in (200, 400)
    for kind, subtype, patient in (("B", "A", "22549AB"), ("B", "F", "9133"), ("M", "DC", "2523"), ("M", "LC", "15570"))
    for n in (1, 2, 3)
]


def bags(folder, shape, dtype):
    """Write twelve slides of six patients and a table of them; return its path."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    rows = ["case_id,slide_id,label"]
    for n in range(12):
        name = f"slide {n}"
        tiles = (rng.normal(size=shape) + n % 2).astype(dtype)
        with h5py.File(folder / f"{name}.h5", "w") as file:
            file["features"] = tiles
            file["coords"] = np.zeros((shape[-2], 2), np.int64)
        rows.append(f"case {n // 2},{name},{CLASSES[n % 2]}")
    table = folder.with_suffix(".csv")
    table.write_text("\n".join(rows) + "\n")
    return table


@pytest.mark.parametrize(("shape", "dtype"), [((1, 30, 64), np.float16), ((7, 5), np.float64)])
def test_bags_of_tiles(shape, dtype, tmp_path, cli):
    table = bags(tmp_path / "bags", shape, dtype)
    code, _, err = cli(
        "boost", "--features", tmp_path / "bags", "--labels", table, "--folds", "3", "--preset", "quick",
        "--head", "prototype", "--jobs", "1", "--out", tmp_path / "run",
    )  # fmt: skip
    assert code == 0, err
    lines = next((tmp_path / "run").rglob("predictions.csv")).read_text().splitlines()
    rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    assert {row["image_id"] for row in rows} == {f"slide {n}" for n in range(12)}
    folds = {}
    for row in rows:
        number = int(row["image_id"].split()[1])
        assert row["label"] == CLASSES[number % 2]
        folds.setdefault(f"case {number // 2}", set()).add(row["fold"])
    assert all(len(numbers) == 1 for numbers in folds.values())


@pytest.mark.parametrize("parts", ["train test", "train val test"])
def test_folds_that_are_copied_to_folders_hold_each_image_once(parts, tmp_path, cli):
    parts = parts.split()
    images = tree(tmp_path / "images", *BREAKHIS)
    for k, fold in enumerate(("fold1", "fold2")):
        for n, name in enumerate(BREAKHIS):
            folder = tmp_path / "mkfold" / fold / parts[(n + k) % len(parts)] / f"{name.split('-')[3]}X"
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(images / name, folder)
    code, out, err = cli("data", "list", "--images", tmp_path / "mkfold")
    assert code == 0, err
    rows = list(csv.DictReader(out.splitlines()))
    assert len(rows) == len(BREAKHIS)
    stems = {name[:-4] for name in BREAKHIS}
    for row in rows:
        stem = row["image_id"].rsplit("/", 1)[-1].removesuffix(".png")
        assert stem in stems
        assert row["group"].endswith(stem.split("-")[2])
        assert row["label"] == {"B": "benign", "M": "malignant"}[stem.split("_")[1]]
