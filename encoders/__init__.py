"""Networks that others trained: which there are, how they are built, their weights, and what runs them.

In: a name of `list_encoders`. Out: an `Encoder`, uint8 crops of shape (n, height, width, 3) to float32 descriptors of
shape (n, d).
"""

from .backbone import Backbone, build_backbone
from .choice import EncoderChoice, parse_encoder, weights_of
from .encoder import Encoder, cached_encoder
from .engines import ENGINES, compile_tensors
from .facts import EncoderFacts, encoder_facts, least_of_partial
from .geometry import GEOMETRY, Axis, map_axes
from .loading import WeightArrays, fill_weights, load_keras_file, read_weight_arrays
from .network import canonical_names, precision_policy, variables_of
from .registry import EncoderSpec, get_spec, list_encoders

__all__ = [
    "ENGINES",
    "GEOMETRY",
    "Axis",
    "Backbone",
    "Encoder",
    "EncoderChoice",
    "EncoderFacts",
    "EncoderSpec",
    "WeightArrays",
    "build_backbone",
    "cached_encoder",
    "canonical_names",
    "compile_tensors",
    "encoder_facts",
    "fill_weights",
    "get_spec",
    "least_of_partial",
    "list_encoders",
    "load_keras_file",
    "map_axes",
    "parse_encoder",
    "precision_policy",
    "read_weight_arrays",
    "variables_of",
    "weights_of",
]
