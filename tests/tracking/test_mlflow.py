"""What MLflow shows of a search: each trial once, whatever was cut off, and the same records on the way back."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from harness.errors import TrackingError, WorkspaceError
from harness.records.base import FORMAT
from harness.records.predictions import Predictions
from harness.records.study import StudyResults
from harness.records.trial import EpochRecord, Outcome
from harness.tracking.ledger import Ledger
from harness.tracking.mlflow.delivery import Delivery, sync
from harness.tracking.mlflow.logged_model import ModelFiles, download_model
from harness.tracking.mlflow.points import epoch_points
from harness.tracking.mlflow.reading import read_studies
from harness.tracking.mlflow.registry import champion_name, describe_champion, register_champion
from harness.tracking.mlflow.runs import RunStore
from harness.tracking.mlflow.tracker import MLflowTracker
from harness.tracking.mlflow.views import addresses, experiment_tags, runs_page
from harness.tracking.outbox import Entry
from harness.tracking.serialization import IMPORTANCE, dump_importance
from harness.workflows.champion import competing_studies
from harness.workspace import Workspace
from tests.helpers.mlflow import (
    BASELINE,
    EPOCHS,
    PARAMS,
    PREDICTIONS,
    STUDY,
    WINNER,
    assert_equal,
    curve,
    files_of,
    keep_finals,
    new_store,
    pictures,
    runs_of,
    trial,
)
from tests.helpers.records import changed


@pytest.fixture(autouse=True)
def nothing_is_written_where_the_user_stands(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    here = tmp_path_factory.mktemp("here")
    monkeypatch.chdir(here)
    yield
    assert list(here.iterdir()) == []


@pytest.fixture
def dead_uri() -> Iterator[str]:
    """The address of a server that is not there: a port that is taken, and on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def test_a_trial_s_run_follows_the_schema(ledger: Ledger, uri: str, root: Path) -> None:
    ledger.write_trial(trial(7), PREDICTIONS)
    ledger.write_study_files(STUDY.name, {IMPORTANCE: dump_importance({})})
    assert sync(ledger, uri, artifact_root=root, artifacts=pictures) == Delivery(2)
    (parent,), (child,) = runs_of(uri, "study"), runs_of(uri, "trial")
    assert MlflowClient(uri).get_experiment(child.info.experiment_id).name == "demo/kfold:5"
    assert parent.info.run_name == "cnn2d-fusion · study ab12cd34 · 0.71"
    assert child.info.run_name == "cnn2d-fusion · trial 7 · 0.71"
    assert (
        child.data.tags.items()
        >= {
            "mlflow.parentRunId": parent.info.run_id,
            "format": str(FORMAT),
            "family": "cnn2d-fusion",
            "study": "cnn2d-fusion-ab12cd34",
            "trial": "7",
            "outcome": "completed",
            "vram.source": "process",
            "space": "v1",
            "dataset": "demo",
            "protocol": "kfold:5",
            "commit": "c0ffee",
            "kind": "trial",
        }.items()
    )
    assert child.data.params == {
        **{key: str(value) for key, value in PARAMS.items()},
        "budget_bytes": str(2**33),
        "micro_batch": "8",
    }
    assert child.data.metrics == {
        **{"loss": 0.2, "accuracy": 0.5, "val_loss": 0.7, "val_accuracy": 0.5},
        **{"valid_accuracy": 0.75, "valid_macro_f1": 0.714, "epochs": 3},
        **{"vram_peak_bytes": 3 * 2**30, "footprint_bytes": 2**31},
    }
    assert curve(uri, child, "loss") == [(0, 1 / 3), (1, 1 / 4), (2, 1 / 5)]
    assert files_of(uri, child) == {"confusion_matrix.png", "per_genre.csv", "predictions.npz", "trial.json"}
    assert files_of(uri, parent) == {"importance.json", "study.json"}
    assert (child.info.end_time - child.info.start_time) / 1000 == 60
    assert {parent.info.status, child.info.status} == {"FINISHED"}
    assert list(root.rglob("trial.json"))
    assert ledger.pending() == []


def told(results: StudyResults) -> str:
    return f"{len(results.trials)} of {results.study.family}"


