"""Patches: their places, their tables, and the three levels of metrics."""

import shutil
import threading
import time

import numpy as np
import pytest
from bchisto.core import Banner, Kind
from bchisto.evaluate import Aggregation, aggregate, choice_in_run, evaluate, read_predictions
from bchisto.evaluate.report import known_of, write_run_report
from bchisto.finetune import FinetuneSettings, ImageBank, parse_patches
from bchisto.finetune.batches import Source, still_batches, training_batches
from bchisto.finetune.samples import EpochSamples
from conftest import typed
from refusals import refusing
from training_sources import finetune_here
from written_tables import read_json, rows_of, write_json

OPTIONS = typed("--network speck --size 32 --epochs 1 --batch-size 8 --folds 3 --jobs 1")


def test_a_grid_covers_the_image_and_ends_flush():
    rule = parse_patches("sliding:40:0.5")
    places = rule.corners(96, 128, entropy=(0,))
    assert len(places) == rule.number(96, 128) == 4 * 6
    assert {top for top, _ in places} == {0, 20, 40, 56}
    assert {left for _, left in places} == {0, 20, 40, 60, 80, 88}
    covered = np.zeros((96, 128), dtype=bool)
    for top, left in places:
        covered[top : top + 40, left : left + 40] = True
    assert covered.all()
    assert parse_patches("sliding:96:0").corners(96, 96, entropy=(0,)) == [(0, 0)]


def test_random_patches_follow_their_seed_and_reach_the_edges():
    rule = parse_patches("random:30:200")
    places = rule.corners(33, 50, entropy=(1, 2))
    assert places == rule.corners(33, 50, entropy=(1, 2)) != rule.corners(33, 50, entropy=(1, 3))
    tops, lefts = {top for top, _ in places}, {left for _, left in places}
    assert tops == {0, 1, 2, 3}
    assert min(lefts) == 0
    assert max(lefts) == 20


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tiles:128", "write resize, random:SIDE"),
        ("sliding", "write resize, random:SIDE"),
        ("resize:64", "write resize, random:SIDE"),
        ("sliding:64:1", "an overlap below 1"),
        ("random:64:0", "a count from 1 up"),
        ("sliding:4", "a side from 8 up"),
    ],
)
def test_rules_that_are_refused(text, message):
    with refusing(message):
        parse_patches(text)


def test_rotations_are_of_whole_images():
    with refusing('`augmentations="rotations-crops"`: goes with `patches="resize"`'):
        FinetuneSettings("speck", augmentations=("rotations-crops",), patches="sliding:48")


def test_samples_list_every_patch_of_every_copy():
    samples = EpochSamples.of(np.array([4, 2]), np.array([2, 1]), copies=3)
    assert samples.images.tolist() == [4] * 6 + [2] * 3
    assert samples.numbers.tolist() == [0, 0, 0, 1, 1, 1, 0, 0, 0]
    assert samples.copies.tolist() == [0, 1, 2] * 3


@pytest.fixture
def bank(rng):
    images = [
        rng.integers(0, 256, shape, dtype=np.uint8)
        for shape in ((64, 80, 3), (70, 64, 3), (64, 64, 3))
    ]
    return images, ImageBank.of(images, ["a", "b", "c"])


def test_patches_are_cut_from_their_image(bank):
    images, stored = bank
    source = Source(stored, np.array([0, 1, 0]), parse_patches("sliding:32:0.5"), 32, 0, 4)
    samples = source.samples(np.array([1, 2]))
    batches = still_batches(source, samples)
    found = np.concatenate([batches[place][0] for place in range(len(batches))])
    labels = np.concatenate([batches[place][1] for place in range(len(batches))])
    expected = [
        images[image][top : top + 32, left : left + 32]
        for image in (1, 2)
        for top, left in source.rule.corners(*images[image].shape[:2], entropy=(0,))
    ]
    np.testing.assert_array_equal(found, np.array(expected, dtype=np.float32))
    assert labels.tolist() == [1] * (4 * 3) + [0] * 9


def test_random_patches_are_drawn_anew_in_training_and_stay_in_testing(bank):
    _, stored = bank
    source = Source(stored, np.array([0, 1, 0]), parse_patches("random:32:3"), 32, 0, 9)
    samples = source.samples(np.arange(3))
    batches = training_batches(source, samples, augmentations=(), crops=1)
    first, again, second = (batches(epoch)[0][0] for epoch in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert {one.tobytes() for one in first} != {one.tobytes() for one in second}
    still = [still_batches(source, samples)[0][0] for _ in range(2)]
    np.testing.assert_array_equal(*still)


def test_batches_are_the_same_in_any_number_of_threads(bank):
    """Keras's own threads prepare them, and two are seen at work at once."""
    import keras

    _, stored = bank
    lock, inside, most = threading.Lock(), [0], [0]

    class Watched(ImageBank):
        def patch(self, position, *arguments, **options):
            with lock:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
            time.sleep(0.02)
            with lock:
                inside[0] -= 1
            return super().patch(position, *arguments, **options)

    model = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Flatten()])
    labels = np.array([0, 1, 0])
    found = []
    for workers in (1, 3):
        most[0] = 0
        watched = Watched(stored.pixels, stored.index)
        source = Source(watched, labels, parse_patches("random:32:4"), 32, 0, 2, workers=workers)
        make = training_batches(
            source, source.samples(np.arange(3)), augmentations=("isometries", "noise"), crops=1
        )
        found.append(model.predict(make(2), verbose=0))
        assert (most[0] > 1) == (workers > 1)
    assert found[0].shape == (12, 32 * 32 * 3)
    np.testing.assert_array_equal(*found)


