"""Folders of networks: each gives what its own library gives, and what cannot be read safely is refused in a line."""

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest
from bchisto.core import BchistoError, ImageError, WeightsError
from bchisto.encoders import CATALOGUE, EncoderChoice, check_encoder, open_encoder
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from refusals import refusing
from torch_folders import need_torch, write_dinov2, write_timm, write_transformers
from written_tables import read_json, write_json


@pytest.fixture(scope="module", autouse=True)
def libraries():
    need_torch()
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A folder of a tiny DINOv2 of transformers. Read only."""
    folder = tmp_path_factory.mktemp("tiny") / "dinov2"
    write_dinov2(folder)
    return folder


@pytest.fixture
def copied(tiny, tmp_path):
    """A copy of it."""
    return Path(shutil.copytree(tiny, tmp_path / "dinov2"))


def pictures(side, number=2):
    return np.random.default_rng(side).integers(0, 256, (number, side, side, 3), dtype=np.uint8)


def opened(folder, *outputs, **options):
    return open_encoder(EncoderChoice(f"hub:{folder}", outputs), **options)


def seen(folder, crops):
    """What the original's processor makes of crops."""
    from transformers import AutoImageProcessor

    processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True, backend="pil")
    return processor([Image.fromarray(crop) for crop in crops], return_tensors="pt")["pixel_values"]


def of_transformers(name):
    """A network at the depth of the published one, narrower, with what its processor says, and its first tokens."""
    import transformers as hf

    deep = {
        "hidden_size": 96,
        "num_hidden_layers": 12,
        "num_attention_heads": 3,
        "intermediate_size": 192,
    }
    cut = {
        "kind": "BitImageProcessor",
        "size": {"shortest_edge": 256},
        "crop_size": {"height": 224, "width": 224},
    }
    whole = {"kind": "ViTImageProcessor", "size": {"height": 224, "width": 224}, "resample": 2}
    swin = {"embed_dim": 12, "depths": [2, 2, 6, 2], "num_heads": [1, 2, 4, 8]}
    shrunk = {"kind": "ConvNextImageProcessor", "size": {"shortest_edge": 224}, "crop_pct": 0.95}
    if name == "dinov2":
        return hf.Dinov2Model(hf.Dinov2Config(**deep, patch_size=14, image_size=518)), cut, 1
    if name == "dinov2-registers":
        config = hf.Dinov2WithRegistersConfig(
            **deep, patch_size=14, image_size=518, use_swiglu_ffn=True
        )
        return hf.Dinov2WithRegistersModel(config), cut, 5
    if name == "vit":
        return (
            hf.ViTForImageClassification(hf.ViTConfig(**deep, hidden_act="gelu_pytorch_tanh")),
            whole,
            1,
        )
    if name == "deit":
        whole = {"kind": "DeiTImageProcessor", "size": {"height": 256, "width": 256}}
        return hf.DeiTModel(hf.DeiTConfig(**deep)), whole, 2
    if name == "swin":
        return hf.SwinModel(hf.SwinConfig(**swin, hidden_act="gelu_pytorch_tanh")), whole, 0
    return (
        hf.ConvNextModel(hf.ConvNextConfig(depths=[2, 2, 2, 2], hidden_sizes=[8, 16, 24, 32])),
        shrunk,
        None,
    )


@pytest.mark.parametrize("name", ["dinov2", "dinov2-registers", "vit", "deit", "swin", "convnext"])
def test_gives_what_transformers_gives(tmp_path, name):
    """Its processor, its network at full depth, its outputs, for two sizes of crops."""
    import torch

    model, processor, before = of_transformers(name)
    write_transformers(tmp_path, model, **processor)
    base = model.vit if name == "vit" else model
    outputs = {None: ("vector", "mean"), 0: ("mean",)}.get(before, ("cls", "mean", "block5"))
    encoder = opened(tmp_path, *outputs)
    assert (encoder.engine, encoder.layers, encoder.card.size) == ("torch", outputs, 224)
    for side in (224, 300):
        crops = pictures(side)
        with torch.inference_mode():
            given = base(seen(tmp_path, crops), output_hidden_states=True)
        if before is None:
            wanted = [given.pooler_output, given.last_hidden_state.mean((2, 3))]
        elif not before:
            wanted = [given.pooler_output]
        else:
            patches = [
                tokens[:, before:].mean(1)
                for tokens in (given.last_hidden_state, given.hidden_states[5])
            ]
            wanted = [given.last_hidden_state[:, 0], *patches]
        wanted = torch.cat(wanted, dim=1).numpy()
        assert_allclose(encoder.encode(crops), wanted, atol=1e-6)
        if side == 300 and name.startswith("dinov2") and importlib.util.find_spec("openvino"):
            by_openvino = opened(tmp_path, *outputs, engine="openvino")
            assert (by_openvino.engine, by_openvino.backend) == ("openvino", "openvino")
            assert_allclose(by_openvino.encode(crops), wanted, atol=1e-4)


