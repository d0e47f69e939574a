"""Boosted ensembles: maps point at a planted cause, and what is refused."""

import itertools
import json
import math
import re
from dataclasses import replace

import lightgbm
import numpy as np
import pytest
from bchisto.apps.explain import (
    ExplainSettings,
    Explanation,
    draw,
    explain,
    explain_image,
    lay_over,
)
from bchisto.apps.explain.boosted import _side, explain_boosted
from bchisto.apps.explain.draw import colour_limits
from bchisto.apps.explain.methods import METHODS, Asked, ask, legend_of
from bchisto.boost import TrainingPart, get_head
from bchisto.core import InputError
from bchisto.core.jobs import Ticker, Work
from bchisto.data import ImageRecord, given_record
from bchisto.encoders import Encoder, EncoderChoice
from bchisto.encoders.geometry import Geometry
from bchisto.featurize import FeaturizeSettings, View, featurize
from bchisto.predict import Outliers, find_bundle, ready_model
from bchisto.stains import TRANSMITTED_LIGHT
from packs import model_file, train_small
from PIL import Image

MAP = Asked(METHODS["map"], ExplainSettings("map"), 1, ("malignant",))


def arrays_of(folder):
    return {
        path.stem: dict(np.load(path, allow_pickle=False))
        for path in sorted((folder / "arrays").glob("*.npz"))
    }


def planted(root, rng, *, count, size=128, radius=20):
    """Pale noise; images of the class `spot` hold a dark disc. Returns image name to centre."""
    places = {}
    for name, number in itertools.product(("plain", "spot"), range(count)):
        image = rng.normal(200, 8, (size, size, 3))
        folder = root / name
        folder.mkdir(parents=True, exist_ok=True)
        if name == "spot":
            row, column = rng.integers(radius, size - radius, 2)
            grid = np.hypot(*(np.indices((size, size)) - np.array([row, column])[:, None, None]))
            image[grid < radius] -= np.array([110, 130, 50])
            places[f"{name}/{number:02d}.png"] = (int(row), int(column))
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / f"{number:02d}.png")
    return places


def make_spotted(root, mode):
    """A model that tells images with a dark disc from those without, and new images with the places of the discs."""
    rng = np.random.default_rng(5)
    planted(root / "train", rng, count=10)
    places = planted(root / "new", rng, count=10)
    settings = FeaturizeSettings(
        encoders=(EncoderChoice("convs"),),
        weights=("random",),
        views=(View(1.0, 64),),
        augmentations=1,
        crops=4,
        stain="none",
        color_range=(1.0, 1.0),
        mode=mode,
    )
    featurize(root / "train", out=root / "run", settings=settings, work=Work(jobs=1))
    train_small(root / "run", "2", params={"min_data_in_leaf": 2, "num_iterations": 12})
    return (
        root / "run",
        root / "new" / "spot",
        {name.split("/")[1]: place for name, place in places.items()},
    )


@pytest.fixture(scope="module")
def boosted(boosted_maps):
    return model_file(boosted_maps)


@pytest.fixture(scope="module")
def spotted(tmp_path_factory):
    return make_spotted(tmp_path_factory.mktemp("spotted"), "dense")


@pytest.fixture(scope="module")
def spotted_by_crops(tmp_path_factory):
    return make_spotted(tmp_path_factory.mktemp("crops"), "exact")


@pytest.mark.parametrize("model", ["spotted", "spotted_by_crops"])
def test_the_map_points_at_the_planted_cause(model, tmp_path, request):
    """The pointing game: the middle of the highest values lies in the disc, which is 8 % of the picture."""
    run, images, places = request.getfixturevalue(model)
    (result,) = explain(
        run, images, out=tmp_path, settings=ExplainSettings("map", target="spot", window=32)
    )
    hits, shares = 0, []
    for found in arrays_of(result.folder).values():
        values = found["values"]
        row, column = places[str(found["image_id"])]
        inside = np.hypot(*(np.indices(values.shape) - np.array([row, column])[:, None, None])) < 20
        mass = np.clip(values - values.min(), 0, None)
        highest = np.argwhere(values >= np.quantile(values, 0.98))
        hits += bool(inside[tuple(highest.mean(axis=0).round().astype(int))])
        shares.append(mass[inside].sum() / mass.sum() / inside.mean())
    assert len(shares) == 10
    chance = math.pi * 20**2 / 128**2
    surprise = sum(math.comb(10, k) * chance**k * (1 - chance) ** (10 - k) for k in range(hits, 11))
    assert surprise < 1e-4, f"{hits} of 10 in the disc"
    assert np.mean(shares) > 1.3


