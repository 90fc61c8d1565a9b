"""Features are extracted from samples: one short-time Fourier transform for mel, MFCC, chroma and contrast."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from harness.datasets.signal import SAMPLE_RATE, Samples
from harness.datasets.track_audio import Audio

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

FEATURE_VERSION = 1
"""Rises whenever `extract` would give other numbers for the same samples; stored features are then made again."""


_BLOCK = 2 * 60 * SAMPLE_RATE // HOP_LENGTH
"""Frames that are extracted at once: of two minutes."""


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

    Every value is what librosa's four functions give with `tuning=0.0` and `top_db=None`.

    Args:
        waveform: float32, shape (n,), mono at 22,050 Hz, finite.

    Returns:
        float32, shape (187, 1 + n // 512), finite, for digital silence too.
    """
    return np.concatenate(list(extract_blocks(waveform)), axis=1)


def extract_blocks(audio: Audio, first: int = 0, end: int | None = None) -> Iterator[Features]:
    """Yield the frames from `first` up to `end`, or to the last, of what `extract` gives, two minutes at a time.

    Args:
        audio: mono at 22,050 Hz, finite; of a long track, only those of two minutes are read at once.
        first: frame.
        end: behind the last frame.

    Yields:
        float32, shape (187, frames).
    """
    end = n_frames(len(audio)) if end is None else min(end, n_frames(len(audio)))
    for start in range(first, end, _BLOCK):
        yield _frames(audio, start, min(start + _BLOCK, end))


def _frames(audio: Audio, first: int, end: int) -> Features:
    # librosa takes seconds to import.
    import librosa

    low, high = first * HOP_LENGTH - N_FFT // 2, (end - 1) * HOP_LENGTH + N_FFT // 2
    samples = np.pad(audio[max(0, low) : high], (max(0, -low), max(0, high - len(audio))))
    magnitude = np.abs(librosa.stft(samples, n_fft=N_FFT, hop_length=HOP_LENGTH, center=False))
    power = magnitude**2
    mel = librosa.power_to_db(
        librosa.feature.melspectrogram(S=power, sr=SAMPLE_RATE, n_fft=N_FFT, n_mels=N_MELS), ref=1.0, top_db=None
    )
    features = np.empty((N_ROWS, magnitude.shape[1]), np.float32)
    features[MEL] = mel
    features[MFCC] = librosa.feature.mfcc(S=mel, n_mfcc=N_MFCC)
    features[CHROMA] = librosa.feature.chroma_stft(S=power, sr=SAMPLE_RATE, n_chroma=N_CHROMA, tuning=0.0)
    features[CONTRAST] = librosa.feature.spectral_contrast(S=magnitude, sr=SAMPLE_RATE, n_bands=N_CONTRAST - 1)
    return features
