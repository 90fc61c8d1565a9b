"""Micro-batch and accumulation: the largest step that fits the room on a device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from harness.vram.correction import Correction
from harness.vram.footprint import Footprint
from harness.vram.room import Room


@dataclass(frozen=True)
class Fit:
    """How a sampled batch is trained: `accumulation` micro-batches make one update.

    Attributes:
        footprint_bytes: the corrected prediction of what the process needs on the device, context and libraries
            included.
        upper_bytes: the same with its margin; placement counts on it.
        beside_bytes: the part of both that lies beside the framework's allocator.
        cap_bytes: what the allocator may take.
        fits: False where even the smallest allowed micro-batch is predicted to pass the room.
    """

    micro_batch: int
    accumulation: int
    footprint_bytes: int
    upper_bytes: int
    beside_bytes: int
    cap_bytes: int
    fits: bool


def fit(
    footprint: Footprint,
    batch_size: int,
    room: Room,
    min_micro_batch: int,
    *,
    correction: Correction | None = None,
    max_micro_batch: int | None = None,
) -> Fit:
    """Return the largest micro-batch whose upper bound keeps under the allocator's cap; failing that, the smallest.

    At the smallest, the lower bound decides, and the slack may be used: a trial that has one chance in five is tried,
    since a refused one teaches nothing.

    Args:
        footprint: of the model.
        batch_size: effective batch in crops.
        room: what the trial may take of the device.
        min_micro_batch: floor of the micro-batch in crops.
        correction: what trials that ended taught about the family; None trusts the footprint as it is.
        max_micro_batch: ceiling, after a trial ran out of memory above it.
    """
    candidates: list[Fit] = []
    for micro_batch in micro_batches(batch_size, min_micro_batch):
        accumulation = batch_size // micro_batch
        peak = footprint.peak(micro_batch, accumulation)
        lower, estimate, upper = (
            (correction.lower(peak), correction.estimate(peak), correction.upper(peak)) if correction else (peak,) * 3
        )
        beside = room.beside_bytes
        fits = lower + beside <= room.total_bytes
        candidates.append(
            Fit(micro_batch, accumulation, estimate + beside, upper + beside, beside, room.cap_bytes, fits)
        )
    allowed = [found for found in candidates if max_micro_batch is None or found.micro_batch <= max_micro_batch]
    # Accumulation costs a copy of the gradients, so the smallest micro-batch need not be the smallest step.
    smallest = min(allowed, key=lambda found: found.footprint_bytes)
    sure = (found for found in allowed if found.upper_bytes <= room.cap_bytes + room.beside_bytes)
    return next(sure, replace(smallest, cap_bytes=room.cap_bytes + room.slack_bytes))


def micro_batches(batch_size: int, floor: int) -> Iterator[int]:
    """Yield the whole batch, then its half, quarter and so on, as long as they are whole and not below the floor."""
    micro_batch = batch_size
    yield micro_batch
    while micro_batch % 2 == 0 and micro_batch // 2 >= floor:
        micro_batch //= 2
        yield micro_batch
