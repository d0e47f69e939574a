"""Networks that others trained: which there are, how they are built, their weights, and what runs them.

In: a name of `list_encoders`. Out: an `Encoder`, uint8 crops of shape (n, height, width, 3) to float32 descriptors of
shape (n, d).
"""

from .choice import EncoderChoice, parse_encoder, weights_of
from .encoder import Encoder, cached_encoder
from .engines import ENGINES, compile_tensors
from .geometry import GEOMETRY
from .network import canonical_names, precision_policy
from .registry import EncoderSpec, get_spec, list_encoders

__all__ = [
    "ENGINES",
    "GEOMETRY",
    "Encoder",
    "EncoderChoice",
    "EncoderSpec",
    "cached_encoder",
    "canonical_names",
    "compile_tensors",
    "get_spec",
    "list_encoders",
    "parse_encoder",
    "precision_policy",
    "weights_of",
]
