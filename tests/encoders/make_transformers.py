"""Writes tests/encoders/transformers: tiny networks with random weights, and what their own libraries make of them.

Run by hand where torch, transformers and timm are installed; the tests read what it wrote and need none of them.

    python tests/encoders/make_transformers.py
"""

import json
import shutil
from pathlib import Path

import numpy as np
import timm
import torch
import transformers
from safetensors.torch import save_file
from timm.layers import SwiGLUPacked

OUT = Path(__file__).parent / "transformers"
MEAN, STD = (0.5, 0.4, 0.6), (0.2, 0.25, 0.3)
SMALL = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 4}


def images():
    return np.random.default_rng(16).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)


def seen():
    pixels = (images().astype(np.float32) / 255 - MEAN) / STD
    return torch.tensor(pixels.transpose(0, 3, 1, 2), dtype=torch.float32)


def shake(model):
    """Random weights everywhere: the initial ones of positions, registers and scales are zeros or ones."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for value in model.parameters():
            value.copy_(torch.randn(value.shape, generator=generator) * 0.3)
    return model.eval()


def kept(folder, tokens, before, **more):
    tokens = tokens.detach().numpy()
    found = {"cls": tokens[:, 0], "mean": tokens[:, before:].mean(1), **more}
    np.savez(folder / "expected.npz", **{name: np.asarray(value, np.float32) for name, value in found.items()})


def hugging(name, model, *, before=1, base=None):
    folder = OUT / name
    shake(model).save_pretrained(folder)
    processor = {"image_mean": MEAN, "image_std": STD, "crop_size": {"height": 16, "width": 16}, "resample": 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    found = (base or model)(seen(), output_hidden_states=True)
    behind = found.hidden_states[1].detach().numpy()
    kept(folder, found.last_hidden_state, before, block1=behind[:, before:].mean(1) if before else behind.mean(1))


def of_timm(name, *, before, arguments, **options):
    folder = OUT / name
    folder.mkdir()
    model = shake(timm.create_model("vit_giant_patch14_224", num_classes=0, **options))
    save_file(model.state_dict(), folder / "model.safetensors")
    config = {
        "architecture": "vit_giant_patch14_224",
        "num_classes": 0,
        "model_args": arguments,
        "pretrained_cfg": {"mean": MEAN, "std": STD, "input_size": [3, 16, 16], "interpolation": "bicubic"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    kept(folder, model.forward_features(seen()), before)


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    vit = transformers.ViTConfig(**SMALL, intermediate_size=16, image_size=16)
    hugging("vit", transformers.ViTModel(vit, add_pooling_layer=False))
    whole = transformers.ViTForImageClassification(vit)
    hugging("vit-with-head", whole, base=whole.vit)
    # positions of a 6x6 grid, used at 4x4 as transformers itself does
    dino = transformers.Dinov2Config(**SMALL, mlp_ratio=2, image_size=24)
    hugging("dinov2", transformers.Dinov2Model(dino))
    gated = transformers.Dinov2WithRegistersConfig(
        **SMALL, mlp_ratio=2, image_size=16, num_register_tokens=3, use_swiglu_ffn=True
    )
    hugging("dinov2-registers", transformers.Dinov2WithRegistersModel(gated), before=4)
    swin = transformers.SwinConfig(
        image_size=32, patch_size=4, embed_dim=8, depths=[1, 1], num_heads=[1, 2], window_size=4, mlp_ratio=2
    )
    model = shake(transformers.SwinModel(swin, add_pooling_layer=False))
    model.save_pretrained(OUT / "swin")
    processor = {"image_mean": MEAN, "image_std": STD, "size": {"height": 32, "width": 32}, "resample": 3}
    (OUT / "swin" / "preprocessor_config.json").write_text(json.dumps(processor))
    large = torch.nn.functional.interpolate(seen(), scale_factor=2, mode="nearest")
    np.savez(OUT / "swin" / "expected.npz", mean=model(large).last_hidden_state.detach().numpy().mean(1))
    # as UNI2-h, Virchow2 and H-optimus-0, but for their sizes
    small = {"img_size": 16, "patch_size": 4, "depth": 2, "num_heads": 2, "embed_dim": 8, "init_values": 1e-5}
    gate = {"mlp_layer": SwiGLUPacked, "act_layer": torch.nn.SiLU, "mlp_ratio": 4}
    of_timm("timm-uni2", before=3, arguments={"num_heads": 2}, **small, **gate, reg_tokens=2, no_embed_class=True)
    of_timm("timm-virchow2", before=3, arguments={"num_heads": 2}, **small, **gate, reg_tokens=2)
    of_timm("timm-uni", before=1, arguments={"num_heads": 2}, **small, mlp_ratio=2)


if __name__ == "__main__":
    main()
