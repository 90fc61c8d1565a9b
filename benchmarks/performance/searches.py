"""Searches whose trials train nothing: rows open them here, as `harness run` would."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks.performance.workspaces import made_up_predictions
from harness.events import Notify
from harness.records.trial import EpochRecord, Outcome, ValidationScores
from harness.search.config import StudyConfig
from harness.search.study import StudyRunner
from harness.testing.backends import FakeBackend
from harness.tracking.base import NullTracker, Tracker
from harness.tracking.ledger import Ledger
from harness.trials.job import TrialSpec
from harness.trials.report import TrialReport


def open_search(
    config: StudyConfig,
    ledger: Ledger,
    score: Callable[[int], float],
    tracker: Tracker | None = None,
    notify: Notify = lambda event: None,
) -> StudyRunner:
    """Take up a study that the ledger holds.

    Args:
        score: of an epoch, from 1; the last one's is the trial's.
        tracker: None for none.
    """
    predictions = made_up_predictions()

    def end(spec: TrialSpec, epochs: Sequence[EpochRecord]) -> TrialReport:
        best = epochs[-1].val_macro_f1
        scores = ValidationScores(valid_accuracy=best, valid_macro_f1=best, train_accuracy=best)
        return TrialReport(Outcome.COMPLETED, "", tuple(epochs), len(epochs), scores, predictions=predictions)

    backend = FakeBackend(end=end, score=lambda spec, epoch: score(epoch))
    return StudyRunner.open(config, None, backend, ledger, tracker or NullTracker(), notify)