def test_the_map_of_the_whole_picture_is_its_probability(spotted, tmp_path):
    """A window as large as the picture sees what the model was trained on; all places then are one."""
    run, images, _ = spotted
    one = sorted(images.glob("*.png"))[0]
    (found,) = explain(
        run, one, out=tmp_path, settings=ExplainSettings("map", target="spot", window=128)
    )
    (arrays,) = arrays_of(found.folder).values()
    assert np.ptp(arrays["values"]) < 1e-6
    assert arrays["values"].shape == arrays["picture"].shape[:2] == (128, 128)


class Bordered:
    """Stands for a network that pads: its average over a crop counts zeros 16 pixels wide on all sides."""

    name, layers, parts, dim, engine = "bordered", ("mean",), (3,), 3, "numpy"

    def encode(self, crops):
        height, width = crops.shape[1:3]
        return (crops.sum(axis=(1, 2)) / ((height + 32) * (width + 32))).astype(np.float32)


class Smooth:
    """Stands for the trees, whose steps would hide small differences."""

    def predict_proba(self, features):
        share = 1 / (1 + np.exp(-(features.mean(axis=(1, 2), dtype=np.float64) - 70) / 20))
        return np.stack([1 - share, share], axis=1)


@pytest.mark.parametrize(
    ("pad", "shape"), [("none", (96, 130)), ("reflect", (40, 96)), ("reflect", (80, 50))]
)
def test_without_structure_the_mean_of_the_map_is_the_probability(boosted, tmp_path, pad, shape):
    """A place is described as a crop of stage 1 is, its borders included: where all are alike, so are the numbers."""
    _, model = ready_model(boosted)
    ((store, one),) = model.settings.items()
    models = [Smooth() for _ in model.bundle.models[store]]
    made = replace(
        model,
        encoders={store: Bordered()},
        bundle=replace(model.bundle, models={store: models}),
        settings={store: replace(one, stain="none", color_range=(1.0, 1.0), pad=pad)},
    )
    rows, columns = np.indices(shape)
    for period in (1, 2):
        tile = np.array([[90, 250], [250, 90]])[:period, :period]
        texture = np.repeat(tile[rows % period, columns % period, np.newaxis], 3, axis=2).astype(
            np.uint8
        )
        path = tmp_path / f"{period}.png"
        Image.fromarray(texture).save(path)
        record = ImageRecord(path.name, path, None)
        found = explain_boosted(made, record, MAP)
        by_hand = 1 / (1 + math.exp(-(tile.mean() * 64**2 / 96**2 - 70) / 20))
        assert found.score == pytest.approx(by_hand, abs=1e-5)
        np.testing.assert_allclose(found.values, by_hand, atol=1e-5)
        assert found.values.shape == shape
        assert found.margin.endswith(f"; mean of the map {by_hand:.3f}")


def test_half_of_a_map_is_of_the_position_and_half_of_the_image(boosted, tmp_path):
    """By hand; positions also give the image another class here, so that the map is taken back."""
    _, model = ready_model(boosted)
    ((store, one),) = model.settings.items()
    made = replace(
        model,
        encoders={store: Bordered()},
        bundle=replace(model.bundle, models={store: [Counting()]}),
        settings={store: replace(one, stain="none", color_range=(1.0, 1.0))},
    )
    Image.fromarray(np.full((192, 192, 3), 120, np.uint8)).save(tmp_path / "i.png")
    record = ImageRecord("i.png", tmp_path / "i.png", None)
    found = explain_boosted(made, record, MAP)
    np.testing.assert_allclose(found.values, (0.1 + 0.95) / 2, atol=1e-6)
    assert (found.predicted, found.called, round(found.score, 3)) == ("benign", "benign", 0.1)
    assert found.margin.startswith("THE MAP CONTRADICTS THE PREDICTION: its mean is of malignant,")


