"""`bchisto next`: which images to label next, with a stranger's data by the command line."""

import contextlib
import json
import re
import shlex
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
from bchisto.apps.next import choice
from bchisto.apps.next.images import RunImages, read_images
from bchisto.core.jobs import UnderWayError
from bchisto.featurize import open_store
from conftest import snapshot, write_tissue
from written_tables import fill, read_json, rows_of, written

CLASSES = ("gutartig", "bösartig")


@pytest.fixture(scope="module")
def strange(tmp_path_factory, tiny_options):
    """The run of a stranger: 30 images of six cases in odd folders, four of which have a label."""
    from bchisto.cli import main

    root = tmp_path_factory.mktemp("next") / "Zürich, Bilder ü"
    write_tissue(root / "für alle", per_class=15, classes=CLASSES)
    images = sorted((root / "für alle").rglob("*.png"))
    rows = []
    for place, image in enumerate(images):
        label = image.parent.name if place % 15 < 2 else ""
        rows.append(
            {
                "Datei": image.relative_to(root).as_posix(),
                "Fall": f"Fall {place % 6}",
                "Diagnose": label,
                "Färbung": "HE, alt",
            }
        )
    written(root / "tabelle.csv", rows)
    run = root / "lauf"
    words = (
        *("featurize", "--images", root / "tabelle.csv", "--out", run, *tiny_options),
        *("--path-column", "Datei", "--label-column", "Diagnose", "--group-column", "Fall"),
    )
    with pytest.raises(SystemExit) as ended:
        main([*map(str, words)])
    assert ended.value.code == 0
    before = snapshot(run)
    yield run
    assert snapshot(run) == before, "next changed what it reads, or wrote where it was not to"


def labels_in(run):
    """Return the label of each image that the features of a run know."""
    (path,) = (run / "features").glob("*.h5")
    with open_store(path) as store:
        return dict(zip(store.image_ids, store.labels, strict=True))


def test_a_manifest_and_a_page_of_what_to_label(strange, tmp_path, completed):
    out = tmp_path / "nächste"
    printed, errors = completed("next {} --strategy doubt --count 10 --out {}", strange, out)
    assert printed.splitlines() == [
        "round 1: 10 of 26 images without a label (2 by random, 8 by doubt)",
        "labels by now: bösartig 2, gutartig 2",
    ]
    assert f"next: fill in the column label of {out / 'manifest.csv'}" in errors
    rows = rows_of(out / "manifest.csv")
    assert [row["chosen"] for row in rows] == ["random 1"] * 2 + ["doubt 1"] * 8
    assert {row["label"] for row in rows} == {""}
    assert {row["färbung"] for row in rows} == {"HE, alt"}
    assert len({row["image_id"] for row in rows}) == 10
    assert all(row["fall"].startswith("Fall ") for row in rows)
    assert [row["why"] for row in rows[:2]] == ["drawn at random"] * 2
    shares = []
    for row in rows[2:]:
        found = re.fullmatch(
            r"unsure: (\S+) (\d+) % \(2 labels\), (\S+) (\d+) % \(2 labels\)", row["why"]
        )
        assert {found[1], found[3]} == set(CLASSES)
        shares.append(int(found[2]))
    assert shares == sorted(shares)
    page = (out / "index.html").read_text()
    assert page.count("<img ") == 10
    for row in rows:
        assert row["image_id"] in page
        assert row["why"] in page
    table = rows_of(out / "images.csv")
    assert len(table) == 30
    assert sum(row["label"] != "" for row in table) == 4


