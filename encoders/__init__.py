"""Encoders: pretrained networks that turn crops into features.

`open_encoder` builds one from a name, a folder or a file. A `CropEncoder` turns uint8 crops of shape
(n, height, width, 3) into float32 features of shape (n, d). An `Encoder` also has feature maps, which dense mode needs.
"""

from .catalogue import CATALOGUE, EncoderCard, card_of
from .encoder import Encoder, build_backbone
from .engines import (
    ENGINES,
    Network,
    compile_tensors,
    executed_precision,
    imitates_bfloat16,
    openvino_core,
)
from .fetch import encoders_folder, fetched_folder
from .fetch import fetch as fetch_encoder
from .kept import compiled_folder, keep_compiled, kept_folder, kept_in, kept_trouble
from .kept import trim as trim_kept
from .loading import WeightArrays, read_weight_arrays, short_reason
from .network import canonical_names, precision_policy, variables_of
from .opening import (
    CropEncoder,
    cached_encoder,
    check_encoder,
    describe_encoder,
    gives_maps,
    header_choice,
    list_all_encoders,
    open_encoder,
    recorded_source,
    source_sha256,
    stated_card,
)
from .registry import (
    BUILT_IN,
    EMBEDDED,
    FOLDED,
    LEAST_OF_PARTIAL,
    PUBLISHED,
    EncoderChoice,
    EncoderSpec,
    check_encoder_names,
    encoder_facts,
    get_spec,
    has_weights,
    is_built_in,
    is_folded,
    list_encoders,
    published_file,
    refuse_unused,
    unfetched,
    weight_options,
    weights_folder,
    weights_of,
)
from .vectors import VectorSpec

__all__ = [
    "Encoder",
    "EncoderCard",
    "EncoderChoice",
    "EncoderSpec",
    "VectorSpec",
    "check_encoder",
    "describe_encoder",
    "list_all_encoders",
    "open_encoder",
]
__dir__ = __all__.copy
