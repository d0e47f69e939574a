"""Recipes: what they say, what they refuse, and a whole run of a small one and of the published one."""

import csv
import json
import re
from importlib.resources import files

import numpy as np
import pytest
import yaml
from bchisto.apps.recipes import Scope, estimate_recipe, load_recipe, reproduce
from bchisto.apps.recipes.tables import Obtained, Runs, compare_published
from bchisto.boost import BoostSettings
from bchisto.core import InputError, Kind, banners_of
from bchisto.core.jobs import Work
from bchisto.data import make_bach, match_class
from bchisto.evaluate import Figure, Panel, TwoClassView, measure, read_predictions
from bchisto.featurize import FeaturizeSettings, open_store
from conftest import typed
from miniatures import write_bach
from written_tables import read_json, rows_of

pytestmark = pytest.mark.slow

EXTRA = {"tiny-1.0-48": {"value": 84.2, "std": 4.2}}


BOTH = Scope(quick=True, variants=["published", "patient-disjoint"])


def small(**changes):
    """The published recipe with a small encoder on small images."""
    recipe = load_recipe("rakhlin2018")
    content = {
        "name": "small",
        "title": "t",
        "citation": "c",
        "dataset": "bach",
        "images": 400,
        "steps": ["featurize", "boost"],
        "featurize": {
            name: {"value": s.value, "source": s.source}
            for name, s in recipe.sections["featurize"].items()
        },
        "boost": {
            name: {"value": s.value, "source": s.source}
            for name, s in recipe.sections["boost"].items()
        },
        "variants": recipe.variants,
        "quick": recipe.quick,
        "full_scale": {"source": "x", "views": ["0.5:32"]},
        "published": [
            {**table, "rows": EXTRA | table["rows"]} if table["key"] == "accuracy" else table
            for table in recipe.published
        ],
    }
    content["featurize"]["encoders"]["value"] = ["tiny"]
    content["featurize"]["views"]["value"] = ["1.0:48"]
    return {**content, **changes}


def write(tmp_path, content):
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return str(path)


@pytest.fixture(scope="module")
def bach(tmp_path_factory):
    root = write_bach(tmp_path_factory.mktemp("bach"), height=66, width=88)
    (root / "bchisto-synthetic.json").write_text("{}")
    return root


def made(folder, bach, content, out=None, **options):
    """Run a recipe with random weights, in this process."""
    options = {"weights": ["random"], "work": Work(jobs=1), **options}
    return reproduce(write(folder, content), bach, out=out or folder / "run", **options)


@pytest.fixture(scope="module")
def done(tmp_path_factory, bach):
    folder = tmp_path_factory.mktemp("recipe")
    return folder / "run", made(folder, bach, small(), scope=BOTH)


def test_the_recipe_is_what_the_commands_default_to():
    recipe = load_recipe("rakhlin2018")
    values, defaults = recipe.values("featurize"), FeaturizeSettings()
    for name in (
        "augmentations",
        "crops",
        "pool",
        "stain_fallback",
        "precision",
        "seed",
    ):
        given = getattr(defaults, name)
        assert type(given)(values[name]) == given, name
    # what auto means on a CPU
    assert int(values["batch_size"]) == defaults.crops_at_once
    # which leaves ink and borders out
    assert (values["stain"], defaults.stain) == (
        "macenko-published",
        "macenko",
    )
    assert tuple(map(float, values["color_range"])) == defaults.color_range
    # the code ran on Keras 2.1.3; today's ResNet-50 is a variant of the recipe, and what the command takes
    assert values["encoders"] == ["resnet50-keras213", "inceptionv3", "vgg16"]
    plain = dict(recipe.steps_of("plain-resnet50"))["featurize"]
    assert plain["encoders"] == [choice.name for choice in defaults.encoders]
    assert values["views"] == [f"{view.scale}:{view.crop}" for view in defaults.views]
    assert recipe.values("boost")["rule"] == "max"  # the code's own rule; the commands' is the sum
    boosted = BoostSettings()
    assert tuple(recipe.values("boost")["heads"]) == boosted.heads
    for name, value in recipe.values("boost").items():
        if name not in ("folds", "heads", "rule"):
            assert str(getattr(boosted, name)) == str(value)


