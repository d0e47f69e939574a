"""Folders of networks with seeded random weights, as transformers and timm write them."""

import importlib.util
import json


def need_torch():
    """Skip, or fail where required, without PyTorch and the libraries of its networks."""
    from conftest import need

    available = all(map(importlib.util.find_spec, ("torch", "timm", "transformers")))
    need("torch", available, "pip install 'bchisto[torch]'")


def shake(model, seed=0):
    """Give every parameter a random value: initial positions, registers and scales are zeros or ones."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            values = torch.randn(parameter.shape, generator=generator) * 0.05
            parameter.copy_(values + 0.3 if parameter.ndim == 1 else values)
    return model.eval()


def write_transformers(folder, model, *, kind="BitImageProcessor", **processor):
    """Write a network of transformers and its processor; return the network."""
    import transformers

    transformers.utils.logging.disable_progress_bar()
    shake(model).save_pretrained(folder)
    known = {
        "image_processor_type": kind,
        "image_mean": [0.5, 0.4, 0.6],
        "image_std": [0.2, 0.25, 0.3],
        **processor,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(known))
    return model


def write_dinov2(folder, *, registers=0, **options):
    """Write a tiny DINOv2 whose images are 16 pixels; positions are of a 6x6 grid and have to be resized."""
    import transformers

    settings = {
        "hidden_size": 8,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "patch_size": 4,
        "mlp_ratio": 2,
        "image_size": 24,
        **options,
    }
    if registers:
        config = transformers.Dinov2WithRegistersConfig(num_register_tokens=registers, **settings)
        model = transformers.Dinov2WithRegistersModel(config)
    else:
        model = transformers.Dinov2Model(transformers.Dinov2Config(**settings))
    sizes = {"size": {"shortest_edge": 20}, "crop_size": {"height": 16, "width": 16}}
    return write_transformers(folder, model, **sizes)


def write_timm(folder, name, *, size=None, classes=0, published=(), **arguments):
    """Write a network of timm and its config; return the network."""
    import timm
    from safetensors.torch import save_file

    folder.mkdir(exist_ok=True)
    options = dict(arguments)
    if "mlp_layer" in options:
        options["mlp_layer"] = getattr(timm.layers, options["mlp_layer"])
    model = shake(timm.create_model(name, num_classes=classes, **options))
    save_file(model.state_dict(), folder / "model.safetensors")
    config = {
        **model.pretrained_cfg,
        "mean": [0.5, 0.4, 0.6],
        "std": [0.2, 0.25, 0.3],
        **dict(published),
    }
    if size is not None:
        config["input_size"] = [3, size, size]
    known = {
        "architecture": name,
        "num_classes": classes,
        "model_args": arguments,
        "pretrained_cfg": config,
    }
    (folder / "config.json").write_text(json.dumps(known))
    return model
