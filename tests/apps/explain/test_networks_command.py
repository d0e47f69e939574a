"""The command on bundles of networks: every method, patches put together, resuming, and what is refused."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from bchisto.apps.explain import (
    METHODS,
    ExplainSettings,
    Explanation,
    Graph,
    draw,
    explain,
    lay_over,
    to_numpy,
)
from bchisto.apps.explain.draw import colour_limits
from bchisto.apps.recipes.pictures import RECIPE_METHODS
from bchisto.core import InputError
from bchisto.core.jobs import Work
from bchisto.data import ImageRecord, decode_image
from bchisto.finetune import CnnBundle, FinetuneSettings, StainTreatment, finetune
from bchisto.predict import find_bundle
from bchisto.stains import MacenkoNormalizer
from PIL import Image

pytestmark = pytest.mark.slow

OF_NETWORKS = [name for name, method in METHODS.items() if "cnn" in method.kinds]


@pytest.fixture(scope="module")
def tuned(tmp_path_factory, tissue):
    """Two runs, of whole images and of patches, without the figures of their models, so that these are taken."""
    run = tmp_path_factory.mktemp("tuned")
    for name, settings in (
        ("whole", FinetuneSettings("speck", epochs=1, batch_size=4)),
        (
            "patches",
            FinetuneSettings(
                "speck", epochs=1, batch_size=4, patches="random:48:3", stain="macenko"
            ),
        ),
    ):
        (result,) = finetune(
            tissue, out=run / name, settings=settings, folds=["2"], work=Work(jobs=1)
        )
        (result.folder / "metrics.json").unlink()
    return run


@pytest.fixture(scope="module")
def image(tissue_files):
    return tissue_files[0]


def arrays_in(folder):
    (path,) = (folder / "arrays").iterdir()
    return dict(np.load(path, allow_pickle=False))


def test_every_method(tuned, image, tmp_path, completed):
    """In two commands: of patches, and of whole images."""
    of_patches = ["map", "gradcam"]
    of_images = [name for name in OF_NETWORKS if name not in of_patches]
    for model, methods in (("patches", of_patches), ("whole", of_images)):
        named = [word for method in methods for word in ("--method", method)]
        words = ("--images", image, "--out", tmp_path, "--target", "benign")
        said, _ = completed("explain", tuned / model, *words, *named)
        assert [line.split(":")[0] for line in said.splitlines()[-len(methods) :]] == [
            f"1 image of the method {method}" for method in methods
        ]
    for method in OF_NETWORKS:
        found = arrays_in(tmp_path / method)
        page = (tmp_path / method / "index.html").read_text()
        assert page.count("<img ") == 1
        caution = METHODS[method].caution[:40]
        if method == "map":
            caution = "the patches that cover it"
        assert caution in page
        if method == "activations":
            assert "tile_pictures" in found
            continue
        assert found["values"].shape == found["picture"].shape[:2] == (96, 96)
        assert found["values"].dtype == np.float32
        assert np.isfinite(found["values"]).all()


CALLS = {"malignant": 0.001, "benign": 0.999}
"""The class that an image is called, by the threshold."""


@pytest.mark.parametrize(
    ("method", "target", "called"),
    [
        *itertools.product(("map",), CALLS, CALLS),
        *itertools.product(("gradient", "occlusion", "gradcam"), CALLS, ["malignant"]),
    ],
)
def test_what_is_white(tuned, image, method, target, called, tmp_path):
    """Of `map` the threshold; of a fall of the probability 0; maps of one side begin at 0.

    Red is what speaks for the class that is explained, whatever the threshold calls.
    """
    threshold = CALLS[called]
    asked = ExplainSettings(method, target=target, threshold=threshold)
    explain(tuned / "patches", [image], out=tmp_path, settings=asked)
    (path,) = (tmp_path / method / "arrays").iterdir()
    found = Explanation.load(path, work=str(arrays_in(tmp_path / method)["work"]))
    assert found.called == called
    expected = {("map", "malignant"): threshold, ("map", "benign"): 1 - threshold}
    white = expected.get((method, target), 0)
    assert found.white == pytest.approx(white)
    if method in ("gradient", "gradcam"):
        assert colour_limits(found)[0] == 0
        return
    low, high = colour_limits(found)
    assert low <= white <= high
    values = np.array([[low, white, high]], np.float32)
    drawn = lay_over(
        replace(found, values=values, limits=(low, high), picture=np.full((1, 3, 3), 99, "u1"))
    )
    tones = [int(np.sign(int(red) - int(blue))) for red, _, blue in drawn[0]]
    assert tones == [-1, 0, 1]


def test_pictures_of_a_sheet_have_one_scale(tuned, tissue_files, tmp_path, completed):
    """The same value has the same colour in each."""
    images = tissue_files[:3]
    completed("explain", tuned / "whole", *images, "--out", tmp_path, "--method", "gradcam")
    files = sorted((tmp_path / "gradcam" / "arrays").iterdir())
    kept = [Explanation.load(path, work=str(dict(np.load(path))["work"])) for path in files]
    ends = [colour_limits(explanation)[1] for explanation in kept]
    assert len(set(ends)) > 1  # each by itself would have a scale of its own
    for explanation, path in zip(kept, files, strict=True):
        shared = draw(replace(explanation, limits=(0.0, max(ends))))
        with Image.open(tmp_path / "gradcam" / "pictures" / f"{path.stem}.png") as picture:
            np.testing.assert_array_equal(np.asarray(picture), shared)


def test_several_methods_at_once(tuned, image, tmp_path, cli, refused, completed):
    """The same arrays as one by one; a layer goes to the method that looks at one; one refusal stops all."""
    both = "explain {} {} --out T/both --layer dots --method gradient --method gradcam --method"
    call = (both, tuned / "whole", image)
    said, err = completed(*call, "activations")
    assert said.splitlines()[-3:] == [
        "1 image of the method gradient: light is high, dark is low",
        "1 image of the method gradcam: light is high, dark is low",
        "1 image of the method activations",  # pictures of channels, no map
    ]
    assert err.count("wrote ") == 6
    for name in ("gradient", "gradcam"):
        layer = ("--layer", "dots") if name == "gradcam" else ()
        assert (
            cli("explain {} {} --out T/one --method {}", tuned / "whole", image, name, *layer)[0]
            == 0
        )
        values = [arrays_in(tmp_path / place / name)["values"] for place in ("one", "both")]
        np.testing.assert_array_equal(*values)
    before = sorted((tmp_path / "both").rglob("*.npz"))
    assert "--method map: needs a network of patches" in refused(*call, "map")
    err = refused(*call, "gradcm")
    assert "--method gradcm: no such method; did you mean gradcam?" in err
    assert sorted((tmp_path / "both").rglob("*.npz")) == before
    again = tmp_path / "again"
    # the last call that was not refused
    assert cli("explain --config T/both/run.json --out {}", again)[0] == 0
    assert {path.name for path in again.iterdir() if path.is_dir()} == {
        "gradient",
        "gradcam",
        "activations",
        "records",
    }


def test_the_map_of_patches_is_made_of_their_probabilities(tuned, image, tmp_path, completed):
    """By hand: a corner of 24 pixels lies in one patch alone, cut where its stain is normalised."""
    completed(
        "explain {} {} --method map --target benign --out",
        tuned / "patches",
        image,
        tmp_path,
    )
    bundle = CnnBundle.load(find_bundle(tuned / "patches"))
    patch = MacenkoNormalizer().normalize(decode_image(image))[:48, :48]
    small = np.asarray(patch, np.float32).reshape(48, 48, 3)
    import cv2

    small = cv2.resize(small.astype(np.uint8), (32, 32), interpolation=cv2.INTER_AREA).astype(
        np.float32
    )
    expected = np.mean(
        [model.predict_on_batch(small[None])[0, 0] for model in bundle.models.values()]
    )
    np.testing.assert_allclose(arrays_in(tmp_path / "map")["values"][:24, :24], expected, rtol=1e-4)
    centre = float(arrays_in(tmp_path / "map")["centre"])
    colours = [patch_of_mean_colour(image, bundle)]
    base = np.mean(
        [model.predict_on_batch(np.stack(colours))[0, 0] for model in bundle.models.values()]
    )
    assert centre == pytest.approx(base, abs=2e-3)


def patch_of_mean_colour(image, bundle):
    """The mean colour of all patches of 48 pixels that cover the picture, 24 apart."""
    import cv2

    whole = np.asarray(MacenkoNormalizer().normalize(decode_image(image)), np.uint8)
    cut = [whole[y : y + 48, x : x + 48] for y in (0, 24, 48) for x in (0, 24, 48)]
    small = [cv2.resize(one, (32, 32), interpolation=cv2.INTER_AREA) for one in cut]
    return np.broadcast_to(np.mean(small, axis=(0, 1, 2)), (32, 32, 3)).astype(np.float32)


def test_relevance_over_the_picture_sums_to_the_score(tuned, image, tmp_path):
    for target in ("benign", "malignant"):
        asked = ExplainSettings("taylor", target=target)
        explain(
            tuned / "whole", [image], out=tmp_path / target, settings=asked, methods=RECIPE_METHODS
        )
    bundle = CnnBundle.load(find_bundle(tuned / "whole"))
    reader = StainTreatment("none", bundle.settings.rule, 32)
    pixels = reader.read(ImageRecord("i", image, None))
    graphs = [Graph(model) for model in bundle.models.values()]
    scores = np.mean(
        [
            np.maximum(to_numpy(one.scores(one.run(pixels[None].astype(np.float32))))[0], 0)
            for one in graphs
        ],
        axis=0,
    )
    for target, score in zip(bundle.classes, scores, strict=True):
        assert arrays_in(tmp_path / target / "taylor")["values"].sum() == pytest.approx(
            score, rel=0.05
        )


@pytest.mark.parametrize("method", ["masking", "maximisation"])
def test_methods_of_recipes(tuned, image, tmp_path, method):
    settings = ExplainSettings(method, target="benign")
    (result,) = explain(
        tuned / "whole", [image], out=tmp_path, settings=settings, methods=RECIPE_METHODS
    )
    assert result.images == 1
    assert "tile_pictures" in arrays_in(tmp_path / method)
    with pytest.raises(InputError, match=f"{method}: no such method"):
        explain(tuned / "whole", [image], out=tmp_path / "other", settings=settings)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            "--method gradcam --layer dot",
            "--layer dot: no feature map of this name; did you mean dots? Choose one of",
        ),
        ("--method deconvnet", "--method deconvnet: no such method"),
        ("--method map", "--method map: needs a network of patches"),
        (
            "--method gradient --target Böse",
            "--target Böse: no class of this model; choose one of benign, malignant",
        ),
        ("--method gradient --layer dots", "--layer dots: the method gradient looks at no layer"),
        (
            "--method activations --weights imagenet",
            "holds the weights of its networks; leave it out",
        ),
    ],
)
def test_what_is_refused_before_work_starts(tuned, image, tmp_path, refused, words, said):
    err = refused(f"explain {{}} {{}} --out T/out {words}", tuned / "whole", image)
    assert said in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "out" / words.split()[1]).exists()
