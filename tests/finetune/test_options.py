"""Single options of `bchisto finetune` by their effect, and what it refuses."""

import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from bchisto.core import banners_of
from bchisto.finetune import CnnBundle, FinetuneSettings
from conftest import typed
from training_sources import finetune_here, model_of
from written_tables import read_json, rows_of

pytestmark = pytest.mark.slow

# speck is one convolution: options that are not the network's are tried on it, which compiles in a moment
SMALL = FinetuneSettings("speck", epochs=2, batch_size=4)
RESNET = FinetuneSettings("patch-resnet", size=32, epochs=2, batch_size=4)
OPTIONS = typed("--network speck --size 32 --epochs 2 --batch-size 4 --jobs 1")


def test_tensorboard_reads_the_curves(tissue, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    result = finetune_here(tissue, tmp_path, SMALL, "2", tensorboard=True)
    for fold in (1, 2):
        events = EventAccumulator(str(result.folder / "logs" / "tensorboard" / f"fold{fold}"))
        events.Reload()
        rows = rows_of(result.folder / "logs" / f"fold{fold}.csv")
        for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
            points = [
                (one.step, float(make_ndarray(one.tensor_proto))) for one in events.Tensors(name)
            ]
            assert [step for step, _ in points] == [1, 2]
            np.testing.assert_allclose(
                [value for _, value in points], [float(row[name]) for row in rows], rtol=1e-5
            )
        assert events.SummaryMetadata("loss").plugin_data.plugin_name == "scalars"
        graph = events.Graph()
        assert any("dots" in node.name for node in graph.node)
        shapes = {
            tuple(d.size for d in s.dim)
            for node in graph.node
            for s in node.attr["_output_shapes"].list.shape
        }
        # the sizes of images and of what is said of them
        assert {
            (-1, 32, 32, 3),
            (-1, 2),
        } <= shapes
        model = CnnBundle.load(result.folder / "model.bchisto").models[fold]
        check_histograms(
            events, model, best=int(np.argmin([float(row["val_loss"]) for row in rows])) + 1
        )


def check_histograms(events, model, *, best):
    """Of the kept weights, against TensorBoard's own buckets."""
    from tensorboard.plugins.histogram import summary
    from tensorboard.util.tensor_util import make_ndarray

    for name in ("dots", "classes"):
        kept = model.get_layer(name).get_weights()[0]
        points = events.Tensors(f"{name}/kernel")
        assert [one.step for one in points] == [0, 1, 2]
        assert events.SummaryMetadata(f"{name}/kernel").plugin_data.plugin_name == "histograms"
        buckets = [make_ndarray(one.tensor_proto) for one in points]
        assert not np.array_equal(buckets[0], buckets[1])
        expected = make_ndarray(summary.pb("x", kept, bucket_count=30).value[0].tensor)
        np.testing.assert_allclose(buckets[best], expected, rtol=1e-5)
        assert buckets[best][:, 2].sum() == kept.size


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision_keeps_float32_weights_and_output(precision, tissue, tmp_path):
    model = model_of(replace(RESNET, precision=precision))
    assert model.get_layer("first").compute_dtype == precision
    assert {str(variable.dtype) for variable in model.trainable_variables} == {"float32"}
    assert str(model.output.dtype) == "float32"
    full = model_of(RESNET)
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype(np.float32)
    near, exact = np.asarray(model(images)), np.asarray(full(images))
    assert not np.array_equal(near, exact)
    np.testing.assert_allclose(near, exact, atol=0.05)
    settings = replace(SMALL, precision=precision)
    assert finetune_here(tissue, tmp_path, settings, "2").metrics["n"] == 12
    encoder = model_of(
        FinetuneSettings("mobilenetv2", size=32, weights="random", precision=precision)
    )
    assert str(encoder.output.dtype) == "float32"


def test_the_top_of_the_inbreast_system():
    settings = FinetuneSettings(
        "mobilenetv2", size=96, weights="random", top="conv", freeze="all", dropout=0.2, l2=1e-3
    )
    model = model_of(settings)
    names = [layer.name for layer in model.layers]
    assert names[-6:] == ["top_conv", "top_pool", "top_relu", "top_flatten", "dropout", "classes"]
    assert model.get_layer("top_conv").output.shape[1:] == (3, 3, 64)
    assert model.get_layer("top_flatten").output.shape[1:] == (2 * 2 * 64,)
    trained = {variable.path.split("/")[0] for variable in model.trainable_variables}
    assert trained == {"top_conv", "classes"}
    assert model.losses  # of the L2 penalty


def test_train_on_all_with_a_fixed_test_list(tissue, tmp_path, completed):
    listed = tmp_path / "test.csv"
    tested = ["benign/benign00.png", "malignant/malignant05.png"]
    listed.write_text("image_id\n" + "\n".join(tested) + "\n")
    run = tmp_path / "run"
    options = typed("finetune --images {} --out {}", tissue, run, *OPTIONS, "--folds", "none")
    completed(*options, "--test-list", listed)
    folder = run / "finetune" / "none-speck"
    assert [row["image_id"] for row in rows_of(folder / "predictions.csv")] == tested
    parts = {row["image_id"]: row["part"] for row in rows_of(folder / "folds.csv")}
    assert sorted(image for image, part in parts.items() if part == "test") == tested
    assert list(parts.values()).count("train") == 10
    file = tmp_path / "options.yaml"
    file.write_text("name: last\nvalidation: false\n")
    completed(*options, "--test-list", listed, "--config", file)
    rows = rows_of(run / "finetune" / "none-speck-last" / "logs" / "fold1.csv")
    assert len(rows) == 2
    assert {row["val_loss"] for row in rows} == {""}
    metrics = read_json(run / "finetune" / "none-speck-last" / "metrics.json")
    assert any(
        banner.startswith("NO VALIDATION: trained for 2 epochs")
        for banner in banners_of(metrics["run"])
    )


def test_train_on_all_and_test_none(tissue, tmp_path, refused, completed):
    options = ("--images", tissue, "--out", tmp_path / "run", *OPTIONS, "--folds", "none")
    out, _ = completed("finetune", *options)
    assert "trained on all images, none tested" in out
    folder = tmp_path / "run" / "finetune" / "none-speck"
    assert not (folder / "predictions.csv").exists()
    bundle = CnnBundle.load(folder / "model.bchisto")
    assert list(bundle.models) == [1]
    assert bundle.temperature is None
    assert "no such file" in refused("finetune", *options, "--test-list", tmp_path / "gone.csv")


def test_bad_images_stop_the_run_or_are_left_out(tissue, tmp_path, cli):
    images = tmp_path / "images"
    shutil.copytree(tissue, images)
    broken = images / "benign" / "benign02.png"
    broken.write_bytes(broken.read_bytes()[:300])
    options = typed(
        "finetune --images {} --out {}", images, tmp_path / "run", *OPTIONS, "--folds", 4
    )
    code, _, err = cli(*options)
    assert code in (1, 2)
    assert "benign02.png" in err
    assert "Traceback" not in err
    code, _, err = cli(*options, "--skip-errors")
    assert code == 1, err
    assert "1 image was left out, listed in" in err
    assert re.search(r"left out: .*benign02\.png: ", err)
    assert [row["image_id"] for row in rows_of(tmp_path / "run" / "finetune" / "failures.csv")] == [
        "benign/benign02.png"
    ]
    metrics = read_json(tmp_path / "run" / "finetune" / "4-speck" / "metrics.json")
    assert metrics["tables"]["speck"]["n"] == 11
    assert "1 image could not be used and is in no fold" in banners_of(metrics["run"])
    again, _, _ = cli(*options, "--skip-errors")
    assert again == 1  # said again, though nothing was decoded


def grouped(tmp_path, tissue):
    manifest = tmp_path / "manifest.csv"
    files = sorted(tissue.rglob("*.png"))
    rows = [f"{path},{path.parent.name},p{place // 2}" for place, path in enumerate(files)]
    manifest.write_text("path,label,group\n" + "\n".join(rows) + "\n")
    return manifest, [path.name for path in files]


def fold_list(tmp_path, names, parts):
    path = tmp_path / "list.csv"
    path.write_text(
        "image_id,fold,part\n" + "".join(f"{n},1,{p}\n" for n, p in zip(names, parts, strict=True))
    )
    return path


BOTH = "1 of 6 patients with several images both"


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (["train", "test"] + ["train"] * 8 + ["test"] * 2, f"{BOTH} train and test in a fold (p0)"),
        (
            ["train"] * 4 + ["val", "test"] + ["train"] * 6,
            f"{BOTH} train or validate and test in a fold (p2)",
        ),
        (
            ["test"] * 2 + ["train", "val"] + ["train"] * 8,
            "1 patient in both the training and the validation part of a fold (p1)",
        ),
    ],
)
def test_a_patient_in_two_parts(tissue, tmp_path, refused, completed, parts, message):
    manifest, names = grouped(tmp_path, tissue)
    folds = fold_list(tmp_path, names, parts)
    options = typed(
        "finetune --images {} --out {}", manifest, tmp_path / "run", *OPTIONS, "--folds", folds
    )
    (tmp_path / "options.yaml").write_text("group_by: group\n")
    assert message in refused(*options, "--config", tmp_path / "options.yaml")
    completed(*options)  # published lists have such patients too: trained, and said
    # without names, since this goes into the bundle
    page = (tmp_path / "run" / "report.html").read_text()
    assert message.partition(" (")[0] in page
    assert message not in page


