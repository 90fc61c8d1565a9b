"""The metrics of trials as MLflow draws them, points (metric, step, value) with their times; those of final runs."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from itertools import accumulate

from harness.analysis.score_intervals import intervals_of
from harness.records.final import FinalRecord
from harness.records.predictions import Predictions
from harness.records.trial import EpochRecord, TrialRecord
from harness.units import is_finite

Point = tuple[str, int, float]

_SERIES = ("loss", "accuracy", "val_loss", "val_accuracy")
_SINGLE = (
    *("valid_accuracy", "valid_macro_f1", "train_accuracy", "vram_peak_bytes", "allocator_peak_bytes", "pool_bytes"),
    *("footprint_bytes", "parameters", "epochs", "train_seconds", "epoch_seconds", "inference_seconds"),
)


def is_ours(metric: str) -> bool:
    """Whether a metric of a run comes from here; the curves of a fold are named after it: `loss/fold_3`."""
    return metric.partition("/")[0] in {*_SERIES, *_SINGLE, "vram_bytes"}


def epoch_points(epoch: EpochRecord) -> list[Point]:
    """Return the points that an epoch adds to the curves; a value that is not finite is left out."""
    fold = "" if epoch.fold is None else f"/fold_{epoch.fold}"
    values = ((f"{key}{fold}", float(getattr(epoch, key))) for key in _SERIES)
    return [(key, epoch.epoch, value) for key, value in values if is_finite(value)]


def trial_points(trial: TrialRecord) -> dict[Point, int]:
    """Return all points of `trial`, each with its time in ms since 1970."""
    start, end = milliseconds(trial.timing.started) or now(), milliseconds(trial.timing.ended) or now()
    seconds = accumulate(epoch.seconds for epoch in trial.epochs)
    points = {
        point: start + round(1000 * passed)
        for epoch, passed in zip(trial.epochs, seconds, strict=True)
        for point in epoch_points(epoch)
    }
    points |= {
        ("vram_bytes", step, float(held)): start + round(1000 * passed)
        for step, (passed, held) in enumerate(trial.memory.series)
    }
    return points | {(key, 0, float(value)): end for key, value in _figures(trial).items() if value is not None}


def _figures(trial: TrialRecord) -> dict[str, float | None]:
    """Return the single figures of a trial, by the names of their metrics; None for one that cannot be stored."""
    scores, memory, timing = trial.scores, trial.memory, trial.timing
    figures: dict[str, float | None] = {
        "valid_accuracy": scores.valid_accuracy,
        "valid_macro_f1": scores.valid_macro_f1,
        "train_accuracy": scores.train_accuracy,
        "vram_peak_bytes": memory.reading.measured_bytes,
        "allocator_peak_bytes": memory.allocator_peak_bytes,
        "pool_bytes": memory.pool_bytes,
        "footprint_bytes": memory.footprint_bytes,
        "parameters": trial.parameters,
        "epochs": len(trial.epochs),
        "train_seconds": timing.train_seconds,
        "epoch_seconds": timing.epoch_seconds,
        "inference_seconds": timing.inference_seconds,
    }
    return {name: value if is_finite(value) else None for name, value in figures.items()}


def final_metrics(final: FinalRecord, predictions: Predictions | None) -> dict[str, float]:
    """Return the metrics of `final`, by name.

    The ends of 95 % intervals are among them where there are `predictions`: Wilson's of the accuracy, and a bootstrap
    over tracks of macro F1.
    """
    figures: dict[str, float | None] = {
        "test_accuracy": final.test_accuracy,
        "test_macro_f1": final.test_macro_f1,
        "train_seconds": final.timing.train_seconds,
        "vram_peak_bytes": final.memory.reading.measured_bytes,
        "allocator_peak_bytes": final.memory.allocator_peak_bytes,
    }
    if predictions is not None:
        accuracy, macro_f1 = intervals_of(predictions)
        figures |= {"test_accuracy_low": accuracy.low, "test_accuracy_high": accuracy.high}
        figures |= {"test_macro_f1_low": macro_f1.low, "test_macro_f1_high": macro_f1.high}
    return {key: float(value) for key, value in figures.items() if value is not None}


def milliseconds(moment: str) -> int | None:
    """Return an ISO 8601 moment, UTC unless it says otherwise, in ms since 1970; None where there is none."""
    try:
        parsed = datetime.fromisoformat(moment)
    except ValueError:
        return None
    return round(1000 * (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp())


def now() -> int:
    """Return the present in ms since 1970."""
    return round(time.time() * 1000)