def test_the_published_predictions_reproduce_their_own_table(shared, tmp_path):
    """Their table in the place of our predictions: every difference that it can show is nought."""
    source = shared / "reference" / "rakhlin2018" / "crossvalidation.csv"
    classes = ["Normal", "Benign", "InSitu", "Invasive"]
    rows = rows_of(source)
    folder = tmp_path / "x"
    folder.mkdir()
    for name, extra in (
        ("predictions.csv", {}),
        ("predictions-by-model.csv", {"store": "other", "seed": "0"}),
    ):
        with (folder / name).open("w", newline="") as handle:
            header = ["image_id", "label", "group", "fold", *(f"p_{c}" for c in classes), *extra]
            writer = csv.DictWriter(handle, header)
            writer.writeheader()
            for row in rows:
                p = {f"p_{c}": float(c == match_class(row["predicted"], classes)) for c in classes}
                label = match_class(row["label"], classes)
                writer.writerow(
                    {
                        "image_id": row["image_id"],
                        "label": label,
                        "group": "",
                        "fold": row["fold"],
                        **p,
                        **extra,
                    }
                )
    (table,) = read_predictions(folder / "predictions.csv")
    metrics = measure(table, TwoClassView(rule="max"), bootstrap=200)
    (folder / "metrics.json").write_text(
        json.dumps({"tables": {"fusion": metrics}}, default=Figure.json)
    )
    runs = Runs(
        "published",
        {("published", None): Obtained(folder, Panel(table, metrics))},
        magnifications=(None,),
        parameters={},
        tested={},
    )
    found = {
        c.key: c for c in compare_published(load_recipe("rakhlin2018").published, runs, note="")
    }
    assert [figure.difference for figure in found["fusion-by-fold"].figures] == pytest.approx(
        [0] * 10
    )
    assert [figure.difference for figure in found["confusion"].figures] == pytest.approx([0] * 4)
    assert [figure.difference for figure in found["two-class-by-fold"].figures] == pytest.approx(
        [0] * 10
    )
    two_class = found["two-class"].figures[0]
    assert (two_class.obtained, two_class.paired) == (
        pytest.approx(93.75),
        pytest.approx((0.0, 0.0), abs=1e-9),
    )
    assert two_class.obtained_spread == pytest.approx(2.3, abs=0.05)
    fusion = next(figure for figure in found["accuracy"].figures if figure.name == "Model fusion")
    assert fusion.obtained == pytest.approx(87.25)
    assert fusion.obtained_spread == pytest.approx(2.6, abs=0.05)
    assert fusion.paired == pytest.approx((0.0, 0.0), abs=1e-9)
    assert fusion.cells()[-1] == "+0.0 to +0.0"


def test_a_quick_run_says_so_in_every_output(done):
    run, result = done
    assert [panel.folder.name for panel in result.protocols] == [
        "rakhlin10-quick-lightgbm",
        "eva-quick-lightgbm",
    ]
    banner = result.banners[0]
    assert banner.startswith("QUICK: ")
    assert (
        f"{len((run / 'quick' / 'images.csv').read_text().splitlines()) - 1} of 400 images"
        in banner
    )
    reports = run / "report.html", run / "reproduce" / "small" / "report.html"
    for path in (run / "boost").rglob("metrics.json"):
        kinds = {banner.kind for banner in banners_of(read_json(path)["run"])}
        assert kinds >= {Kind.QUICK, Kind.SYNTHETIC, Kind.RANDOM_WEIGHTS}, path
    for path in (*reports, *(run / "boost").rglob("report.html")):
        text = path.read_text()
        assert "QUICK: " in text, path
        assert "SYNTHETIC IMAGES" in text, path
        assert "RANDOM WEIGHTS" in text, path
    import zipfile

    for path in (run / "boost").rglob("model.bchisto"):
        with zipfile.ZipFile(path) as archive:
            manifest = json.loads(archive.read("manifest.json"))
        assert Kind.QUICK in {banner.kind for banner in banners_of(manifest)}


