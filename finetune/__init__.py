"""Fine-tune CNNs over the same folds, and to the same prediction tables, as boosted models."""

from .augment import AUGMENTATIONS, OFFLINE
from .bundle import CnnBundle, CnnModel
from .images import ImageBank, make_reader
from .model import count_parameters, network_of, resolved
from .networks.layers import CaffeLayers, NetworkSpec
from .networks.registry import NETWORKS, build_network, get_network, list_networks
from .patches import PatchRule, Samples, parse_patches
from .pretrained import CAFFE_LAYERS
from .run import finetune
from .settings import SAMPLINGS, FinetuneSettings, class_weights, sample_training
from .units import TrainingCost, time_training

__all__ = [
    "AUGMENTATIONS",
    "CAFFE_LAYERS",
    "NETWORKS",
    "OFFLINE",
    "SAMPLINGS",
    "CaffeLayers",
    "CnnBundle",
    "CnnModel",
    "FinetuneSettings",
    "ImageBank",
    "NetworkSpec",
    "PatchRule",
    "Samples",
    "TrainingCost",
    "build_network",
    "class_weights",
    "count_parameters",
    "finetune",
    "get_network",
    "list_networks",
    "make_reader",
    "network_of",
    "parse_patches",
    "resolved",
    "sample_training",
    "time_training",
]