def test_the_same_call_chooses_the_same(strange, tmp_path, completed):
    for name in ("a", "b"):
        completed("next {} --count 7 --out {}", strange, tmp_path / name)
    for name in ("manifest.csv", "images.csv", "index.html"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    before = snapshot(tmp_path / "a")
    completed("next {} --count 7 --out T/a", strange)
    assert snapshot(tmp_path / "a") == before
    completed("next {} --count 7 --seed 1 --out T/a", strange)
    assert snapshot(tmp_path / "a") != before


def test_labels_begin_the_next_round_and_none_is_lost(strange, tmp_path, completed):
    manifest = tmp_path / "manifest.csv"
    completed("next {} --count 6 --out {}", strange, tmp_path)
    rows = rows_of(manifest)
    for row, label in zip(rows, ("Bösartig", "gutartig", "n/a", "Neue Klasse"), strict=False):
        row["label"] = label
        row["Bemerkung"] = "schwierig; =1+1"
    rows = [{"Bemerkung": "", **row} for row in rows]
    written(manifest, rows)
    printed, errors = completed("next {} --count 6 --out {}", strange, tmp_path)
    assert printed.startswith("round 2: 6 of 23 images without a label")
    assert "labels by now: Neue Klasse 1, bösartig 3, gutartig 3" in printed
    assert "bchisto featurize --config" in errors
    again = rows_of(manifest)
    kept = {row["image_id"]: row for row in again[6:]}
    assert all(row["chosen"].endswith(" 2") and not row["label"] for row in again[:6])
    labels = [kept[row["image_id"]]["label"] for row in rows]
    assert labels == ["bösartig", "gutartig", "", "Neue Klasse", "", ""]
    assert [kept[row["image_id"]]["bemerkung"] for row in rows[:4]] == ["schwierig; =1+1"] * 4
    assert {row["image_id"] for row in again[:6]}.isdisjoint(kept)
    # without further labels it is the same round
    before = snapshot(tmp_path)
    completed("next {} --count 6 --out {}", strange, tmp_path)
    assert snapshot(tmp_path) == before
    completed("next {} --count 3 --out {}", strange, tmp_path)
    assert sum(row["chosen"].endswith(" 2") for row in rows_of(manifest)) == 3


def test_the_random_parts_of_all_rounds_are_one_draw(strange, tmp_path, completed):
    """It is what would have been drawn if nothing else had been chosen: the first of one order."""
    completed("next {} --strategy random --count 26 --out T/all", strange)
    order = [row["image_id"] for row in rows_of(tmp_path / "all" / "manifest.csv")]
    out = tmp_path / "rounds"
    for _ in range(4):
        completed("next {} --strategy doubt --count 6 --random-share 0.34 --out {}", strange, out)
        rows = fill(out / "manifest.csv")
    drawn = {row["image_id"] for row in rows if "random" in row["chosen"]}
    assert drawn == set(order[: len(drawn)])
    assert len(drawn) > 8, "some were chosen otherwise before they were drawn"
    both = [row["chosen"] for row in rows if "doubt" in row["chosen"] and "random" in row["chosen"]]
    assert len(both) == len(drawn) - 8
    assert all(re.fullmatch(r"doubt \d, random \d", cell) for cell in both)


def test_labels_come_back_into_the_run_without_new_features(strange, tmp_path, completed, run_copy):
    run = run_copy(strange)
    out = run / "next"
    completed("next {} --strategy doubt --count 8", run)
    rows = fill(out / "manifest.csv")
    printed, errors = completed("next {} --strategy doubt --count 8", run)
    words = re.search(r"next: bchisto (featurize .*)", errors)[1]
    command = shlex.split(words)
    printed, errors = completed(*command, *("--jobs", 1))
    (path,) = (run / "features").glob("*.h5")
    with open_store(path) as store:
        labels = dict(zip(store.image_ids, store.labels, strict=True))
        groups = dict(zip(store.image_ids, store.groups, strict=True))
    (before,) = (strange / "features").glob("*.h5")
    with open_store(before) as store, open_store(path) as after:
        assert labels.keys() == set(store.image_ids)
        assert store.keys == after.keys
        assert groups == dict(zip(store.image_ids, store.groups, strict=True))
    assert [labels[row["image_id"]] for row in rows] == ["gutartig"] * 8
    assert sum(map(bool, labels.values())) == 12
    # figures say that images were chosen, and which are a sample; four had their label before
    rows = fill(out / "manifest.csv", "bösartig")
    completed("next {} --strategy doubt --count 1", run)
    completed(*command, *("--jobs", 1))
    printed, _ = completed(
        "boost --out {}", run, *("--folds", 3, "--head", "prototype", "--jobs", 1)
    )
    others = sum("random" not in row["chosen"] for row in rows)
    assert f"CHOSEN IMAGES: {others} of 20 images" in printed
    (result,) = (run / "boost").iterdir()
    written_marks = [row["chosen"] for row in rows_of(result / "predictions.csv")]
    random = len(rows) - others
    assert sorted(written_marks) == [""] * 4 + ["not random"] * others + ["random"] * random
    metrics = read_json(result / "metrics.json")["tables"]["fusion"]
    assert metrics["drawn"]["n"] == random
    assert "images drawn at random" in (result / "report.html").read_text()
    completed("evaluate {} --by chosen --out T/evaluation", run)
    (table,) = read_json(tmp_path / "evaluation" / "metrics.json")["tables"].values()
    shown = {group["value"]: group["n"] for group in table["subgroups"]["chosen"]}
    assert shown == {"not random": others, "random": len(rows) - others, "not known": 4}
    assert "CHOSEN IMAGES" in (tmp_path / "evaluation" / "report.html").read_text()
    # what the run knows now is enough to go on with, even without the manifest
    shutil.rmtree(out)
    printed, _ = completed("next {} --count 2", run)
    assert printed.startswith("round 3: 2 of 10 images")


@pytest.mark.parametrize("labels", [{}, {"gutartig": 1}])
def test_without_two_classes_the_most_unlike_come_first(labels, tiny_options, tmp_path, completed):
    write_tissue(tmp_path / "alle", per_class=5, classes=CLASSES)
    images = sorted((tmp_path / "alle").rglob("*.png"))
    rows = [{"path": str(image), "label": ""} for image in images]
    for label in labels:
        rows[0]["label"] = label
    written(tmp_path / "t.csv", rows)
    run = tmp_path / "run"
    completed("featurize --images T/t.csv --out {}", run, *tiny_options)
    printed, _ = completed("next {} --strategy doubt --count 4", run)
    assert "(1 by random, 3 by diversity)" in printed
    assert "too few labels for a model" in printed
    rows = rows_of(run / "next" / "manifest.csv")
    assert [row["why"] for row in rows[1:]] == ["unlike anything with a label"] * 3
    assert "too few labels" in (run / "next" / "index.html").read_text().lower()


def test_near_duplicates_are_kept_out(strange, tmp_path, completed, run_copy):
    run = run_copy(strange)
    path = run / "features" / "dataset.json"
    facts = read_json(path)
    completed("next {} --count 26", run)
    rows = rows_of(run / "next" / "manifest.csv")
    names = [row["image_id"] for row in rows]
    labelled = [name for name, label in labels_in(run).items() if label]
    # one of a label, two that are chosen one after the other, and an image that failed
    facts["copies"] = [
        [labelled[0], names[3]],
        [names[0], names[1]],
        [names[6], names[7]],
        ["fort.png", names[9]],
    ]
    path.write_text(json.dumps(facts))
    shutil.rmtree(run / "next")
    printed, _ = completed("next {} --count 26", run)
    chosen = {row["image_id"] for row in rows_of(run / "next" / "manifest.csv")}
    assert "only 23 images can be chosen" in printed
    assert names[3] not in chosen
    assert len(chosen & {names[0], names[1]}) == 1
    assert len(chosen & {names[6], names[7]}) == 1
    assert names[9] in chosen


def test_only_near_duplicates_are_nothing_to_label(strange, refused, run_copy):
    run = run_copy(strange)
    path = run / "features" / "dataset.json"
    facts = read_json(path)
    labels = labels_in(run)
    first = next(filter(labels.get, labels))
    facts["copies"] = [[first, name] for name, label in labels.items() if not label]
    path.write_text(json.dumps(facts))
    assert "near-duplicate of one that was" in refused("next", run)
    assert not (run / "next").exists()


def test_an_image_of_a_class_with_few_labels_says_so(strange, tmp_path, completed):
    manifest = tmp_path / "manifest.csv"
    completed("next {} --count 8 --out {}", strange, tmp_path)
    fill(manifest, "gutartig")
    printed, _ = completed("next {} --strategy doubt --count 4 --out {}", strange, tmp_path)
    assert "bösartig 2, gutartig 10" in printed
    reasons = [row["why"] for row in rows_of(manifest) if row["chosen"] == "doubt 2"]
    assert len(reasons) == 3
    assert all(re.search(r"bösartig \d+ % \(2 labels\)", reason) for reason in reasons)


class TestRefusals:
    def test_more_than_there_are(self, strange, tmp_path, completed):
        printed, _ = completed("next {} --count 99 --out {}", strange, tmp_path)
        assert "only 26 images can be chosen" in printed
        completed("next {} --count 26 --random-share 1 --out T/all", strange)
        assert len(rows_of(tmp_path / "manifest.csv")) == 26

    @pytest.mark.parametrize(
        ("run", "words", "message"),
        [
            ("described", "", "each of its 12 images has a label"),
            ("tmp_path", "", "run bchisto featurize first"),
            ("strange", "--strategy margn", "margin"),
            ("strange", "--count 0", "--count 0"),
            ("strange", "--random-share 2", "--random-share"),
        ],
    )
    def test_what_cannot_be_chosen_from(self, run, words, message, tmp_path, refused, request):
        assert message in refused(f"next {{}} --out T/x {words}", request.getfixturevalue(run))
        assert not (tmp_path / "x").exists()

    def test_several_feature_files(self, strange, tmp_path, refused, completed):
        run = tmp_path / "run"
        shutil.copytree(strange, run)
        (path,) = (run / "features").glob("*.h5")
        shutil.copy(path, path.with_name("ü.h5"))
        assert "several feature files" in refused("next", run)
        completed("next {} --count 2", path)
        assert len(rows_of(run / "next" / "manifest.csv")) == 2

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("image_id,chosen\na.png,\n", "label"),
            # a table of the user's own
            ("image_id,label\na.png,gutartig\n", "chosen"),
            ("image_id,label,chosen\na.png,,ja\n", "its column chosen has ja"),
            ("image_id,label,chosen\na.png,,doubt 99999999999\n", "its column chosen has doubt"),
            (
                "image_id,label,chosen\na,Gut-artig,\nb,gutartig,\nc,gut artig,\n",
                "both fit the class",
            ),
            (
                "image_id,label,chosen\na,gutartig,\nb,gutratig,\n",
                "its label gutratig: did you mean gutartig? They differ in one or two letters, perhaps by a typing "
                "error; if it is a class of its own, name all in bchisto featurize --classes",
            ),
            # of two that the run does not have
            ("image_id,label,chosen\na,Narbe,\nb,narbe,\n", "its label narbe: did you mean Narbe?"),
            ("image_id,label,chosen\na,,\nb,gut", "its last line has no end; if the file was cut"),
            ("image_id,label,chosen\na,gutartig,\nb,,\na,bösartig,\n", "two rows of one image"),
        ],
    )
    def test_a_manifest_that_is_none(self, strange, tmp_path, refused, text, message):
        manifest = tmp_path / "manifest.csv"
        manifest.write_text(text)
        error = refused("next {} --out {}", strange, tmp_path)
        assert message in error
        assert manifest.read_text() == text

    def test_the_table_of_the_images_is_not_replaced(
        self, strange, tmp_path, refused, completed, tiny_options
    ):
        folder = tmp_path / "meine"
        shutil.copytree(strange.parent / "für alle", folder / "für alle")
        table = folder / "images.csv"
        shutil.copy(strange.parent / "tabelle.csv", table)
        text = table.read_bytes()
        run = folder / "lauf"
        completed(
            "featurize --images {} --out {} --path-column Datei --label-column Diagnose",
            table,
            run,
            *tiny_options,
        )
        assert "would overwrite" in refused("next {} --out {}", run, folder)
        assert table.read_bytes() == text

    def test_an_image_that_is_gone_has_no_picture(self, strange, tmp_path, completed, run_copy):
        run = run_copy(strange)
        cache = run / "features" / "images.csv"
        text = cache.read_text().replace("für alle", "nirgends")
        cache.write_text(text)
        completed("next {} --count 3", run)
        assert "<img" not in (run / "next" / "index.html").read_text()