class Counting:
    """Calls one image benign, and positions malignant."""

    base = np.array([0.05, 0.95])

    def predict_proba(self, features):
        share = np.full(len(features), 0.95)
        if len(features) == 1:
            share[0] = 0.1
        return np.stack([1 - share, share], axis=1)


def test_the_centre_of_a_map_is_the_base_of_the_model(spotted, tmp_path):
    """What LightGBM itself expects before any feature is known, as a probability, on average over the models."""
    run, images, _ = spotted
    one = sorted(images.glob("*.png"))[0]
    (result,) = explain(run, one, out=tmp_path, settings=ExplainSettings("map", target="spot"))
    (found,) = arrays_of(result.folder).values()
    shares = []
    for text in find_bundle(run).parent.rglob("seed*.txt"):
        flat = lightgbm.Booster(model_file=str(text)).predict(np.zeros((1, 16)), pred_contrib=True)
        powers = np.exp(flat.reshape(2, 17)[:, -1])
        shares.append(powers / powers.sum())
    assert float(found["centre"]) == pytest.approx(np.mean(shares, axis=0)[1], rel=1e-6)
    assert str(found["base"]) == "the prediction without any feature"


@pytest.mark.parametrize("head", ["lightgbm", "logistic", "svm"])
def test_the_base_of_each_head(head, rng):
    """Of trees without a split the shares of the classes; of the others what the mean descriptor gets."""
    labels = np.arange(18) % 3 // 2  # twice as many of the first class
    rows = (rng.normal(size=(18, 5)) + labels[:, None]).astype(np.float32)
    params = (
        [{"objective": "multiclass", "num_class": 2, "verbosity": -1}]
        if head == "lightgbm"
        else [{}]
    )
    (fitted,) = get_head(head).fit(
        TrainingPart(rows[:, np.newaxis], labels, [None] * 18, 2, 0, 1), params
    )
    model = get_head(head).parse(fitted.data)
    expected = [2 / 3, 1 / 3]
    if head != "lightgbm":
        expected = model.predict_proba(rows.mean(axis=0)[None, None])[0]
    np.testing.assert_allclose(model.base, expected, atol=1e-5)


def about(
    shares,
    called,
    target,
    *,
    white=0.5,
    base=None,
    classes=("benign", "malignant"),
):
    """A map of one row, whose columns have these probabilities of the classes."""
    maps = np.array(shares, np.float64).T[:, np.newaxis]
    blank = Explanation(
        "i",
        "map",
        target,
        called,
        0.4,
        "Careful.",
        np.full((1, maps.shape[2], 3), 100, np.uint8),
        called=called,
        red=(target,),
        blue="another",
        signed=True,
        white=white,
        unit=f"probability of {target}",
    )
    base = np.full(len(classes), 1 / len(classes)) if base is None else np.array(base)
    return blank.about_decision(maps, base, classes=classes, base_is="b")


def tones(explanation):
    """Of each pixel of a map whether it is warm, cool or without colour."""
    found = []
    for red, _, blue in lay_over(explanation)[0].astype(int).tolist():
        found.append({0: "white", 1: "warm", -1: "cool"}[int(np.sign(red - blue))])
    return found


@pytest.mark.parametrize("target", ["benign", "malignant"])
@pytest.mark.parametrize("white", [0.2, 0.5, 0.7])
def test_of_two_classes_the_threshold_is_white_and_the_mapped_one_warm(target, white):
    """Whichever of the two is called."""
    shares = [(1 - p, p) for p in (white, white + 0.1, white - 0.1)]
    own = white if target == "malignant" else 1 - white
    for called in ("malignant", "benign"):
        found = about(shares, called, target, white=own)
        others = ["warm", "cool"] if target == "malignant" else ["cool", "warm"]
        assert tones(found) == ["white", *others]
        legend = f"red: {target}, blue: another, white: probability of {target} {own:.3g};"
        assert legend in found.margin


