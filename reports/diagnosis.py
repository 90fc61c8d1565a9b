"""What holds a family back, told from its records by plain rules.

The first rule that applies is the main limitation:

| order | limitation | applies when |
| --- | --- | --- |
| 1 | no completed trial | no trial completed |
| 2 | at chance | the interval of the best trial's accuracy reaches down to 1 / genres, or its macro F1 does |
| 3 | GPU memory | a third or more of the trials were refused, over budget or out of GPU memory |
| 4 | time | a third or more of the trials ran into the time limit |
| 5 | over-fitting | the best trial's training accuracy lies 20 points or more above its validation accuracy |
| 6 | too few epochs | the best trial's best epoch lies in the last tenth of the epochs it was allowed |
| 7 | few validation tracks | the interval of the best trial's accuracy is 20 points wide or more |
| 8 | unused budget | no trial peaked at a quarter of the budget or more, and none was lost to memory |

Peaks are measured, or predicted where nothing was measured. Where no rule applies, the limitation is `none found`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from harness.records import Outcome, Source, StudyResults, TrialRecord, is_finite
from harness.scoring.metrics import Interval, wilson
from harness.units import format_size
from reports.tables import percent, percent_range, ratio

_LARGE_GAP = 0.2
_WIDE_INTERVAL = 0.2
_SMALL_PART = 0.25
_MEMORY = (Outcome.REFUSED, Outcome.OVER_BUDGET, Outcome.OOM)


def main_limitation(results: StudyResults) -> str:
    """Return what limits the family most, with the figure that says so; the rules are this module's table."""
    return next(iter(limitations(results)), "none found")


def limitations(results: StudyResults) -> list[str]:
    """Return all that limits the family, each with its figure, in the order of the rules."""
    trials, best = results.trials, results.best
    if best is None:
        return [f"no completed trial: {outcomes(trials)}" if trials else "no trial has ended yet"]
    found = (
        _chance(results, best),
        _share(trials, _MEMORY, "GPU memory", "refused, over budget or out of memory"),
        _share(trials, (Outcome.TIMEOUT,), "time", "over the time limit"),
        _over_fitting(best),
        _too_few_epochs(results, best),
        _few_tracks(results),
        _unused_budget(results),
    )
    return [limitation for limitation in found if limitation is not None]


def outcomes(trials: Sequence[TrialRecord]) -> str:
    """Return how many trials ended in which way: `8 completed, 2 pruned`."""
    counts = Counter(trial.outcome for trial in trials)
    return ", ".join(f"{counts[outcome]} {outcome.replace('_', ' ')}" for outcome in Outcome if counts[outcome])


def measured_peak(trial: TrialRecord) -> int | None:
    """Return the peak GPU memory that the trial held in bytes, as NVML counted it; None where nothing was measured."""
    return None if trial.reading.source is Source.NONE else trial.reading.peak_bytes


def held_in_words(trial: TrialRecord) -> str:
    """Return `measured_peak` with its source for a reader: `2.00 GiB (process)`, or `not measured`."""
    size = measured_peak(trial)
    return "not measured" if size is None else f"{format_size(size)} ({trial.reading.source.replace('_', ' ')})"


class Peak(NamedTuple):
    """GPU memory of a trial in bytes: measured, or predicted where nothing was measured."""

    size: int
    measured: bool


def peak(trial: TrialRecord) -> Peak | None:
    """Return the trial's peak as NVML counted it, else its footprint; None where it has neither."""
    measured = measured_peak(trial)
    if measured is not None:
        return Peak(measured, measured=True)
    return None if trial.footprint_bytes is None else Peak(trial.footprint_bytes, measured=False)


def smallest_budget(trial: TrialRecord) -> Peak | None:
    """Return the smallest budget that the trial fits into; None where it was neither measured nor predicted.

    The framework's allocator takes memory in regions that double in size, and keeps them, so a trial can hold up to
    twice what it needs. It fits into the peak of its allocator and what lay beside the allocator, and in any case into
    what it held. What lay beside is the reading less what the allocator had taken, else the estimate; where neither is
    known, the trial's peak stands.
    """
    found = peak(trial)
    if found is None or not found.measured or not trial.allocator_peak_bytes:
        return found
    beside = _beside(trial, found.size)
    return found if beside is None else Peak(min(trial.allocator_peak_bytes + beside, found.size), measured=True)


