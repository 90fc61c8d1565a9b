"""A run that a signal ends shows in MLflow what it cut off. Nothing is trained here."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness.interruption import Interrupted, exit_status, interrupt_on_signals
from harness.tracking.base import Tracker
from harness.tracking.ledger import Ledger
from harness.tracking.mlflow.tracker import MLflowTracker
from tests.helpers.finals import make_bench
from tests.helpers.mlflow import EPOCHS, PARAMS, STUDY, new_ledger, new_store, runs_of
from tests.helpers.models import ToneStore


@pytest.fixture
def handlers() -> Iterator[None]:
    """The usual handlers of signals; whatever a test sets is taken back."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@dataclass
class Search:
    """A search whose first trial trains when a signal comes."""

    tracker: Tracker
    number: int

    def run(self) -> None:
        self.tracker.study_started(STUDY)
        self.tracker.trial_started(STUDY, 0, PARAMS)
        self.tracker.epoch_ended(STUDY.name, 0, EPOCHS[0])
        os.kill(os.getpid(), self.number)
        pytest.fail("the signal did not end the search")


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_what_a_signal_cut_off_is_shown_as_killed(
    number: int, tmp_path: Path, tones: Path, tone_store: ToneStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri, ledger = new_store(tmp_path), new_ledger(tmp_path / "delivered")
    bench = make_bench(tmp_path / "bench", tones, tone_store, monkeypatch)

    def tracker(stores: Any, run_ledger: Ledger, notify: Any) -> MLflowTracker:
        return MLflowTracker(uri, ledger, artifact_root=tmp_path / "artifacts")

    def search(config: Any, storage: Any, backend: Any, run_ledger: Any, tracker: Tracker, notify: Any) -> Search:
        return Search(tracker, number)

    monkeypatch.setattr("harness.workflows.run.open_tracker", tracker)
    monkeypatch.setattr("harness.workflows.run.StudyRunner.open", search)
    interrupt_on_signals()
    with pytest.raises(Interrupted) as ended:
        bench.run("group")
    assert exit_status(ended.value) == 128 + number
    (parent,), (child,) = runs_of(uri, "study"), runs_of(uri, "trial")
    assert (parent.info.status, child.info.status) == ("KILLED", "KILLED")
