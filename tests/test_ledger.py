"""The ledger keeps what ended, whole, and knows what MLflow has not got yet."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
from itertools import count
from pathlib import Path

import numpy as np
import pytest

import harness.tracking.ledger
from harness.errors import WorkspaceError
from harness.records import (
    DatasetRecord,
    EpochRecord,
    Outcome,
    Predictions,
    ProtocolRecord,
    Provenance,
    Reading,
    Source,
    StudyRecord,
    TrialRecord,
)
from harness.tracking.ledger import Entry, Ledger, load_predictions, lock_workspace, save_predictions

STUDY = StudyRecord(
    family="cnn",
    study="cnn-ab12cd34",
    description="A small network.",
    input="mfcc",
    space="v1",
    dataset=DatasetRecord(name="demo", fingerprint="f", genres=("blues", "rock"), tracks=4, synthetic=True),
    protocol=ProtocolRecord(name="group", fingerprint="p", sizes={"train": 2, "valid": 2}, grouped=True),
    budget_bytes=2**33,
    epochs=2,
    seed=1,
    quick=True,
    trial_time_limit_seconds=None,
    published=None,
    provenance=Provenance(
        commit="c0ffee", versions={}, backend="tensorflow", device="cpu", driver=None, platform="Linux", cpu_count=2
    ),
)
PREDICTIONS = Predictions(
    tracks=("blues.00000", "röck.00001"),
    genres=("blues", "rock"),
    labels=np.array([0, 1]),
    probabilities=np.array([[0.75, 0.25], [0.5, 0.5]], dtype=np.float32),
)


def completed(number: int, loss: float = 0.5) -> TrialRecord:
    epoch = EpochRecord(
        epoch=0, loss=loss, accuracy=0.5, val_loss=1 / 3, val_accuracy=0.5, val_macro_f1=0.4, seconds=0.1
    )
    return TrialRecord(
        family=STUDY.family,
        study=STUDY.study,
        number=number,
        outcome=Outcome.COMPLETED,
        params={"rate": 1e-5, "dropout": 1.0, "layers": 3, "residual": True, "pooling": "max", "warmup": None},
        epochs=(epoch,),
        valid_macro_f1=0.4,
        reading=Reading(peak_bytes=123, source=Source.PROCESS),
        constraints={"vram": -1.5},
    )


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    ledger = Ledger(tmp_path)
    ledger.open_study(STUDY)
    return ledger


def test_a_written_trial_is_read_back_equal_with_its_types(ledger: Ledger) -> None:
    ledger.write(completed(3), PREDICTIONS)
    stored = ledger.trial(STUDY.study, 3)
    assert stored == completed(3)
    assert {key: type(value) for key, value in stored.params.items()} == {
        key: type(value) for key, value in completed(3).params.items()
    }


def test_a_loss_that_is_not_finite_survives(ledger: Ledger) -> None:
    ledger.write(completed(0, loss=math.nan), PREDICTIONS)
    ledger.write(completed(1, loss=math.inf), PREDICTIONS)
    diverged, overflown = ledger.trials(STUDY.study)
    assert math.isnan(diverged.epochs[0].loss)
    assert overflown.epochs[0].loss == math.inf


def test_results_are_in_order_and_hold_predictions_of_completed_trials_only(ledger: Ledger) -> None:
    for number in (100000, 10, 2):
        ledger.write(completed(number), PREDICTIONS)
    ledger.write(completed(5).model_copy(update={"outcome": Outcome.OOM}), None)
    results = ledger.results(STUDY.study)
    assert [trial.number for trial in results.trials] == [2, 5, 10, 100000]
    assert list(results.predictions) == [2, 10, 100000]
    loaded = results.predictions[10]
    assert (loaded.tracks, loaded.genres) == (PREDICTIONS.tracks, PREDICTIONS.genres)
    assert loaded.labels.dtype == np.int64
    assert loaded.probabilities.dtype == np.float32
    np.testing.assert_array_equal(loaded.labels, PREDICTIONS.labels)
    np.testing.assert_array_equal(loaded.probabilities, PREDICTIONS.probabilities)
    with pytest.raises(KeyError):
        results.predictions[5]


def test_equal_predictions_are_equal_files(tmp_path: Path) -> None:
    save_predictions(tmp_path / "a.npz", PREDICTIONS)
    os.utime(tmp_path / "a.npz", (0, 0))
    save_predictions(tmp_path / "b.npz", load_predictions(tmp_path / "a.npz"))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_the_first_to_open_a_study_describes_it(ledger: Ledger) -> None:
    later = STUDY.model_copy(update={"description": "Something else."})
    assert ledger.open_study(later) == STUDY
    assert ledger.studies() == (STUDY,)


def test_studies_come_by_family_then_name(ledger: Ledger) -> None:
    for family, study in (("bnn", "z"), ("cnn", "a")):
        ledger.open_study(STUDY.model_copy(update={"family": family, "study": study}))
    assert [study.study for study in ledger.studies()] == ["z", "a", STUDY.study]


def test_the_outbox_holds_what_was_not_delivered(ledger: Ledger) -> None:
    for number in (11, 2):
        ledger.write(completed(number), PREDICTIONS)
    assert ledger.pending() == [Entry(STUDY.study, None), Entry(STUDY.study, 2), Entry(STUDY.study, 11)]
    ledger.delivered(Entry(STUDY.study, None))
    ledger.delivered(Entry(STUDY.study, 2))
    assert ledger.pending() == [Entry(STUDY.study, 11)]
    ledger.keep_files(STUDY.study, {"importance.json": b"{}"})
    assert ledger.pending() == [Entry(STUDY.study, None), Entry(STUDY.study, 11)]
    assert ledger.files(STUDY.study) == {"importance.json": b"{}"}


def test_what_is_written_again_during_its_delivery_is_delivered_again(ledger: Ledger) -> None:
    ledger.write(completed(0), PREDICTIONS)
    for entry in ledger.pending():
        ledger.keep_files(STUDY.study, {"importance.json": b"{}"})
        ledger.delivered(entry)
    assert ledger.pending() == [Entry(STUDY.study, None)]
    for entry in ledger.pending():
        ledger.delivered(entry)
    assert ledger.pending() == []


@pytest.mark.parametrize("last_step", range(1, 4))
def test_a_kill_while_writing_leaves_no_trial_or_a_whole_one_to_deliver(
    ledger: Ledger, tmp_path: Path, last_step: int
) -> None:
    """The process is killed right after the first, second or third thing that `write` makes visible."""

    def write_and_die() -> None:
        steps = count(1)

        def die_in_time(folder: Path) -> None:
            if next(steps) == last_step:
                os.kill(os.getpid(), signal.SIGKILL)

        harness.tracking.ledger._sync_folder = die_in_time
        ledger.write(completed(0), PREDICTIONS)

    process = multiprocessing.get_context("fork").Process(target=write_and_die)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    reopened = Ledger(tmp_path)
    reopened.open_study(STUDY)
    ended = reopened.trials(STUDY.study)
    assert [entry for entry in reopened.pending() if entry.number is not None] == [
        Entry(STUDY.study, trial.number) for trial in ended
    ]
    if last_step == 3:
        assert ended == (completed(0),)
        assert list(reopened.results(STUDY.study).predictions) == [0]
    else:
        assert ended == ()
        reopened.write(completed(0), PREDICTIONS)
        assert reopened.trial(STUDY.study, 0) == completed(0)


@pytest.mark.parametrize(
    "content",
    [b"", completed(0).model_dump_json().encode()[:-9], b'{"name": "not ours"}'],
    ids=["empty", "torn", "foreign"],
)
def test_a_file_that_is_no_record_is_named(ledger: Ledger, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "results" / STUDY.study / "trial-00000.json"
    path.write_bytes(content)
    with pytest.raises(WorkspaceError, match=r"trial-00000\.json: not a result .* move this one out"):
        ledger.trials(STUDY.study)


def test_a_record_under_another_trial_s_name_is_named(ledger: Ledger, tmp_path: Path) -> None:
    ledger.write(completed(1), PREDICTIONS)
    folder = tmp_path / "results" / STUDY.study
    (folder / "trial-00001.json").rename(folder / "trial-00002.json")
    with pytest.raises(WorkspaceError, match=r"trial-00002\.json.*belongs to trial 1"):
        ledger.results(STUDY.study)


def test_torn_predictions_are_named(ledger: Ledger, tmp_path: Path) -> None:
    ledger.write(completed(0), PREDICTIONS)
    path = tmp_path / "results" / STUDY.study / "trial-00000.npz"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(WorkspaceError, match=r"trial-00000\.npz"):
        ledger.results(STUDY.study).predictions[0]


def test_a_second_run_is_told_who_owns_the_workspace(tmp_path: Path) -> None:
    second = lock_workspace(tmp_path)
    with lock_workspace(tmp_path), pytest.raises(WorkspaceError, match=f"process {os.getpid()}"):
        second.__enter__()
    with lock_workspace(tmp_path):
        pass


def test_a_killed_run_lets_go_of_the_workspace(tmp_path: Path) -> None:
    def own_and_die() -> None:
        with lock_workspace(tmp_path):
            os.kill(os.getpid(), signal.SIGKILL)

    process = multiprocessing.get_context("fork").Process(target=own_and_die)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    with lock_workspace(tmp_path):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_a_file_in_the_way_of_the_workspace_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(WorkspaceError, match="taken"):
        Ledger(tmp_path / "taken").open_study(STUDY)
    with pytest.raises(WorkspaceError, match="taken"), lock_workspace(tmp_path / "taken"):
        pass
