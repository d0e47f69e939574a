"""Convert a published Caffe model to .safetensors, which `bchisto finetune --weights` reads. Nothing of it is executed.

    python tools/convert_caffe.py bvlc_googlenet.caffemodel googlenet.safetensors

Arrays are called `<Caffe layer>.weight`, `.bias`, and `.2` and so on. Needs numpy, safetensors and protobuf, which
TensorFlow brings.
"""

import argparse
import math
import sys
from pathlib import Path

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from safetensors.numpy import save_file

FIELDS = {
    "BlobShape": [(1, "dim", "int64")],
    "BlobProto": [
        (1, "num", "int32"), (2, "channels", "int32"), (3, "height", "int32"), (4, "width", "int32"),
        (5, "data", "float"), (7, "shape", "BlobShape"), (8, "double_data", "double"),
    ],
    "LayerParameter": [(1, "name", "string"), (7, "blobs", "BlobProto")],
    "V1LayerParameter": [(4, "name", "string"), (6, "blobs", "BlobProto")],
    "NetParameter": [(2, "layers", "V1LayerParameter"), (100, "layer", "LayerParameter")],
}  # fmt: skip
"""What leads to the weights in `caffe.proto` of BVLC Caffe 1.0: numbers, names and types of the fields."""

REPEATED = ("dim", "data", "double_data", "blobs", "layers", "layer")
PACKED = ("dim", "data", "double_data")


def network_class():
    """Return the class of protobuf that reads a network."""
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="weights.proto", package="caffe", syntax="proto2")
    for name, fields in FIELDS.items():
        message = file.message_type.add(name=name)
        for number, field, kind in fields:
            entry = message.field.add(name=field, number=number)
            entry.label = kinds.LABEL_REPEATED if field in REPEATED else kinds.LABEL_OPTIONAL
            entry.options.packed = field in PACKED
            if kind in FIELDS:
                entry.type, entry.type_name = kinds.TYPE_MESSAGE, f".caffe.{kind}"
            else:
                entry.type = getattr(kinds, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("caffe.NetParameter"))


def array_of(blob, name):
    """Return the numbers of a blob in its shape; blobs of the older form have four axes, of which leading ones go."""
    if blob.HasField("shape"):
        shape = list(blob.shape.dim)
    else:
        shape = [getattr(blob, axis) if blob.HasField(axis) else 1 for axis in ("num", "channels", "height", "width")]
        while len(shape) > 1 and shape[0] == 1:
            shape = shape[1:]
    values = np.array(blob.data or blob.double_data, np.float32)
    if min(shape, default=1) < 0 or math.prod(shape) != len(values):
        raise ValueError(f"{name} has {len(values):,} numbers, and not those of the shape {tuple(shape)}")
    return values.reshape(shape)


def read(path):
    """Return the arrays of a Caffe model by name."""
    network = network_class()()
    network.ParseFromString(path.read_bytes())
    arrays = {}
    for layer in (*network.layers, *network.layer):
        for number, blob in enumerate(layer.blobs):
            name = f"{layer.name}.{('weight', 'bias')[number] if number < 2 else number}"
            if not layer.name or name in arrays:
                raise ValueError(f"two layers called {layer.name}, or one without a name")
            arrays[name] = array_of(blob, name)
    if not arrays:
        raise ValueError("no layer with weights")
    return arrays


def main():
    """Convert the file that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    try:
        arrays = read(options.model)
        save_file(arrays, options.out)
    except (OSError, ValueError, DecodeError) as error:
        sys.exit(f"error: {options.model}: not converted ({' '.join(str(error).split())[:200]})")
    print(f"{options.out}: {len(arrays)} arrays")


if __name__ == "__main__":
    main()