@pytest.mark.slow
def test_an_epoch_holds_every_copy(tissue, tmp_path, completed):
    (tmp_path / "options.yaml").write_text("rotations: 2\ncrops: 3\n")
    # 6 images would not fill a batch of 30, their 36 copies do
    words = typed("--augmentation rotations-crops --batch-size 30")
    file = ("--config", tmp_path / "options.yaml")
    completed("finetune --images {} --out T/run", tissue, *OPTIONS, *words, *file)


@pytest.fixture(scope="module")
def cut(tmp_path_factory, tissue):
    settings = FinetuneSettings("speck", size=32, epochs=1, batch_size=8, patches="sliding:48:0.5")
    run = tmp_path_factory.mktemp("cut") / "run"
    return finetune_here(tissue, run, settings).folder


def test_patches_stand_in_a_table_of_their_own(cut):
    rows = rows_of(cut / "predictions-by-patch.csv")
    assert len(rows) == 12 * 9
    assert {row["patch"] for row in rows} == {
        f"x{x}_y{y}" for x in (0, 24, 48) for y in (0, 24, 48)
    }
    (patches,) = read_predictions(cut / "predictions-by-patch.csv")
    (images,) = read_predictions(cut / "predictions.csv")
    expected = aggregate(patches, level="image")
    assert images.patches is None
    assert images.image_ids == expected.image_ids
    np.testing.assert_allclose(images.probabilities, expected.probabilities, rtol=1e-12)


def test_metrics_at_every_level_by_every_rule(cut, tmp_path):
    tables = read_json(cut / "metrics.json")["tables"]
    rules = ("average", "sum", "vote", "exist", "exist-n")
    assert set(tables) == {"speck", "speck (patch)", *(f"speck (image, {rule})" for rule in rules)}
    assert tables["speck (patch)"]["n"] == 108
    assert tables["speck"]["n"] == 12
    assert tables["speck"]["accuracy"] == tables["speck (image, average)"]["accuracy"]
    both = Aggregation(["row", "image"], rules)
    result = evaluate(
        [cut / "predictions-by-patch.csv"], out=tmp_path, aggregation=both, bootstrap=0
    ).result
    assert [m["accuracy"] for m in result["tables"].values()] == [
        tables[name]["accuracy"] for name in list(tables)[1:]
    ]
    protocol = read_json(cut / "metrics.json")["run"]["protocol"]
    assert {m["protocol"].partition(";")[0] for m in result["tables"].values()} == {protocol}


def test_what_must_be_known_of_a_run_is_known_of_its_patches(cut, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(cut, run)
    metrics = read_json(run / "metrics.json")
    quick = Banner(Kind.QUICK, "a few").json()
    metrics["run"]["banners"] = [quick]
    write_json(run / "metrics.json", metrics)
    result = evaluate([run / "predictions-by-patch.csv"], out=tmp_path / "e", bootstrap=0).result
    assert result["notes"] == [quick]


def test_images_smaller_than_patches_are_refused_before_any_work(tissue, tmp_path, refused):
    err = refused("finetune --images {} --out T/run", tissue, *OPTIONS, "--patches", "random:128")
    assert "96x96 is smaller than patches of 128; use --patches resize or smaller ones" in err
    assert not list((tmp_path / "run" / "finetune").glob("images-*.bin"))


def test_of_patches_the_table_of_images_is_chosen(cut, tmp_path):
    """Beside a second network; its report shows tables of patches, too."""
    run = tmp_path / "run"
    shutil.copytree(cut.parent.parent, run)
    first = run / "finetune" / cut.name
    shutil.copytree(first, run / "finetune" / "other")
    content = read_json(first / "metrics.json")
    write_run_report(run, images=content["run"]["images_sha256"], made={})
    assert choice_in_run(first / "predictions.csv")["choice"]["count"] == 2
    assert choice_in_run(first / "predictions-by-patch.csv") == {}
    assert "2 results on the same images and folds" in " ".join(
        known_of(first / "model.bchisto")["lines"]
    )
    assert "report of the run</a>" in (first / "report.html").read_text()
    assert not [name for table in content["tables"].values() for name in table if "cho" in name]
