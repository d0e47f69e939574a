"""Fine-tune CNNs over the same folds, and to the same prediction tables, as boosted models."""

from .batches import Source, training_batches
from .bundle import CnnBundle, CnnModel
from .images import ImageBank, StainTreatment
from .model import build_model, network_of, resolved
from .networks import NETWORKS, build_network, get_network, list_networks
from .networks.spec import NetworkSpec
from .samples import AUGMENTATIONS, PatchRule, cut_region, parse_patches, window_starts
from .settings import FinetuneSettings, sample_training
from .training import finetune

__all__ = [
    "CnnBundle",
    "FinetuneSettings",
    "NetworkSpec",
    "build_network",
    "finetune",
    "get_network",
    "list_networks",
    "parse_patches",
]
__dir__ = __all__.copy