def test_embeddings_of_other_programs_have_no_pictures(tissue, tmp_path, completed, refused, rng):
    labels = np.array([("a", "b")[place % 2] if place < 12 else "" for place in range(30)])
    features = rng.normal(size=(30, 5)).astype(np.float32)
    names = np.array([f"Präparat {place}" for place in range(30)])
    np.savez(tmp_path / "x.npz", features=features, labels=labels, image_ids=names)
    run = tmp_path / "run"
    completed("boost --features T/x.npz --out {} --head prototype --folds 2 --jobs 1", run)
    printed, errors = completed("next {} --count 5", run)
    assert "round 1: 5 of 18 images" in printed
    assert "near-duplicates are not known" in printed
    assert "a pool gets no features" in refused("next {} --images {}", run, tissue)
    fill(run / "next" / "manifest.csv", "a")
    printed, errors = completed("next {} --count 5", run)
    assert "round 2: 5 of 13 images" in printed
    assert "bchisto featurize" not in errors


def test_rows_of_other_images_stay_in_the_manifest(strange, tmp_path, completed):
    """An image may have left the run; what a person said of it is work."""
    completed("next {} --count 3 --out {}", strange, tmp_path)
    manifest = tmp_path / "manifest.csv"
    rows = fill(manifest)
    written(manifest, [*rows, {**rows[0], "image_id": "fort.png", "label": "bösartig"}])
    printed, _ = completed("next {} --count 3 --out {}", strange, tmp_path)
    assert "labels of images that the run lacks do not count: fort.png\n" in printed
    assert "labels by now: bösartig 2, gutartig 5" in printed
    kept = {row["image_id"]: row["label"] for row in rows_of(manifest)}
    assert kept["fort.png"] == "bösartig"
    assert "fort.png" not in {row["image_id"] for row in rows_of(tmp_path / "images.csv")}


