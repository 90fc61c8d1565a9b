"""Features are extracted from samples: one short-time Fourier transform for mel, MFCC, chroma and contrast."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from harness.datasets.signal import SAMPLE_RATE, Samples
from harness.datasets.track_audio import Audio
from harness.errors import DataError
from harness.features.contrast import ContrastFilter, Weights, contrast_filter

Features = npt.NDArray[np.float32]
"""Rows of numbers, a column a frame: shape (rows, frames)."""

N_FFT = 2048
HOP_LENGTH = 512
N_MELS = 128
N_MFCC = 40
N_CHROMA = 12
N_CONTRAST = 7
N_ROWS = N_MELS + N_MFCC + N_CHROMA + N_CONTRAST

MEL = slice(0, N_MELS)
MFCC = slice(MEL.stop, MEL.stop + N_MFCC)
CHROMA = slice(MFCC.stop, MFCC.stop + N_CHROMA)
CONTRAST = slice(CHROMA.stop, CHROMA.stop + N_CONTRAST)

FEATURE_VERSION = 2
"""Rises whenever `extract` would give other numbers for the same samples; stored features are then made again."""

_BLOCK = 2 * 60 * SAMPLE_RATE // HOP_LENGTH
"""Frames that are extracted at once: of two minutes."""

_TOGETHER = 96
"""Frames that are transformed at once: few enough for their spectra to stay in the cache of a core."""

_AMIN = 1e-10
"""What is less counts as this in decibels."""


class _MelBands(NamedTuple):
    """Some mel bands, the FFT bins that they weigh, and the weights: float32, shape (bins, bands)."""

    bands: slice
    bins: slice
    weights: Weights


class _Filters(NamedTuple):
    """What frames are multiplied by: a window, then weights: float32, shape (what is weighed, results)."""

    window: npt.NDArray[np.float64]
    mel: tuple[_MelBands, ...]
    dct: Weights
    chroma: Weights
    contrast: ContrastFilter


class _Workspace(threading.local):
    """What is filled anew for every `_TOGETHER` frames: to fetch it from the system as often takes a tenth longer."""

    def __init__(self) -> None:
        self.windowed = np.empty((_TOGETHER, N_FFT))
        self.spectrum = np.empty((_TOGETHER, 1 + N_FFT // 2), np.complex128)


_WORKSPACE = _Workspace()


def n_frames(samples: int) -> int:
    """Return how many frames `extract` gives for so many samples."""
    return 1 + samples // HOP_LENGTH


def extract(waveform: Samples) -> Features:
    """Return the features of a waveform, one column a frame.

    Frames are centred (frame t at sample 512 t, zeros beyond the ends), windowed with a Hann window of 2,048 samples.
    The rows are, from the same spectrum:

    - `MEL`: 128 Slaney mel bands of the power spectrum, in dB against 1.0, floored at -100 dB. Not against the
      track's peak: a crop's values would then depend on what else the track holds.
    - `MFCC`: the first 40 coefficients of the orthonormal DCT-II of those decibels.
    - `CHROMA`: 12 pitch classes of the power spectrum, standard tuning (A4 = 440 Hz), each frame's largest is 1.
    - `CONTRAST`: 7 octave bands from 200 Hz, peak minus valley of the magnitudes in dB (Jiang et al., 2002).

    Every value is what librosa's four functions give with `tuning=0.0`, and with `top_db=None` wherever they take
    decibels.

    Args:
        waveform: float32, shape (n,), mono at 22,050 Hz.

    Returns:
        float32, shape (187, 1 + n // 512), finite, for digital silence too.

    Raises:
        DataError: the waveform is not finite.
    """
    return np.concatenate(list(extract_blocks(waveform)), axis=1)


def extract_blocks(audio: Audio, first: int = 0, end: int | None = None) -> Iterator[Features]:
    """Yield the frames from `first` up to `end`, or to the last, of what `extract` gives, two minutes at a time.

    Args:
        audio: mono at 22,050 Hz; of a long track, only those of two minutes are read at once.
        first: frame.
        end: behind the last frame.

    Yields:
        float32, shape (187, frames).

    Raises:
        DataError: the audio is not finite.
    """
    end = n_frames(len(audio)) if end is None else min(end, n_frames(len(audio)))
    for start in range(first, end, _BLOCK):
        yield _frames(audio, start, min(start + _BLOCK, end))


def _frames(audio: Audio, first: int, end: int) -> Features:
    features = np.empty((N_ROWS, end - first), np.float32)
    # Always the same frames together: sums would be rounded otherwise in a part of a track than in the whole.
    for start in range(first - first % _TOGETHER, end, _TOGETHER):
        count = min(_TOGETHER, n_frames(len(audio)) - start)
        windowed, spectrum = _WORKSPACE.windowed[:count], _WORKSPACE.spectrum[:count]
        np.multiply(_framed(audio, start, count), _filters().window, out=windowed)
        # Of double precision: in single, the loud bins' rounding errors drown quiet ones, and the contrast is of both.
        np.fft.rfft(windowed, out=spectrum)
        columns = _columns(spectrum.astype(np.complex64))
        features[:, max(0, start - first) : start - first + _TOGETHER] = columns[max(0, first - start) : end - start].T
    return features


def _framed(audio: Audio, first: int, count: int) -> Samples:
    """Return frames, (count, N_FFT)."""
    low = first * HOP_LENGTH - N_FFT // 2
    high = low + (count - 1) * HOP_LENGTH + N_FFT
    samples = audio[max(0, low) : high]
    if not np.isfinite(samples).all():
        raise DataError("not finite: it holds NaN or infinite samples")
    if len(samples) < high - low:
        samples = np.pad(samples, (max(0, -low), max(0, high - len(audio))))
    # As `sliding_window_view`, whose checks take as long as a fifth of the transform.
    step = samples.strides[0]
    return np.lib.stride_tricks.as_strided(samples, (count, N_FFT), (HOP_LENGTH * step, step), writeable=False)


def _columns(spectrum: npt.NDArray[np.complex64]) -> Features:
    """Return the features of spectra, (frames, bins), as (frames, N_ROWS): sums and sorts are fast along rows."""
    filters = _filters()
    power = spectrum.real**2 + spectrum.imag**2
    columns = np.empty((len(power), N_ROWS), np.float32)
    mel = columns[:, MEL]
    for bands, bins, weights in filters.mel:
        mel[:, bands] = power[:, bins] @ weights
    mel[:] = _decibels(mel)
    columns[:, MFCC] = mel @ filters.dct
    chroma = power @ filters.chroma
    largest = chroma.max(axis=1, keepdims=True)
    columns[:, CHROMA] = chroma / np.where(largest < np.finfo(np.float32).tiny, 1, largest)
    for band in filters.contrast.bands:
        # In place, and faster than partitions at both ends.
        power[:, band].sort(axis=1)
    extremes = _decibels(np.sqrt(power[:, filters.contrast.extremes]) @ filters.contrast.means)
    columns[:, CONTRAST] = extremes[:, :N_CONTRAST] - extremes[:, N_CONTRAST:]
    return columns


def _decibels(power: Features) -> Features:
    # NumPy's natural logarithm is several times as fast as the decimal one.
    return np.log(np.maximum(power, _AMIN)) * np.float32(10 / np.log(10))


@cache
def _filters() -> _Filters:
    # They take seconds to import.
    from librosa.filters import chroma
    from scipy.fft import dct

    pitches = chroma(sr=SAMPLE_RATE, n_fft=N_FFT, n_chroma=N_CHROMA, tuning=0.0)
    return _Filters(
        window=0.5 - 0.5 * np.cos(2 * np.pi * np.arange(N_FFT) / N_FFT),
        mel=tuple(_mel_bands()),
        dct=dct(np.eye(N_MELS, dtype=np.float32), norm="ortho")[:, :N_MFCC],
        chroma=np.ascontiguousarray(pitches.T),
        contrast=contrast_filter(SAMPLE_RATE, N_FFT, N_CONTRAST),
    )


def _mel_bands() -> Iterator[_MelBands]:
    """Yield the mel bands, 16 at once: a product with all bins would mostly add up zeros."""
    from librosa.filters import mel

    filters = mel(sr=SAMPLE_RATE, n_fft=N_FFT, n_mels=N_MELS)
    for first in range(0, N_MELS, 16):
        some = filters[first : first + 16]
        weighed = np.flatnonzero(some.any(axis=0))
        bins = slice(int(weighed[0]), int(weighed[-1]) + 1)
        yield _MelBands(slice(first, first + 16), bins, np.ascontiguousarray(some[:, bins].T))
