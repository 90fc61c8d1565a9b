"""Acoustic fingerprints: one recording is known again in another coding, at another rate, level or start.

After J. Haitsma and T. Kalker, "A Highly Robust Audio Fingerprinting System" (ISMIR 2002): frames of 0.37 s, 33 bands
from 300 to 2000 Hz, and a bit for each pair of neighbouring bands, which says how the difference of their energies
changed in time. Three things differ. Energies are compared in decibels, so that quiet bands count as loud ones do.
Frames are 93 ms apart instead of 12, which is enough to find a track by its beginning. And a change of less than 4 dB,
which coding may turn around, gives no bit at all: what is left hardly flips, and steady sounds leave nothing.

`docs/protocols.md` has what was measured with it.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from harness.datasets.signal import Samples

MAX_SECONDS = 120
"""Of a longer track, what comes later is not looked at."""

MAX_ERROR = 0.2
"""The bit error rate up to which two tracks are one recording. Two clips of music are at 0.4 and more."""

MAX_GROUP_ERROR = 0.35
"""The bit error rate that no pair in a group may pass, though others link it: the threshold of the paper."""

MIN_BITS = 150
"""Bits that both must have, so that chance cannot bring the error rate down to `MAX_ERROR`."""

_RATE, _FRAME, _HOP, _LAG = 5_500, 2_048, 512, 2
"""Hz; then in samples; a change in time is that over `_LAG` hops, 0.19 s."""
_AT_ONCE = 64
"""Frames whose spectra are made at once, so that they stay in the processor's cache."""

_LOWEST, _HIGHEST, _BANDS = 300, 2_000, 33
_BITS = _BANDS - 1
_BYTES = 2 * _BITS // 8
"""A frame's: which bits it has, and what they are."""

_CERTAIN = 1.0
"""The least change that gives a bit: a factor of e in energy, 4.3 dB."""

_QUIET = 1e-5
"""50 dB below the mean energy of all bands there is only what coding left."""

_STEP, _SILENT = 64, 1e-7
"""Silence at the ends is found in steps of 12 ms, 70 dB below the mean. Nearer to it, fade-ins and hiss would begin at
another place in each coding."""

_MIN_SHARE = 0.1
"""Bits that must be certain, of all. Clips of music have 0.2 to 0.6, noise 0.15; tones and clicks less than 0.1."""

_REPEATS = 0.75
"""The correlation of a track with itself at another time from which on it only repeats itself. Music reaches 0.6."""

_OFFSETS = range(-2, 3)
"""Hops by which one track may start later than another: encoders put up to 0.1 s of silence first."""

_SKETCH_FRAMES, _SKETCH_CORRELATION, _BLOCK = 80, 0.25, 512
"""All pairs are first compared by some eighty frames of each, a block of tracks at once."""

Bits = npt.NDArray[np.int8]
"""Shape (..., frames, 32): 1 and -1, or 0 where the bit is not certain."""


def fingerprint(samples: Samples, rate: int) -> bytes | None:
    """Return the fingerprint of a track, 86 bytes a second, or None where it would be no evidence.

    Args:
        samples: the track, or at least its first `MAX_SECONDS`: shape (n,), mono.
        rate: their rate in Hz.

    Returns:
        None if the track has too few certain bits, or repeats a loop that has: tones, clicks, silence.
    """
    # Below, there are no samples of the highest band.
    if rate < 2 * _HIGHEST:
        return None
    bits = _bits(_energies(_sounding(_low(samples[: MAX_SECONDS * rate], rate))))
    certain = np.count_nonzero(bits[: _period(bits)])
    if certain < MIN_BITS or np.count_nonzero(bits) < _MIN_SHARE * bits.size:
        return None
    return np.packbits(np.concatenate([bits != 0, bits > 0], axis=1), axis=1).tobytes()


