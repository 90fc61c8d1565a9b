"""Augmented copies of a track's waveform: the same music at another pitch, tempo and level, and with noise in it."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from harness.datasets.signal import SAMPLE_RATE, Samples
from harness.datasets.track_audio import Audio, pieces

AUGMENTED_COPIES = 3
"""How many augmented copies of a training track the store keeps, each as large as the track itself."""

VERSION = 2
"""Rises whenever `augmented_copy` would give other samples for the same seed; stored copies are then made again."""


def augmented_pieces(audio: Audio, seed: int) -> Iterator[Samples]:
    """Yield a changed copy of audio in pieces, each with the same changes; what is no longer than a song is one piece.

    Args:
        audio: mono at 22,050 Hz.
        seed: in [0, 2**32).
    """
    for start, stop in pieces(len(audio)):
        yield augmented_copy(audio[start:stop], seed)


def augmented_copy(waveform: Samples, seed: int) -> Samples:
    """Return a changed copy of a waveform: shifted, pitch-shifted, time-stretched, softer, and half of the time noisy.

    Nothing is changed so far that a listener would hear another genre: up to 2 semitones, a tempo of 0.85 to 1.2, up to
    10 dB, and noise 15 to 40 dB below the music. The same seed gives the same samples.

    Args:
        waveform: float32, shape (n,), mono at 22,050 Hz.
        seed: in [0, 2**32).

    Returns:
        float32, shape (n,); what a faster tempo leaves free at the end is filled from the beginning.
    """
    draw = np.random.default_rng(seed)
    # It begins anywhere, so that it is chance what a slower tempo drops at the end.
    shifted = np.roll(waveform, draw.integers(len(waveform)))
    changed = repitched(shifted, draw.uniform(-2, 2), draw.uniform(0.85, 1.2))
    # Softer only: a stored waveform is clipped at full scale.
    changed = np.resize(changed, waveform.shape) * np.float32(10 ** (draw.uniform(-10, 0) / 20))
    if draw.random() < 0.5:
        level = np.sqrt(np.mean(changed**2)) * np.float32(10 ** (draw.uniform(-40, -15) / 20))
        changed += level * draw.standard_normal(len(changed), np.float32)
    return changed


def repitched(waveform: Samples, semitones: float, tempo: float) -> Samples:
    """Return the beginning of a waveform at another pitch and tempo, not longer than it was.

    Resampling, which costs little, changes the pitch; one time stretch makes up for that, and changes the tempo.

    Args:
        waveform: float32, shape (n,), mono at 22,050 Hz.
        semitones: how much higher it is to sound.
        tempo: how many times as fast.

    Returns:
        float32, shape (m,), m within a sample or two of the less of n and n / tempo.
    """
    import python_stretch
    import soxr

    pitch = 2 ** (semitones / 12)
    stretch = python_stretch.Signalsmith.Stretch(0)
    # It takes 60 % of the time, and what it adds stays 30 dB below the music.
    stretch.preset(1, SAMPLE_RATE, cheaper=True)
    stretch.setTimeFactor(tempo / pitch)
    kept = waveform[: math.ceil(len(waveform) * tempo)]
    stretched = np.asarray(stretch.process(kept[np.newaxis]))[0]
    resampled: Samples = soxr.resample(stretched, SAMPLE_RATE * pitch, SAMPLE_RATE, quality="HQ")
    return resampled