def test_it_waits_for_its_turn(strange, tmp_path, monkeypatch):
    """A page, or another `bchisto next`, may be about to write the same manifest."""
    turns = []

    @contextlib.contextmanager
    def turn(folder):
        turns.append(folder)
        yield len(turns) > 1
        assert (tmp_path / "manifest.csv").is_file()

    monkeypatch.setattr(choice, "in_turn", turn)
    settings = choice.NextSettings(count=2)
    with pytest.raises(UnderWayError, match=": another process works there; try again later"):
        choice.choose_next(strange, out=tmp_path, settings=settings)
    assert not (tmp_path / "manifest.csv").exists()
    choice.choose_next(strange, out=tmp_path, settings=settings)
    assert turns == [tmp_path] * 2


def test_an_image_has_the_mean_of_its_draws(strange, tmp_path):
    (path,) = (strange / "features").glob("*.h5")
    with open_store(path) as store:
        expected = store.features().mean(axis=1)
    np.testing.assert_allclose(read_images(path, tmp_path / "none.csv").rows, expected)


def test_a_labelled_image_without_a_patient_is_one():
    cells = {"label": {"1": "a", "2": "b"}, "group": {"1": "P1"}}
    table = RunImages(["1", "2", "3"], np.zeros((3, 1)), [{0}, {1}, {2}], None, cells)
    assert table.labelled().groups == ("P1", "2")
    cells["group"] = {}
    assert table.labelled().groups == (None, None)


