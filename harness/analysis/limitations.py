"""What limits a family, found in its records by plain rules.

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

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from harness.analysis.memory_curve import Peak, peak
from harness.analysis.score_intervals import ValidationScore
from harness.analysis.search_course import count_outcomes
from harness.records.study import StudyResults
from harness.records.trial import Outcome, TrialRecord
from harness.scoring.metrics import Interval

_LARGE_GAP = 0.2
_WIDE_INTERVAL = 0.2
_SMALL_PART = 0.25
_LOST_TO_MEMORY = (Outcome.REFUSED, Outcome.OVER_BUDGET, Outcome.OOM)


class NoCompletedTrial(NamedTuple):
    """No trial completed; `outcomes` counts the others, and is empty where no trial has ended."""

    outcomes: Mapping[Outcome, int]


class AccuracyAtChance(NamedTuple):
    """The interval of the best trial's accuracy reaches down to chance."""

    accuracy_interval: Interval
    chance: float


class MacroF1AtChance(NamedTuple):
    """The best trial's macro F1 is not above chance."""

    macro_f1: float
    chance: float


class LostToMemory(NamedTuple):
    """So many of all trials were refused, over budget or out of GPU memory."""

    lost: int
    trials: int


class LostToTime(NamedTuple):
    """So many of all trials ran into the time limit."""

    lost: int
    trials: int


class OverFitting(NamedTuple):
    """The best trial's accuracies, far apart."""

    train_accuracy: float
    valid_accuracy: float


class TooFewEpochs(NamedTuple):
    """The best trial's best epoch, counted from 1, is near the last of those that were allowed."""

    best: int
    allowed: int


class FewValidationTracks(NamedTuple):
    """So few tracks leave the best trial's accuracy in a wide interval."""

    tracks: int
    accuracy_interval: Interval


class UnusedBudget(NamedTuple):
    """The largest peak of all trials is a small part of the budget in bytes."""

    largest: Peak
    budget_bytes: int


Limitation = (
    NoCompletedTrial
    | AccuracyAtChance
    | MacroF1AtChance
    | LostToMemory
    | LostToTime
    | OverFitting
    | TooFewEpochs
    | FewValidationTracks
    | UnusedBudget
)
"""One rule that applies, with the figures that say so."""


def find_limitations(results: StudyResults, validation: ValidationScore) -> tuple[Limitation, ...]:
    """Apply the rules to a study and return all that limits its family, the main limitation first."""
    trials, best = results.trials, results.best
    if best is None:
        return (NoCompletedTrial(count_outcomes(trials)),)
    memory, time = _lost(trials, _LOST_TO_MEMORY), _lost(trials, (Outcome.TIMEOUT,))
    found = (
        _at_chance(results, best, validation),
        LostToMemory(memory, len(trials)) if 3 * memory >= len(trials) else None,
        LostToTime(time, len(trials)) if 3 * time >= len(trials) else None,
        _over_fitting(best),
        _too_few_epochs(results, best),
        _few_tracks(validation),
        _unused_budget(results),
    )
    return tuple(limitation for limitation in found if limitation is not None)


def _lost(trials: Sequence[TrialRecord], outcomes: Sequence[Outcome]) -> int:
    return sum(trial.outcome in outcomes for trial in trials)


def _at_chance(
    results: StudyResults, best: TrialRecord, validation: ValidationScore
) -> AccuracyAtChance | MacroF1AtChance | None:
    chance = 1 / len(results.study.dataset.genres)
    interval = validation.accuracy_interval
    if interval is not None and interval.low <= chance:
        return AccuracyAtChance(interval, chance)
    if best.scores.valid_macro_f1 is not None and best.scores.valid_macro_f1 <= chance:
        return MacroF1AtChance(best.scores.valid_macro_f1, chance)
    return None


def _over_fitting(best: TrialRecord) -> OverFitting | None:
    train, valid = best.scores.train_accuracy, best.scores.valid_accuracy
    if train is None or valid is None or round(train - valid, 9) < _LARGE_GAP:
        return None
    return OverFitting(train, valid)


def _too_few_epochs(results: StudyResults, best: TrialRecord) -> TooFewEpochs | None:
    allowed = results.study.epochs
    trained = sorted({record.epoch for record in best.epochs})
    if best.best_epoch not in trained:
        return None
    ordinal = trained.index(best.best_epoch) + 1
    return TooFewEpochs(ordinal, allowed) if 10 * ordinal > 9 * allowed else None


def _few_tracks(validation: ValidationScore) -> FewValidationTracks | None:
    interval = validation.accuracy_interval
    if interval is None or interval.width < _WIDE_INTERVAL:
        return None
    return FewValidationTracks(validation.tracks, interval)


def _unused_budget(results: StudyResults) -> UnusedBudget | None:
    peaks = [found for trial in results.trials if (found := peak(trial)) is not None]
    if not peaks or any(trial.outcome in _LOST_TO_MEMORY for trial in results.trials):
        return None
    largest, budget = max(peaks), results.study.budget_bytes
    return UnusedBudget(largest, budget) if largest.size < _SMALL_PART * budget else None
