"""Feature files and weights of strangers: links to other files, false headers, odd values.

Name to an alteration, and the words of the refusal.
"""

import io
import json
import zipfile

import h5py
import numpy as np
from safetensors.numpy import save_file

TEXT = h5py.string_dtype("utf-8")


# ---- feature files: each alteration takes an open HDF5 file and a file of somebody else


def elsewhere(folder):
    """A file of somebody else with values of the right shape."""
    with h5py.File(folder / "other.h5", "w") as file:
        file["features"] = np.ones((24, 16), np.float32)
        file["images/image_id"] = np.array([f"stranger{i}" for i in range(12)], dtype=object)
        file["tissue"] = np.full(12, 0.123, np.float32)
    (folder / "raw.bin").write_bytes(np.ones((24, 16), np.float32).tobytes())
    return folder / "other.h5"


def dataset(name, **new):
    """Put another dataset in the place of one."""

    def change(file, other):
        del file[name]
        file.create_dataset(name, **new)

    return change


def link(name, make):
    def change(file, other):
        del file[name]
        file[name] = make(other)

    return change


def external_raw(file, other):
    raw = [(str(other.with_name("raw.bin")), 0, h5py.h5f.UNLIMITED)]
    dataset("features", shape=(24, 16), dtype=np.float32, external=raw)(file, other)


def virtual(name):
    def change(file, other):
        shape = file[name].shape
        del file[name]
        layout = h5py.VirtualLayout(shape, np.float32)
        layout[...] = h5py.VirtualSource(str(other), "features", shape=shape)
        file.create_virtual_dataset(name, layout, fillvalue=1.0)

    return change


def attribute(name, value):
    return lambda file, other: file.attrs.__setitem__(name, value)


def setting(name, value=..., *, attribute="settings"):
    """Change one of the settings, or of the facts on the origin, which are one JSON each."""

    def change(file, other):
        settings = json.loads(file.attrs[attribute])
        settings[name] = value
        file.attrs[attribute] = json.dumps({k: v for k, v in settings.items() if v is not ...})

    return change


def origin(name, value):
    return setting(name, value, attribute="origin")


def cell(name, place, value):
    return lambda file, other: file[name].__setitem__(place, value)


def moved(file, other):
    file.move("features", "away")
    file["features"] = h5py.SoftLink("/away")


NAMES = np.array([f"i{n}" for n in range(12)], dtype=object)