SWIGLU = {"mlp_layer": "SwiGLUPacked", "act_layer": "silu", "mlp_ratio": 5.5}
TIMM = {
    "vit_small_patch16_224": {
        "depth": 12,
        "qk_norm": True,
        "scale_attn_norm": True,
        "act_layer": "quick_gelu",
    },
    "vit_giant_patch14_224": {
        "depth": 24,
        "reg_tokens": 8,
        "no_embed_class": True,
        "init_values": 1e-5,
        **SWIGLU,
    },
    "vit_small_patch14_dinov2": {"img_size": 518, "dynamic_img_size": True},
    "convnext_atto": {},
    "swin_tiny_patch4_window7_224": {"embed_dim": 24},
}


@pytest.mark.parametrize("name", TIMM)
def test_gives_what_timm_gives(tmp_path, name):
    import timm
    import torch

    narrow = {"embed_dim": 96, "num_heads": 3} if name.startswith("vit") else {}
    arguments = TIMM[name] | narrow
    write_timm(tmp_path, name, size=224, classes=5, **arguments)
    layer = {"mlp_layer": timm.layers.SwiGLUPacked} if "mlp_layer" in arguments else {}
    model = timm.create_model(f"local-dir:{tmp_path}", pretrained=True, **layer).eval()
    model.reset_classifier(0)
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
    encoder = opened(tmp_path)
    assert encoder.layers == ("vector",)
    for side in (224, 300):
        crops = pictures(side)
        given = torch.stack([transform(Image.fromarray(crop)) for crop in crops])
        with torch.inference_mode():
            wanted = model(given).numpy()
        assert_allclose(encoder.encode(crops), wanted, atol=1e-6)
    if name.startswith("vit"):
        with torch.inference_mode():
            tokens = model.forward_features(given)
            (block,) = model.forward_intermediates(
                given, indices=[2], output_fmt="NLC", intermediates_only=True
            )
        wanted = torch.cat(
            [block.mean(1), tokens[:, 0], tokens[:, model.num_prefix_tokens :].mean(1)], 1
        ).numpy()
        found = opened(tmp_path, "block3", "cls", "mean").encode(crops)
        assert_allclose(found, wanted, atol=1e-6)
    if name == "vit_giant_patch14_224" and importlib.util.find_spec("openvino"):
        found = opened(tmp_path, "cls", engine="openvino").encode(crops)
        assert_allclose(found, tokens[:, 0].numpy(), atol=1e-4)


def test_positions_of_a_folder_of_timm_are_resized_as_timm_does(tmp_path):
    import timm

    write_timm(tmp_path, "vit_tiny_patch16_384", depth=2)
    config = read_json(tmp_path / "config.json")
    config["model_args"]["img_size"] = 224
    config["pretrained_cfg"] |= {"input_size": [3, 224, 224], "crop_pct": 1.0}
    write_json(tmp_path / "config.json", config)
    model = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
    crops = pictures(224, 1)
    wanted = model(transform(Image.fromarray(crops[0]))[None]).detach().numpy()
    assert_allclose(opened(tmp_path).encode(crops), wanted, atol=1e-6)


def test_in_bfloat16_on_one_thread(tiny):
    import torch

    torch.set_num_threads(2)
    wanted = opened(tiny).encode(pictures(20))
    assert torch.get_num_threads() == 1  # as many as BCHISTO_THREADS says
    rounded = opened(tiny, precision="bfloat16").encode(pictures(20))
    assert 0 < np.abs(rounded - wanted).max() < 0.05


@pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="needs OpenVINO")
def test_a_kept_network_has_the_licence_of_its_card(copied):
    for licence in ("mit", "cc-by-nc-4.0"):
        (copied / "README.md").write_text(f"---\nlicense: {licence}\n---\n")
        assert dict(check_encoder(f"hub:{copied}", engine="openvino"))[
            "licence of the weights"
        ].startswith(licence)