def test_published_and_obtained_stand_side_by_side(done):
    run, result = done
    assert [comparison.key for comparison in result.published] == [
        "accuracy",
        "fine-tuning",
        "fusion-by-fold",
        "two-class",
        "two-class-by-fold",
        "confusion",
        "test-images",
    ]
    rows = {row["figure"]: row for row in rows_of(run / "reproduce" / "small" / "accuracy.csv")}
    assert float(rows["tiny-1.0-48"]["published"]) == 84.2
    paper = result.protocols[0].panel.paper.rows[0]
    assert float(rows["tiny-1.0-48"]["obtained"]) == pytest.approx(100 * np.mean(paper["per_fold"]))
    assert float(rows["tiny-1.0-48"]["obtained_spread"]) == pytest.approx(
        100 * np.std(paper["per_fold"])
    )
    low, middle, high = (float(rows["tiny-1.0-48"][name]) for name in ("low", "obtained", "high"))
    assert low <= middle <= high
    assert rows["vgg16-0.5-400"]["obtained"] == ""
    report = (run / "reproduce" / "small" / "report.html").read_text()
    assert "95 % CI, by folds" in report
    assert "published in interval" not in report
    assert "Not comparable (quick, synthetic images, random weights)." in report
    assert "(sec. 2.3)" in report
    metrics = read_json(result.protocols[0].folder / "metrics.json")
    assert (
        metrics["run"]["two_class"]["rule"]
        == metrics["tables"]["fusion"]["two_class"]["rule"]
        == "max"
    )
    # a test of a second run may have come before
    record = read_json(run / "run.json")["records"][:4]
    # the descriptors serve both variants
    assert [entry["command"] for entry in record] == ["reproduce", "featurize", "boost", "boost"]
    assert {entry["status"] for entry in record} == {"ok"}


def test_the_published_auc_stands_beside_one_of_the_same_kind(done):
    """The source ranks all images together; bchisto's own AUC is of pairs within a fold. Both are named."""
    from sklearn.metrics import roc_auc_score

    run, result = done
    folder = result.protocols[0].folder
    table = rows_of(folder / "predictions.csv")
    truth = [row["label"] in ("InSitu", "Invasive") for row in table]
    sides = np.array(
        [
            [
                max(float(row[f"p_{name}"]) for name in side)
                for side in (("Normal", "Benign"), ("InSitu", "Invasive"))
            ]
            for row in table
        ]
    )
    together = roc_auc_score(truth, sides[:, 1] / sides.sum(axis=1))
    (table,) = (table for table in result.published if table.key == "two-class")
    auc = {figure.name: figure for figure in table.figures if figure.name.startswith("AUC")}
    pooled = auc["AUC, all images ranked together"]
    within = auc["AUC, images ranked within each fold"]
    assert (pooled.published, pooled.obtained) == (0.973, pytest.approx(together))
    view = result.protocols[0].metrics["two_class"]
    assert (within.published, within.obtained) == (None, pytest.approx(view["auc"]["value"]))
    assert view["auc"]["value"] != pytest.approx(together)
    for name in auc:
        assert name in table.text()
        assert name in (run / "reproduce" / "small" / "two-class.csv").read_text()
    report = (run / "reproduce" / "small" / "report.html").read_text()
    assert f"all images ranked together, AUC {together:.3f}" in report