@pytest.mark.parametrize(
    ("called", "target", "expected", "rival"),
    [
        ("a", "a", ["white", "warm", "cool", "cool"], "the next class"),
        ("a", "b", ["white", "cool", "warm", "cool"], "a"),
        ("c", "b", ["warm", "warm", "warm", "cool"], "c"),
    ],
)
def test_over_two_classes_a_class_that_equals_its_rival_is_white(called, target, expected, rival):
    """The next class at that position, whichever; of a map of another class than the called one, the called one."""
    shares = [(0.4, 0.4, 0.2), (0.5, 0.3, 0.2), (0.1, 0.6, 0.3), (0.3, 0.2, 0.5)]
    found = about(shares, called, target, white=0.0, base=(0.6, 0.3, 0.1), classes=("a", "b", "c"))
    assert tones(found) == expected
    assert colour_limits(found) == (-1.0, 1.0)
    index = "abc".index(target)
    np.testing.assert_allclose(found.values[0], [row[index] for row in shares], rtol=1e-6)
    assert found.centre == (0.6, 0.3, 0.1)[index]
    assert found.unit == f"probability of {target} less that of {rival}"
    assert found.tick == pytest.approx({"aa": 0.3, "ab": -0.3, "cb": 0.2}[called + target])


def test_a_map_is_taken_back_if_it_contradicts_the_call_and_only_then():
    """The base has no say, nor has a tie; over two classes the next one may be another everywhere."""
    for base in (0.02, 0.943):
        right = about([(0.3, 0.7), (0.6, 0.4)], "malignant", "malignant", base=(1 - base, base))
        assert right.contradiction == ""
        wrong = about([(0.3, 0.7), (0.6, 0.4)], "benign", "malignant", base=(1 - base, base))
        assert wrong.contradiction == (
            "THE MAP CONTRADICTS THE PREDICTION: its mean is of malignant, the prediction is benign"
        )
        assert wrong.margin.startswith(wrong.contradiction)
        # the same map under a threshold of 0.6 is benign, whichever class is mapped
        for target, white in (("malignant", 0.6), ("benign", 0.4)):
            assert about([(0.45, 0.55)], "benign", target, white=white).contradiction == ""
            assert about([(0.45, 0.55)], "malignant", target, white=white).contradiction
    for called in ("benign", "malignant"):
        assert about([(0.5 + 1e-8, 0.5 - 1e-8)], called, "malignant").contradiction == ""
        assert (
            about([(0.4, 0.4, 0.2)], called[0], "b", white=0.0, classes="bmx").overall == called[0]
        )
    three = [(0.4, 0.6, 0.0), (0.4, 0.0, 0.6)]
    found = about(three, "a", "a", white=0.0, classes=("a", "b", "c"))
    assert found.contradiction.endswith(
        "more of it has the other colour: the colours do not show why"
    )
    assert "IS OF" not in found.contradiction.upper().replace("ITS MEAN IS OF A,", "")


