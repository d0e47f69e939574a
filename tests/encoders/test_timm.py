"""Networks of timm on PyTorch; nothing here runs where torch and timm are absent, as in continuous integration."""

import numpy as np
import pytest
from bchisto.core import WeightsError
from bchisto.encoders import EncoderChoice, describe_encoder, open_encoder
from PIL import Image
from refusals import refusing
from torch_folders import need_torch

pytestmark = pytest.mark.slow

NAME = "vit_tiny_patch16_224"


@pytest.fixture(scope="module")
def timm():
    need_torch()
    import timm

    return timm


@pytest.fixture(scope="module")
def weights(timm, tmp_path_factory):
    """Random weights of a small network, as a file."""
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(1)
    file = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_file(timm.create_model(NAME, num_classes=0).state_dict(), file)
    return file


def test_gives_what_timm_gives(timm, weights):
    import torch
    from safetensors.torch import load_file

    model = timm.create_model(NAME, num_classes=0)
    model.load_state_dict(load_file(weights))
    model.train(False)
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
    for side in (224, 300):
        crops = np.random.default_rng(side).integers(0, 256, (2, side, side, 3), dtype=np.uint8)
        given = torch.stack([transform(Image.fromarray(crop)) for crop in crops])
        with torch.inference_mode():
            tokens, vector = model.forward_features(given).numpy(), model(given).numpy()
        both = np.hstack([tokens[:, 0], tokens[:, 1:].mean(axis=1)])
        for outputs, wanted in (((), vector), (("cls", "mean"), both)):
            encoder = open_encoder(EncoderChoice(f"timm:{NAME}", outputs), weights=str(weights))
            np.testing.assert_allclose(encoder.encode(crops), wanted, atol=1e-6)
            assert (encoder.engine, encoder.card.size, encoder.card.resize) == ("torch", 224, 248)


def test_what_cannot_be_had_is_refused(timm, weights):
    with refusing('Missing key.*: "conv1.0.weight"', WeightsError):
        open_encoder(EncoderChoice("timm:resnet10t"), weights=str(weights))
    wanted = f'fetches no weights of timm; download timm/{NAME}.* into a folder DIR.*`weights="timm-{NAME}=DIR"`'
    with refusing(wanted, WeightsError):
        open_encoder(EncoderChoice(f"timm:{NAME}"))
    # nothing is built or fetched
    assert dict(describe_encoder(f"timm:{NAME}"))["takes"].startswith("224x224 pixels")