def test_test_images_agree_with_the_predictions_of_the_authors(
    tmp_path, bach, cli, refused, completed
):
    """Their table has the names and classes of 100 images; ours are predicted once, and what is missing is counted."""
    table = load_recipe("rakhlin2018").published[-1]
    theirs = {name: label for label, names in table["predictions"].items() for name in names}
    assert set(theirs) == {f"test{k}.tif" for k in range(100)}
    assert (theirs["test0.tif"], theirs["test1.tif"], theirs["test10.tif"]) == (
        "Benign",
        "Invasive",
        "Normal",
    )
    folder = tmp_path / "TestDataset" / "Photos"
    folder.mkdir(parents=True)
    taken = [
        path
        for name in ("Normal", "Invasive")
        for path in sorted((bach / "Photos" / name).glob("*.tif"))[:6]
    ]
    for k, path in enumerate(taken):
        (folder / f"test{k}.tif").write_bytes(path.read_bytes())
    (folder / "notes.txt").write_text("x")
    options = typed("--images {} --out T/run --quick --weights random --jobs 1", bach)
    recipe = write(tmp_path, small())
    out, _ = completed("reproduce", recipe, *options)
    empty = out.partition("Agreement with")[2]
    assert "Without them this is empty." in empty
    assert re.search(r"all classes +100 images +– +– +–", empty)
    completed("reproduce", recipe, *options, "--test-images", tmp_path / "TestDataset")
    (path,) = (tmp_path / "run" / "reproduce" / "small").glob("test-images-*/predictions.csv")
    ours = {row["image_id"]: row["predicted"] for row in rows_of(path)}
    assert len(ours) == 12
    same = [ours[name] == theirs[name] for name in ours]
    rows = {row["figure"]: row for row in rows_of(path.parents[1] / "test-images.csv")}
    assert list(rows) == ["all classes", "Normal", "Benign", "InSitu", "Invasive"]
    assert rows["all classes"]["published"] == "12 of 100 images"
    assert float(rows["all classes"]["obtained"]) == pytest.approx(100 * np.mean(same))
    normal = [name for name in ours if theirs[name] == "Normal"]
    expected = 100 * np.mean([ours[name] == "Normal" for name in normal])
    assert rows["Normal"]["published"] == f"{len(normal)} of 32 images"
    assert float(rows["Normal"]["obtained"]) == pytest.approx(expected)
    before = path.stat().st_mtime_ns
    code, _, err = cli("reproduce", recipe, *options, "--test-images", folder)
    assert (code, path.stat().st_mtime_ns) == (0, before), err
    for images, named, message in [
        (
            folder,
            f"{recipe} --variant patient-disjoint",
            "--test-images {}: add --variant published, which predicts them",
        ),
        (tmp_path, recipe, "--test-images {}: no test image is in it; their names are test0"),
        (
            folder,
            "idc-patches",
            "--test-images {}: idc-patches has no published predictions of test images",
        ),
    ]:
        images = tmp_path / "none" if images == tmp_path else images
        images.mkdir(exist_ok=True)
        assert message.format(images) in refused(
            f"reproduce {named}", *options, "--test-images", images
        )


def test_a_fine_tuned_network_stands_beside_the_fusion_on_the_same_folds(tmp_path, bach, completed):
    """The variant of the recipe with a network that is trained in seconds."""
    recipe = small()
    network = recipe["variants"]["fine-tuned"]
    assert (network["steps"], network["finetune"]["network"]) == (["finetune"], "resnet50")
    assert network["finetune"]["folds"] == load_recipe("rakhlin2018").values("boost")["folds"]
    assert "--plan" in network["source"]
    network = {
        **network,
        "finetune": {**network["finetune"], "network": "speck", "weights": "random"},
    }
    variants = {"published": recipe["variants"]["published"], "fine-tuned": network}
    completed(
        "reproduce {} --images {} --out T/run --quick --weights tiny=random --jobs 1 "
        "--all-variants",
        write(tmp_path, {**recipe, "variants": variants}),
        bach,
    )
    rows = {
        row["figure"]: row
        for row in rows_of(tmp_path / "run" / "reproduce" / "small" / "fine-tuning.csv")
    }
    for name, folder in (
        ("published", "boost/rakhlin10-quick-lightgbm"),
        ("fine-tuned", "finetune/*"),
    ):
        (path,) = (tmp_path / "run").glob(f"{folder}/predictions.csv")
        table = rows_of(path)
        columns = [column for column in table[0] if column.startswith("p_")]
        right = [
            max(columns, key=lambda column: float(row[column])) == f"p_{row['label']}"
            for row in table
        ]
        assert float(rows[name]["obtained"]) == pytest.approx(100 * np.mean(right))
        assert {(row["image_id"], row["fold"]) for row in table} == {
            (row["image_id"], row["fold"])
            for row in rows_of(tmp_path / "run/quick/rakhlin10-quick.csv")
        }
    assert (rows["published"]["published"], rows["fine-tuned"]["published"]) == (
        "87.2",
        "not printed",
    )