def test_a_folder_in_several_files(copied):
    """As large models are published: an index, and files that hold some tensors each; in half precision too."""
    from safetensors.torch import load_file, save_file

    wanted = opened(copied).encode(pictures(16))
    tensors = load_file(copied / "model.safetensors")
    (copied / "model.safetensors").unlink()
    names = sorted(tensors)
    halves = {"model-1.safetensors": names[::2], "model-2.safetensors": names[1::2]}
    for file, some in halves.items():
        save_file({name: tensors[name].half() for name in some}, copied / file)
    index = {"weight_map": {name: file for file, some in halves.items() for name in some}}
    write_json(copied / "model.safetensors.index.json", index)
    assert_allclose(opened(copied).encode(pictures(16)), wanted, atol=5e-3)
    (copied / "model-2.safetensors").unlink()
    with refusing("model-2.safetensors is missing, which its index names", WeightsError):
        opened(copied)
    index["weight_map"][names[0]] = "../elsewhere.safetensors"
    write_json(copied / "model.safetensors.index.json", index)
    with refusing("is not a .safetensors file of this folder", WeightsError):
        opened(copied)


def test_other_preprocessing_is_another_encoder(copied):
    before = opened(copied)
    _config(_name_or_path="elsewhere", transformers_version="9")(copied)
    assert opened(copied).weights_sha256 == before.weights_sha256
    _processor(image_mean=[0.5, 0.5, 0.5])(copied)
    after = opened(copied)
    assert after.weights_sha256 != before.weights_sha256
    assert after.weights_file_sha256 == before.weights_file_sha256
    _processor(crop_size={"height": 20, "width": 20})(copied)
    assert opened(copied).weights_sha256 != after.weights_sha256


def _drop(name):
    return lambda folder: (folder / name).unlink()


def _changed(name, changes):
    def change(folder):
        config = read_json(folder / name)
        write_json(folder / name, {**config, **changes})

    return change


def _config(**changes):
    return _changed("config.json", changes)


def _processor(**changes):
    return _changed("preprocessor_config.json", changes)


def _pickled(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _cut(folder):
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:3000])


def _tensors(change):
    def changed(folder):
        from safetensors.torch import load_file, save_file

        save_file(change(load_file(folder / "model.safetensors")), folder / "model.safetensors")

    return changed


def _without(name):
    return _tensors(lambda tensors: {key: value for key, value in tensors.items() if key != name})


def _with(name, shape):
    import torch

    return _tensors(lambda tensors: {**tensors, name: torch.ones(shape)})


def _text(name, text):
    return lambda folder: (folder / name).write_text(text)


UNSUPPORTED = "its preprocessing is not supported"
UNDEFINED = "its preprocessing is not supported|that defines how pixels are treated"
OTHER_PICTURES = "makes other pictures than resizing, cutting and normalising do"
NORM = "encoder.layer.1.norm2.weight"
SPOILT = {
    "no config": (_drop("config.json"), "no config.json in this folder"),
    "no processor": (
        _drop("preprocessor_config.json"),
        "no preprocessor_config.json that defines how pixels",
    ),
    "no weights": (_drop("model.safetensors"), "no .safetensors in this folder; fetch the weights"),
    "pickled": (
        _pickled,
        "pytorch_model.bin: a pickled checkpoint can run code when it is read, so bchisto",
    ),
    "cut": (_cut, "model.safetensors: not a safetensors file, or damaged"),
    "missing": (_without(NORM), rf"not the weights of this network \(1 missing tensors: {NORM}\)$"),
    "left over": (
        lambda folder: _with("encoder.layer.1.q_norm.weight", (4,))(folder),
        "1 unexpected tensors: encoder.layer.1.q_norm.weight",
    ),
    "other shape": (lambda folder: _with(NORM, (5,))(folder), f"1 mismatched tensors: {NORM}"),
    "two networks": (
        _tensors(
            lambda tensors: {
                f"{who}.{key}": value.clone()
                for key, value in tensors.items()
                for who in ("student.backbone", "teacher.backbone")
            }
        ),
        "42 missing tensors: ",
    ),
    "code": (
        _config(auto_map={"AutoModel": "modeling.Own"}),
        "asks for code that comes with the model",
    ),
    "code of the processor": (
        _processor(auto_map={"AutoImageProcessor": "own.Own"}),
        "asks for code that comes with",
    ),
    "another kind": (
        _config(model_type="clip"),
        "its config is of clip; hub reads convnext, .*of transformers",
    ),
    "text for a number": (_config(hidden_size="wide"), "transformers cannot build it"),
    "huge": (_config(hidden_size=65536), "which would have .* parameters and not"),
    "beyond any float": (_config(hidden_size=10**400), "transformers cannot build it"),
    "other heads": (_config(num_attention_heads=3), "mismatched tensors|is not a multiple of"),
    "no json": (_text("config.json", "{"), "config.json: no JSON, or damaged"),
    "no mapping": (_text("config.json", "[1]"), "config.json: not a JSON object"),
    "zero deviation": (_processor(image_std=[1, 0, 1]), UNSUPPORTED),
    "one mean": (_processor(image_mean=3), UNDEFINED),
    "huge images": (
        _processor(size={"shortest_edge": 10**5}),
        f"{UNSUPPORTED} .16 of 100000 pixels",
    ),
    "oblong": (_processor(crop_size={"height": 16, "width": 20}), "the sides of its images differ"),
    "padded": (
        _processor(crop_size={"height": 32, "width": 32}),
        f"{UNSUPPORTED} .32 of 20 pixels",
    ),
    "unknown processor": (_processor(image_processor_type="Own"), UNDEFINED),
    "padded by a step": (
        _processor(do_pad=True, pad_size={"height": 32, "width": 32}),
        OTHER_PICTURES,
    ),
    "not rescaled": (_processor(do_rescale=False), OTHER_PICTURES),
    "not resized": (_processor(do_resize=False), OTHER_PICTURES),
    "rescaled to -1..1": (_processor(rescale_factor=1 / 127.5), OTHER_PICTURES),
}


