"""`bchisto next --images`: a pool of further images, whose features are computed once."""

import re
import shlex
import shutil
import time

import numpy as np
import pytest
from bchisto.featurize import open_store
from conftest import snapshot, write_tissue
from written_tables import fill, rows_of, written

CLASSES = ("gutartig", "bösartig")


@pytest.fixture
def few(tmp_path, tiny_options, completed):
    """A run of eight images of four patients, two labels a class, and a pool of nine others in an odd folder."""
    write_tissue(tmp_path / "erste", per_class=4, classes=CLASSES)
    rows = []
    for place, path in enumerate(sorted((tmp_path / "erste").rglob("*.png"))):
        label = path.parent.name if place % 4 < 2 else ""
        rows.append({"path": str(path), "label": label, "group": f"P{place % 4}"})
    written(tmp_path / "t.csv", rows)
    run = tmp_path / "lauf"
    completed("featurize --images T/t.csv --out {}", run, *tiny_options)
    pool = tmp_path / "neue, Bilder (ü) 1.2"
    write_tissue(pool, per_class=4, classes=CLASSES, seed=1)
    # a copy of an image with a label, and a near-duplicate of another
    shutil.copy(rows[0]["path"], pool / "kopie.png")
    return run, pool, rows


def names_in(run):
    (path,) = (run / "features").glob("*.h5")
    with open_store(path) as store:
        return store.image_ids


def test_a_pool_joins_and_its_labels_come_into_the_run(few, completed):
    run, pool, _ = few
    before = snapshot(run)
    printed, _ = completed("next {} --images {} --count 30", run, pool)
    assert "round 1: 12 of 12 images without a label" in printed
    assert snapshot(run / "features").items() <= before.items()
    manifest = run / "next" / "manifest.csv"
    chosen = rows_of(manifest)
    assert len(chosen) == 12
    of_pool = [row for row in chosen if row["image_id"].startswith(f"{pool.stem}/")]
    assert len(of_pool) == 8, "the copy of an image with a label is kept out"
    assert {row["path"] for row in of_pool} == {
        str(path) for path in pool.rglob("*.png") if path.name != "kopie.png"
    }
    page = (run / "next" / "index.html").read_text()
    assert page.count("<img ") == 12
    # only those with a label or chosen come into the run
    shutil.rmtree(run / "next")
    completed("next {} --count 4 --seed 3", run)
    chosen = fill(manifest)
    _, errors = completed("next {} --count 2", run)
    further = {row["image_id"] for row in rows_of(manifest)} - set(names_in(run))
    assert 0 < len(further) < 8
    command = shlex.split(re.search(r"next: bchisto (featurize .*)", errors)[1])
    completed(*command, "--jobs", 1)
    assert set(names_in(run)) >= further
    assert len(names_in(run)) == 8 + len(further)
    printed, _ = completed("next {} --count 2", run)
    assert "round 2: 2 of 8 images" in printed


def test_features_of_a_pool_are_computed_once(few, completed, monkeypatch):
    run, pool, _ = few
    described = []
    from bchisto.featurize import units

    describe = units.describe_images

    def counting(records, **options):
        described.extend(record.image_id for record in records)
        return describe(records, **options)

    monkeypatch.setattr(units, "describe_images", counting)
    completed("next {} --images {} --count 2", run, pool)
    (path,) = (run / "pool" / "features").glob("*.h5")
    assert len(described) == 8
    stamp = path.stat().st_mtime_ns
    completed("next {} --images {} --count 2", run, pool)
    completed("next {} --count 2", run)
    assert len(described) == 8
    assert path.stat().st_mtime_ns == stamp
    # the pool grows, in the same folder and by another one
    described.clear()
    write_tissue(pool / "später", per_class=1, classes=CLASSES, seed=2)
    completed("next {} --images {} --count 2", run, pool)
    assert len(described) == 2
    described.clear()
    other = write_tissue(pool.parent / "zweite", per_class=1, classes=CLASSES, seed=3)
    printed, _ = completed("next {} --images {} --count 2", run, other)
    assert len(described) == 2
    assert "of 16 images without a label" in printed
    names = [row["image_id"] for row in rows_of(run / "pool" / "added.csv")]
    assert len(names) == len(set(names)) == 12


