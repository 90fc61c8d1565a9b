"""Crops are cut out of stored tracks: at random, all that cover a track, or a part of these; numpy only."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from harness.datasets.signal import FULL_SCALE
from harness.features.fold import LabelledTrack
from harness.features.input_spec import InputSpec
from harness.features.store import FeatureStore


def crop(track: np.ndarray, input_spec: InputSpec, start: int) -> np.ndarray:
    """Cut one crop out of a track; a track shorter than a crop is repeated from its beginning.

    Args:
        track: what the store holds of it: float32 (rows, frames), or int16 (samples,).
        input_spec: what the crop is to hold.
        start: its first frame or sample.

    Returns:
        float32 of `input_spec.shape`; a waveform in units of full scale.
    """
    piece = track[..., start : start + input_spec.length]
    missing = input_spec.length - piece.shape[-1]
    if missing > 0:
        piece = np.pad(piece, [(0, 0)] * (piece.ndim - 1) + [(0, missing)], mode="wrap")
    whole: np.ndarray = piece.astype(np.float32)[..., None]
    return whole / FULL_SCALE if input_spec.kind == "waveform" else whole


def crop_starts(length: int, crop_length: int) -> np.ndarray:
    """Return where the crops of a whole track start: as few as cover all of it, evenly spaced; int64 (crops,)."""
    count = max(1, math.ceil(length / crop_length))
    return np.linspace(0, max(0, length - crop_length), count).round().astype(np.int64)


def some_starts(starts: np.ndarray) -> np.ndarray:
    """Return a fifth of `starts`, but two if there are so many: the middles of equal parts of a track."""
    count = min(len(starts), max(2, len(starts) // 5))
    return starts[(2 * np.arange(count) + 1) * len(starts) // (2 * count)]


def count_voting(
    store: FeatureStore, input_spec: InputSpec, examples: Sequence[LabelledTrack], *, every_crop: bool = True
) -> int:
    """Return how many crops `voting_batches` yields."""
    lengths = [store.load(input_spec, example.digest).shape[-1] for example in examples]
    return sum(len(_voting_starts(length, input_spec, every_crop=every_crop)) for length in lengths)


def _voting_starts(length: int, input_spec: InputSpec, *, every_crop: bool) -> np.ndarray:
    starts = crop_starts(length, input_spec.length)
    return starts if every_crop else some_starts(starts)


def voting_batches(
    store: FeatureStore,
    input_spec: InputSpec,
    examples: Sequence[LabelledTrack],
    size: int,
    *,
    every_crop: bool = True,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield crops of every track in batches of `size`: (size, *input_spec.shape) float32, owners int64 (size,).

    They are all that cover the track, or `some_starts` of these. An owner is the index in `examples` of the track that
    the crop was cut from. All batches have the same size, so that a compiled model is traced once: the last is filled
    with zeros, whose owner is -1.
    """
    inputs, owners = np.zeros((size, *input_spec.shape), np.float32), np.full(size, -1)
    filled = 0
    for owner, example in enumerate(examples):
        track = store.load(input_spec, example.digest)
        for start in _voting_starts(track.shape[-1], input_spec, every_crop=every_crop):
            inputs[filled], owners[filled] = crop(track, input_spec, int(start)), owner
            filled += 1
            if filled == size:
                yield inputs, owners
                inputs, owners, filled = np.zeros_like(inputs), np.full(size, -1), 0
    if filled:
        yield inputs, owners
