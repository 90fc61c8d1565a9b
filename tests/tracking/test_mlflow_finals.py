"""What MLflow shows of an opened test set: each final run once, those of the last opening only, and the same records on
the way back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from mlflow import MlflowClient

from harness.records.base import FORMAT
from harness.records.final import FinalRole, FinalsRecord
from harness.records.predictions import Predictions
from harness.records.trial import Outcome
from harness.tracking.ledger import Ledger
from harness.tracking.mlflow.delivery import Delivery, sync
from harness.tracking.mlflow.reading import read_studies
from harness.tracking.outbox import Entry
from harness.tracking.serialization import REFERENCES, dump_references
from tests.helpers.mlflow import (
    BASELINE,
    OPENINGS,
    PREDICTIONS,
    REFERENCE,
    STUDY,
    TESTED,
    WINNER,
    assert_equal,
    curve,
    files_of,
    final,
    keep_finals,
    pictures,
    runs_of,
    trial,
)
from tests.helpers.records import changed


def shown(uri: str) -> dict[str, str]:
    """The ids of the final runs that MLflow shows, by key."""
    runs = runs_of(uri, "final")
    assert len({run.data.tags["final"] for run in runs}) == len(runs)
    return {run.data.tags["final"]: run.info.run_id for run in runs}


def test_a_final_run_follows_the_schema(ledger: Ledger, uri: str, root: Path) -> None:
    keep_finals(ledger, WINNER)
    assert sync(ledger, uri, artifact_root=root, artifacts=pictures) == Delivery(1)
    (parent,), (run,) = runs_of(uri, "study"), runs_of(uri, "final")
    assert run.info.run_name == "cnn2d-fusion · winner, seed 3 · 0.73"
    assert (
        run.data.tags.items()
        >= {
            "mlflow.parentRunId": parent.info.run_id,
            "family": "cnn2d-fusion",
            "study": "cnn2d-fusion-ab12cd34",
            "format": str(FORMAT),
            "kind": "final",
            "final": "winner-2",
            "trial": "7",
            "outcome": "completed",
            "vram.source": "process",
            "space": "v1",
            "dataset": "demo",
            "protocol": "kfold:5",
            "commit": "c0ffee",
        }.items()
    )
    assert run.data.params == {"trial": "7", "seed": "2", "budget_bytes": str(2**33)}
    metrics = run.data.metrics
    assert metrics["test_macro_f1_low"] < 11 / 15 < metrics["test_macro_f1_high"]
    assert {key: value for key, value in metrics.items() if not key.startswith("test_macro_f1_")} == {
        **{"test_accuracy": 0.75, "test_macro_f1": 11 / 15},
        # Wilson's interval of 3 in 4, by its formula with z = 1.959964.
        **{"test_accuracy_low": pytest.approx(0.300642, abs=1e-6)},
        **{"test_accuracy_high": pytest.approx(0.954413, abs=1e-6)},
        **{"train_seconds": 90.5, "vram_peak_bytes": 3 * 2**30, "allocator_peak_bytes": 2**30},
    }
    assert files_of(uri, run) == {"confusion_matrix.png", "per_genre.csv", "predictions.npz", "final.json"}
    (picture,) = root.rglob("confusion_matrix.png")
    assert picture.read_text() == "cnn2d-fusion · winner, seed 3: tested tracks"
    assert (run.info.end_time - run.info.start_time) / 1000 == 90.5
    assert run.info.status == "FINISHED"
    assert ledger.pending() == []


def test_a_run_that_was_not_tested_shows_why_and_no_score(ledger: Ledger, uri: str, root: Path) -> None:
    keep_finals(ledger, final(FinalRole.BASELINE, 0, fold=3, outcome=Outcome.CRASHED))
    sync(ledger, uri, artifact_root=root, artifacts=pictures)
    (run,) = runs_of(uri, "final")
    assert run.info.run_name == "cnn2d-fusion · baseline, seed 1, outer fold 4 · crashed"
    assert run.data.tags["final"] == "baseline-0-3"
    assert run.data.params["fold"] == "3"
    assert (run.info.status, run.data.tags["outcome"]) == ("FAILED", "crashed")
    assert run.data.metrics == {}
    assert files_of(uri, run) == {"final.json"}


def test_finals_are_shown_as_they_come_and_delivering_twice_changes_nothing(
    ledger: Ledger, uri: str, root: Path
) -> None:
    keep_finals(ledger, WINNER)
    sync(ledger, uri, artifact_root=root, artifacts=pictures)
    first = shown(uri)
    for _ in range(2):
        keep_finals(ledger, WINNER, BASELINE)
        sync(ledger, uri, artifact_root=root, artifacts=pictures)
    both = shown(uri)
    assert both.keys() == {"winner-2", "baseline-2"}
    assert both["winner-2"] == first["winner-2"]
    for run in runs_of(uri, "final"):
        assert len(curve(uri, run, "test_macro_f1")) == 1
    assert len(runs_of(uri, "study")) == 1


def test_a_delivery_that_was_cut_off_is_made_whole(ledger: Ledger, uri: str, root: Path) -> None:
    def cut_off(title: str, predictions: Predictions) -> Mapping[str, bytes]:
        if "baseline" in title:
            raise OSError("cut off")
        return pictures(title, predictions)

    keep_finals(ledger, WINNER, BASELINE)
    assert "cut off" in sync(ledger, uri, artifact_root=root, artifacts=cut_off).refused[0]
    assert ledger.pending() == [Entry(STUDY.name, None)]
    half = shown(uri)
    assert sync(ledger, uri, artifact_root=root, artifacts=pictures) == Delivery(1)
    whole = shown(uri)
    assert whole.keys() == {"winner-2", "baseline-2"}
    assert whole["winner-2"] == half["winner-2"]
    for run in runs_of(uri, "final"):
        assert run.info.status == "FINISHED"
        assert files_of(uri, run) == {"confusion_matrix.png", "per_genre.csv", "predictions.npz", "final.json"}


def test_a_run_that_never_ended_is_made_anew(ledger: Ledger, uri: str, root: Path) -> None:
    keep_finals(ledger, WINNER)
    sync(ledger, uri, artifact_root=root)
    MlflowClient(uri).update_run(shown(uri)["winner-2"], status="RUNNING")
    keep_finals(ledger, WINNER)
    sync(ledger, uri, artifact_root=root)
    assert [run.info.status for run in runs_of(uri, "final")] == ["FINISHED"]


def test_only_the_last_opening_is_shown(ledger: Ledger, uri: str, root: Path) -> None:
    keep_finals(ledger, WINNER, BASELINE)
    sync(ledger, uri, artifact_root=root)
    before = shown(uri)
    keep_finals(ledger, openings=OPENINGS)
    sync(ledger, uri, artifact_root=root)
    assert shown(uri) == {}
    other = changed(WINNER, trial=9, train_seconds=80.0)
    keep_finals(ledger, other, openings=OPENINGS)
    sync(ledger, uri, artifact_root=root)
    (run,) = runs_of(uri, "final")
    assert (run.data.tags["final"], run.data.params["trial"]) == ("winner-2", "9")
    assert run.data.metrics["train_seconds"] == 80.0
    assert MlflowClient(uri).get_run(before["winner-2"]).info.lifecycle_stage == "deleted"


def test_what_was_tested_is_read_back_equal(ledger: Ledger, uri: str, root: Path) -> None:
    crashed = final(FinalRole.WINNER, 3, outcome=Outcome.CRASHED)
    ledger.write_trial(trial(7), PREDICTIONS)
    keep_finals(ledger, WINNER, BASELINE, crashed, openings=OPENINGS)
    ledger.write_study_files(STUDY.name, {REFERENCES: dump_references([REFERENCE])})
    sync(ledger, uri, artifact_root=root, artifacts=pictures)
    ours, (theirs,) = ledger.results(STUDY.name), read_studies(uri)
    for found in (ours, theirs):
        assert found.finals == FinalsRecord(tested="test", openings=OPENINGS, runs=(WINNER, BASELINE, crashed))
        assert found.references == (REFERENCE,)
        assert list(found.final_predictions) == ["winner-2", "baseline-2"]
        for tested in found.final_predictions.values():
            assert_equal(tested, TESTED)
        assert list(found.predictions) == [7]
    assert (theirs.study, theirs.trials) == (ours.study, ours.trials)


def test_a_study_whose_test_set_is_closed_has_no_finals(ledger: Ledger, uri: str, root: Path) -> None:
    sync(ledger, uri, artifact_root=root)
    (found,) = read_studies(uri)
    assert (found.finals, found.references, dict(found.final_predictions)) == (None, (), {})
    assert runs_of(uri, "final") == []
