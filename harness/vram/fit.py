"""Micro-batch and accumulation: the largest step that fits the budget."""

from __future__ import annotations

from dataclasses import dataclass

from harness.vram.footprint import Footprint


@dataclass(frozen=True)
class Fit:
    """How a sampled batch is trained: `accumulation` micro-batches make one update.

    `fits` is False where even the smallest allowed micro-batch passes the budget.
    """

    micro_batch: int
    accumulation: int
    footprint_bytes: int
    fits: bool


def fit(footprint: Footprint, batch_size: int, budget_bytes: int, min_micro_batch: int) -> Fit:
    """Return the largest micro-batch that keeps the footprint within the budget.

    Micro-batches are halves of the batch, down to `min_micro_batch` crops (or the whole batch, if that is smaller).

    Args:
        footprint: of the model.
        batch_size: effective batch in crops.
        budget_bytes: most bytes that the trial may hold.
        min_micro_batch: floor of the micro-batch in crops.
    """
    micro_batch, accumulation = batch_size, 1
    while True:
        peak = footprint.peak(micro_batch, accumulation)
        half, odd = divmod(micro_batch, 2)
        if peak <= budget_bytes or odd or half < min_micro_batch:
            return Fit(micro_batch, accumulation, peak, peak <= budget_bytes)
        micro_batch, accumulation = half, accumulation * 2
