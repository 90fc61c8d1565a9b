"""The file for optuna-dashboard holds what is on record, as Optuna itself would have stored it."""

from __future__ import annotations

import math
import sqlite3
from contextlib import closing
from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from harness.addresses import sqlite_url
from harness.errors import WorkspaceError
from harness.records.trial import EpochRecord, Outcome, RunningTrial, TimingRecord, TrialRecord, ValidationScores
from harness.search.dashboard_file import trials_on_record, write_dashboard_file
from harness.testing.backends import an_epoch
from harness.testing.records import FAMILY, RECORD

PARAMS = {"learning_rate": 1e-3, "width": 40, "batch_size": 16, "augment": True, "strength": 0.5}


def record(number: int, outcome: Outcome, *epochs: EpochRecord) -> TrialRecord:
    return TrialRecord(
        family=FAMILY.name,
        study=RECORD.name,
        number=number,
        outcome=outcome,
        params=PARAMS if number else FAMILY.baseline,
        epochs=epochs,
        scores=ValidationScores(valid_macro_f1=0.75 if outcome is Outcome.COMPLETED else None),
        constraints={"vram": -0.5},
        timing=TimingRecord(started="2026-01-02T03:04:05.000000+00:00", ended="2026-01-02T03:05:05.000000+00:00"),
    )


def facts(trials: list[FrozenTrial]) -> list[object]:
    parts = ("number", "state", "value", "params", "distributions", "constraints", "datetime_start")
    return [[getattr(trial, part) for part in (*parts, "datetime_complete")] for trial in trials]


def test_optuna_opens_it_with_what_is_on_record(tmp_path: Path) -> None:
    ended = [
        record(0, Outcome.COMPLETED, an_epoch(1, 0.25), an_epoch(2, 0.75)),
        record(2, Outcome.PRUNED, an_epoch(1, math.inf), an_epoch(2, 0.125)),
        record(3, Outcome.CRASHED, an_epoch(1, math.nan)),
    ]
    running = [RunningTrial(study=RECORD.name, number=1, params=PARAMS)]
    trials = trials_on_record(FAMILY, RECORD, ended, running)
    file = tmp_path / "studies.db"
    for _ in range(2):
        write_dashboard_file(file, {"first": trials, "empty": [], "last": trials}.items())
    assert [path.name for path in tmp_path.iterdir()] == ["studies.db"]
    storage = sqlite_url(file)
    assert set(optuna.get_all_study_names(storage)) == {"first", "empty", "last"}
    for name in ("first", "last"):
        study = optuna.load_study(study_name=name, storage=storage)
        assert facts(study.trials) == facts(trials)
        states = [TrialState.COMPLETE, TrialState.RUNNING, TrialState.PRUNED, TrialState.FAIL]
        assert [trial.state for trial in study.trials] == states
        assert [trial.params for trial in study.trials] == [FAMILY.baseline, PARAMS, PARAMS, PARAMS]
        assert study.best_value == 0.75
        assert study.trials[2].intermediate_values == {1: math.inf, 2: 0.125}
        assert math.isnan(study.trials[3].intermediate_values[1])
    assert optuna.load_study(study_name="empty", storage=storage).trials == []


def test_a_file_that_cannot_be_written_leaves_the_one_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "studies.db"
    write_dashboard_file(file, {"earlier": []}.items())
    before = file.read_bytes()

    def full(*about: object) -> None:
        raise optuna.exceptions.StorageInternalError from OSError("database or disk is full")

    monkeypatch.setattr("harness.search.dashboard_file._insert", full)
    with pytest.raises(WorkspaceError, match=r"studies.db: cannot be written \(database or disk is full\)"):
        write_dashboard_file(file, {"first": []}.items())
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("studies.db", before)]


def test_only_a_file_that_was_written_so_is_replaced(tmp_path: Path) -> None:
    storage, text, empty = (tmp_path / name for name in ("storage.db", "text.db", "empty.db"))
    with closing(sqlite3.connect(storage)) as other:
        other.execute("CREATE TABLE studies (name)")
    text.write_text("as it was")
    empty.touch()
    for file in (storage, text):
        before = file.read_bytes()
        with pytest.raises(WorkspaceError, match=f"{file.name}: is there already, and was not written for optuna-dash"):
            write_dashboard_file(file, {"first": []}.items())
        assert file.read_bytes() == before
    with pytest.raises(WorkspaceError, match="cannot be written"):
        write_dashboard_file(tmp_path, {"first": []}.items())
    write_dashboard_file(empty, {"first": []}.items())
    assert optuna.get_all_study_names(sqlite_url(empty)) == ["first"]