def test_the_run_of_a_study_tells_how_far_it_has_come(ledger: Ledger, uri: str, root: Path) -> None:
    tracker = MLflowTracker(uri, ledger, artifact_root=root, describe=told)
    tracker.study_started(STUDY)
    for number, score in enumerate((0.5, 0.25, 0.75)):
        ledger.write_trial(changed(trial(number), valid_macro_f1=score), PREDICTIONS)
        tracker.trial_ended(trial(number))
    tracker.close()
    (parent,) = runs_of(uri, "study")
    assert parent.data.tags["mlflow.note.content"] == "3 of cnn2d-fusion"
    assert parent.info.run_name == "cnn2d-fusion · study ab12cd34 · 0.75"
    assert parent.data.metrics["valid_macro_f1"] == 0.75
    once = curve(uri, parent, "valid_macro_f1")
    assert once[-1] == (3, 0.75)
    ledger.write_study_files(STUDY.name, {IMPORTANCE: dump_importance({})})
    sync(ledger, uri, artifact_root=root, describe=told)
    assert curve(uri, parent, "valid_macro_f1") == once


def test_a_study_that_has_just_begun_is_there_with_its_data_set(ledger: Ledger, uri: str, root: Path) -> None:
    tracker = MLflowTracker(uri, ledger, artifact_root=root, describe=told)
    tracker.study_started(STUDY)
    tracker.trial_started(STUDY, 0, PARAMS)
    tracker.close()
    (parent,), (child,) = runs_of(uri, "study"), runs_of(uri, "trial")
    assert parent.data.tags["mlflow.note.content"] == "0 of cnn2d-fusion"
    assert parent.info.run_name == "cnn2d-fusion · study ab12cd34"
    for run in (parent, child):
        (seen,) = run.inputs.dataset_inputs
        assert (seen.dataset.name, seen.dataset.digest) == ("demo", "f")
        profile = json.loads(seen.dataset.profile)
        assert (profile["tracks"], profile["genres"]) == (4, ["blues", "rock"])
        assert profile["tracks by partition"] == {"train": 2, "valid": 2}


def test_a_data_set_that_a_run_lacks_is_added_once(ledger: Ledger, uri: str, root: Path) -> None:
    def cut_off(*given: object) -> None:
        raise OSError("cut off")

    ledger.write_trial(trial(0), PREDICTIONS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MlflowClient, "log_inputs", cut_off)
        assert len(sync(ledger, uri, artifact_root=root).refused) == 2
    for _ in range(2):
        ledger.write_trial(trial(0), PREDICTIONS)
        assert sync(ledger, uri, artifact_root=root).refused == ()
    (run,) = runs_of(uri, "trial")
    assert len(run.inputs.dataset_inputs) == 1


def test_an_experiment_has_its_views_and_keeps_what_a_user_made_of_them(ledger: Ledger, uri: str, root: Path) -> None:
    sync(ledger, uri, artifact_root=root)
    ((name, address),) = addresses(uri, "http://here").items()
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(name)
    assert (name, address) == ("demo/kfold:5", runs_page("http://here", experiment.experiment_id))
    assert experiment.tags == experiment_tags()
    tag = next(iter(experiment_tags()))
    client.set_experiment_tag(experiment.experiment_id, tag, "mine")
    ledger.write_study_files(STUDY.name, {IMPORTANCE: dump_importance({})})
    sync(ledger, uri, artifact_root=root)
    assert client.get_experiment_by_name(name).tags == {**experiment_tags(), tag: "mine"}


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (Outcome.COMPLETED, "FINISHED"),
        (Outcome.PRUNED, "FINISHED"),
        (Outcome.INTERRUPTED, "KILLED"),
        (Outcome.OOM, "FAILED"),
        (Outcome.CRASHED, "FAILED"),
    ],
)
def test_the_run_s_status_says_how_the_trial_ended(
    ledger: Ledger, uri: str, root: Path, outcome: Outcome, status: str
) -> None:
    ledger.write_trial(trial(1, outcome), PREDICTIONS if outcome is Outcome.COMPLETED else None)
    sync(ledger, uri, artifact_root=root)
    (run,) = runs_of(uri, "trial")
    assert run.info.status == status
    assert run.data.tags["outcome"] == outcome


