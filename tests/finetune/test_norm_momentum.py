"""Momentum of batch normalisation is a setting of the networks that train one."""

import pytest
from bchisto.core import InputError
from bchisto.finetune import FinetuneSettings
from bchisto.finetune.model import build_model, resolved


def momenta(network, **options):
    model = build_model(FinetuneSettings(network, weights="random", **{"size": 32, **options}), classes=2, fold=0)
    return {layer.momentum for layer in model.layers if hasattr(layer, "momentum")}


@pytest.mark.parametrize("network", ["patch-resnet", "patch-densenet", "ddsm-baseline", "breakhis-resnet-dropout"])
def test_every_normalisation_takes_it(network):
    assert momenta(network) == {0.9}
    assert momenta(network, norm_momentum=0.5) == {0.5}


@pytest.mark.parametrize("network", ["alexnet", "googlenet", "mobilenetv2"])
def test_networks_without_one_refuse_it(network):
    with pytest.raises(InputError, match="`norm_momentum`: .* trains no batch normalisation with it"):
        resolved(FinetuneSettings(network, norm_momentum=0.5))
    assert resolved(FinetuneSettings(network))["norm_momentum"] is None
