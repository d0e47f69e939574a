"""Embeddings of other programs from the command line: trained on, predicted, and what does not fit refused."""

import json
import shutil

import h5py
import numpy as np
import pytest
from bchisto.boost import BoostSettings, Bundle, FeatureChoice, train
from bchisto.commands.train import _new
from bchisto.core.jobs import Work
from bchisto.featurize import read_embeddings
from conftest import typed
from numpy.testing import assert_allclose
from packs import model_file
from written_tables import read_json
from written_tables import rows_of as rows

SMALL = typed("--folds 3 --seeds 2 --param min_data_in_leaf=2 --param num_iterations=8 --jobs 1")
PAIR = "boost/3-lightgbm"


def probabilities(path):
    return [[float(row[name]) for name in row if name.startswith("p_")] for row in rows(path)]


@pytest.fixture(scope="module")
def slides(tmp_path_factory):
    """Tiles of 24 slides as TRIDENT writes them, two of each patient, and a table as CLAM has it."""
    root = tmp_path_factory.mktemp("wsi data é")
    folder = root / "features_uni_v1"
    folder.mkdir()
    rng = np.random.default_rng(0)
    lines = ["case_id,slide_id,label,site"]
    for number in range(24):
        name, kind = f"S-{number:02d} ä", number % 2
        with h5py.File(folder / f"{name}.h5", "w") as file:
            tiles = rng.normal(size=(3 + number % 4, 6)).astype(np.float32)
            tiles += 9 * kind
            file.create_dataset("features", data=tiles).attrs["encoder"] = "uni_v1"
            file["coords"] = np.zeros((len(tiles), 2), np.int64)
        lines.append(
            f"P{number % 12},{name},{('no tumour', 'Tumor: ja')[kind]},{'AB'[number % 4 // 2]}"
        )
    (root / "dataset.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def trained(slides, tmp_path_factory):
    run = tmp_path_factory.mktemp("embedded") / "run"
    settings = BoostSettings(seeds=2, params={"min_data_in_leaf": 2, "num_iterations": 8})
    features = FeatureChoice(slides / "features_uni_v1", labels=slides / "dataset.csv")
    train(out=run, features=features, folds=["3"], settings=settings, work=Work(jobs=1))
    return run / "boost" / "3-grouped-lightgbm"


def test_a_store_that_travels_through_a_file_gives_the_same(
    boosted, boosted_model, tmp_path, completed
):
    """Models and predictions equal those of the store."""
    store, file = boosted / "features" / "tiny-1.0-64.h5", tmp_path / "tiny-1.0-64.npz"
    out, _ = completed("features {} --out {}", store, file)
    assert out == "12 images, 2 rows each, 16 numbers, encoder tiny, 12 with a label, 0 patients\n"
    completed("boost --out T/run --features {}", file, *SMALL)
    for name in ("predictions.csv", "predictions-by-model.csv", "folds.csv"):
        assert (tmp_path / "run" / PAIR / name).read_bytes() == (boosted / PAIR / name).read_bytes()
    again = model_file(tmp_path)
    models = [*map(Bundle.load, (boosted_model, again))]
    assert models[0].temperature == models[1].temperature
    for number, (bundle, source) in enumerate(
        [(boosted_model, store), (boosted_model, file), (again, file)]
    ):
        table = tmp_path / f"{number}.csv"
        out, err = completed("predict {} --features {} --out {}", bundle, source, table)
        expected = models[0].predict({"tiny-1.0-64": read_embeddings(store).features})
        assert_allclose(probabilities(table), expected, rtol=1e-12)
        assert [row["image_id"] for row in rows(table)] == list(read_embeddings(store).image_ids)
        # a bundle of images knows those that trained it by their pixels, and embeddings have none
        known = [row.get("trained") for row in rows(table)]
        assert known == ([None] * 12 if bundle == boosted_model else ["yes"] * 12)
        assert "by their pixels, and embeddings have none" in err or bundle != boosted_model
        assert "a copy in another format" not in out
    # what the descriptors are known to be travels along
    assert "RANDOM WEIGHTS: tiny ran untrained" in out
    assert "UNKNOWN ENCODER" not in out


def test_slides_of_trident(slides, trained, tmp_path, completed):
    """Patients stay in one fold, tiles are pooled as it is said, and the slides that trained are known again."""
    found = rows(trained / "folds.csv")
    assert len(found) == 24
    by_patient = {row["group"]: set() for row in found}
    for row in found:
        by_patient[row["group"]].add(row["fold"])
    assert len(by_patient) == 12
    assert all(len(folds) == 1 for folds in by_patient.values())
    run = read_json(trained / "metrics.json")["run"]
    said = run["settings"]["features_uni_v1"]
    assert said.startswith(
        "embeddings of features_uni_v1: encoder uni_v1, 6 numbers, mean of 3 to 6 tiles, sha256 "
    )
    assert any(
        "6 numbers that the encoder uni_v1 computed outside bchisto, each the mean of 3" in one
        for _, one in run["methods"]
    )
    new = tmp_path / "new slides"
    shutil.copytree(slides / "features_uni_v1", new)
    for path in sorted(new.glob("*.h5"))[5:]:
        path.unlink()
    with h5py.File(new / "S-99.h5", "w") as file:
        file.create_dataset("features", data=np.ones((2, 6), np.float32)).attrs["encoder"] = (
            "uni_v1"
        )
        file["coords"] = np.zeros((2, 2))
    out, _ = completed("predict {} --features {} --out T/p.csv", trained, new)
    assert [row["trained"] for row in rows(tmp_path / "p.csv")] == ["yes"] * 5 + ["no"]
    assert "SEEN IN TRAINING: 5 of 6 images" in out
    bundle = Bundle.load(trained / "model.bchisto")
    expected = bundle.predict({"features_uni_v1": read_embeddings(new).features})
    assert_allclose(probabilities(tmp_path / "p.csv"), expected, rtol=1e-12)
    record = read_json(tmp_path / "p.csv.run.json")
    assert "features" in json.dumps(record)
    out, _ = completed("features", slides / "features_uni_v1")
    assert out.splitlines() == [
        "24 images, 6 numbers, mean of 3 to 6 tiles, encoder uni_v1, 0 with a label, 0 patients",
        "encoder: uni_v1",
    ]


def test_tiles_that_travel_through_a_file_stay_tiles(slides, trained, tmp_path, refused, completed):
    """A model of a folder of tiles predicts its export, and one that was trained on the export predicts the folder."""
    folder, store = (
        slides / "features_uni_v1",
        trained.parents[1] / "features" / "features_uni_v1.h5",
    )
    file, of_store = tmp_path / "t é.npz", tmp_path / "of store.npz"
    for source, out in ((folder, file), (store, of_store)):
        said, _ = completed("features {} --out {}", source, out)
        assert "6 numbers, mean of 3 to 6 tiles, encoder uni_v1" in said
        assert read_embeddings(out).pooled == "mean of 3 to 6 tiles"
    with h5py.File(store) as kept:  #
        about = json.loads(kept.attrs["settings"])["imported"]
    assert about["facts"] == {"encoder": "uni_v1"}
    assert about["pooled"] == "mean of 3 to 6 tiles"
    run = tmp_path / "run"
    completed("boost --out {} --features {} --labels {}", run, file, slides / "dataset.csv", *SMALL)
    (again,) = (run / "boost").iterdir()
    assert (again / "predictions.csv").read_bytes() == (trained / "predictions.csv").read_bytes()
    tables = []
    for model, source in (
        (trained, folder),
        (trained, file),
        (trained, of_store),
        (trained, store),
        (again, folder),
        (again, file),
    ):
        tables.append(tmp_path / f"{len(tables)}.csv")
        completed("predict {} --features {} --out {}", model, source, tables[-1])
    assert len({tuple(map(tuple, probabilities(table))) for table in tables}) == 1
    # what an export of one's own does not say is not made up: an image's own row is none of tiles
    np.savez(
        tmp_path / "whole.npz",
        features=read_embeddings(folder).features,
        image_id=read_embeddings(folder).image_ids,
    )
    err = refused("predict {} --features T/whole.npz --out T/p.csv", again)
    assert "their rows is whole images, that of training the mean of tiles" in err


def test_two_files_of_the_same_images_and_a_site(slides, tmp_path, refused, completed):
    """Each is a store of its own; a column of the table of labels serves as a site."""
    one = read_embeddings(slides / "features_uni_v1")
    np.savez(
        tmp_path / "small.npz", features=one.features[::-1, 0, :3], image_id=one.image_ids[::-1]
    )
    options = typed(
        "--labels {} --seeds 1 --param num_iterations=4 --jobs 1", slides / "dataset.csv"
    )
    sources = ("--features", slides / "features_uni_v1", "--features", tmp_path / "small.npz")
    out, err = completed("boost --out T/run", *sources, *options, "--folds", "site:site")
    assert "UNKNOWN ENCODER: small are embeddings" in out
    (model,) = (tmp_path / "run" / "boost").glob("*/model.bchisto")
    assert _new(model) == "--features FILE --features FILE"
    # of numbers without a meaning
    assert "next: no model is offered (docs/chance.md)" in err
    (bundle,) = (tmp_path / "run" / "boost").glob("*/model.bchisto")
    again = ("predict", bundle, "--out", tmp_path / "p.csv")
    err = refused(*again, "--features", slides / "features_uni_v1")
    assert "needs embeddings of features_uni_v1, small, one of that name for each" in err
    completed(*again, *sources)
    expected = Bundle.load(bundle).predict(
        {"features_uni_v1": one.features, "small": one.features[:, :, :3]}
    )
    assert_allclose(probabilities(tmp_path / "p.csv"), expected, rtol=1e-12)
    # the run repeats from its own record
    completed("boost --config T/run/run.json --out T/again --jobs 1")
    first, second = (
        next((tmp_path / name / "boost").glob("*/predictions.csv")) for name in ("run", "again")
    )
    assert first.read_bytes() == second.read_bytes()


def test_images_are_refused_by_a_bundle_of_embeddings(trained, tissue, tmp_path, refused):
    for command in (
        ("predict", trained, "--images", tissue),
        ("explain", trained, "--method", "map", "--images", tissue),
    ):
        err = refused(*command, "--out", tmp_path / "p.csv")
        assert (
            "trained on embeddings from files (features_uni_v1), so it takes embeddings of the same kind"
            in err
        )
        assert "`" not in err
        assert len(err.strip().splitlines()) == 1, err


def test_embeddings_of_another_kind_are_refused(
    boosted, boosted_model, trained, slides, tmp_path, refused
):
    values = np.ones((2, 6), np.float32)

    def refuse(bundle, message, *options, **arrays):
        arrays = {"features": values, "image_id": ["a", "b"], **arrays}
        np.savez(tmp_path / "e.npz", **arrays)
        err = refused("predict {} --features T/e.npz --out T/p.csv", bundle, *options)
        assert message in err
        assert not (tmp_path / "p.csv").exists()

    refuse(boosted_model, "does not record which encoder made it, and tiny-1.0-64 of")
    refuse(
        boosted_model, "their encoder is uni, that of training tiny", bchisto='{"encoder": "uni"}'
    )
    refuse(boosted_model, "does not record which layers made it", bchisto='{"encoder": "tiny"}')
    facts = dict(read_embeddings(boosted / "features" / "tiny-1.0-64.h5").facts)
    other = json.dumps({**facts, "weights_sha256": "0" * 64})
    refuse(boosted_model, "their weights_sha256 is 000000000000, that of", bchisto=other)
    refuse(
        boosted_model,
        "their crop is 65, that of training 64",
        bchisto=json.dumps({**facts, "crop": 65}),
    )
    refuse(boosted_model, "their length is 6, that of training 16", bchisto=json.dumps(facts))
    refuse(
        trained, "their encoder is conch, that of training uni_v1", bchisto='{"encoder": "conch"}'
    )
    refuse(trained, "their length is 5, that of training 6", features=values[:, :5])
    refuse(
        trained,
        "their rows is whole images, that of training the mean of tiles; `bchisto features` pools rows",
    )
    refuse(
        trained, "--weights x.h5: embeddings are made already; leave it out", "--weights", "x.h5"
    )
    refuse(trained, "--html: the prediction report needs images", "--html", tmp_path / "s.html")
    refuse(trained, "replaces images; leave out", "--images", slides)


def test_labels_and_stores_that_do_not_go_together(boosted, slides, tmp_path, refused, completed):
    def refuse(message, *options):
        assert message in refused("boost --out T/run", *options)

    store, folder = boosted / "features" / "tiny-1.0-64.h5", slides / "features_uni_v1"
    refuse("has no labels; give a table of them with --labels", "--features", folder)
    table = slides / "dataset.csv"
    refuse(f"--labels {table}: goes with embeddings", "--features", store, "--labels", table)
    refuse("nosuch: no such", "--features", tmp_path / "nosuch", "--labels", table)
    refuse("no such table", "--features", folder, "--labels", tmp_path / "gone.csv")
    one = read_embeddings(folder)
    np.savez(tmp_path / "some.npz", features=one.features[:5, 0], image_id=one.image_ids[:5])
    both = typed("--features {} --features {} --labels {}", folder, tmp_path / "some.npz", table)
    refuse(
        "embeddings of different images: S-05 ä, S-06 ä, S-07 ä and 16 more in only one of them",
        *both,
    )
    np.savez(tmp_path / "bare.npz", features=one.features, image_id=one.image_ids)
    mixed = ("--features", tmp_path / "bare.npz", "--features", store)
    refuse("do not mix embeddings of other programs and features of bchisto in one model", *mixed)
    own = {image: "x" if k % 2 else "y" for k, image in enumerate(one.image_ids)}
    np.savez(tmp_path / "own.npz", features=one.features, image_id=[*own], label=[*own.values()])
    (tmp_path / "other.csv").write_text(
        "image_id,label\n" + "".join(f"{image},{'XY'[k % 3 > 1]}\n" for k, image in enumerate(own))
    )
    words = typed(
        "--features {} --labels {} --folds 2 --head logistic",
        tmp_path / "own.npz",
        tmp_path / "other.csv",
    )
    other = sum("yx"[k % 2] != "xy"[k % 3 > 1] for k in range(len(own)))
    assert f"{other} labels other than in" in completed("boost --out T/own", *words)[1]
    shutil.copytree(boosted, tmp_path / "tiny")
    bare = read_embeddings(store)
    np.savez(
        tmp_path / "tiny-1.0-64.npz",
        features=bare.features,
        image_id=bare.image_ids,
        label=bare.labels,
    )
    err = refused("boost --out T/tiny --features T/tiny-1.0-64.npz")
    assert "was made of images, or of other embeddings than" in err


def aucs(folder):
    """Return the AUC of each table of a result."""
    tables = read_json(folder / "metrics.json")["tables"]
    return [table["auc"] for table in tables.values()]


def test_one_patient_a_fold_is_warned_of_before_it_trains_and_followed(tmp_path, completed):
    """Noise of patients of one class each; the number of folds that the warning names ranks within folds."""
    rng = np.random.default_rng(0)
    names = [f"p{k // 3:02d}-{k % 3}" for k in range(36)]
    np.savez(
        tmp_path / "noise.npz",
        features=rng.normal(size=(36, 4)).astype(np.float32),
        image_id=names,
        label=["benign" if k // 3 % 2 else "malignant" for k in range(36)],
        group=[name[:3] for name in names],
    )
    run = tmp_path / "run"
    features = typed("--features {} --head lda --sensitivity 0.95", tmp_path / "noise.npz")
    _, err = completed("boost --out {}", run, *features, "--folds", 12)
    said = "each fold tests only one class: scores of different models are ranked together"
    (line,) = [line for line in err.splitlines() if said in line]
    assert line.endswith("AUC and accuracy may be far too low; use --folds 5")
    folder = run / "boost" / "12-grouped-lda"
    card, report = (
        (folder / name).read_text(encoding="utf-8") for name in ("model-card.md", "report.html")
    )
    for text in (card, report):
        assert said in text
        assert "use `folds" not in text
    auc, *_ = aucs(folder)
    assert auc["interval"] is None
    assert auc["reason"] == "scores of models of different folds are ranked together"
    out, err = completed("boost --out {}", run, *features, "--folds", 5)
    assert said not in err
    five = run / "boost" / "5-grouped-lda"
    assert all(auc["interval"] for auc in aucs(five))
    model = five / "model.bchisto"
    out, _ = completed("predict {} --features T/noise.npz --out T/p.csv", model)
    assert "fitted for a sensitivity of 95 % on too few positives to guarantee it" in " ".join(
        out.split()
    )
