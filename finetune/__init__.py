"""CNNs trained over the same folds, to the same prediction table as the boosted road."""

from .augment import AUGMENTATIONS
from .balance import SAMPLINGS, class_weights, sample_training
from .networks import NETWORKS, Network, build_network
from .run import FinetuneResult, finetune
from .settings import FinetuneSettings

__all__ = [
    "AUGMENTATIONS",
    "NETWORKS",
    "SAMPLINGS",
    "FinetuneResult",
    "FinetuneSettings",
    "Network",
    "build_network",
    "class_weights",
    "finetune",
    "sample_training",
]