def test_too_few_to_validate(tmp_path, tissue, refused, completed):
    manifest, names = grouped(tmp_path, tissue)
    folds = fold_list(tmp_path, names, ["train"] * 2 + ["test"] * 4 + ["train"] * 2 + ["test"] * 4)
    options = typed(
        "finetune --images {} --out {}", manifest, tmp_path / "run", *OPTIONS, "--folds", folds
    )
    assert "fold 1: no images (patients) can be set aside to validate" in refused(*options)
    (tmp_path / "options.yaml").write_text("validation: false\n")
    completed(*options, "--config", tmp_path / "options.yaml")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("rate_multipliers: first", "write it as NAME=FACTOR"),
        ("dropout: 1.5", "dropout 1.5: give a fraction below 1"),
        ("name: a/b", "name a/b: becomes part of a folder's name"),
    ],
)
def test_what_is_refused_in_a_file(tissue, tmp_path, refused, line, message):
    (tmp_path / "options.yaml").write_text(f"{line}\n")
    words = ("--images", tissue, "--out", tmp_path / "run", *OPTIONS)
    assert message in refused("finetune", *words, "--config", tmp_path / "options.yaml")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--network", "lenet"), "--network lenet: "),
        (("--stain", "sepia"), "--stain sepia: choose one of"),
        (("--epochs", 0), "--epochs 0: give at least 1"),
        (("--size", 8), "--size 8: give at least 32 pixels"),
        (
            ("--folds", 3, "--test-list", "x.csv"),
            "--test-list x.csv: goes with --folds none, not 3",
        ),
        (("--weights", "gone.npz"), "gone.npz: no such weights file"),
    ],
)
def test_what_is_refused(tissue, tmp_path, refused, options, message):
    assert message in refused("finetune --images {} --out T/run", tissue, *OPTIONS, *options)
    # so that the command that is asked for works
    assert not list((tmp_path / "run").rglob("settings.json"))
