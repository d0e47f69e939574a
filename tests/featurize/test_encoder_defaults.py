"""What an encoder that states its micrometres brings, and what is told if it is shown another scale."""

import json

import pytest
from bchisto.data import make_bach
from bchisto.encoders import EncoderChoice, stated_card
from bchisto.featurize import FeaturizeSettings, View, defaults_text, encoder_defaults, open_store
from conftest import typed
from onnx_files import write_onnx
from written_tables import read_json

SIDE = 64


@pytest.fixture(scope="module")
def bach(tmp_path_factory):
    """Eight small images in the layout of BACH, of which 0.42 micrometres per pixel are known. Read only."""
    return make_bach(tmp_path_factory.mktemp("bach"), images_per_class=2, size=(256, 192), jobs=1)


@pytest.fixture(scope="module")
def pathology(tmp_path_factory):
    """An ONNX encoder of 64 pixels, which its JSON says was trained at 0.5 micrometres."""
    pytest.importorskip("onnx")
    folder = tmp_path_factory.mktemp("encoder")
    encoder = write_onnx(folder, name="patho", side=SIDE, layers=1)
    normalise = {"name": "Normalize", "arguments": {"mean": [0.5] * 3, "std": [0.5] * 3}}
    steps = [{"name": "Resize", "arguments": {"size": SIDE}}, {"name": "ToTensor"}, normalise]
    sidecar = {
        "patch_size_pixels": SIDE,
        "spacing_um_px": 0.5,
        "license": "MIT",
        "transform": steps,
    }
    (folder / "patho.json").write_text(json.dumps(sidecar))
    return encoder


def store_of(run, name):
    with open_store(run / "features" / f"{name}.h5") as store:
        return store.features(), store.header


def test_the_view_is_worked_out_printed_and_recorded(completed, bach, pathology, tmp_path):
    run = tmp_path / "run"
    _, err = completed("featurize --images {} --out {} --encoder {} --jobs 1", bach, run, pathology)
    brought = (
        "onnx-patho brings --view 0.5um:64, --augmentations 1, --stain none, --color-range 1 1; "
        "what you give wins"
    )
    assert brought in err
    assert "was trained at" not in err
    assert err.splitlines()[-1].endswith("--head logistic")
    rows, header = store_of(run, "onnx-patho-0.5um-64")
    assert rows.shape == (8, 1, 16)
    assert (header["scale"], header["unit"], header["stain"], header["color_range"]) == (
        0.5,
        "um",
        "none",
        [1.0, 1.0],
    )
    record = read_json(run / "run.json")["records"][-1]
    assert record["config"]["views"] == ["0.5um:64"]


def test_what_is_given_wins_and_another_scale_warns(completed, bach, pathology, tmp_path):
    _, err = completed(
        "featurize --images {} --out T/run --encoder {} --jobs 1 --view 0.5:64 "
        "--augmentations 2 --crops 2",
        bach,
        pathology,
    )
    assert (
        "onnx-patho was trained at 0.5 micrometres per pixel, and sees 0.84 at --view 0.5:64; use --view 0.5um:64"
        in err
    )
    rows, _ = store_of(tmp_path / "run", "onnx-patho-0.5-64")
    assert rows.shape == (8, 2, 16)


def test_a_check_shows_the_scale(cli, bach, pathology, tissue):
    line = typed("data check --no-timing --no-copies --encoder {}", pathology)
    _, out, _ = cli(*line, "--images", bach)
    assert "onnx-patho  0.5um:64  0.5   0.5" in out
    assert "onnx-patho was trained at" not in out
    assert "--head logistic" in out
    _, out, _ = cli(*line, "--images", bach, "--view", "1.0:150")
    assert (
        "was trained at 0.5 micrometres per pixel, and sees 0.98 at --view 1.0:150; use --view 0.5um:64"
        in out
    )
    _, out, _ = cli(*line, "--images", tissue)
    assert (
        "benign00.png: its micrometres per pixel are not known, which the view 0.5um:64 needs"
        in out
    )


def test_images_smaller_than_the_field_get_the_largest_that_fits(
    refused, completed, tissue, pathology, tmp_path
):
    line = ("featurize", "--images", tissue, "--encoder", pathology, "--mpp", 0.25, "--jobs", 1)
    err = refused(*line, "--out", tmp_path / "run")
    assert (
        "24 x 24 um is smaller than the field of 32 um; the largest field that fits is 24 um (--view 0.5um:48)"
        in err
    )
    _, err = completed(*line, "--out", tmp_path / "run", "--view", "auto")
    assert "view: 0.5um:48" in err
    assert "its micrometres per pixel are not known" in refused(
        *line[:-4], "--jobs", 1, "--out", tmp_path / "other", "--preset", "quick"
    )


def test_encoders_that_state_nothing_bring_nothing(pathology):
    assert encoder_defaults({"encoders": ["mobilenetv2"]}) == {}
    assert encoder_defaults({"encoders": [pathology, "mobilenetv2"]}) == {}
    assert encoder_defaults({"encoders": ["dinov2-small"]}) == {}
    brought = encoder_defaults({"encoders": ["uni2-h", "midnight-12k"]}, keep=["stain"])
    assert brought["views"] == (View(0.5, 224, "um"),)
    assert "stain" not in brought


@pytest.mark.parametrize(
    ("encoder", "outputs"), [("midnight-12k", "midnight-12k:cls+mean"), ("midnight-12k:cls", "")]
)
def test_outputs_that_are_given_are_not_brought(encoder, outputs):
    chosen = {"encoders": (EncoderChoice.parse(encoder),)}
    text = defaults_text(encoder_defaults(chosen), FeaturizeSettings(**chosen))
    assert ("cls+mean" in text, outputs in text) == (bool(outputs), True)
    assert '`views="0.5um:224"`' in text


@pytest.mark.parametrize(
    ("config", "processor", "size"),
    [
        ({"model_type": "vit"}, {"size": {"height": 224, "width": 224}}, 224),
        (
            {"model_type": "dinov2"},
            {
                "size": {"shortest_edge": 256},
                "do_center_crop": True,
                "crop_size": {"height": 224, "width": 224},
            },
            224,
        ),
        (
            {
                "architecture": "vit_small_patch16_224",
                "pretrained_cfg": {"input_size": [3, 112, 112]},
            },
            None,
            112,
        ),
        ({"architecture": "vit_small_patch16_224"}, None, None),
    ],
)
def test_a_folder_states_its_scale_and_size(tmp_path, config, processor, size):
    (tmp_path / "config.json").write_text(json.dumps({**config, "spacing_um_px": 0.25}))
    if processor is not None:
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(processor))
    for choice, weights in (
        (EncoderChoice(f"hub:{tmp_path}"), ""),
        (EncoderChoice("timm:x"), str(tmp_path)),
    ):
        card = stated_card(choice, weights)
        assert (card.mpp, card.size) == ((0.25,), size)
    (tmp_path / "config.json").write_text('{"spacing_um_px": 50}')
    assert stated_card(choice, weights) is None
