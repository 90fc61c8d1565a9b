"""Mono audio as arrays: its rate, its types, and the ways from one to another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

SAMPLE_RATE = 22_050
"""Samples a second of all audio that features are extracted from, in Hz."""

FULL_SCALE = 32_768
"""A stored waveform's value is int16 / `FULL_SCALE`."""

Samples = npt.NDArray[np.float32]
"""Mono audio, shape (n,), in [-1, 1] where it does not clip."""

Waveform = npt.NDArray[np.int16]
"""Mono audio as it is stored, shape (n,), in units of 1 / `FULL_SCALE`."""


def resample(samples: Samples, rate: int) -> Samples:
    """Return float32 samples, shape (n,), at 22,050 Hz instead of `rate`; the very same ones when the rates agree."""
    if rate == SAMPLE_RATE:
        return samples
    # It takes its time to import.
    import soxr

    resampled: Samples = soxr.resample(samples, rate, SAMPLE_RATE, quality="HQ")
    return resampled


def resampled_blocks(blocks: Iterable[Samples], rate: int) -> Iterator[Samples]:
    """Yield samples, float32, shape (n,), at 22,050 Hz instead of `rate`, a block at a time.

    Together they are what `resample` gives for all of them at once, to the bit.
    """
    if rate == SAMPLE_RATE:
        yield from blocks
        return
    import soxr

    stream = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")
    for block in blocks:
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.empty(0, np.float32), last=True)


def quantised(samples: Samples) -> Waveform:
    """Return float32 samples, shape (n,), as int16 of the same shape; what is beyond full scale is clipped."""
    return np.clip(np.rint(samples * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)


def as_samples(waveform: Waveform) -> Samples:
    """Return an int16 waveform, shape (n,), as float32 samples of the same shape, in [-1, 1)."""
    return np.divide(waveform, FULL_SCALE, dtype=np.float32)