STORES = {
    "features by an external link": (
        link("features", lambda other: h5py.ExternalLink(str(other), "features")),
        "features is a link to another object",
    ),
    "images by an external link": (
        link("images", lambda other: h5py.ExternalLink(str(other), "images")),
        "images/image_id is a link to another object",
    ),
    "features by a soft link": (moved, "features is a link to another object"),
    "images that are themselves": (
        link("images", lambda other: h5py.SoftLink("/images")),
        "images/image_id is a link to another object",
    ),
    "raw features of another file": (external_raw, "the values of features are in other files"),
    "virtual features": (virtual("features"), "the values of features are in other files"),
    "features as text": (
        dataset("features", shape=(24, 16), dtype=TEXT),
        "features holds text or objects, not float",
    ),
    "features of integers": (
        dataset("features", data=np.ones((24, 16), np.int64)),
        "holds int64, not float",
    ),
    "features of one axis": (dataset("features", data=np.ones(24, np.float32)), "not 2 axes"),
    "features that are empty": (
        dataset("features", dtype=np.float32, data=h5py.Empty("f4")),
        "is not a dataset with values",
    ),
    "features that were never written": (
        dataset("features", shape=(24, 16), dtype=np.float32),
        "0 are stored",
    ),
    "features of a terabyte": (
        dataset(
            "features", shape=(24, 2**34), chunks=(1, 4096), dtype=np.float32, compression="gzip"
        ),
        "claims .* bytes, of which 0 are stored",
    ),
    "chunks of a gigabyte": (
        dataset(
            "features", shape=(24, 2**28), chunks=(1, 2**28), dtype=np.float32, compression="gzip"
        ),
        "chunks of more than 256 MiB",
    ),
    "a group called features": (
        lambda file, other: (file.pop("features"), file.create_group("features")),
        "is not a dataset",
    ),
    "short labels": (dataset("label", data=NAMES), "label has the shape"),
    "labels that are no UTF-8": (
        dataset("label", data=np.array([b"\xff\xfe"] * 24, dtype=object), dtype=TEXT),
        "codec can't decode",
    ),
    "ids twice": (
        lambda file, other: file["images/image_id"].__setitem__(1, file["images/image_id"][0]),
        "is in it twice",
    ),
    "an id without letters": (cell("images/image_id", 1, ""), "without a name"),
    "an id of a megabyte": (cell("images/image_id", 1, "x" * 2**20), "too long"),
    "classes in numbers": (origin("classes", [1.0]), "classes of its origin does not fit"),
    "a class twice": (origin("classes", ["a", "a"]), "classes of its origin does not fit"),
    "augmentations of 0": (origin("augmentations", 0), "augmentations of its origin .* fit: 0"),
    "augmentations of 3": (origin("augmentations", 3), "24 rows do not fit 12 images"),
    "augmentations in words": (origin("augmentations", "two"), "augmentations of its origin"),
    "a dataset of a million letters": (origin("dataset", "x" * 10**6), "origin, or it is too long"),
    "a dataset of 5,000 letters": (origin("dataset", "x" * 5000), "dataset of its origin"),
    "no encoder": (setting("encoder"), "its settings have no 'encoder'"),
    "an encoder of a number": (setting("encoder", 3.0), "encoder is not text"),
    "an encoder of 60,000 letters": (
        setting("encoder", "x" * 60_000),
        "a text of the attribute settings is too long",
    ),
    "a reference in place of a text": (
        lambda file, other: file.attrs.create("settings", file.ref, dtype=h5py.ref_dtype),
        "no attribute settings",
    ),
    "synthetic in words": (origin("synthetic", "no"), "synthetic of its origin"),
    "failures that are no JSON": (dataset("failures", data="[[", dtype=TEXT), "damaged"),
    "failures nested without end": (dataset("failures", data="[" * 50_000, dtype=TEXT), "damaged"),
    "a selection that is none": (origin("selection", []), "selection of its origin"),
    "a card of numbers": (origin("card", [0, 1]), "card of its origin"),
    "a norm NaN": (setting("pool", np.nan), "pool is nan, out of range"),
    "a scale that is infinite": (setting("scale", np.inf), "scale is inf, out of range"),
    "colours NaN": (
        setting("color_range", [np.nan, 1.0]),
        "color_range is .nan, 1.0., out of range",
    ),
    "one colour": (setting("color_range", [0.5]), "its settings do not fit: .*give 2 values"),
    "crops without end": (setting("crops", 2**62), "crops is 4611686018427387904, out of range"),
    "a seed of 64 bits": (setting("seed", 2**64 - 1), "seed is 18446744073709551615, out of range"),
    "a mode with an escape": (
        setting("mode", "\x1b[2J$\\frac{$"),
        "do not fit: `mode` .*choose one of exact, dense",
    ),
    "a mode of embeddings": (setting("mode", "imported"), "its settings have no 'imported'"),
    "a schema of -1": (attribute("schema_version", -1), "-1 is not a schema number"),
    "a schema to come": (
        attribute("schema_version", 99),
        r"99 is not a schema number .*; make it again",
    ),
    "no images": (lambda file, other: file.pop("images"), "damaged"),
    "a kind in numbers": (attribute("kind", [1, 2]), "not a bchisto feature file"),
}
ABOUT = {"facts": {}, "pooled": "", "source": "x"}
EMBEDDINGS = {
    "a list": (setting("imported", [1]), r"imported does not fit: \[1\]"),
    "no source": (
        setting("imported", {"facts": {}, "pooled": ""}),
        "imported does not fit",
    ),
    "a norm NaN": (
        setting("imported", {**ABOUT, "facts": {"pool": np.nan}}),
        "its attribute pool is not understood: nan",
    ),
    "nothing": (setting("imported"), "its settings have no 'imported'"),
    "a length in words": (setting("dim", "x"), "dim does not fit: x"),
    "another length": (setting("dim", 7), "its features have 16 numbers, and its settings 7"),
    "a hash of words": (setting("features_sha256", "../x"), "features_sha256 does not fit"),
    **{
        f"features of {value}": (cell("features", (7, 3), value), "a feature of .* is not finite")
        for value in (np.nan, np.inf, -np.inf)
    },
}


# ---- files of arrays: each is a file name and what writes it

WHOLE = {"first/kernel": np.ones((2, 2, 3, 4), np.float32), "first/bias": np.zeros(4, np.float32)}


def savez(path, **arrays):
    np.savez(path, **{**WHOLE, **arrays})


