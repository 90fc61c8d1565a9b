"""Arrays in files of their own, in NumPy's format: written whole or not at all, looked at, mapped into memory."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from harness.errors import WorkspaceError
from harness.files import replacing

_HEADER_BYTES = 128
"""NumPy pads what it writes before the numbers to a multiple of 64, and an array of two axes needs more than that."""


class Header(NamedTuple):
    """What a file says that it holds."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]


def write(path: Path, array: npt.NDArray[Any]) -> None:
    """Write an array.

    Raises:
        WorkspaceError: it cannot be written.
    """
    with replacing(path) as unfinished:
        np.save(unfinished, array)


def write_blocks(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], blocks: Iterable[npt.NDArray[Any]]) -> None:
    """Write an array of one or two axes that comes in blocks along its last.

    Raises:
        WorkspaceError: it cannot be written.
    """
    # Not through a memory map: where a disk is full, that ends the process instead of raising.
    with replacing(path) as unfinished, unfinished.open("wb") as file:
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        start, at = file.tell(), 0
        for block in blocks:
            # All rows at once where they are whole.
            for row, values in enumerate(block[np.newaxis] if block.shape == shape else np.atleast_2d(block)):
                file.seek(start + (row * shape[-1] + at) * dtype.itemsize)
                file.write(np.ascontiguousarray(values, dtype).data)
            at += block.shape[-1]


def header(path: Path) -> Header | None:
    """Return what a file holds, without mapping it, which takes several times as long.

    Returns:
        None where there is no such file, its length is not what it says, or its header is not as written here.
    """
    try:
        with path.open("rb", buffering=0) as file:
            start, size = file.read(_HEADER_BYTES), os.fstat(file.fileno()).st_size
        found = _parsed(start)
    except (OSError, ValueError):
        return None
    return found if size == len(start) + math.prod(found.shape) * found.dtype.itemsize else None


@lru_cache
def _parsed(start: bytes) -> Header:
    """Return what the first bytes of a file say: the same of many, and it is Python that is parsed."""
    file = BytesIO(start)
    version = np.lib.format.read_magic(file)
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
    if version != (1, 0) or fortran_order or file.tell() != len(start):
        raise ValueError
    return Header(dtype, shape)


def mapped(path: Path, is_right: Callable[[Header], bool]) -> npt.NDArray[Any]:
    """Return an array, mapped into memory, for reading.

    Raises:
        WorkspaceError: there is no such file, or it is damaged or none that `is_right`.
    """
    array: npt.NDArray[Any] | None
    try:
        # Mapping fails on a file that is shorter than its header says, and reads nothing but that header.
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise WorkspaceError(f"{path}: not in the store. Run again to have it made.") from None
    except (OSError, ValueError, EOFError):
        array = None
    if array is None or not is_right(Header(array.dtype, array.shape)):
        raise WorkspaceError(f"{path}: damaged. Run again to have it made anew.")
    return array
