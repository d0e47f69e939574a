"""CNNs in Keras 3, one file each; inputs are RGB in 0..255, outputs probabilities."""

from .registry import NETWORKS, Network, build_network
from .tops import add_top

__all__ = ["NETWORKS", "Network", "add_top", "build_network"]