@pytest.mark.parametrize("what", SPOILT)
def test_what_cannot_be_read_is_refused_in_a_line(copied, what):
    spoil, message = SPOILT[what]
    spoil(copied)
    with refusing(message, BchistoError) as refused:
        opened(copied)
    assert str(copied) in str(refused.value)
    assert refused.value.exit_code == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "vit_nonsense"}, "has no vit_nonsense; see timm.list_models"),
        (
            {"architecture": "hf-hub:someone/else"},
            "has no hf-hub:someone/else; see timm.list_models",
        ),
        (
            {"model_args": {"checkpoint_path": "x.pth"}},
            "model_args.checkpoint_path of config.json is not read",
        ),
        (
            {"model_args": {"pretrained_strict": False}},
            "model_args.pretrained_strict of config.json is not read",
        ),
        ({"model_args": {"depth": 8}}, "not the weights of this network .*Missing key"),
        ({"model_args": {"depth": 1}}, "not the weights of this network .*Unexpected key"),
        ({"model_args": {"mlp_layer": "Own"}}, "mlp_layer Own is not known"),
        ({"model_args": {"nonsense": 1}}, "timm cannot build it"),
        ({"model_args": {"embed_dim": 65536}}, "which would have .* parameters and not"),
        ({"model_args": {"depth": 10**12}}, "timm cannot build it"),
        ({"model_args": [1]}, "config.json is not a config of timm"),
        ({"pretrained_cfg": {"input_size": [3, 160, 120]}}, "takes 3 channels of 160x120"),
        ({"pretrained_cfg": {"std": [1, 1, 0]}}, "its preprocessing is not supported"),
    ],
)
def test_what_timm_cannot_read_is_refused_in_a_line(tmp_path, changes, message):
    write_timm(tmp_path, "test_vit")
    _config(**changes)(tmp_path)
    with refusing(message, BchistoError) as refused:
        opened(tmp_path)
    assert refused.value.exit_code == 2


def test_other_places_outputs_and_engines_are_refused(tiny, tmp_path):
    def refused(text, **how):
        with pytest.raises(BchistoError) as error:
            open_encoder(EncoderChoice(*text), **how)
        return str(error.value)

    hub = f"hub:{tiny}"
    assert "no such folder" in refused((f"hub:{tmp_path / 'none'}",))
    assert "and not a file of it" in refused((f"hub:{tiny / 'model.safetensors'}",))
    assert "no output block3; it has cls, mean, block1, block2" in refused((hub, ("block3",)))
    assert "`engine` onnxruntime: does not run hub:" in refused((hub,), engine="onnxruntime")
    assert "`engine` onnxruntime: does not run vgg16" in refused(("vgg16",), engine="onnxruntime")
    with refusing("expected uint8 crops", ImageError):
        opened(tiny).encode(pictures(16)[0])


