"""What a trial reports on its way, by step: the score of its epochs or, with folds, how sure it is of each track."""

from __future__ import annotations

from collections.abc import Sequence

from harness.features.fold import Fold
from harness.records.predictions import Predictions
from harness.records.trial import TrialRecord
from harness.scoring.metrics import log_likelihoods
from harness.search.config import StudyConfig
from harness.tracking.ledger import Ledger


def _steps(config: StudyConfig, folds: Sequence[Fold]) -> dict[str, int]:
    """Return the number of each track that validates in `folds`, among all that validate in the study."""
    numbers = {track: n for n, track in enumerate(sorted(each.track for fold in config.folds for each in fold.valid))}
    return {each.track: numbers[each.track] for fold in folds for each in fold.valid}


def by_track(config: StudyConfig, predictions: Predictions) -> dict[int, float]:
    """Return the log probability of each track's genre, by the track's number."""
    steps, logs = _steps(config, config.folds), log_likelihoods(predictions)
    return {steps[track]: float(log) for track, log in zip(predictions.tracks, logs, strict=True)}


def reported(config: StudyConfig, ledger: Ledger, best: TrialRecord | None, trial: TrialRecord) -> dict[int, float]:
    """Return what a trial on record reported on its way, as far as others are judged by it.

    With folds, that is all of the best trial, by its predictions, and the last report of those that did not complete.

    Args:
        best: the best trial of the study that kept to all limits, which is the one that Optuna compares others with.
    """
    if len(config.folds) == 1:
        return {epoch.epoch: epoch.val_macro_f1 for epoch in trial.epochs}
    if not trial.completed:
        return dict([trial.last_report] if trial.last_report is not None else [])
    if trial is not best or not ledger.has_predictions(trial.study, trial.number):
        return {}
    values = by_track(config, ledger.predictions(trial.study, trial.number))
    # After the last fold a trial ends, and reports nothing.
    return {step: value for step, value in values.items() if step not in _steps(config, config.folds[-1:]).values()}
