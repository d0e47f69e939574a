"""Store a trained model as the bytes of an NPZ file.

Files contain no date, so equal models give equal bytes. They are read without pickle, and every shape is checked.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import DAMAGE, BundleError, printable
from ..formats import check_zip, limits
from ..jobs import save_arrays

Array = npt.NDArray[Any]


def pack_arrays(arrays: Mapping[str, Array]) -> bytes:
    """Return arrays as the bytes of an NPZ file; equal arrays give equal bytes."""
    buffer = io.BytesIO()
    save_arrays(buffer, {name: np.asarray(array, order="C") for name, array in arrays.items()})
    return buffer.getvalue()


def unpack_arrays(
    data: bytes, shapes: Mapping[str, Sequence[str | int]], *, largest: float = limits.MODEL_VALUE
) -> dict[str, Array]:
    """Read arrays and check their names, shapes and values.

    Parameters
    ----------
    data : bytes
        Result of `pack_arrays`.
    shapes : mapping
        Name of each array to its dimensions. A dimension is a number or a letter; a letter means the same number in
        all arrays.
    largest : float
        Largest permitted absolute value.

    Returns
    -------
    dict of str to ndarray

    Raises
    ------
    BundleError
        The data are damaged or too large, the arrays have other names or shapes, or values are not finite.
    """
    try:
        check_zip(io.BytesIO(data), members=limits.MODEL_ARRAYS)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            # arrays are stored uncompressed, so together they cannot be larger than the file
            if sum(info.file_size for info in archive.infolist()) > len(data):
                raise BundleError("the arrays of a model unpack to more than a model can hold; it is not read")
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            if set(file.files) != set(shapes):
                names = printable(", ".join(sorted(file.files))[:120])
                raise BundleError(f"a model holds the arrays {names}; train it again")
            arrays = {name: np.asarray(file[name]) for name in shapes}
    except DAMAGE as error:
        if isinstance(error, BundleError):
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise BundleError(f"not a complete model of arrays ({reason}); train it again") from error
    dimensions: dict[str, int] = {}
    for name, expected in shapes.items():
        array = arrays[name]
        sizes = [
            dimensions.setdefault(e, n) if isinstance(e, str) else e
            for e, n in zip(expected, array.shape, strict=False)
        ]
        if len(expected) != array.ndim or sizes != list(array.shape):
            raise BundleError(f"the array {name} of a model has the shape {array.shape}; train it again")
        if array.dtype.kind not in "fi" or array.dtype.itemsize > 8 or not np.isfinite(array).all():
            raise BundleError(f"the array {name} of a model holds values that are not finite numbers; train it again")
        if array.size and max(-float(array.min()), float(array.max())) > largest:
            raise BundleError(f"the array {name} of a model holds values that are far too large; train it again")
    return arrays