def test_a_crop_is_resized_and_its_middle_taken(tiny):
    encoder, (crop,) = opened(tiny), pictures(40, 1)
    middle = np.asarray(Image.fromarray(crop).resize((20, 20), Image.Resampling.BICUBIC))
    assert_array_equal(encoder.encode(crop[None]), encoder.encode(middle[None]))
    lines = dict(check_encoder(f"hub:{tiny}"))
    assert lines["mean and deviation"] == "0.5 0.4 0.6 and 0.2 0.25 0.3"
    assert lines["takes"] == "16x16 pixels, the middle of crops resized to 20x20 (bicubic)"


def test_a_named_encoder_says_how_to_get_its_weights():
    known = "uni2-h: its weights are not .*CC-BY-NC-ND-4.0, non-commercial use only, gated.*hf auth login"
    with refusing(f'{known}.*`weights="uni2-h=DIR"`', WeightsError):
        open_encoder(EncoderChoice("uni2-h"))


def narrowed(named, **further):
    """A named encoder with every field as published but for its width."""
    timm = named.library == "timm"
    size = (
        {"embed_dim": 96, "num_heads": 3} if timm else {"hidden_size": 96, "num_attention_heads": 3}
    )
    size |= {"intermediate_size": 192} if "intermediate_size" in named.arguments else {}
    return named._replace(arguments={**named.arguments, **size, **further})


@pytest.fixture
def narrow(monkeypatch):
    """The catalogue at full depth, narrower."""
    from bchisto.encoders import opening

    networks = {name: narrowed(named) for name, named in CATALOGUE.items()}
    monkeypatch.setattr(opening, "CATALOGUE", networks)
    return networks


def original(named, folder):
    """A named encoder in its own library, with random weights that lie in the folder, and its first tokens."""
    if named.library == "timm":
        model = write_timm(folder, named.architecture, **named.arguments)
        return model.forward_features, model.num_prefix_tokens
    import transformers as hf

    class_, size = ("ViT", 224) if named.architecture == "vit" else ("Dinov2", 518)
    config = getattr(hf, f"{class_}Config")(**named.arguments, image_size=size)
    model = write_transformers(folder, getattr(hf, f"{class_}Model")(config))
    return lambda given: model(given).last_hidden_state, 1


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_named_encoder_gives_what_its_library_gives(narrow, tmp_path, name):
    """At full depth, with the preprocessing of torchvision, and pooled as its authors do; its weights are enough."""
    import torch
    from torchvision import transforms

    named = narrow[name]
    compute, before = original(named, tmp_path)
    file = (tmp_path / "model.safetensors").rename(tmp_path / f"{name}.safetensors")
    encoder = open_encoder(EncoderChoice(name), weights=str(file))
    assert (encoder.name, encoder.layers, encoder.default_layers) == (name, named.outputs, True)
    assert encoder.card.terms() == named.card.terms()
    card = named.card
    treated = transforms.Compose(
        [
            transforms.Resize(card.resize or 224, transforms.InterpolationMode(card.interpolation)),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize(card.mean, card.std),
        ]
    )
    crops = pictures(300)
    with torch.inference_mode():
        tokens = compute(torch.stack([treated(Image.fromarray(crop)) for crop in crops]))
    wanted = {"cls": tokens[:, 0], "mean": tokens[:, before:].mean(1)}
    wanted = torch.cat([wanted[output] for output in named.outputs], dim=1).numpy()
    assert_allclose(encoder.encode(crops), wanted, atol=2e-6)


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_named_encoder_has_as_many_parameters_as_published(name):
    import timm
    import torch
    import transformers as hf

    named = CATALOGUE[name]
    with torch.device("meta"):
        if named.library == "timm":
            options = dict(named.arguments)
            if "mlp_layer" in options:
                options["mlp_layer"] = getattr(timm.layers, options["mlp_layer"])
            model = timm.create_model(named.architecture, num_classes=0, **options)
        else:
            class_ = "ViT" if named.architecture == "vit" else "Dinov2"
            model = getattr(hf, f"{class_}Model")(getattr(hf, f"{class_}Config")(**named.arguments))
    assert sum(parameter.numel() for parameter in model.parameters()) / 1e6 == pytest.approx(
        named.parameters, rel=0.02
    )


def test_an_encoder_of_vectors_named_twice_gives_it_twice(tiny):
    twice = opened(tiny, "mean", "mean").encode(pictures(16))
    assert_array_equal(twice[:, :8], twice[:, 8:])
