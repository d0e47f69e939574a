"""Arrays in files."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from typing import IO, Any

import numpy as np
import numpy.typing as npt


def save_arrays(handle: IO[bytes], arrays: Mapping[str, npt.ArrayLike], *, compressed: bool = False) -> None:
    """Write arrays as `numpy.savez` does, and refuse Python objects; equal arrays give equal bytes.

    NumPy before 2.2 takes ``allow_pickle=False`` for one more array.
    """
    with zipfile.ZipFile(handle, "w", zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                values: npt.NDArray[Any] = np.asanyarray(array)
                np.lib.format.write_array(member, values, allow_pickle=False)