def test_near_duplicates_across_run_and_pool_are_kept_out(few, completed):
    from PIL import Image

    run, pool, rows = few
    shutil.rmtree(pool)
    pool.mkdir()
    pixels = np.asarray(Image.open(rows[0]["path"])).astype(int)
    Image.fromarray(np.clip(pixels + 1, 0, 255).astype(np.uint8)).save(pool / "heller.png")
    printed, _ = completed("next {} --images {} --count 9", run, pool)
    assert "only 4 images can be chosen" in printed
    assert not any("heller" in row["image_id"] for row in rows_of(run / "next" / "manifest.csv"))


def test_patients_of_a_table_and_no_label_of_the_pool_count(few, completed):
    run, pool, _ = few
    rows = [
        {"path": str(path), "label": "ganz anders", "group": "P7"}
        for path in sorted((pool / CLASSES[0]).glob("*.png"))
    ]
    written(pool / "liste.csv", rows)
    printed, _ = completed("next {} --images {} --count 30", run, pool / "liste.csv")
    assert "labels by now: bösartig 2, gutartig 2" in printed
    chosen = rows_of(run / "next" / "manifest.csv")
    assert sum(row["group"] == "P7" for row in chosen) == 4
    assert all(row["label"] == "" for row in chosen)


def test_names_that_do_not_fit_the_rule_of_the_run_have_no_patient(
    tmp_path, tiny_options, completed
):
    """The rule is an option of `featurize`: what is printed names no option that `next` lacks."""
    write_tissue(tmp_path / "erste", per_class=4, classes=CLASSES)
    rule = [r"--group-from", r"artig(\d+)"]
    completed("featurize --images T/erste --out T/lauf", *rule, *tiny_options)
    pool = tmp_path / "neue"
    write_tissue(pool, per_class=2, classes=("a", "b"), seed=1)
    _, errors = completed("next T/lauf --images {} --count 30", pool)
    assert "4 of 12 images name no patient (first neue/" in errors
    assert "group_from" not in errors
    assert "group-from" not in errors


class TestRefusals:
    @pytest.mark.parametrize("kind", ["none", "empty", "unreadable", "small"])
    def test_a_bad_pool_changes_nothing(self, few, refused, completed, kind):
        run, pool, _ = few
        completed("next {} --count 2", run)
        bad = pool.parent / "schlecht"
        if kind != "none":
            bad.mkdir()
        if kind == "unreadable":
            (bad / "x.png").write_bytes(b"\x89PNG\r\n\x1a\nkaputt")
        if kind == "small":
            write_tissue(bad / "a", per_class=1, classes=CLASSES, size=(40, 40))
        before = snapshot(run / "next")
        error = refused("next {} --images {} --count 2", run, bad)
        assert "schlecht" in error or "x.png" in error
        if kind == "small":
            assert "40" in error
        assert snapshot(run / "next") == before
        # and the run goes on without it
        completed("next {} --count 2", run)
        completed("next {} --images {} --count 2", run, pool)


@pytest.mark.slow
def test_kill_9_in_the_features_of_a_pool_resumes(few, start, completed):
    run, pool, _ = few
    write_tissue(pool / "viele", per_class=40, classes=CLASSES, seed=5)
    with start("next", run, "--images", pool, "--count", 2) as process:
        while process.poll() is None and not any((run / "pool").rglob("*.npz")):
            time.sleep(0.02)
        process.kill()
    assert not (run / "pool" / "added.csv").exists()
    kept = snapshot(run / "pool" / "features")
    assert any(path.suffix == ".npz" for path in kept), "it was killed too late"
    printed, errors = completed("next {} --images {} --count 2", run, pool)
    assert "of 92 images without a label" in printed
    assert re.search(r"\b[1-9]\d* (of \d+ )?blocks are done", errors), errors