def test_what_was_delivered_is_read_back_equal(ledger: Ledger, uri: str, root: Path) -> None:
    ledger.open_study(STUDY.model_copy(update={"family": "another", "name": "another-1"}))
    for record in (trial(10), trial(2), trial(3, Outcome.OOM, epochs=())):
        ledger.write_trial(record, PREDICTIONS if record.completed else None)
    sync(ledger, uri, artifact_root=root)
    expected = [ledger.results(study.name) for study in ledger.studies()]
    found = read_studies(uri)
    assert [(each.study, each.trials) for each in found] == [(each.study, each.trials) for each in expected]
    assert [list(each.predictions) for each in found] == [[], [2, 10]]
    for number in (2, 10):
        assert_equal(expected[1].predictions[number], found[1].predictions[number])


def test_a_trial_whose_predictions_are_in_another_workspace_is_delivered_and_read_without(
    ledger: Ledger, uri: str, root: Path
) -> None:
    ledger.write_trial(trial(0), None)
    assert sync(ledger, uri, artifact_root=root, artifacts=pictures) == Delivery(2)
    (child,) = runs_of(uri, "trial")
    assert files_of(uri, child) == {"trial.json"}
    (read,) = read_studies(uri)
    assert read.trials == (trial(0),)
    assert read.predictions.get(0) is None


@pytest.mark.parametrize(("found", "written"), [("3", "format 3,"), (None, r"format 0 \(before")])
def test_what_was_delivered_in_another_format_is_not_read(
    ledger: Ledger, uri: str, root: Path, found: str | None, written: str
) -> None:
    sync(ledger, uri, artifact_root=root)
    (parent,) = runs_of(uri, "study")
    MlflowClient(uri).delete_tag(parent.info.run_id, "format")
    if found is not None:
        MlflowClient(uri).set_tag(parent.info.run_id, "format", found)
    with pytest.raises(
        WorkspaceError,
        match=f"{STUDY.name} in {uri}: written in {written}.* and this version reads format {FORMAT}. Use the version",
    ):
        read_studies(uri)


