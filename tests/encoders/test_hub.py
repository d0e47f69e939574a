"""Networks of folders: each agrees with its own library, and what cannot be read safely is refused in a line."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from bchisto.encoders import EncoderChoice, open_encoder
from bchisto.encoders.folder import read_folder
from bchisto.encoders.hub import _hugging_card
from bchisto.encoders.transformer import resize_positions
from bchisto.encoders.vectors import normalised
from bchisto.errors import BchistoError, DependencyError, ImageError, InputError, WeightsError
from conftest import need
from PIL import Image

pytestmark = pytest.mark.slow

TINY = Path(__file__).parent / "transformers"
FOLDERS = sorted(path.name for path in TINY.iterdir() if path.name != "swin")


def pictures():
    """The pictures that make_transformers.py showed the reference."""
    return np.random.default_rng(16).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)


def expected(name):
    with np.load(TINY / name / "expected.npz") as file:
        return {output: file[output] for output in file.files}


@pytest.fixture
def copied(tmp_path):
    """Return a function that copies a folder of the tiny networks."""
    return lambda name: Path(shutil.copytree(TINY / name, tmp_path / name))


@pytest.mark.parametrize("name", FOLDERS)
def test_agrees_with_the_library_that_wrote_it(name):
    wanted = expected(name)
    encoder = open_encoder(EncoderChoice(f"hub:{TINY / name}", tuple(wanted)))
    found = encoder.encode(pictures())
    np.testing.assert_allclose(found, np.concatenate(list(wanted.values()), axis=1), atol=1e-5)
    assert found.dtype == np.float32
    assert encoder.dim == sum(encoder.parts) == 8 * len(wanted)
    assert encoder.card.divisor == 4


def test_an_output_alone_is_what_it_is_beside_the_others():
    name, wanted = "dinov2-registers", expected("dinov2-registers")
    alone = open_encoder(EncoderChoice(f"hub:{TINY / name}", ("mean",)))
    np.testing.assert_allclose(alone.encode(pictures()), wanted["mean"], atol=1e-5)


def test_by_openvino_and_in_bfloat16():
    pytest.importorskip("openvino")
    wanted = expected("timm-uni2")["cls"]
    choice = EncoderChoice(f"hub:{TINY / 'timm-uni2'}")
    np.testing.assert_allclose(open_encoder(choice, engine="openvino").encode(pictures()), wanted, atol=1e-5)
    rounded = open_encoder(choice, precision="bfloat16").encode(pictures())
    assert 0 < np.abs(rounded - wanted).max() < 0.05


def test_what_openvino_cannot_run_is_refused_in_one_line():
    pytest.importorskip("openvino")
    pytest.importorskip("keras_hub", reason="needs hub: pip install 'bchisto[hub]'")
    swin = open_encoder(EncoderChoice(f"hub:{TINY / 'swin'}"), engine="openvino")
    words = '`engine="openvino"`: .* cannot run this network .*use `engine="keras"`'
    with pytest.raises(DependencyError, match=words) as found:
        swin.encode(pictures().repeat(2, axis=1).repeat(2, axis=2))
    assert "\n" not in str(found.value)


def test_swin_and_presets_are_built_by_keras_hub(tmp_path):
    keras_hub = pytest.importorskip("keras_hub", reason="needs hub: pip install 'bchisto[hub]'")
    large = pictures().repeat(2, axis=1).repeat(2, axis=2)
    swin = open_encoder(EncoderChoice(f"hub:{TINY / 'swin'}"))
    np.testing.assert_allclose(swin.encode(large), expected("swin")["mean"], atol=1e-5)
    assert swin.layers == ("mean",)

    import keras

    backbone = keras_hub.models.ViTBackbone(
        image_shape=(16, 16, 3), patch_size=4, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=16
    )
    backbone.save_to_preset(str(tmp_path))
    with pytest.raises(InputError, match="no image_converter.json"):
        open_encoder(EncoderChoice(f"hub:{tmp_path}"))
    scale, offset = [1 / 255 / 0.5] * 3, [-1.0] * 3  # of mean and deviation 0.5
    keras_hub.layers.ViTImageConverter(image_size=(16, 16), scale=scale, offset=offset).save_to_preset(str(tmp_path))
    preset = open_encoder(EncoderChoice(f"hub:{tmp_path}"))
    by_hand = keras.ops.convert_to_numpy(backbone((pictures() / 255 - 0.5) / 0.5)).mean(axis=1)
    np.testing.assert_allclose(preset.encode(pictures()), by_hand, atol=1e-5)
    with pytest.raises(InputError, match="mean is named twice; name each output once"):
        open_encoder(EncoderChoice(f"hub:{tmp_path}", ("mean", "mean")))

    config = json.loads((tmp_path / "config.json").read_text())
    config["config"]["dtype"]["module"] = "os"
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="asks for code of os, and bchisto never runs it"):
        open_encoder(EncoderChoice(f"hub:{tmp_path}"))


def test_a_preset_that_calls_itself_swin_is_looked_through_all_the_same(copied):
    """keras-hub goes by `registered_name`, whatever `model_type` says."""
    folder = copied("swin")
    (folder / "model.weights.h5").write_bytes(b"")
    inner = {"dtype": {"module": "os", "class_name": "system", "config": {"command": "true"}}}
    _config(registered_name="keras_hub>ViTBackbone", module="keras_hub.models", config=inner)(folder)
    with pytest.raises(InputError, match="asks for code of os, and bchisto never runs it"):
        open_encoder(EncoderChoice(f"hub:{folder}"))


@pytest.mark.parametrize(
    ("config", "readme", "licence", "free"),
    [
        ({"license": "cc-by-nc-4.0"}, "", "cc-by-nc-4.0", False),
        ({}, "---\ntags: [é]\nlicense: cc-by-nc-4.0 \n---\nlicense: mit\n", "cc-by-nc-4.0", False),
        ({"license": "MIT"}, "---\r\nlicense: mit\r\n---\r\n", "mit", True),
        ({}, "---\nlicense: other\nlicense_name: owkin-non-commercial\n---\n", "other, owkin-non-commercial", False),
        ({}, "---\nlicense:\n- 'mit'\n- CC BY NC 4.0\n---\n", "mit, CC BY NC 4.0", False),
        ({}, "---\nlicense: [mit, \x1b[31mapache-2.0]\n---\n", "mit, \\x1b[31mapache-2.0", True),
        ({}, "# A model\nlicense: cc-by-nc-4.0\n---\nlicense: gpl\n---\n", "", True),
        ({"license": {"name": "mit"}}, "---\nlicense: cc-by-nc-4.0", "", True),
    ],
)
def test_licences_of_the_config_and_the_model_card(copied, config, readme, licence, free):
    folder = copied("vit")
    _config(**config)(folder)
    (folder / "README.md").write_text(readme, encoding="utf-8", newline="")
    card = _hugging_card(read_folder(folder), 16)
    assert (card.licence, card.non_commercial) == (licence, not free)


def test_an_open_licence_of_a_folder_of_timm_is_none_that_excludes_commerce(copied):
    folder = copied("timm-uni")
    config = json.loads((folder / "config.json").read_text())
    config["pretrained_cfg"]["license"] = "Tencent open licence"
    (folder / "config.json").write_text(json.dumps(config))
    card = open_encoder(EncoderChoice(f"hub:{folder}")).card
    assert (card.licence, card.non_commercial) == ("Tencent open licence", False)


def test_crops_are_resized_as_pillow_does():
    encoder = open_encoder(EncoderChoice(f"hub:{TINY / 'vit'}"))
    crop = np.random.default_rng(3).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    small = np.asarray(Image.fromarray(crop).resize((16, 16), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(encoder.encode(crop[None]), encoder.encode(small[None]))
    by_hand = (small / 255 - [0.5, 0.4, 0.6]) / [0.2, 0.25, 0.3]
    np.testing.assert_allclose(normalised(crop[None], encoder.card)[0], by_hand, atol=1e-6)
    with pytest.raises(ImageError, match="expected uint8 crops"):
        encoder.encode(crop)


def test_positions_of_the_same_grid_stay_and_constant_ones_stay_constant():
    own = np.arange(17 * 2, dtype=np.float32).reshape(1, 17, 2)
    assert resize_positions(own, before=1, grid=4) is own
    even = resize_positions(np.full((1, 17, 2), 3.0, np.float32), before=1, grid=7)
    np.testing.assert_allclose(even, np.full((1, 50, 2), 3.0), rtol=1e-6)


def test_other_preprocessing_is_another_encoder(copied):
    folder = copied("vit")
    before = open_encoder(EncoderChoice(f"hub:{folder}"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"_name_or_path": "elsewhere"}))
    assert open_encoder(EncoderChoice(f"hub:{folder}")).weights_sha256 == before.weights_sha256
    processor = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(json.dumps(processor | {"image_mean": [0.5, 0.5, 0.5]}))
    after = open_encoder(EncoderChoice(f"hub:{folder}"))
    assert after.weights_sha256 != before.weights_sha256
    assert after.weights_file_sha256 == before.weights_file_sha256


def test_a_folder_in_several_files(copied):
    """As large models are published: an index, and files that hold some tensors each."""
    from safetensors.numpy import load_file, save_file

    folder = copied("vit")
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    halves = {"model-1.safetensors": names[::2], "model-2.safetensors": names[1::2]}
    for file, some in halves.items():
        save_file({name: tensors[name] for name in some}, folder / file)
    index = {"weight_map": {name: file for file, some in halves.items() for name in some}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    encoder = open_encoder(EncoderChoice(f"hub:{folder}"))
    np.testing.assert_allclose(encoder.encode(pictures()), expected("vit")["cls"], atol=1e-5)
    (folder / "model-2.safetensors").unlink()
    with pytest.raises(WeightsError, match="model-2.safetensors is missing, which its index names"):
        open_encoder(EncoderChoice(f"hub:{folder}"))
    index["weight_map"][names[0]] = "../elsewhere.safetensors"
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(WeightsError, match="is no .safetensors file of this folder"):
        open_encoder(EncoderChoice(f"hub:{folder}"))


def _drop(name):
    return lambda folder: (folder / name).unlink()


def _config(**changes):
    def change(folder):
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, **changes}))

    return change


def _pickled(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _cut(folder):
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:3000])


def _other_shape(folder):
    from safetensors.numpy import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    tensors["encoder.layer.1.layernorm_after.weight"] = np.ones(5, np.float32)
    save_file(tensors, folder / "model.safetensors")


def _text(name, text):
    return lambda folder: (folder / name).write_text(text)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_drop("config.json"), "no config.json in this folder"),
        (_drop("preprocessor_config.json"), "no preprocessor_config.json here; it says how pixels are normalised"),
        (_drop("model.safetensors"), "no .safetensors in this folder; fetch the weights"),
        (_pickled, "pytorch_model.bin: a pickled checkpoint can run code when it is read, so bchisto reads none"),
        (_cut, "model.safetensors: not a safetensors file, or damaged"),
        (_other_shape, r"layernorm_after.weight has another shape than the network, \(5,\) and not \(8,\)"),
        (_config(auto_map={"AutoModel": "modeling.Own"}), "asks for code that comes with the model"),
        (_config(model_type="convnext"), "its config is of convnext; hub reads vit"),
        (_config(model_type=None, hidden_size="wide"), "its config is of None; hub reads vit"),
        (_config(num_attention_heads=3), "the sizes of its weights do not fit each other"),
        (_config(num_attention_heads="many"), "num_attention_heads of config.json is no number"),
        (_config(hidden_act="quick_gelu"), "its activation is quick_gelu"),
        (_config(model_type="dinov2"), "its weights lack .*norm1.weight|blocks; they are of another network"),
        (_text("config.json", "{"), "config.json: no JSON, or damaged"),
        (_text("config.json", "[1]"), "config.json: holds no mapping"),
        (_text("preprocessor_config.json", '{"image_mean": [0, 0, 0], "image_std": [1, 0, 1], "size": 16}'),
         "image_std is not three numbers that pixels can be normalised by"),
        (_text("preprocessor_config.json", '{"image_mean": 3, "size": 16}'), "image_mean is not three numbers"),
        (_text("preprocessor_config.json", '{"size": 100000}'), "does not say what size of image"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_in_a_line(copied, spoil, message):
    folder = copied("vit")
    spoil(folder)
    with pytest.raises(BchistoError, match=message) as refused:
        open_encoder(EncoderChoice(f"hub:{folder}"))
    assert str(folder) in str(refused.value)
    assert "\n" not in str(refused.value)
    assert refused.value.exit_code == 2


def test_other_places_outputs_and_engines_are_refused(tmp_path):
    def refused(text, **how):
        with pytest.raises(BchistoError) as error:
            open_encoder(EncoderChoice(*text), **how)
        return str(error.value)

    vit = f"hub:{TINY / 'vit'}"
    assert "no such folder" in refused((f"hub:{tmp_path / 'none'}",))
    assert "and not a file of it" in refused((f"hub:{TINY / 'vit' / 'model.safetensors'}",))
    assert "no output block3; choose of cls, mean, block1 to block2" in refused((vit, ("block3",)))
    assert "`engine` onnxruntime: runs no folder of weights" in refused((vit,), engine="onnxruntime")
    assert "`engine` onnxruntime: does not run vgg16" in refused(("vgg16",), engine="onnxruntime")


def test_a_named_encoder_says_how_to_get_its_weights(tmp_path):
    said = (
        "uni2-h: its weights are not part of bchisto .*CC-BY-NC-ND-4.0, non-commercial use only, gated.*hf auth login"
    )
    with pytest.raises(WeightsError, match=f'{said}.*`weights="uni2-h=DIR"`'):
        open_encoder(EncoderChoice("uni2-h"))
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x02.")
    with pytest.raises(WeightsError, match="a pickled checkpoint can run code"):
        open_encoder(EncoderChoice("uni2-h"), weights=str(tmp_path))
    with pytest.raises(WeightsError, match="its weights lack pos_embed; they are of another network"):
        open_encoder(EncoderChoice("uni2-h"), weights=str(TINY / "vit"))


def test_a_named_encoder_needs_the_weights_alone(monkeypatch, tmp_path):
    """A network of the names of Virchow2, but for its size, from a file without any config."""
    import dataclasses

    from bchisto.encoders import CATALOGUE, opening

    known = CATALOGUE["virchow2"]
    card = dataclasses.replace(known.card, size=16, mean=(0.5, 0.4, 0.6), std=(0.2, 0.25, 0.3))
    small = dataclasses.replace(known, heads=2, card=card)
    monkeypatch.setattr(opening, "CATALOGUE", {"virchow2": small})
    file = shutil.copy(TINY / "timm-virchow2" / "model.safetensors", tmp_path / "virchow2.safetensors")
    encoder = open_encoder(EncoderChoice("virchow2"), weights=str(file))
    wanted = expected("timm-virchow2")
    assert (encoder.name, encoder.layers, encoder.default_layers) == ("virchow2", ("cls", "mean"), True)
    assert encoder.card.terms() == "CC-BY-NC-ND-4.0, non-commercial use only"
    np.testing.assert_allclose(encoder.encode(pictures()), np.hstack([wanted["cls"], wanted["mean"]]), atol=1e-5)


def test_what_needs_keras_hub_says_how_to_install_it(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(BchistoError, match="keras-hub, which is missing; pip install 'keras-hub>=\\S+'") as refused:
        open_encoder(EncoderChoice(f"hub:{TINY / 'swin'}"))
    assert refused.value.exit_code == 2


def test_what_continuous_integration_requires_is_installed():
    import importlib.util

    need("hub", importlib.util.find_spec("keras_hub") is not None, "pip install 'bchisto[hub]'")
    need("onnx", all(map(importlib.util.find_spec, ("onnx", "onnxruntime"))), "pip install 'bchisto[onnx,test]'")
