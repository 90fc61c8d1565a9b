"""What trials needed of the device, what they held of it, and how well the need was predicted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from harness.records.trial import Outcome, TrialRecord

# These may end before training has reached its peak, so that a peak of theirs says little.
_ENDED_EARLY = (Outcome.REFUSED, Outcome.OOM, Outcome.HOST_OOM, Outcome.CRASHED, Outcome.INTERRUPTED)


class HeldOverNeeded(NamedTuple):
    """What trials held / what they needed; `trials` have both figures."""

    trials: int
    median: float
    maximum: float


class PredictionErrors(NamedTuple):
    """Predicted need / needed, over the trials that have both figures; percentiles are linear between ranks.

    Attributes:
        error_median: of |predicted / needed - 1|; `error_95` is the 95th percentile.
        too_low: the share of trials that needed more than was predicted.
        stand_ins: the trials whose allocator's peak is not known, so that the reading less what lay beside the
            allocator stands in.
    """

    trials: int
    minimum: float
    median: float
    maximum: float
    error_median: float
    error_95: float
    too_low: float
    stand_ins: int


def held_over_needed(trials: Sequence[TrialRecord]) -> HeldOverNeeded | None:
    """Compare what trials held with what they needed; None without a trial that has both."""
    # A 0 says that nothing was trained.
    shares = [
        held / trial.memory.allocator_peak_bytes
        for trial in trials
        if trial.outcome not in _ENDED_EARLY
        and trial.memory.allocator_peak_bytes
        and (held := trial.memory.reading.measured_bytes)
    ]
    return HeldOverNeeded(len(shares), float(np.median(shares)), max(shares)) if shares else None


def prediction_errors(trials: Sequence[TrialRecord]) -> PredictionErrors | None:
    """Compare predicted needs with what was needed; None without a trial that has both."""
    found = [
        (predicted / needed, trial.memory.allocator_peak_bytes is None)
        for trial in trials
        if trial.outcome not in _ENDED_EARLY
        and (predicted := trial.memory.predicted_need_bytes) is not None
        and (needed := _needed(trial))
    ]
    if not found:
        return None
    ratios = np.array([ratio for ratio, _ in found])
    error_median, error_95 = np.percentile(np.abs(ratios - 1), [50, 95])
    return PredictionErrors(
        trials=len(found),
        minimum=float(ratios.min()),
        median=float(np.median(ratios)),
        maximum=float(ratios.max()),
        error_median=float(error_median),
        error_95=float(error_95),
        too_low=float(np.mean(ratios < 1)),
        stand_ins=sum(stand_in for _, stand_in in found),
    )


def _needed(trial: TrialRecord) -> int:
    """Return the allocator's peak, else the reading less what lay beside the allocator; 0 where neither is known.

    Of a trial that went over the budget under a cap, what passed it lay beside the allocator, and says nothing here.
    """
    if trial.memory.allocator_peak_bytes is not None:
        return trial.memory.allocator_peak_bytes
    if trial.outcome is Outcome.OVER_BUDGET and trial.memory.cap_bytes is not None:
        return 0
    return max((trial.memory.reading.measured_bytes or 0) - (trial.memory.beside_bytes or 0), 0)
