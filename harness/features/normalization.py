"""The statistics that inputs are normalized by: mean and variance of each row."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

_BLOCK = 1 << 20
"""Columns that are held in float64 at once."""


def mean_and_variance(
    tracks: Iterable[npt.NDArray[np.generic]], rows: int, scale: float = 1
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return mean and variance of each row over all columns of all tracks.

    Tracks are read one after another, block by block, and merged in float64 (Chan, Golub and LeVeque, 1979), so memory
    does not grow with their number.

    Args:
        tracks: each of shape (rows, frames), or (samples,) where there is one row.
        rows: of every track.
        scale: what a value of 1 is stored as.

    Returns:
        mean and (population) variance, each float32, shape (rows,); zeros where there is no track.
    """
    count, mean, squares = 0, np.zeros(rows), np.zeros(rows)
    for track in tracks:
        whole = np.atleast_2d(track)
        for start in range(0, whole.shape[1], _BLOCK):
            block = whole[:, start : start + _BLOCK].astype(np.float64) / scale
            n, block_mean = block.shape[1], block.mean(axis=1)
            delta = block_mean - mean
            squares += np.square(block - block_mean[:, None]).sum(axis=1) + delta**2 * count * n / (count + n)
            count += n
            mean += delta * n / count
    return mean.astype(np.float32), (squares / max(count, 1)).astype(np.float32)
