"""All trackers keep the one contract, MLflow's whether or not its server answers."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.testing.tracker_contract import STUDY, TimedSearch, TrackerContract
from harness.testing.trackers import RecordingTracker
from harness.tracking.base import NullTracker, Tracker
from harness.tracking.ledger import Ledger
from harness.tracking.mlflow.tracker import MLflowTracker
from harness.workspace import Workspace
from tests.helpers.mlflow import new_store, runs_of


class LocalContract(TrackerContract):
    @pytest.fixture
    def ledger(self, tmp_path: Path) -> Ledger:
        return Ledger(Workspace(tmp_path))


class TestNullTracker(LocalContract):
    @pytest.fixture
    def tracker(self, ledger: Ledger) -> Tracker:
        return NullTracker()


class TestRecordingTracker(LocalContract):
    @pytest.fixture
    def tracker(self, ledger: Ledger) -> Tracker:
        return RecordingTracker(ledger)


class TestMLflowTracker(LocalContract):
    @pytest.fixture
    def uri(self, tmp_path: Path) -> str:
        return new_store(tmp_path)

    @pytest.fixture
    def tracker(self, ledger: Ledger, uri: str, tmp_path: Path) -> Tracker:
        return MLflowTracker(uri, ledger, artifact_root=tmp_path / "artifacts")

    def test_what_was_told_is_shown_once_and_leaves_the_outbox(self, search: TimedSearch, uri: str) -> None:
        search.start_study()
        search.start_trial(0)
        search.end_epoch(0)
        search.end_trial(0)
        search.end_study()
        search.tracker.close()
        assert [run.data.tags["study"] for run in runs_of(uri, "study")] == [STUDY.name]
        assert [run.info.status for run in runs_of(uri, "trial")] == ["FINISHED"]
        assert search.ledger.pending() == []


class TestMLflowTrackerWithoutServer(LocalContract):
    @pytest.fixture
    def warnings(self) -> list[str]:
        return []

    @pytest.fixture
    def tracker(self, ledger: Ledger, warnings: list[str]) -> Iterator[Tracker]:
        with socket.socket() as taken:  # a port on which nobody listens
            taken.bind(("127.0.0.1", 0))
            uri = f"http://127.0.0.1:{taken.getsockname()[1]}"
            yield MLflowTracker(uri, ledger, warn=warnings.append)

    def test_it_warns_once_and_keeps_all(self, search: TimedSearch, warnings: list[str]) -> None:
        search.start_study()
        for number in range(3):
            search.start_trial(number)
            search.end_trial(number)
        search.tracker.close()
        assert ["The search goes on" in text for text in warnings] == [True, False]
        assert len(search.ledger.pending()) == 4
