"""Micro-batch and accumulation: the largest step that fits the budget."""

from __future__ import annotations

from dataclasses import dataclass

from harness.vram.footprint import Correction, Footprint


@dataclass(frozen=True)
class Fit:
    """How a sampled batch is trained: `accumulation` micro-batches make one update.

    Attributes:
        footprint_bytes: the corrected prediction, with the device's overhead.
        upper_bytes: the same with its margin; admission counts on it.
        fits: False where even the smallest allowed micro-batch is predicted to pass the budget.
    """

    micro_batch: int
    accumulation: int
    footprint_bytes: int
    upper_bytes: int
    fits: bool

    def halved(self, min_micro_batch: int) -> int | None:
        """Return half of the micro-batch, or None where that passes the floor or leaves a remainder."""
        half, odd = divmod(self.micro_batch, 2)
        return None if odd or half < min_micro_batch else half


def fit(
    footprint: Footprint,
    batch_size: int,
    budget_bytes: int,
    min_micro_batch: int,
    *,
    correction: Correction | None = None,
    overhead_bytes: int = 0,
    max_micro_batch: int | None = None,
) -> Fit:
    """Return the largest micro-batch whose upper bound keeps within the budget; failing that, the smallest.

    Micro-batches are halves of the batch, down to `min_micro_batch` crops (or the whole batch, if that is smaller). At
    the smallest, the estimate itself decides: a trial is refused for what is likely, not for what is possible.

    Args:
        footprint: of the model.
        batch_size: effective batch in crops.
        budget_bytes: most bytes that the trial may hold.
        min_micro_batch: floor of the micro-batch in crops.
        correction: what measured peaks taught about the family; None trusts the footprint as it is.
        overhead_bytes: what a process holds on the device beside the model.
        max_micro_batch: ceiling, after a trial ran out of memory above it.
    """
    candidates: list[Fit] = []
    micro_batch: int | None = batch_size
    while micro_batch is not None:
        accumulation = batch_size // micro_batch
        peak = footprint.peak(micro_batch, accumulation)
        estimate = overhead_bytes + (correction.estimate(peak) if correction else peak)
        upper = overhead_bytes + (correction.upper(peak) if correction else peak)
        candidates.append(Fit(micro_batch, accumulation, estimate, upper, estimate <= budget_bytes))
        micro_batch = candidates[-1].halved(min_micro_batch)
    allowed = [found for found in candidates if max_micro_batch is None or found.micro_batch <= max_micro_batch]
    # Accumulation costs a copy of the gradients, so the smallest micro-batch need not be the smallest step.
    smallest = min(allowed, key=lambda found: found.footprint_bytes)
    return next((found for found in allowed if found.upper_bytes <= budget_bytes), smallest)
