"""The course of a study's search: scores by trial, other outcomes, training time, importance of hyperparameters."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.records.study import StudyResults
from harness.records.trial import Outcome, TrialRecord
from harness.units import is_finite


@dataclass(frozen=True)
class SearchCourse:
    """The search of a study in figures.

    Attributes:
        outcomes: how many trials ended in which way, in the order of `Outcome`; only ways that occurred.
        scores: validation macro F1 of the completed trials by number; finite ones only.
        unscored: the numbers of the other trials by outcome, in the order of `Outcome`.
        hyperparameters: those of the best trial, of the baseline and those with an importance. The value is the share
            of the variance of the score, None where it is not known; the most important stand first.
        train_seconds: of all trials together.
    """

    outcomes: Mapping[Outcome, int]
    scores: Mapping[int, float]
    unscored: Mapping[Outcome, tuple[int, ...]]
    hyperparameters: Mapping[str, float | None]
    train_seconds: float


def summarise_search(results: StudyResults) -> SearchCourse:
    """Summarise the trials of a study in order of their numbers."""
    scores: dict[int, float] = {}
    unscored: dict[Outcome, list[int]] = defaultdict(list)
    for trial in results.trials:
        if trial.completed and trial.scores.valid_macro_f1 is not None and is_finite(trial.scores.valid_macro_f1):
            scores[trial.number] = trial.scores.valid_macro_f1
        else:
            unscored[trial.outcome].append(trial.number)
    return SearchCourse(
        outcomes=count_outcomes(results.trials),
        scores=scores,
        unscored={outcome: tuple(unscored[outcome]) for outcome in Outcome if outcome in unscored},
        hyperparameters=_hyperparameters(results),
        train_seconds=sum(trial.timing.train_seconds or 0.0 for trial in results.trials),
    )


def count_outcomes(trials: Sequence[TrialRecord]) -> dict[Outcome, int]:
    """Count the trials by outcome, in the order of `Outcome`; outcomes that did not occur are left out."""
    counts = Counter(trial.outcome for trial in trials)
    return {outcome: counts[outcome] for outcome in Outcome if outcome in counts}


def _hyperparameters(results: StudyResults) -> dict[str, float | None]:
    shares = {name: share for name, share in results.importance.items() if is_finite(share)}
    sampled = {name for trial in (results.best, results.baseline) if trial is not None for name in trial.params}
    names = sorted(sampled | shares.keys(), key=lambda name: (-shares.get(name, -1.0), name))
    return {name: shares.get(name) for name in names}