def test_a_plan_writes_nothing(bach, tmp_path):
    before = sorted(bach.rglob("*"))
    stages = estimate_recipe(
        write(tmp_path, small()), bach, scope=Scope(quick=True), work=Work(jobs=2)
    )
    assert [stage.stage for stage in stages] == ["featurize", "boost"]
    assert stages[1].units == 10
    both = estimate_recipe(
        write(tmp_path, small()), bach, scope=Scope(variants=["published", "patient-disjoint"])
    )
    assert [stage.stage for stage in both] == [
        "published: featurize",
        "published: boost",
        "patient-disjoint: boost",
    ]
    assert all(stage.seconds > 0 and stage.bytes > 0 for stage in stages)
    assert sorted(bach.rglob("*")) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": None}, None),
        ({"extra": 1}, "recipe small: unknown extra"),
        ({"boost": {"seeds": 5}}, r"boost\.seeds needs a value and a source"),
        (
            {"quick": {"images_per_class": 1}},
            "recipe small: quick is not of the form of a recipe; see docs/reproduce.md",
        ),
        (
            {"variants": {"a": {}}},
            "recipe small: variants is not of the form of a recipe",
        ),
        (
            {"quick": {"source": "x", "images_per_class": 0}},
            r"recipe small: quick\.images_per_class 0: give at least 1",
        ),
        ({"images": 0}, "recipe small: images is not of the form of a recipe"),
        (
            {"quick": {"source": "x", "boost": {}}},
            "quick has no images_per_class_and_fold or images_per_class",
        ),
        (
            {"quick": {"source": "x", "images_per_class": 1, "crops": 1}},
            r"quick\.crops: no such setting",
        ),
        ({"full_scale": {"source": "x", "crops": 1}}, r"full_scale\.crops: no such setting"),
        (
            {"steps": ["other"]},
            "variant published: step other: choose one of featurize, boost, finetune",
        ),
        ({"steps": []}, "variant published: step none: choose one of"),
        (
            {"steps": ["finetune"], "variants": {"a": {"source": "x"}}},
            "variant a: finetune has no network",
        ),
        (
            {"variants": {"a": {"source": "x", "finetune": {}}}},
            r"variant a\.finetune: no such setting; choose one of source, steps, featurize, boost",
        ),
        ({"variants": {}}, "recipe small: no variant"),
        ({"boost": {"seeds": {"value": 5, "source": "x"}}}, "boost has no head"),
        ({"published": [{"kind": "bars"}]}, "a table of kind bars; choose one of figures"),
        (
            {"published": [{"key": "a", "title": "b", "source": "c", "rows": {"d": 1}}]},
            "the table a has no path for d",
        ),
        (
            {"published": [{"kind": "stores", "key": "a", "title": "b"}]},
            "the table a has no source",
        ),
        *[
            (
                {"published": [{"key": "a", "title": "b", "source": "c", **table}]},
                "not of the form of a recipe",
            )
            for table in (
                {"path": "auc", "rows": {"d": "high"}},
                {"path": "auc", "digits": "few", "rows": {"d": 1}},
                {"kind": "stores", "rows": {"d": {"value": 1, "std": "wide"}}},
                {"kind": "stores", "rows": 5},
                {"kind": "agreement", "predictions": {"Benign": 5}},
            )
        ],
    ],
)
def test_recipes_of_ones_own_are_checked(tmp_path, change, message):
    content = small(**change)
    if message is None:
        del content["steps"]
        message = "recipe small: no steps"
    with pytest.raises(InputError, match=message):
        load_recipe(write(tmp_path, content))


def test_what_is_refused(tmp_path, bach, refused):
    (tmp_path / "x.yaml").write_text("a: [")
    (tmp_path / "y.yaml").write_text("- 1")
    for arguments, message in [
        (
            ("nothing",),
            "nothing: no such recipe or YAML file; choose one of bach-encoder, breakhis-encoder",
        ),
        ((tmp_path / "x.yaml",), "x.yaml: not YAML"),
        ((tmp_path / "y.yaml",), "y.yaml: a recipe is a mapping"),
        (("rakhlin2018",), "give --images"),
        (("rakhlin2018", "--images", bach), "give --out"),
        (
            ("rakhlin2018", "--images", bach, "--out", tmp_path / "r", "--variant", "best"),
            "has no such variant; choose one of published",
        ),
        (
            ("rakhlin2018", "--images", tmp_path, "--out", tmp_path / "r"),
            "no image of the layout bach in it",
        ),
    ]:
        assert message in refused("reproduce", *arguments)