def test_a_study_of_another_format_hides_no_other(
    ledger: Ledger, uri: str, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = STUDY.model_copy(update={"name": f"{STUDY.name[:-1]}0"})
    ledger.open_study(other)
    sync(ledger, uri, artifact_root=root)
    (old,) = (run for run in runs_of(uri, "study") if run.data.tags["study"] == other.name)
    MlflowClient(uri).set_tag(old.info.run_id, "format", "9")
    assert [results.study for results in read_studies(uri)] == [STUDY]
    assert caplog.messages == [f"{uri}: 1 studies of another format are left out"]


def test_a_search_shows_its_curves_once(ledger: Ledger, uri: str, root: Path) -> None:
    tracker = MLflowTracker(uri, ledger, artifact_root=root, artifacts=pictures)
    tracker.study_started(STUDY)
    for number in range(2):
        tracker.trial_started(STUDY, number, PARAMS)  # sends what the trials before have shown so far
        for epoch in EPOCHS[: 2 - number]:
            tracker.epoch_ended(STUDY.name, number, epoch)
    for number in range(2):
        ledger.write_trial(trial(number), PREDICTIONS)
        tracker.trial_ended(trial(number))
    ledger.write_study_files(STUDY.name, {IMPORTANCE: dump_importance({})})
    tracker.study_ended(STUDY.name)
    tracker.close()
    (parent,), children = runs_of(uri, "study"), runs_of(uri, "trial")
    for number, child in enumerate(children):
        assert child.data.tags["trial"] == str(number)
        assert curve(uri, child, "loss") == [(0, 1 / 3), (1, 1 / 4), (2, 1 / 5)]
    assert {run.info.status for run in (parent, *children)} == {"FINISHED"}
    assert "importance.json" in files_of(uri, parent)
    assert ledger.pending() == []


@pytest.mark.parametrize(("seconds", "times"), [(60.0, 1), (0.0, 4)])
def test_the_page_of_a_study_is_renewed_now_and_then_and_at_the_end(
    ledger: Ledger, uri: str, root: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, times: int
) -> None:
    seen: list[int] = []

    def describe(results: StudyResults) -> str:
        seen.append(len(results.trials))
        return told(results)

    monkeypatch.setattr("harness.tracking.mlflow.tracker._PAGE_SECONDS", seconds)
    tracker = MLflowTracker(uri, ledger, artifact_root=root, describe=describe)
    tracker.study_started(STUDY)
    for number in range(4):
        ledger.write_trial(trial(number), PREDICTIONS)
        tracker.trial_started(STUDY, number, PARAMS)
        tracker.trial_ended(trial(number))
        done = threading.Event()
        tracker._put(done.set)
        done.wait()
    began = len(seen)
    tracker.close()
    # The study itself is told of once more, when it is opened.
    assert began == 1 + times
    assert seen[-1] == 4
    (parent,) = runs_of(uri, "study")
    assert parent.data.tags["mlflow.note.content"] == "4 of cnn2d-fusion"


def test_what_was_shown_of_a_trial_is_not_asked_for_again(
    ledger: Ledger, uri: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    monkeypatch.setattr(MlflowClient, "get_metric_history", lambda *arguments: asked.append(arguments))
    tracker = MLflowTracker(uri, ledger, artifact_root=root, interval_seconds=0.01)
    tracker.trial_started(STUDY, 0, PARAMS)
    for epoch in EPOCHS[:2]:
        tracker.epoch_ended(STUDY.name, 0, epoch)
    ledger.write_trial(trial(0), PREDICTIONS)
    tracker.trial_ended(trial(0))
    tracker.close()
    monkeypatch.undo()
    assert asked == []
    (child,) = runs_of(uri, "trial")
    assert curve(uri, child, "loss") == [(0, 1 / 3), (1, 1 / 4), (2, 1 / 5)]


def test_points_whose_request_failed_are_not_sent_twice(
    ledger: Ledger, uri: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RunStore.open(uri, root)
    run_id = store.restart_trial(STUDY, 0, PARAMS, 0)
    log_batch = MlflowClient.log_batch

    def lost(*arguments: Any, **options: Any) -> None:
        log_batch(*arguments, **options)
        raise MlflowException("the connection broke before the answer")

    shown = dict.fromkeys(epoch_points(EPOCHS[0]), 1)
    monkeypatch.setattr(MlflowClient, "log_batch", lost)
    with pytest.raises(MlflowException):
        store.log(run_id, shown)
    monkeypatch.undo()
    # What is sent after it brings no trust back.
    store.log(run_id, dict.fromkeys(epoch_points(EPOCHS[1]), 2))
    store.deliver_trial(STUDY, trial(0), {}, "digest")
    (child,) = runs_of(uri, "trial")
    assert child.info.run_id == run_id
    assert curve(uri, child, "loss") == [(0, 1 / 3), (1, 1 / 4), (2, 1 / 5)]


def test_a_trial_that_was_tried_again_shows_the_epochs_of_its_record(ledger: Ledger, uri: str, root: Path) -> None:
    tracker = MLflowTracker(uri, ledger, artifact_root=root)
    tracker.study_started(STUDY)
    tracker.trial_started(STUDY, 0, PARAMS)
    for epoch in (replace(EPOCHS[0], loss=9.0), *EPOCHS):
        tracker.epoch_ended(STUDY.name, 0, epoch)
    tracker.trial_started(STUDY, 1, PARAMS)  # sends what trial 0 has shown so far
    ledger.write_trial(trial(0), PREDICTIONS)
    tracker.trial_ended(trial(0))
    tracker.close()
    first, _ = runs_of(uri, "trial")
    assert curve(uri, first, "loss") == [(0, 1 / 3), (1, 1 / 4), (2, 1 / 5)]


def test_a_run_that_a_user_deletes_while_its_trial_trains_is_made_anew(ledger: Ledger, uri: str, root: Path) -> None:
    warnings: list[str] = []
    tracker = MLflowTracker(uri, ledger, artifact_root=root, warn=warnings.append)
    tracker.study_started(STUDY)
    tracker.trial_started(STUDY, 0, PARAMS)
    shown = threading.Event()
    tracker._put(shown.set)
    shown.wait()
    (run,) = runs_of(uri, "trial")
    MlflowClient(uri).delete_run(run.info.run_id)
    ledger.write_trial(trial(0), PREDICTIONS)
    tracker.trial_ended(trial(0))
    tracker.study_ended(STUDY.name)
    tracker.close()
    (again,) = runs_of(uri, "trial")
    assert again.info.run_id != run.info.run_id
    assert curve(uri, again, "loss") == [(0, 1 / 3), (1, 1 / 4), (2, 1 / 5)]
    assert "trial 0 of cnn2d-fusion-ab12cd34 could not be delivered" in warnings[0]


def test_a_trial_with_folds_shows_a_curve_of_each_once(ledger: Ledger, uri: str, root: Path) -> None:
    epochs = tuple(replace(epoch, fold=fold, loss=epoch.loss + fold) for fold in range(5) for epoch in EPOCHS)
    tracker = MLflowTracker(uri, ledger, artifact_root=root)
    tracker.trial_started(STUDY, 0, PARAMS)
    for epoch in epochs[:8]:
        tracker.epoch_ended(STUDY.name, 0, epoch)
    tracker.close()
    (live,) = runs_of(uri, "trial")
    assert curve(uri, live, "loss/fold_2") == [(0, 1 / 3 + 2), (1, 1 / 4 + 2)]
    for _ in range(2):
        ledger.write_trial(trial(0, epochs=epochs), PREDICTIONS)
        assert sync(ledger, uri, artifact_root=root).refused == ()
        (child,) = runs_of(uri, "trial")
        assert child.info.run_id == live.info.run_id
        for fold in range(5):
            assert curve(uri, child, f"loss/fold_{fold}") == [(0, 1 / 3 + fold), (1, 1 / 4 + fold), (2, 1 / 5 + fold)]
            assert [step for step, _ in curve(uri, child, f"val_accuracy/fold_{fold}")] == [0, 1, 2]
        assert "loss" not in child.data.metrics
        assert curve(uri, child, "valid_macro_f1") == [(0, 0.714)]


def test_a_search_that_is_ahead_of_its_tracking_loses_nothing(ledger: Ledger, uri: str, root: Path) -> None:
    ledger.write_trial(trial(0), PREDICTIONS)
    ledger.write_trial(trial(1), PREDICTIONS)
    tracker = MLflowTracker(uri, ledger, artifact_root=root)
    for number in range(2):
        tracker.trial_started(STUDY, number, PARAMS)
        tracker.trial_ended(trial(number))
    tracker.close()
    assert [(run.data.tags["trial"], run.info.status) for run in runs_of(uri, "trial")] == [
        ("0", "FINISHED"),
        ("1", "FINISHED"),
    ]
    assert read_studies(uri)[0].trials == ledger.trials(STUDY.name)


def test_an_interrupted_search_keeps_its_curve_until_the_trial_starts_again(
    ledger: Ledger, uri: str, root: Path
) -> None:
    def started(epochs: tuple[EpochRecord, ...]) -> MLflowTracker:
        tracker = MLflowTracker(uri, ledger, artifact_root=root)
        tracker.study_started(STUDY)
        tracker.trial_started(STUDY, 0, PARAMS)
        for epoch in epochs:
            tracker.epoch_ended(STUDY.name, 0, epoch)
        return tracker

    other = tuple(replace(epoch, loss=9.0) for epoch in EPOCHS[:2])
    started(other).close()
    (parent,), (child,) = runs_of(uri, "study"), runs_of(uri, "trial")
    assert {parent.info.status, child.info.status} == {"KILLED"}
    assert curve(uri, child, "loss") == [(0, 9.0), (1, 9.0)]

    tracker = started(EPOCHS)
    ledger.write_trial(trial(0), PREDICTIONS)
    tracker.trial_ended(trial(0))
    tracker.study_ended(STUDY.name)
    tracker.close()
    (child,) = runs_of(uri, "trial")
    assert curve(uri, child, "loss") == [(0, 1 / 3), (1, 1 / 4), (2, 1 / 5)]
    assert len(runs_of(uri, "study")) == 1


def test_a_run_that_disagrees_with_the_record_is_made_anew(ledger: Ledger, uri: str, root: Path) -> None:
    attempt = trial(0, Outcome.INTERRUPTED, epochs=EPOCHS[1:])
    ledger.write_trial(changed(attempt, micro_batch=4), None)
    sync(ledger, uri, artifact_root=root)
    ledger.write_trial(trial(0), PREDICTIONS)
    sync(ledger, uri, artifact_root=root)
    (child,) = runs_of(uri, "trial")
    assert child.data.params["micro_batch"] == "8"
    assert child.info.status == "FINISHED"
    assert curve(uri, child, "loss") == [(0, 1 / 3), (1, 1 / 4), (2, 1 / 5)]


class KilledBeforeItIsNoted(Ledger):
    def delivered(self, entry: Entry) -> None:
        if entry.number is not None:
            os.kill(os.getpid(), signal.SIGKILL)


def die(title: str, predictions: Predictions) -> Mapping[str, bytes]:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


@pytest.mark.parametrize(("kind", "artifacts"), [(Ledger, die), (KilledBeforeItIsNoted, pictures)])
def test_a_delivery_that_was_killed_is_done_again_without_a_trace(
    ledger: Ledger, uri: str, root: Path, tmp_path: Path, kind: Callable[[Workspace], Ledger], artifacts: object
) -> None:
    ledger.write_trial(trial(0), PREDICTIONS)
    process = multiprocessing.get_context("fork").Process(
        target=sync, args=(kind(Workspace(tmp_path)), uri), kwargs={"artifact_root": root, "artifacts": artifacts}
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert Entry(STUDY.name, 0) in ledger.pending()
    for _ in range(2):
        ledger.write_trial(trial(0), PREDICTIONS)
        sync(ledger, uri, artifact_root=root, artifacts=pictures)
    assert len(runs_of(uri, "study")) == 1
    (child,) = runs_of(uri, "trial")
    for key, steps in {"loss": 3, "val_accuracy": 3, "valid_macro_f1": 1, "vram_peak_bytes": 1}.items():
        assert len(curve(uri, child, key)) == steps
    assert files_of(uri, child) == {"confusion_matrix.png", "per_genre.csv", "predictions.npz", "trial.json"}


def test_values_that_are_not_finite_are_left_out(ledger: Ledger, uri: str, root: Path) -> None:
    last = replace(EPOCHS[2], loss=float("nan"), val_loss=float("inf"))
    ledger.write_trial(trial(0, Outcome.DIVERGED, epochs=(*EPOCHS[:2], last)), None)
    sync(ledger, uri, artifact_root=root)
    (child,) = runs_of(uri, "trial")
    assert [step for step, _ in curve(uri, child, "loss")] == [0, 1]
    assert [step for step, _ in curve(uri, child, "val_loss")] == [0, 1]
    assert [step for step, _ in curve(uri, child, "accuracy")] == [0, 1, 2]


def test_a_long_training_is_logged_in_full(ledger: Ledger, uri: str, root: Path) -> None:
    epochs = tuple(replace(EPOCHS[0], epoch=step) for step in range(450))
    ledger.write_trial(trial(0, epochs=epochs), PREDICTIONS)
    sync(ledger, uri, artifact_root=root)
    (child,) = runs_of(uri, "trial")
    assert [step for step, _ in curve(uri, child, "val_accuracy")] == list(range(450))


def test_a_server_that_is_away_is_reported_once_and_gets_all_later(
    ledger: Ledger, uri: str, dead_uri: str, root: Path
) -> None:
    warnings: list[str] = []
    tracker = MLflowTracker(dead_uri, ledger, warn=warnings.append)
    tracker.study_started(STUDY)
    for number in range(3):
        tracker.trial_started(STUDY, number, PARAMS)
        tracker.epoch_ended(STUDY.name, number, EPOCHS[0])
        ledger.write_trial(trial(number), PREDICTIONS)
        tracker.trial_ended(trial(number))
    tracker.close()
    reported, left = warnings
    assert dead_uri in reported
    assert "4 results" in left
    assert "harness sync" in left
    with pytest.raises(TrackingError, match=dead_uri):
        sync(ledger, dead_uri)
    with pytest.raises(TrackingError, match=dead_uri):
        read_studies(dead_uri)
    assert sync(ledger, uri, artifact_root=root) == Delivery(4)
    assert [run.data.tags["trial"] for run in runs_of(uri, "trial")] == ["0", "1", "2"]


def test_one_bad_result_does_not_hold_up_the_others(ledger: Ledger, uri: str, root: Path, tmp_path: Path) -> None:
    for number in range(3):
        ledger.write_trial(trial(number), PREDICTIONS)
    (tmp_path / "results" / STUDY.name / "trial-00001.npz").write_bytes(b"torn")
    delivery = sync(ledger, uri, artifact_root=root)
    assert delivery.delivered == 3
    (reason,) = delivery.refused
    assert "trial 1 of cnn2d-fusion-ab12cd34" in reason
    assert "trial-00001.npz" in reason
    assert ledger.pending() == [Entry(STUDY.name, 1)]


def test_a_store_that_is_not_there_is_not_made_by_reading(tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match=r"nothing\.db: there is no MLflow store"):
        read_studies(f"sqlite:///{tmp_path}/nothing.db")
    assert list(tmp_path.iterdir()) == []


MODEL = """
from pathlib import Path

import pandas
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel


class Genres(PythonModel):
    def load_context(self, context):
        self.bias = float(Path(context.artifacts["model"], "bias.txt").read_text())

    def predict(self, context, model_input: pandas.DataFrame, params=None):
        return pandas.DataFrame(
            {"genre": "rock", "blues": 1 - self.bias, "rock": self.bias}, index=model_input["audio"]
        )


set_model(Genres())
"""


def test_the_champion_is_registered_once_and_predicts(ledger: Ledger, uri: str, root: Path, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "bias.txt").write_text("0.75")
    (tmp_path / "genres.py").write_text(MODEL)

    def register(number: int) -> str:
        files = ModelFiles(tmp_path / "model", tmp_path / "genres.py", (), ("numpy",))
        return register_champion(uri, STUDY, number, files)

    with pytest.raises(TrackingError, match="no run of trial 0"):
        register(0)
    for number in range(2):
        ledger.write_trial(trial(number), PREDICTIONS)
    sync(ledger, uri, artifact_root=root)
    address = register(0)
    assert register(0) == address == "models:/demo-cnn2d-fusion@champion"
    client = MlflowClient(uri)
    assert len(client.search_model_versions("name = 'demo-cnn2d-fusion'")) == 1
    register(1)
    champion = client.get_model_version_by_alias("demo-cnn2d-fusion", "champion")
    assert client.get_run(champion.run_id).data.tags["trial"] == "1"
    register(0)
    assert int(client.get_model_version_by_alias("demo-cnn2d-fusion", "champion").version) == 1
    assert len(client.search_model_versions("name = 'demo-cnn2d-fusion'")) == 2

    from mlflow.pyfunc import load_model

    folder = download_model(uri, address, tmp_path / "fetched")
    model = load_model(str(folder))
    assert model.metadata.get_input_schema().input_names() == ["audio", "samples", "rate"]
    assert model.metadata.get_output_schema().input_names() == ["genre", "blues", "rock"]
    answer = model.predict(pandas.DataFrame({"audio": ["a.wav", "b.wav"]}))
    assert answer["genre"].tolist() == ["rock", "rock"]
    assert answer["rock"].tolist() == [0.75, 0.75]
    assert list(root.glob("models/*/artifacts/MLmodel"))


def test_a_second_store_and_one_that_was_lost_get_all_that_the_ledger_holds(
    ledger: Ledger, uri: str, root: Path, tmp_path: Path
) -> None:
    for number in range(2):
        ledger.write_trial(trial(number), PREDICTIONS)
    keep_finals(ledger, WINNER, BASELINE)
    assert sync(ledger, uri, artifact_root=root, artifacts=pictures) == Delivery(3)
    assert sync(ledger, uri, artifact_root=root, artifacts=pictures) == Delivery(0)
    (tmp_path / "other").mkdir()
    other = new_store(tmp_path / "other")
    assert sync(ledger, other, artifact_root=tmp_path / "other" / "artifacts", artifacts=pictures) == Delivery(3)
    (tmp_path / "mlflow.db").unlink()
    tracker = MLflowTracker(new_store(tmp_path), ledger, artifact_root=root, artifacts=pictures)
    tracker.study_started(STUDY)
    tracker.close()
    for store in (uri, other):
        (results,) = read_studies(store)
        assert results.trials == ledger.trials(STUDY.name)
        assert results.finals == ledger.results(STUDY.name).finals
        assert len(runs_of(store, "final")) == 2
        assert {"confusion_matrix.png", "trial.json"} < files_of(store, runs_of(store, "trial")[0])
    assert sync(ledger, uri, artifact_root=root, artifacts=pictures) == Delivery(0)


def test_a_store_that_missed_a_later_change_gets_it(ledger: Ledger, uri: str, root: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other, elsewhere = new_store(tmp_path / "other"), tmp_path / "other" / "artifacts"
    for store, place in ((uri, root), (other, elsewhere)):
        sync(ledger, store, artifact_root=place)
    ledger.write_study_files(STUDY.name, {IMPORTANCE: dump_importance({"layers": 1.0})})
    assert sync(ledger, uri, artifact_root=root) == Delivery(1)
    assert ledger.pending() == []
    assert sync(ledger, other, artifact_root=elsewhere) == Delivery(1)
    assert read_studies(other)[0].importance == {"layers": 1.0}


def test_two_data_sets_of_one_name_never_share_a_champion(ledger: Ledger, uri: str, root: Path, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "genres.py").write_text(MODEL)
    other = STUDY.model_copy(
        update={
            "name": "cnn2d-fusion-00000000",
            "dataset": STUDY.dataset.model_copy(update={"fingerprint": "g", "genres": ("jazz", "rock")}),
        }
    )
    ledger.open_study(other)
    ledger.write_trial(trial(0), PREDICTIONS)
    ledger.write_trial(trial(0).model_copy(update={"study": other.name}), PREDICTIONS)
    sync(ledger, uri, artifact_root=root)
    files = ModelFiles(tmp_path / "model", tmp_path / "genres.py", (), ("numpy",))
    registered = [register_champion(uri, study, 0, files) for study in (STUDY, other, STUDY)]
    assert registered == [
        "models:/demo-cnn2d-fusion@champion",
        "models:/demo-g-cnn2d-fusion@champion",
        "models:/demo-cnn2d-fusion@champion",
    ]
    client = MlflowClient(uri)
    for study, name in ((STUDY, "demo-cnn2d-fusion"), (other, "demo-g-cnn2d-fusion")):
        version = client.get_model_version_by_alias(name, "champion")
        assert client.get_run(version.run_id).data.tags["study"] == study.name
        assert champion_name(client, study) == name
    describe_champion(uri, other, lambda number: "of another data set")
    assert client.get_model_version_by_alias("demo-g-cnn2d-fusion", "champion").description == "of another data set"
    assert client.get_model_version_by_alias("demo-cnn2d-fusion", "champion").description == ""
    assert competing_studies(other, ledger) == [other]


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://me:GE/HEIM@127.0.0.1:1", "http://me:***@127.0.0.1:1"),
        ("http://me@azure:GE HEIM@127.0.0.1:1", "http://me@azure:***@127.0.0.1:1"),
        ("http://127.0.0.1:1/?api_key=GE HEIM", "http://127.0.0.1:1/?api_key=***"),
        ("http://me:***@127.0.0.1:1", "http://me:***@127.0.0.1:1: its password is not kept. Give the address with it"),
    ],
)
def test_what_mlflow_says_of_an_address_shows_no_password(ledger: Ledger, tmp_path: Path, uri: str, shown: str) -> None:
    said: list[str] = []
    for ask in (
        lambda: read_studies(uri),
        lambda: sync(ledger, uri),
        lambda: download_model(uri, "models:/demo@champion", tmp_path),
    ):
        with pytest.raises(TrackingError) as failed:
            ask()
        said.append(str(failed.value))
    tracker = MLflowTracker(uri, ledger, warn=said.append)
    tracker.study_started(STUDY)
    tracker.close()
    assert len(said) == 5
    assert said[0].startswith(f"{shown}")
    assert said[-1].endswith(f"--tracking-uri '{shown.partition(': its')[0]}'")
    assert not [text for text in said if "GE" in text or "HEIM" in text]


def test_a_deleted_experiment_is_said_once_with_a_command_for_this_store(ledger: Ledger, uri: str, root: Path) -> None:
    for number in range(3):
        ledger.write_trial(trial(number), PREDICTIONS)
    sync(ledger, uri, artifact_root=root)
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("demo/kfold:5").experiment_id
    client.delete_experiment(experiment)
    ledger.write_trial(trial(4), PREDICTIONS)
    done = sync(ledger, uri, artifact_root=root)
    assert (done.delivered, len(done.refused)) == (0, 1)
    assert f"MLFLOW_TRACKING_URI={uri} mlflow experiments restore --experiment-id {experiment}" in done.refused[0]
    client.restore_experiment(experiment)
    assert sync(ledger, uri, artifact_root=root).refused == ()
    assert len(runs_of(uri, "trial")) == 4
