"""Encoders: pretrained networks that turn crops into features.

`open_encoder` builds one from a name, a folder or a file. A `CropEncoder` turns uint8 crops of shape
(n, height, width, 3) into float32 features of shape (n, d). An `Encoder` also has feature maps, which dense mode needs.
"""

from .card import CropEncoder, EncoderCard, card_of, other_treatment
from .catalogue import CATALOGUE, NamedEncoder
from .checkup import EncoderCheck, check_encoder, describe_encoder, list_all_encoders
from .choice import RUNNERS, EncoderChoice, unfetched, weights_of
from .encoder import Backbone, Encoder, build_backbone
from .engines import ENGINES, compile_tensors, executed_precision, imitates_bfloat16
from .fetch import fetch as fetch_encoder
from .fetch import fetched_folder
from .fetch import look_up as look_up_encoder
from .loading import WeightArrays, fill_weights, read_weight_arrays
from .network import Axis, canonical_names, map_axes, precision_policy, variables_of
from .opening import (
    cached_encoder,
    gives_maps,
    header_choice,
    open_encoder,
    recorded_source,
    source_sha256,
    stated_card,
)
from .registry import (
    EncoderFacts,
    EncoderSpec,
    check_encoder_name,
    encoder_facts,
    get_spec,
    least_of_partial,
    list_encoders,
)
from .vectors import VectorSpec
from .weights import weights_folder

__all__ = [
    "CATALOGUE",
    "ENGINES",
    "RUNNERS",
    "Axis",
    "Backbone",
    "CropEncoder",
    "Encoder",
    "EncoderCard",
    "EncoderCheck",
    "EncoderChoice",
    "EncoderFacts",
    "EncoderSpec",
    "NamedEncoder",
    "VectorSpec",
    "WeightArrays",
    "build_backbone",
    "cached_encoder",
    "canonical_names",
    "card_of",
    "check_encoder",
    "check_encoder_name",
    "compile_tensors",
    "describe_encoder",
    "encoder_facts",
    "executed_precision",
    "fetch_encoder",
    "fetched_folder",
    "fill_weights",
    "get_spec",
    "gives_maps",
    "header_choice",
    "imitates_bfloat16",
    "least_of_partial",
    "list_all_encoders",
    "list_encoders",
    "look_up_encoder",
    "map_axes",
    "open_encoder",
    "other_treatment",
    "precision_policy",
    "read_weight_arrays",
    "recorded_source",
    "source_sha256",
    "stated_card",
    "unfetched",
    "variables_of",
    "weights_folder",
    "weights_of",
]