def test_classes_that_are_nearly_one_are_two_if_all_are_named(
    strange, tmp_path, completed, run_copy
):
    run = run_copy(strange)
    config = run / "next" / "featurize.json"
    completed("next {} --count 3", run)
    classes = ("--classes", "gutartig,bösartig,gutratig")
    completed("featurize --config {}", config, *classes, "--jobs", 1)
    fill(run / "next" / "manifest.csv", "gutratig")
    printed, _ = completed("next {} --count 3", run)
    assert "gutratig 3" in printed


@pytest.mark.slow
def test_kill_9_at_any_moment_loses_no_label(strange, tmp_path, completed):
    completed("next {} --count 5 --out {}", strange, tmp_path)
    manifest = tmp_path / "manifest.csv"
    labels = {row["image_id"]: row["label"] for row in fill(manifest)}
    command = [sys.executable, "-m", "bchisto", "next", str(strange), "--out", str(tmp_path)]
    started = time.monotonic()
    subprocess.run([*command, "--count", "5"], check=True, capture_output=True)
    whole = time.monotonic() - started
    for share in np.linspace(0.3, 1, 8):
        with subprocess.Popen(
            [*command, "--count", "5"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            time.sleep(share * whole)
            process.kill()
        rows = {row["image_id"]: row["label"] for row in rows_of(manifest)}
        assert rows.items() >= labels.items()
    printed, _ = completed("next {} --count 5 --out {}", strange, tmp_path)
    assert printed.startswith("round 2: 5 of 21 images")
