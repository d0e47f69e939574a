"""CNNs in Keras 3, one file each; inputs are RGB in 0..255, outputs probabilities."""

from .layers import add_top
from .registry import ENTRY_POINT_GROUP, NETWORKS, build_network, get_network, list_networks
from .spec import CaffeLayers, NetworkSpec

__all__ = [
    "ENTRY_POINT_GROUP",
    "NETWORKS",
    "CaffeLayers",
    "NetworkSpec",
    "add_top",
    "build_network",
    "get_network",
    "list_networks",
]
