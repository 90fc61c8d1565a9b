"""What every tracker must pass: `class TestMine(TrackerContract)` with a fixture `tracker`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from harness.records.predictions import Predictions
from harness.records.trial import EpochRecord, Outcome, TimingRecord, TrialRecord, ValidationScores
from harness.testing.records import RECORD as STUDY
from harness.tracking.base import Tracker
from harness.tracking.ledger import Ledger

PREDICTIONS = Predictions(("t2", "t3"), ("blues", "rock"), np.array([0, 1]), np.full((2, 2), 0.5, np.float32))
EPOCH = EpochRecord(epoch=0, loss=1.0, accuracy=0.5, val_loss=1.0, val_accuracy=0.5, val_macro_f1=0.5, seconds=0.1)

CALL_SECONDS = 1.0
"""A call that takes longer waited for somebody: handing something to a thread takes microseconds."""


def made_trial(number: int, outcome: Outcome = Outcome.COMPLETED) -> TrialRecord:
    """Return a trial of `STUDY` as it ended."""
    score = 0.5 if outcome is Outcome.COMPLETED else None
    epochs = (EPOCH,) if outcome is not Outcome.REFUSED else ()
    return TrialRecord(
        family=STUDY.family,
        study=STUDY.name,
        number=number,
        outcome=outcome,
        params={"rate": 0.1},
        epochs=epochs,
        scores=ValidationScores(valid_accuracy=score, valid_macro_f1=score),
        timing=TimingRecord(started="2025-01-01T10:00:00+00:00", ended="2025-01-01T10:01:00+00:00"),
    )


@dataclass
class TimedSearch:
    """A search that trains nothing, keeps to its side of the contract, and times every call.

    Attributes:
        slowest_seconds: the longest call but `close`.
    """

    tracker: Tracker
    ledger: Ledger
    slowest_seconds: float = 0.0

    def start_study(self) -> None:
        self.ledger.open_study(STUDY)
        self._time(lambda: self.tracker.study_started(STUDY))

    def start_trial(self, number: int) -> None:
        self._time(lambda: self.tracker.trial_started(STUDY, number, {"rate": 0.1}))

    def end_epoch(self, number: int) -> None:
        self._time(lambda: self.tracker.epoch_ended(STUDY.name, number, EPOCH))

    def end_trial(self, number: int, outcome: Outcome = Outcome.COMPLETED) -> None:
        trial = made_trial(number, outcome)
        self.ledger.write_trial(trial, PREDICTIONS if trial.completed else None)
        self._time(lambda: self.tracker.trial_ended(trial))

    def end_study(self) -> None:
        self._time(lambda: self.tracker.study_ended(STUDY.name))

    def _time(self, call: Callable[[], None]) -> None:
        begun = time.monotonic()
        call()
        self.slowest_seconds = max(self.slowest_seconds, time.monotonic() - begun)


class TrackerContract:
    """The tests; a subclass gives them a `tracker` that reads `ledger`, and a `ledger` without studies.

    They hold whether or not what the tracker tells can be reached: give it an address where nobody answers, too.
    """

    @pytest.fixture
    def ledger(self) -> Ledger:
        raise NotImplementedError("a subclass names the ledger")

    @pytest.fixture
    def tracker(self, ledger: Ledger) -> Tracker:
        raise NotImplementedError("a subclass makes its tracker")

    @pytest.fixture
    def search(self, tracker: Tracker, ledger: Ledger) -> TimedSearch:
        return TimedSearch(tracker, ledger)

    def test_it_is_a_tracker(self, tracker: Tracker) -> None:
        assert isinstance(tracker, Tracker)
        tracker.close()

    def test_a_search_is_told_without_an_error_and_without_a_wait(self, search: TimedSearch) -> None:
        search.start_study()
        search.start_trial(0)
        search.start_trial(1)
        for number in (0, 1, 0):
            search.end_epoch(number)
        search.end_trial(1)
        search.end_trial(0, Outcome.OOM)
        search.end_trial(2, Outcome.REFUSED)
        search.end_study()
        search.tracker.close()
        assert search.slowest_seconds < CALL_SECONDS

    def test_the_ledger_loses_nothing_to_it(self, search: TimedSearch, ledger: Ledger) -> None:
        search.start_study()
        waiting = set(ledger.pending())
        search.start_trial(0)
        search.end_trial(0)
        search.end_study()
        search.tracker.close()
        assert ledger.study(STUDY.name) == STUDY
        assert ledger.trials(STUDY.name) == (made_trial(0),)
        # All was delivered, or waits for the next delivery: there is no third.
        assert {entry for entry in ledger.pending() if entry.number is None} <= waiting
        assert {entry.number for entry in ledger.pending()} <= {None, 0}

    def test_a_search_may_be_cut_off_and_go_on(self, search: TimedSearch) -> None:
        search.start_study()
        search.start_trial(0)
        search.end_epoch(0)
        search.tracker.close()
        search.tracker.close()

    def test_a_call_after_the_end_does_nothing(self, search: TimedSearch, ledger: Ledger) -> None:
        search.start_study()
        search.tracker.close()
        search.start_trial(0)
        search.end_epoch(0)
        search.end_trial(0)
        search.end_study()
        assert any(entry.number == 0 for entry in ledger.pending())
        assert search.slowest_seconds < CALL_SECONDS