def test_a_whole_run_needs_the_whole_dataset(tmp_path):
    few = make_bach(tmp_path / "few", images_per_class=2, size=(160, 120), jobs=1)
    content = small()
    content["featurize"]["augmentations"]["value"] = 1
    with pytest.raises(
        InputError, match="392 of its 400 rows name images that are missing.*use the full dataset"
    ):
        made(tmp_path, few, content)


def test_a_whole_run_is_compared_without_a_quick_banner(tmp_path, bach):
    content = small()
    content["featurize"]["augmentations"]["value"] = content["featurize"]["crops"]["value"] = 1
    content["boost"]["seeds"]["value"] = 1
    result = made(tmp_path, bach, content)
    assert result.protocols[0].folder.name == "rakhlin10-lightgbm"
    assert not any("QUICK" in banner for banner in result.banners)
    folds = next(
        comparison for comparison in result.published if comparison.key == "fusion-by-fold"
    )
    assert len(folds.figures) == 10
    assert all(figure.difference is not None for figure in folds.figures)


def test_the_published_recipe_runs_quickly_on_synthetic_images(tmp_path, completed):
    """The real encoders, views and folds, with random weights.

    Each of the six descriptors costs seconds an image, so the images are few, hardly larger than the largest view, and
    described once each.
    """
    bach = make_bach(tmp_path / "bach", images_per_class=2, size=(1320, 1304))
    content = yaml.safe_load((files("bchisto.apps.recipes") / "rakhlin2018.yaml").read_text())
    content["quick"]["featurize"]["augmentations"] = 1
    options = typed("--images {} --out T/run --quick --weights random --jobs 1", bach)
    out, _ = completed("reproduce", write(tmp_path, content), *options)
    assert "QUICK: 8 of 400 images" in out
    for name in (
        "resnet50-keras213-0.5-400",
        "resnet50-0.5-400",
        "vgg16-0.5-650",
        "inceptionv3-0.5-400",
    ):
        assert any(
            (line.startswith(name) and "83." in line) or "84." in line for line in out.splitlines()
        )
    assert len(list((tmp_path / "run" / "features").glob("*.h5"))) == 6
    assert (tmp_path / "run" / "reproduce" / "rakhlin2018" / "report.html").is_file()


def beside(**boost):
    """The small recipe with a variant of other stores, whose rows stand among those of the published one."""
    row = {"variant": "other", "value": 50.0, "std": 1.0}
    content = small(
        variants={
            "published": {"source": "x"},
            "other": {
                "source": "y",
                "featurize": {"views": ["1.0:48", "1.0:40"]},
                "boost": {"name": "other", **boost},
            },
        }
    )
    table = {
        **content["published"][0],
        "rows": {"tiny-1.0-40": row, **EXTRA, "vgg16-0.5-400": row},
    }
    return {**content, "published": [table]}


@pytest.fixture(scope="module")
def varied(tmp_path_factory, bach):
    folder = tmp_path_factory.mktemp("varied")
    made(folder, bach, beside(), scope=Scope(quick=True, variants=["published", "other"]))
    return folder


def test_draws_may_be_new_for_each_store(varied, bach, tmp_path, refused, completed):
    """Published code drew colours and crops for each encoder and size by itself."""
    completed(
        "reproduce {} --images {} --out T/run --quick --weights random --jobs 1 --variant "
        "other --fresh-draws",
        write(tmp_path, beside()),
        bach,
    )
    seeds = set()
    for name in ("tiny-1.0-48.h5", "tiny-1.0-40.h5"):
        with (
            open_store(varied / "run" / "features" / name) as shared,
            open_store(tmp_path / "run" / "features" / name) as new,
        ):
            assert shared.image_ids == new.image_ids
            assert not np.isclose(shared.features(), new.features()).all(axis=-1).any()
            seeds.add(new.header["seed"])
            assert shared.header["seed"] == 0
    assert len(seeds) == 2
    report = (tmp_path / "run" / "reproduce" / "small" / "report.html").read_text()
    assert "new colours and crops for each feature file" in report
    assert "fresh_draws" in json.dumps(read_json(tmp_path / "run" / "run.json"))
    err = refused("reproduce idc-patches --images {} --out T/x --fresh-draws", bach)
    assert "--fresh-draws: idc-patches extracts no features with frozen encoders" in err
