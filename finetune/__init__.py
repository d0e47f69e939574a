"""CNNs trained over the same folds, to the same prediction table as the boosted road."""

from .augment import AUGMENTATIONS, OFFLINE
from .balance import SAMPLINGS, class_weights, sample_training
from .bundle import CnnBundle
from .images import ImageBank, make_reader
from .model import network_of
from .networks import NETWORKS, Network, build_network
from .patches import PatchRule, Samples, parse_patches
from .predict import predict_images
from .pretrained import CAFFE_LAYERS
from .protocol import FinetuneResult
from .run import finetune
from .settings import FinetuneSettings
from .timing import TrainingCost, time_training

__all__ = [
    "AUGMENTATIONS",
    "CAFFE_LAYERS",
    "NETWORKS",
    "OFFLINE",
    "SAMPLINGS",
    "CnnBundle",
    "FinetuneResult",
    "FinetuneSettings",
    "ImageBank",
    "Network",
    "PatchRule",
    "Samples",
    "TrainingCost",
    "build_network",
    "class_weights",
    "finetune",
    "make_reader",
    "network_of",
    "parse_patches",
    "predict_images",
    "sample_training",
    "time_training",
]