def _beside(trial: TrialRecord, held_bytes: int) -> int | None:
    # A reading below what the allocator had taken missed the peak, and says nothing of what lay beside.
    if trial.pool_bytes is None or trial.pool_bytes > held_bytes:
        return trial.beside_bytes
    return held_bytes - trial.pool_bytes


def part_of_budget(size: int, budget: int) -> str:
    """Return a share of the budget, both in bytes, for a reader: `3.10 of 8.00 GiB`, `310 MiB of 8.00 GiB`."""
    part, whole = format_size(size), format_size(budget)
    return f"{part.removesuffix(whole[whole.index(' ') :])} of {whole}"


def validation_tracks(results: StudyResults) -> int:
    """Return how many tracks the best trial was validated on: its predictions', else the protocol's count."""
    best = results.best
    predictions = results.predictions.get(best.number) if best else None
    sizes = results.study.protocol.sizes
    return len(predictions.labels) if predictions else sizes.get("folds", 0) or sizes.get("valid", 0)


def accuracy_interval(results: StudyResults) -> Interval | None:
    """Return the Wilson 95 % interval of the best trial's validation accuracy; None without trial or tracks."""
    best, tracks = results.best, validation_tracks(results)
    if best is None or best.valid_accuracy is None or not is_finite(best.valid_accuracy) or not tracks:
        return None
    return wilson(round(best.valid_accuracy * tracks), tracks)


def _chance(results: StudyResults, best: TrialRecord) -> str | None:
    chance = 1 / len(results.study.dataset.genres)
    interval = accuracy_interval(results)
    if interval is not None and interval.low <= chance:
        return f"at chance: accuracy {percent_range(interval)}, chance {percent(chance)}"
    if best.valid_macro_f1 is not None and best.valid_macro_f1 <= chance:
        return f"at chance: macro F1 {ratio(best.valid_macro_f1)}, chance {ratio(chance)}"
    return None


def _share(trials: Sequence[TrialRecord], kinds: Sequence[Outcome], name: str, words: str) -> str | None:
    count = sum(trial.outcome in kinds for trial in trials)
    return f"{name}: {count} of {len(trials)} trials {words}" if 3 * count >= len(trials) else None


def _over_fitting(best: TrialRecord) -> str | None:
    train, valid = best.train_accuracy, best.valid_accuracy
    if train is None or valid is None or round(train - valid, 9) < _LARGE_GAP:
        return None
    return f"over-fitting: accuracy {percent(train)} in training, {percent(valid)} in validation"


def _too_few_epochs(results: StudyResults, best: TrialRecord) -> str | None:
    allowed = results.study.epochs
    trained = sorted({record.epoch for record in best.epochs})
    if best.best_epoch not in trained:
        return None
    ordinal = trained.index(best.best_epoch) + 1
    return f"too few epochs: best after {ordinal} of {allowed}" if 10 * ordinal > 9 * allowed else None


def _few_tracks(results: StudyResults) -> str | None:
    interval = accuracy_interval(results)
    if interval is None or interval.width < _WIDE_INTERVAL:
        return None
    return f"few validation tracks: {validation_tracks(results)} leave accuracy at {percent_range(interval)}"


def _unused_budget(results: StudyResults) -> str | None:
    peaks = [held for trial in results.trials if (held := peak(trial)) is not None]
    if not peaks or any(trial.outcome in _MEMORY for trial in results.trials):
        return None
    largest, budget = max(peaks), results.study.budget_bytes
    if largest.size >= _SMALL_PART * budget:
        return None
    how = "measured" if largest.measured else "predicted"
    return f"unused budget: no trial peaked above {part_of_budget(largest.size, budget)} ({how})"