def array(values):
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


def member(name="x.npy", data=None, *, flag=0, method=None):
    """An NPZ with one more member, which the directory calls encrypted or packed by another method."""

    def write(path):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(name, array(np.ones(3)) if data is None else data)
        raw = bytearray(path.read_bytes())
        for signature, flags, packed in ((b"PK\x03\x04", 6, 8), (b"PK\x01\x02", 8, 10)):
            place = raw.index(signature)
            raw[place + flags] |= flag
            if method is not None:
                raw[place + packed] = method
        path.write_bytes(raw)

    return write


def f8(path):
    """A safetensors file whose one tensor is of a type of which NumPy has none."""
    header = b'{"x":{"dtype":"F8_E4M3","shape":[4],"data_offsets":[0,4]}}'
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))


ARRAYS = {
    "npz with a raw member": ("w.npz", member("readme.txt", b"hello"), "readme.txt holds bytes"),
    "npz of text": ("w.npz", lambda p: savez(p, x=np.array(["a"])), "x holds <U1, not numbers"),
    "npz of objects": (
        "w.npz",
        lambda p: np.savez(p, x=np.array([{}], object)),
        "Object arrays cannot be loaded",
    ),
    "npz encrypted": ("w.npz", member(flag=1), "encrypted"),
    "npz of an unknown method": ("w.npz", member(method=99), "or damaged"),
    "npz whose header is code": (
        "w.npz",
        member(data=array(np.ones(3)).replace(b"{'descr'", b"[exit( ]")),
        "or damaged",
    ),
    "npz that is a bomb": (
        "w.npz",
        lambda p: np.savez_compressed(p, x=np.zeros(3_000_000)),
        "unpacks to more than",
    ),
    "npz that is no zip": (
        "w.npz",
        lambda p: p.write_bytes(b"PK\x03\x04xx"),
        "not a weights file, or damaged",
    ),
    "safetensors of F8": ("w.safetensors", f8, "w.safetensors: "),
    "safetensors of truth values": (
        "w.safetensors",
        lambda p: save_file({"x": np.ones(3, bool)}, p),
        "x holds bool, not numbers",
    ),
    "safetensors whose header lies": (
        "w.safetensors",
        lambda p: p.write_bytes((2**60).to_bytes(8, "little") + b"{}"),
        "not a safetensors file",
    ),
    "safetensors cut off": (
        "w.safetensors",
        lambda p: (save_file(WHOLE, p), p.write_bytes(p.read_bytes()[:-9])),
        "not a safetensors file",
    ),
    "a folder": ("w.npz", lambda p: p.mkdir(), "no such weights file"),
}


# ---- weights that Keras saved: each alteration takes an open HDF5 file and a folder

KERNEL = "layers/conv2d/vars/0"


def put(value=None, **options):
    """Put another dataset in the place of the kernel."""

    def change(file, folder):
        given = {"shape": file[KERNEL].shape, "dtype": "f4", **options}
        del file[KERNEL]
        if value is None:
            file.create_dataset(KERNEL, **given)
        else:
            file[KERNEL] = value

    return change


KERAS = {
    "an external link": (
        put(h5py.ExternalLink("/etc/hostname", "x")),
        "is a link to another object",
    ),
    "a soft link": (put(h5py.SoftLink("/layers/conv2d/vars/1")), "is a link to another object"),
    "raw values of another file": (
        put(external=[("/etc/passwd", 0, 192)]),
        "are in other files, which are not read",
    ),
    "values of another HDF5 file": (virtual(KERNEL), "are in other files, which are not read"),
    "a group within itself": (
        lambda file, folder: file.__setitem__("layers/conv2d/vars/more", file["layers"]),
        "not weights of this network",
    ),
    "a type without values": (put(np.dtype("f4")), "is not a dataset"),
    "a hundred GB of zeros": (
        put(shape=(50_000, 500_000), chunks=(64, 64), compression="gzip"),
        "claims 100,000,000,000 bytes",
    ),
    "an unknown filter": (
        put(chunks=(1, 1, 3, 4), compression=32_015, allow_unknown_filter=True),
        "packed with filter 32015",
    ),
    "NaN": (put(np.full((2, 2, 3, 4), np.nan, np.float32)), "lacks first/kernel"),
    "another shape": (put(np.ones((2, 2, 3, 5), np.float32)), "not weights of"),
    "nothing": (put(shape=None, data=h5py.Empty("f4")), "is not a dataset with values"),
}
