"""Augmented copies of a track's waveform: the same music at another pitch, tempo and level, and with noise in it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from harness.datasets.signal import SAMPLE_RATE, Samples
from harness.datasets.track_audio import Audio, pieces

AUGMENTED_COPIES = 3
"""How many augmented copies of a training track the store keeps, each as large as the track itself."""

VERSION = 1
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

    Nothing is changed so far that a listener would hear another genre. The same seed gives the same samples.

    Args:
        waveform: float32, shape (n,), mono at 22,050 Hz.
        seed: in [0, 2**32).

    Returns:
        float32, shape (n,); what a faster tempo leaves free at the end is filled from the beginning.
    """
    # It imports librosa, which takes seconds.
    import audiomentations

    change = audiomentations.Compose(
        [
            # First, so that it is chance what a slower tempo drops at the end.
            audiomentations.Shift(-0.5, 0.5, p=1.0),
            audiomentations.PitchShift(-2.0, 2.0, p=1.0),
            # Left to itself it would fill up with silence.
            audiomentations.TimeStretch(0.85, 1.2, leave_length_unchanged=False, p=1.0),
            # Softer only: a stored waveform is clipped at full scale.
            audiomentations.Gain(-10.0, 0.0, p=1.0),
            audiomentations.AddGaussianSNR(15.0, 40.0, p=0.5),
        ]
    )
    with _seeded(seed):
        changed = change(waveform, SAMPLE_RATE)
    return np.resize(changed, waveform.shape)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed the global generators, which audiomentations draws from, and put back their states after."""
    python, numpy = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
