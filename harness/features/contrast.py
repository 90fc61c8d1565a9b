"""What spectral contrast picks from the octaves of a spectrum, which librosa does frame by frame."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Weights = npt.NDArray[np.float32]


class ContrastFilter(NamedTuple):
    """What gives the peak and the valley of each band from the magnitudes of a frame.

    Attributes:
        bands: the FFT bins of each; to be sorted within.
        extremes: which of the bins are picked then, int64, shape (picked,).
        means: what those are multiplied by, float32, shape (picked, 2 * bands): peaks first, then valleys.
    """

    bands: tuple[slice, ...]
    extremes: npt.NDArray[np.int64]
    means: Weights


def contrast_filter(rate: int, n_fft: int, n_bands: int) -> ContrastFilter:
    """Return what spectral contrast is made with: peaks and valleys are means of two per cent of a band's bins.

    Args:
        rate: samples a second.
        n_fft: samples a frame.
        n_bands: how many there are: below 200 Hz, the octaves above, and in the last all that is left.
    """
    octaves = 200 * 2.0 ** np.arange(n_bands - 1)
    edges = [0, *(np.searchsorted(np.fft.rfftfreq(n_fft, 1 / rate), octaves) - 1).tolist(), 1 + n_fft // 2]
    bands = tuple(slice(start, stop) for start, stop in pairwise(edges))
    # Of the bins of a band librosa counts the first of the next one, too.
    counts = [max(1, round(0.02 * (band.stop - band.start + (band is not bands[-1])))) for band in bands]
    peaks = [np.arange(band.stop - count, band.stop) for band, count in zip(bands, counts, strict=True)]
    valleys = [np.arange(band.start, band.start + count) for band, count in zip(bands, counts, strict=True)]
    columns = np.repeat(np.arange(2 * n_bands), counts + counts)
    means = np.equal.outer(columns, np.arange(2 * n_bands)) / (counts + counts)
    return ContrastFilter(bands, np.concatenate(peaks + valleys), means.astype(np.float32))
