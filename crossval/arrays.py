"""A trained model as the bytes of an NPZ file: written without a date, read without pickle, every shape checked."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core import DAMAGE, BundleError, printable
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
    """Read arrays and check that they belong together.

    Parameters
    ----------
    data : bytes
        Of `pack_arrays`.
    shapes : mapping
        Name of each array to its dimensions: a number, or a letter, which means the same number wherever it stands.
    largest : float
        Bound on values.

    Returns
    -------
    dict of str to ndarray

    Raises
    ------
    BundleError
        Damaged, too large, another set of arrays, other shapes, or values that are not finite.
    """
    try:
        check_zip(io.BytesIO(data), members=limits.MODEL_ARRAYS)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            # written unpacked, so that nothing in them is larger than their bytes
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
    known: dict[str, int] = {}
    for name, expected in shapes.items():
        array = arrays[name]
        sizes = [
            known.setdefault(e, n) if isinstance(e, str) else e for e, n in zip(expected, array.shape, strict=False)
        ]
        if len(expected) != array.ndim or sizes != list(array.shape):
            raise BundleError(f"the array {name} of a model has the shape {array.shape}; train it again")
        if array.dtype.kind not in "fi" or array.dtype.itemsize > 8 or not np.isfinite(array).all():
            raise BundleError(f"the array {name} of a model holds values that are not finite numbers; train it again")
        if array.size and max(-float(array.min()), float(array.max())) > largest:
            raise BundleError(f"the array {name} of a model holds values that are far too large; train it again")
    return arrays