def test_the_base_is_a_tick_on_the_bar():
    """A dark line at its place; without a base there is none. At the white value the bar is white."""
    found = about([(0.3, 0.7)], "malignant", "malignant", base=(0.1, 0.9))
    for base, places in (("b", 1), ("", 0)):
        page = draw(replace(found, base=base)).astype(int)
        row = page[16 + 560 + 20]
        coloured = np.flatnonzero(row.min(axis=1) < 250)
        bar = row[coloured[0] + 3 : coloured[-1] - 2]  # without its frame
        dark = np.flatnonzero(bar.sum(axis=1) < 150)
        assert (len(dark) > 0) == places
        if places:
            assert abs(dark.mean() / len(bar) - 0.9) < 0.01
        assert bar[len(bar) // 2].min() > 240
        assert bar[0, 2] > bar[0, 0]
        assert bar[-1, 0] > bar[-1, 2]


def test_colours_that_mean_next_to_nothing_stay_pale():
    """A fall of 0.009 is not full red, and beside a base of 0.98 what is left above it is not either; ends are."""
    values = np.array([[0.009, -0.009]], np.float32)
    fall = Explanation("i", "occlusion", "a", "a", 0.9, "", values=values, signed=True, floor=0.05)
    assert colour_limits(fall) == (-0.05, 0.05)
    picture = np.full((1, 2, 3), 100, np.uint8)
    near = Explanation(
        "i",
        "map",
        "a",
        "a",
        0.99,
        "",
        picture,
        np.array([[1.0, 0.0]], np.float32),
        signed=True,
        white=0.98,
        limits=(0.0, 1.0),
    )
    red, blue = lay_over(near)[0].astype(int)
    strength = 0.8 * math.sqrt(0.02 / 0.25)
    np.testing.assert_array_equal(
        red, np.round(100 * (1 - strength) + strength * np.array([178, 12, 36]))
    )
    np.testing.assert_array_equal(blue, np.round(0.2 * 100 + 0.8 * np.array([18, 72, 168])))
    (middle, full), *_ = lay_over(
        replace(near, values=np.array([[0.5, 1.0]], np.float32), white=0.5)
    ).astype(int)
    assert middle.tolist() == [100, 100, 100]
    np.testing.assert_array_equal(full, np.round(0.2 * 100 + 0.8 * np.array([178, 12, 36])))


def test_the_command(boosted, tissue_files, tmp_path, cli, refused, completed):
    """Odd names, a second call that resumes, other settings, a class that is none, pages that load nothing."""
    images = tmp_path / "new images"
    images.mkdir()
    for name, path in zip(("é <b>&.png", "two.png"), tissue_files, strict=False):
        (images / name).write_bytes(path.read_bytes())
    out = tmp_path / "why not"
    call = ("explain {} --images {} --out {} --method", boosted, images, out)
    said, _ = completed(*call, "map")
    assert "2 images of the method map" in said
    page = (out / "map" / "index.html").read_text()
    assert page.count('src="data:image/jpeg') == 2
    assert "<b>" not in page.partition("<main")[2]
    assert "<li>limitations: " in page
    # each picture has panels and bar; the words stand once, on the page: two lines, and notes that open
    for path in (out / "map" / "pictures").iterdir():
        with Image.open(path) as picture:
            assert 560 < picture.height < 680
    captions = re.findall("<figcaption>(.*?)</figcaption>", page, re.DOTALL)
    for name, caption in zip(("two.png", "é &lt;b&gt;&amp;.png"), captions, strict=True):
        first, second = caption.partition("<details>")[0].split("<br>")
        assert first.startswith(f"{name}: predicted ")
        assert ", probability of malignant 0." in first
        assert "red: " in second
        assert "white: probability of malignant 0.5; tick: before any image 0." in second
        assert page.count(first) == page.count(caption) == 1
    assert page.count("The tick on the colour bar is the base: ") == 1
    first = next((out / "map" / "arrays").iterdir())
    stamp = first.stat().st_mtime_ns
    (out / "map" / "index.html").unlink()
    code, _, err = cli(*call, "map")
    assert (code, "explain map: 2 of 2 images are explained already" in err) == (0, True), err
    assert first.stat().st_mtime_ns == stamp
    assert "made with other settings: target  -> Malignant" in refused(
        *call, "map", "--target", "Malignant"
    )
    assert cli(*call, "map", "--target", "Malignant", "--overwrite")[0] == 0
    again = tmp_path / "again"
    assert cli("explain --config {} --out", out / "run.json", again)[0] == 0
    for path in (out / "map" / "pictures").iterdir():
        assert (again / "map" / "pictures" / path.name).read_bytes() == path.read_bytes()
    record = json.loads((out / "run.json").read_text())["records"][-1]
    assert record["config"]["target"] == "Malignant"
    with (out / "map" / "explain.csv").open(encoding="utf-8") as handle:
        assert handle.readlines()[1].startswith("two.png,,malignant,")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            "--method mapp",
            "--method mapp: no such method; did you mean map? Choose one of map, gradient",
        ),
        (
            "--method map --target malign",
            "--target malign: no class of this model; did you mean malignant?",
        ),
        ("--method map --layer conv2d", "--layer conv2d: the method map looks at no layer"),
        ("--method map --window 8", "--window 8: give at least 32"),
        ("--method gradcam", "holds boosted ensembles on features; choose one of map"),
    ],
)
def test_what_is_refused_before_work_starts(boosted, tissue, tmp_path, refused, words, said):
    err = refused(f"explain {{}} --images {{}} --out T/out {words}", boosted, tissue)
    assert said in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_no_images_and_bad_images(boosted, tissue_files, tmp_path, cli, refused):
    err = refused("explain {} --out T/out --method map", boosted)
    assert "--method map: looks at images; give --images" in err
    images = tmp_path / "images"
    images.mkdir()
    whole = tissue_files[0].read_bytes()
    (images / "a.png").write_bytes(whole)
    (images / "b.png").write_bytes(whole[: len(whole) // 2])
    (images / "c.png").write_bytes(b"")
    call = ("explain {} --images {} --out T/out --method map", boosted, images)
    assert "c.png" in refused(*call)
    code, _, err = cli(*call, "--skip-errors")
    assert code == 1
    assert "2 images were left out" in err
    listed = (tmp_path / "out" / "map" / "failures.csv").read_text()
    assert "b.png" in listed
    assert "c.png" in listed


def test_a_data_frame_is_explained_as_its_images_are(boosted, tissue_files, tmp_path):
    pandas = pytest.importorskip("pandas")
    one = tissue_files[0]
    frame = pandas.DataFrame({"path": [str(one)]})
    pictures = []
    for folder, images in (("a", one), ("b", frame)):
        settings = ExplainSettings("map")
        (result,) = explain(boosted, images, out=tmp_path / folder, settings=settings)
        (picture,) = (result.folder / "pictures").glob("*.png")
        pictures.append(picture.read_bytes())
    assert pictures[0] == pictures[1]


def test_arrays_that_are_damaged_are_made_again(boosted, tissue_files, tmp_path):
    one = tissue_files[0]
    (result,) = explain(boosted, one, out=tmp_path, settings=ExplainSettings("map"))
    (arrays,) = (result.folder / "arrays").iterdir()
    before = dict(np.load(arrays))
    arrays.write_bytes(arrays.read_bytes()[:300])
    assert Explanation.load(arrays, work=str(before["work"])) is None
    explain(boosted, one, out=tmp_path, settings=ExplainSettings("map"))
    np.testing.assert_array_equal(dict(np.load(arrays))["values"], before["values"])
    assert Explanation.load(arrays, work="other") is None


def test_a_window_is_as_large_as_the_network_needs():
    """The crop, of a frame a third of its shorter side at most, at least 32, doubled until the last map has a cell."""
    tiny = Encoder("convs", weights="random")
    for separately in (False, True):
        assert _side(tiny, 0, crop=64, shorter=300, separately=separately) == 64
        assert _side(tiny, 0, crop=200, shorter=300, separately=separately) == (
            200 if separately else 100
        )
        assert _side(tiny, 0, crop=64, shorter=48, separately=separately) == (
            48 if separately else 32
        )
        assert _side(tiny, 500, crop=64, shorter=300, separately=separately) == 300
        narrow = type("Narrow", (), {"geometry": Geometry.of(stretched())})
        assert _side(narrow, 0, crop=64, shorter=300, separately=separately) == 128


def stretched():
    """A network that needs 81 pixels: four kernels of three, each a third of the last."""
    import keras

    inputs = keras.Input((None, None, 3))
    x = inputs
    for _ in range(4):
        x = keras.layers.Conv2D(1, 3, strides=3)(x)
    return keras.Model(inputs, x)


def test_the_threshold_in_force_is_white(boosted, tissue_files, tmp_path, completed, refused):
    """That of the command, else that of the model, for whichever class is mapped; the call follows it."""
    first = tissue_files[0]
    call = ("explain {} --images {} --method map", boosted, first)
    for target, white in (("malignant", 0.03), ("benign", 0.97)):
        out = tmp_path / target
        completed(*call, "--out", out, "--target", target, "--threshold", 0.03)
        for found in arrays_of(out / "map").values():
            assert (float(found["white"]), str(found["called"])) == (
                pytest.approx(white),
                "malignant",
            )
        page = (out / "map" / "index.html").read_text()
        assert "predicted benign, called malignant by the threshold, probability of " in page
        assert f"white: probability of {target} {white};" in page
    err = refused(*call, "--out", tmp_path / "no", "--threshold", 1.5)
    assert "--threshold" in err
    file, model = ready_model(boosted)
    wanted = [{"sensitivity": 0.9, "threshold": 0.98, "enough": True}]
    record = ImageRecord("i.png", first, None)
    for view, white in (
        ({"thresholds": [0.5], "wanted": wanted}, 0.98),
        ({"thresholds": [0.98], "wanted": []}, 0.98),
        ({"thresholds": [0.3, 0.5], "wanted": []}, 0.5),
    ):
        of_benign = {"positive": ["benign"], "rule": "sum", **view}
        made = replace(model, bundle=replace(model.bundle, two_class=of_benign))
        found = explain_boosted(made, record, MAP._replace(target=0, red=("benign",)))
        of_page = explain_image(made, record, file=file.path, target="benign")
        assert found.white == of_page.white == white
        assert found.called == ("benign" if found.score >= white else "malignant")


class Fixed:
    """Gives every image and position the same probabilities."""

    def __init__(self, shares):
        self.base = np.array(shares)

    def predict_proba(self, features):
        return np.tile(self.base, (len(features), 1))


@pytest.mark.parametrize(
    ("shares", "positive", "target", "red", "tone"),
    [
        ({"benign": 0.96, "malignant": 0.04}, None, "", "malignant", "cool"),
        ({"malignant": 0.96, "normal": 0.04}, ["malignant"], "", "malignant", "warm"),
        ({"malignant": 0.04, "normal": 0.96}, ["normal"], "malignant", "malignant", "cool"),
        ({"a": 0.9, "b": 0.1}, None, "", "b", "cool"),
        ({"a": 0.9, "b": 0.1}, None, "A", "a", "warm"),
        ({"a": 0.1, "b": 0.7, "c": 0.2}, ["a", "c"], "", "a or c", "cool"),
        ({"a": 0.1, "b": 0.2, "c": 0.7}, ["a", "c"], "", "a or c", "warm"),
        ({"a": 0.1, "b": 0.7, "c": 0.2}, ["c"], "", "c", "cool"),
        ({"a": 0.7, "b": 0.26, "c": 0.04}, ["a"], "c", "c", "cool"),
        ({"a": 0.7, "b": 0.2, "c": 0.1}, None, "", "the class that an image is called", "warm"),
    ],
)
def test_the_explained_class_is_red_else_the_positive_one(
    boosted, tissue_files, shares, positive, target, red, tone
):
    """Else the second of two, so that a class has one colour on a page. The bar is blue below, red above."""
    file, model = ready_model(boosted)
    (store,) = model.settings
    view = positive and {"positive": positive, "rule": "sum", "thresholds": [0.5], "wanted": []}
    classes = tuple(shares)
    fields = {"classes": classes, "two_class": view, "models": {store: [Fixed([*shares.values()])]}}
    made = replace(model, bundle=replace(model.bundle, **fields))
    record = ImageRecord("i.png", tissue_files[0], None)
    found = explain_image(made, record, file=file.path, target=target)
    assert {*tones(found)} == {tone}
    settings = ExplainSettings("map", target=target)
    asked = ask(METHODS["map"], settings, classes, view, None)
    blue = "another" if len(classes) > 2 else next(name for name in classes if name != red)
    assert legend_of(asked, classes) == f"red speaks for {red}, blue for {blue}"
    assert f"; red: {' or '.join(found.red)}, blue: {blue}, " in f"; {found.margin}"
    for name, legend in (("gradcam", "light is high, dark is low"), ("activations", "")):
        assert legend_of(asked._replace(method=METHODS[name]), classes) == legend


def test_windows_of_a_field_are_predicted_as_images(boosted, tissue_files, monkeypatch):
    """Four of the size of training, of which one is a gap, which stays blank."""
    _, model = ready_model(boosted)
    images = [np.array(Image.open(path).convert("RGB")) for path in tissue_files[:3]]
    side = len(images[0])
    rows = [np.hstack(images[:2]), np.hstack([images[2], np.full_like(images[0], 255)])]
    monkeypatch.setattr(
        "bchisto.apps.explain.boosted.Outliers.of",
        lambda bundle, compared, model: Outliers(np.full(len(compared), 100.0), ()),
    )
    found = explain_boosted(model, given_record(np.vstack(rows), "f"), MAP)
    assert found.notes[0].startswith(
        "every position is an outlier: further from the training images"
    )
    values = found.values
    given = [given_record(image, "i") for image in images]
    half = side // 2
    for number, (_, shares, *_) in enumerate(
        model.predict(given, ticker=Ticker(None), skip_errors=False)
    ):
        top, left = (side * place + half - 1 for place in divmod(number, 2))
        assert values[top : top + 2, left : left + 2].mean() == pytest.approx(shares[1], abs=0.02)
    assert np.isnan(values[side:, side:]).all()
    assert np.isnan(values).mean() == 0.25
    assert lay_over(found)[side:, side:].min() == 255


def test_a_positive_class_that_is_given_is_red():
    settings = ExplainSettings("map", positive="Benign")
    view = {"positive": ["malignant"]}
    asked = ask(METHODS["map"], settings, ("benign", "malignant"), view, None)
    assert asked.red == ("benign",)


def test_a_threshold_is_refused_if_no_class_is_positive():
    settings = ExplainSettings("map", threshold=0.3)
    with pytest.raises(
        InputError, match=r"so no threshold applies; name it with `positive=\"CLASS\"`"
    ):
        ask(METHODS["map"], settings, ("cat", "dog"), None, None)
    with pytest.raises(InputError, match="`positive` and `threshold`: are of two classes; leave"):
        ask(METHODS["map"], settings, ("a", "b", "c"), None, None)


@pytest.mark.parametrize(("side", "small"), [(64, True), (96, True), (128, False)])
def test_a_map_whose_windows_all_overlap_is_that_of_the_image(
    boosted, tissue_files, tmp_path, side, small
):
    """Of a window of 64 pixels, two are apart in 128; else the map is the prediction, and contradicts nothing."""
    with Image.open(tissue_files[0]) as image:
        image.crop((0, 0, side, side)).save(tmp_path / "small.png")
    settings = ExplainSettings("map", window=64)
    explain(boosted, [tmp_path / "small.png"], out=tmp_path / "why", settings=settings)
    page = (tmp_path / "why" / "map" / "index.html").read_text()
    (path,) = (tmp_path / "why" / "map" / "arrays").glob("*.npz")
    with np.load(path) as arrays:
        values = arrays["values"][~np.isnan(arrays["values"])]
        assert (np.ptp(values) < 1e-6) == small
        assert (abs(values.mean() - arrays["score"]) < 1e-6) == small
    text = "too small for a map: its windows all overlap, so the colour is that of the whole image"
    assert (text in page) == small
    assert not small or "CONTRADICTS" not in page


def test_glass_has_no_colour(boosted, tissue_files, tmp_path):
    """Pixels of which no channel has the optical density of tissue; without stain normalisation all have a colour."""
    with Image.open(tissue_files[0]) as image:
        pixels = np.asarray(image.convert("RGB")).copy()
    pixels[:40, :60] = 240
    Image.fromarray(pixels).save(tmp_path / "half.png")
    explain(boosted, [tmp_path / "half.png"], out=tmp_path / "why", settings=ExplainSettings("map"))
    (path,) = (tmp_path / "why" / "map" / "arrays").glob("*.npz")
    with np.load(path) as arrays:
        density = -np.log((pixels + 1.0) / TRANSMITTED_LIGHT)
        assert np.array_equal(np.isnan(arrays["values"]), density.max(axis=2) < 0.15)
        assert np.isnan(arrays["values"][:40, :60]).all()
        assert (~np.isnan(arrays["values"])).any()
