"""What a spectrum is weighed by: mel bands, pitch classes and octaves, as librosa has them by default.

Made here because librosa takes seconds to import, in every process that extracts features.
"""

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


def mel_filters(rate: int, n_fft: int, n_mels: int) -> Weights:
    """Return triangular filters of unit area on Slaney's mel scale (Auditory Toolbox, 1998).

    Up to 1,000 Hz the scale is linear, 3 mel to 200 Hz; above, 27 mel are a factor of 6.4.

    Args:
        rate: samples a second.
        n_fft: samples a frame.
        n_mels: how many bands there are between 0 Hz and half the rate.

    Returns:
        float32, shape (n_mels, 1 + n_fft // 2), for a power spectrum.
    """
    octaves = 27 / np.log(6.4)
    mels = np.linspace(0, 15 + octaves * np.log(rate / 2 / 1000), n_mels + 2)
    edges = np.where(mels < 15, mels * 200 / 3, 1000 * np.exp((mels - 15) / octaves))
    slopes = np.subtract.outer(edges, np.fft.rfftfreq(n_fft, 1 / rate))
    widths = np.diff(edges)[:, np.newaxis]
    triangles = np.maximum(0, np.minimum(-slopes[:-2] / widths[:-1], slopes[2:] / widths[1:]))
    weights = triangles * 2 / (edges[2:] - edges[:-2])[:, np.newaxis]
    return np.asarray(weights, np.float32)


def chroma_filters(rate: int, n_fft: int, n_chroma: int) -> Weights:
    """Return filters that gather the octaves of each pitch class, from C, A being 440 Hz (Ellis, 2007).

    A bin counts for the pitches near it, by a Gaussian; and most around five octaves above 27.5 Hz, by another.

    Args:
        rate: samples a second.
        n_fft: samples a frame.
        n_chroma: how many classes an octave has.

    Returns:
        float32, shape (n_chroma, 1 + n_fft // 2), for a power spectrum.
    """
    pitches = n_chroma * np.log2(np.fft.rfftfreq(n_fft, 1 / rate)[1:] / 27.5)
    # The first bin has no pitch: it counts as an octave and a half below the second.
    pitches = np.concatenate([[pitches[0] - 1.5 * n_chroma], pitches])
    widths = np.maximum(np.diff(pitches, append=pitches[-1]), 1)
    apart = np.subtract.outer(np.arange(n_chroma), pitches)
    nearest = np.remainder(apart + n_chroma / 2, n_chroma) - n_chroma / 2
    weights = np.exp(-0.5 * (2 * nearest / widths) ** 2)
    weights /= np.linalg.norm(weights, axis=0)
    weights *= np.exp(-0.5 * ((pitches / n_chroma - 5) / 2) ** 2)
    # From A to C.
    return np.asarray(np.roll(weights, -3 * (n_chroma // 12), axis=0), np.float32)


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
