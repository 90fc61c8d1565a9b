"""What a trial's child says of itself; picklable, and light to import."""

from __future__ import annotations

from dataclasses import dataclass

from harness.records.predictions import Predictions
from harness.records.trial import NO_SCORES, EpochRecord, Outcome, ValidationScores
from harness.trials.symptoms import Cause


@dataclass(frozen=True)
class TrialReport:
    """How a training ended by its own account, and what it learnt.

    Attributes:
        scores: on the validation tracks of all folds.
        allocator_peak_bytes: the most that was in use in the framework's allocator; None where it cannot tell.
        pool_bytes: the most that the allocator had taken from the device; None where it cannot tell.
        projected_seconds: what the whole training would have taken, where it ended for want of time.
        inference_seconds: in which the trained model answers for 30 s of audio whose features are there.
        predictions: on the validation tracks.
        test_predictions: on those that are tested, where a test set is open.
    """

    outcome: Outcome
    message: str = ""
    epochs: tuple[EpochRecord, ...] = ()
    best_epoch: int | None = None
    scores: ValidationScores = NO_SCORES
    parameters: int | None = None
    allocator_peak_bytes: int | None = None
    pool_bytes: int | None = None
    train_seconds: float | None = None
    projected_seconds: float | None = None
    inference_seconds: float | None = None
    predictions: Predictions | None = None
    test_predictions: Predictions | None = None


@dataclass(frozen=True)
class NoGpu:
    """The child was to compute on a GPU and cannot; it trains nothing."""

    cause: Cause


@dataclass(frozen=True)
class MachineFailure:
    """The child cannot go on, for a reason that lies in the machine and not in its job, such as a full disk."""

    message: str


Message = EpochRecord | Predictions | TrialReport | NoGpu | MachineFailure
"""What a child sends: after an epoch its record, after a fold that is not the last its predictions, and one last word.

It waits for a bool after each: go on (True) or stop, as pruned (False). After the last one it only waits so that its
memory can be read once more.
"""