def linked(fingerprints: Sequence[bytes | None], seconds: Sequence[float]) -> list[tuple[int, ...]]:
    """Return the groups of tracks that are one recording each, as sorted indices of two or more.

    Two tracks are one recording if `MAX_ERROR` holds between them and their lengths agree within 0.5 s or 2 %; up to
    `MAX_SECONDS`, lengths without the silence at both ends. Weak links make no chain: `MAX_GROUP_ERROR` holds between
    any two in a group.

    Args:
        fingerprints: one a track; a track with None is in no group.
        seconds: the tracks' whole lengths.
    """
    known = {index: made for index, made in enumerate(fingerprints) if made is not None}
    lengths = {
        index: seconds[index] if seconds[index] > MAX_SECONDS else _seconds(made) for index, made in known.items()
    }
    by_length = sorted(known, key=lengths.__getitem__)
    with threadpool_limits(1, "blas"):  # on products as small as these, threads only wait for each other
        links = sorted(_links([known[index] for index in by_length], [lengths[index] for index in by_length]))
    group_of = {index: [index] for index in known}
    for _, one, other in links:
        left, right = group_of[by_length[one]], group_of[by_length[other]]
        if left is not right and _all_alike([known[index] for index in left], [known[index] for index in right]):
            group_of |= dict.fromkeys(left + right, left + right)
    return sorted({tuple(sorted(group)) for group in group_of.values() if len(group) > 1})


def error_rate(one: bytes, other: bytes) -> float:
    """Return the lowest bit error rate of two fingerprints at any offset; 1 where they share too few certain bits."""
    return _error_rate(_unpacked(one), _unpacked(other))


def _low(samples: Samples, rate: int) -> Samples:
    """Return what the bands are of, at `_RATE` and of a size whose squares are float32."""
    # It takes its time to import.
    import soxr

    low: Samples = soxr.resample(samples, rate, _RATE, quality="LQ").astype(np.float32, copy=False)
    # Squares of very large and very small samples are no float32.
    return low / (np.abs(low).max(initial=0) or 1)


def _sounding(low: Samples) -> Samples:
    """Return the samples without the silence at both ends, which another copy may have more or less of."""
    count = len(low) // _STEP
    # A constant is silence, too.
    changes = np.diff(low, append=low[-1:])[: count * _STEP]
    power = np.square(changes).reshape(count, _STEP).mean(axis=1)
    loud = np.flatnonzero(power > _SILENT * power.sum() / max(1, count))
    return low[loud[0] * _STEP : (loud[-1] + 1) * _STEP] if len(loud) else low[:0]


