"""The recording tracker says what a search did out of order."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.testing.tracker_contract import EPOCH, STUDY, TimedSearch, made_trial
from harness.testing.trackers import Call, RecordingTracker
from harness.tracking.ledger import Ledger
from harness.workspace import Workspace


@pytest.fixture
def tracker(tmp_path: Path) -> RecordingTracker:
    return RecordingTracker(Ledger(Workspace(tmp_path)))


def test_a_search_in_order_breaks_nothing(tmp_path: Path) -> None:
    ledger = Ledger(Workspace(tmp_path))
    tracker = RecordingTracker(ledger)
    search = TimedSearch(tracker, ledger)
    search.start_study()
    search.start_trial(0)
    search.end_epoch(0)
    search.end_trial(0)
    search.end_study()
    search.tracker.close()
    assert [call.method for call in tracker.calls] == [
        "study_started",
        "trial_started",
        "epoch_ended",
        "trial_ended",
        "study_ended",
    ]
    assert tracker.calls[1] == Call("trial_started", STUDY.name, 0)
    assert (tracker.breaches, tracker.closed) == ([], True)


def test_what_comes_out_of_order_is_named(tracker: RecordingTracker) -> None:
    tracker.trial_started(STUDY, 0, {})
    tracker.study_started(STUDY)
    tracker.study_started(STUDY)
    tracker.trial_started(STUDY, 0, {})
    tracker.epoch_ended(STUDY.name, 1, EPOCH)
    tracker.study_ended(STUDY.name)
    tracker.study_started(STUDY)
    tracker.trial_ended(made_trial(0))
    tracker.trial_ended(made_trial(0))
    assert tracker.breaches == [
        f"trial_started: trial 0 of {STUDY.name}: the study is not open",
        f"study_started: {STUDY.name} is open already",
        f"trial_started: trial 0 of {STUDY.name} was started or ended before",
        f"epoch_ended: trial 1 of {STUDY.name} does not run",
        f"study_ended: {STUDY.name} has trials that run",
        f"trial_ended: trial 0 of {STUDY.name} is not in the ledger",
        f"trial_ended: trial 0 of {STUDY.name} ended before",
        f"trial_ended: trial 0 of {STUDY.name} is not in the ledger",
    ]