def _energies(low: Samples) -> npt.NDArray[np.float32]:
    """Return the energy in each band, shape (frames, 33)."""
    if len(low) < _FRAME:
        return np.zeros((0, _BANDS), np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(low, _FRAME)[::_HOP]
    window = np.hanning(_FRAME).astype(np.float32)
    edges = np.geomspace(_LOWEST, _HIGHEST, _BANDS + 1) * _FRAME / _RATE
    starts = np.ceil(edges).astype(int)
    energies = np.empty((len(frames), _BANDS), np.float32)
    for at in range(0, len(frames), _AT_ONCE):
        power = np.abs(np.fft.rfft(frames[at : at + _AT_ONCE] * window, axis=1)) ** 2
        energies[at : at + _AT_ONCE] = np.add.reduceat(power[:, : starts[-1]], starts[:-1], axis=1)
    return energies


def _bits(energies: npt.NDArray[np.float32]) -> Bits:
    """Return the bits of a track, shape (frames - `_LAG`, 32)."""
    if len(energies) <= _LAG or not energies.any():
        return np.zeros((0, _BITS), np.int8)
    slopes = np.diff(np.log(energies + _QUIET * energies.mean()), axis=1)
    changes = slopes[_LAG:] - slopes[:-_LAG]
    return np.where(np.abs(changes) > _CERTAIN, np.sign(changes), 0).astype(np.int8)


def _period(bits: Bits) -> int:
    """Return the frames after which a track repeats itself, or all that it has."""
    values = bits.astype(np.float32)
    products = values @ values.T
    up_to = np.cumsum(np.abs(values).sum(axis=1))
    # Frames that are nearer than 0.56 s to each other hold some of the same samples.
    for lag in range(_FRAME // _HOP + _LAG, len(bits) // 2):
        norm = math.sqrt((up_to[-1] - up_to[lag - 1]) * up_to[-lag - 1])
        if products.trace(lag) > _REPEATS * norm:
            return lag
    return len(bits)


def _seconds(made: bytes) -> float:
    """Return how much of a track sounds, by its fingerprint."""
    return ((len(made) // _BYTES + _LAG - 1) * _HOP + _FRAME) / _RATE


def _unpacked(made: bytes) -> Bits:
    planes = np.unpackbits(np.frombuffer(made, np.uint8)).reshape(-1, 2, _BITS).view(np.int8)
    return planes[:, 1] * np.int8(2) - planes[:, 0]


def _error_rate(one: Bits, other: Bits) -> float:
    lowest = 1.0
    for offset in _OFFSETS:
        left, right = one[max(offset, 0) :], other[max(-offset, 0) :]
        frames = min(len(left), len(right))
        products = left[:frames] * right[:frames]
        shared = np.count_nonzero(products)
        if shared >= MIN_BITS:
            lowest = min(lowest, np.count_nonzero(products < 0) / shared)
    return lowest


def _all_alike(left: Sequence[bytes], right: Sequence[bytes]) -> bool:
    return all(error_rate(one, other) <= MAX_GROUP_ERROR for one, other in product(left, right))


def _links(fingerprints: Sequence[bytes], seconds: Sequence[float]) -> Iterator[tuple[float, int, int]]:
    """Yield the error rate and the positions of every two tracks that are one recording; tracks come by length."""
    for rows in _blocks(seconds):
        block = _padded([fingerprints[row] for row in rows])
        end = bisect_right(seconds, _longest_like(seconds[rows[-1]]))
        for start in range(rows[0], end, _BLOCK):
            columns = range(start, min(start + _BLOCK, end))
            others = _padded([fingerprints[column] for column in columns])
            for row, column in np.argwhere(_alike(block, others)):
                one, other = rows[row], columns[column]
                if one < other and seconds[other] <= _longest_like(seconds[one]):
                    error = _error_rate(block[row], others[column])
                    if error <= MAX_ERROR:
                        yield error, one, other


def _blocks(seconds: Sequence[float]) -> Iterator[range]:
    """Yield the positions of tracks that are compared at once: none is more than twice as long as another."""
    start = 0
    while start < len(seconds):
        end = min(start + _BLOCK, bisect_right(seconds, 2 * seconds[start]))
        yield range(start, end)
        start = end


def _longest_like(seconds: float) -> float:
    """Return the length up to which a longer track may be the same recording."""
    return max(seconds + 0.5, seconds * 1.02)


def _padded(fingerprints: Sequence[bytes]) -> Bits:
    """Return the bits of several tracks as one array, shape (tracks, frames of the longest, 32)."""
    frames = max(map(len, fingerprints)) // _BYTES
    return _unpacked(b"".join(made.ljust(frames * _BYTES, b"\0") for made in fingerprints)).reshape(-1, frames, _BITS)


def _alike(block: Bits, others: Bits) -> npt.NDArray[np.bool_]:
    """Return which tracks of two blocks may be the same by some frames of each, shape (tracks, tracks)."""
    frames = min(block.shape[1], others.shape[1])
    middle = len(_OFFSETS) // 2
    stride = max(1, frames // _SKETCH_FRAMES)
    taken = np.arange(middle, frames - middle, stride)
    sketch = _normed(block[:, taken])
    found = np.zeros((len(block), len(others)), np.bool_)
    for offset in _OFFSETS:
        found |= sketch @ _normed(others[:, taken + offset]).T > _SKETCH_CORRELATION
    return found


def _normed(bits: Bits) -> npt.NDArray[np.float32]:
    """Return the bits of each track as a vector of length 1, shape (tracks, numbers)."""
    values = bits.reshape(len(bits), -1).astype(np.float32)
    lengths = np.sqrt(np.maximum(1, np.abs(values).sum(axis=1, keepdims=True)))
    normed: npt.NDArray[np.float32] = values / lengths
    return normed
