"""The ledger keeps what ended, whole, and knows what MLflow has not got yet."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import signal
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import harness.files
from harness.errors import WorkspaceError
from harness.records.base import FORMAT
from harness.records.trial import Outcome, RunningTrial
from harness.settings import RunSettings
from harness.tracking.ledger import Ledger
from harness.tracking.outbox import Entry
from harness.tracking.serialization import IMPORTANCE, dump_importance, dump_record, load_record
from harness.workspace import Workspace
from tests.helpers.ledger import PREDICTIONS, STUDY, completed


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    ledger = Ledger(Workspace(tmp_path))
    ledger.open_study(STUDY)
    return ledger


def test_a_written_trial_is_read_back_equal_with_its_types(ledger: Ledger) -> None:
    ledger.write_trial(completed(3), PREDICTIONS)
    stored = ledger.trial(STUDY.name, 3)
    assert stored == completed(3)
    assert {key: type(value) for key, value in stored.params.items()} == {
        key: type(value) for key, value in completed(3).params.items()
    }


def test_a_loss_that_is_not_finite_survives(ledger: Ledger) -> None:
    ledger.write_trial(completed(0, loss=math.nan), PREDICTIONS)
    ledger.write_trial(completed(1, loss=math.inf), PREDICTIONS)
    diverged, overflown = ledger.trials(STUDY.name)
    assert math.isnan(diverged.epochs[0].loss)
    assert overflown.epochs[0].loss == math.inf


def test_results_are_in_order_and_hold_predictions_of_completed_trials_only(ledger: Ledger) -> None:
    for number in (100000, 10, 2):
        ledger.write_trial(completed(number), PREDICTIONS)
    ledger.write_trial(completed(5).model_copy(update={"outcome": Outcome.OOM}), None)
    results = ledger.results(STUDY.name)
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


def test_the_first_to_open_a_study_describes_it(ledger: Ledger) -> None:
    later = STUDY.model_copy(update={"description": "Something else."})
    assert ledger.open_study(later) == STUDY
    assert ledger.studies() == (STUDY,)


def test_studies_come_by_family_then_name(ledger: Ledger) -> None:
    for family, study in (("bnn", "z"), ("cnn", "a")):
        ledger.open_study(STUDY.model_copy(update={"family": family, "name": study}))
    assert [study.name for study in ledger.studies()] == ["z", "a", STUDY.name]


def test_the_outbox_holds_what_was_not_delivered(ledger: Ledger) -> None:
    for number in (11, 2):
        ledger.write_trial(completed(number), PREDICTIONS)
    assert ledger.pending() == [Entry(STUDY.name, None), Entry(STUDY.name, 2), Entry(STUDY.name, 11)]
    ledger.delivered(Entry(STUDY.name, None))
    ledger.delivered(Entry(STUDY.name, 2))
    assert ledger.pending() == [Entry(STUDY.name, 11)]
    ledger.write_study_files(STUDY.name, {"importance.json": b"{}"})
    assert ledger.pending() == [Entry(STUDY.name, None), Entry(STUDY.name, 11)]
    assert ledger.files(STUDY.name) == {"importance.json": b"{}"}


def test_what_is_written_again_during_its_delivery_is_delivered_again(ledger: Ledger) -> None:
    ledger.write_trial(completed(0), PREDICTIONS)
    for entry in ledger.pending():
        ledger.write_study_files(STUDY.name, {"importance.json": b"{}"})
        ledger.delivered(entry)
    assert ledger.pending() == [Entry(STUDY.name, None)]
    for entry in ledger.pending():
        ledger.delivered(entry)
    assert ledger.pending() == []


@pytest.mark.parametrize("last_step", range(1, 4))
def test_a_kill_while_writing_leaves_no_trial_or_a_whole_one_to_deliver(
    ledger: Ledger, tmp_path: Path, last_step: int
) -> None:
    """The process is killed right after the first, second or third thing that `write_trial` makes visible."""

    def write_and_die() -> None:
        steps = count(1)

        def die_in_time(path: Path) -> None:
            # A folder is synced when something new is in it to be seen.
            if path.is_dir() and next(steps) == last_step:
                os.kill(os.getpid(), signal.SIGKILL)

        harness.files._sync = die_in_time
        ledger.write_trial(completed(0), PREDICTIONS)

    process = multiprocessing.get_context("fork").Process(target=write_and_die)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    reopened = Ledger(Workspace(tmp_path))
    reopened.open_study(STUDY)
    ended = reopened.trials(STUDY.name)
    assert [entry for entry in reopened.pending() if entry.number is not None] == [
        Entry(STUDY.name, trial.number) for trial in ended
    ]
    if last_step == 3:
        assert ended == (completed(0),)
        assert list(reopened.results(STUDY.name).predictions) == [0]
    else:
        assert ended == ()
        reopened.write_trial(completed(0), PREDICTIONS)
        assert reopened.trial(STUDY.name, 0) == completed(0)


@pytest.mark.parametrize(
    "content",
    [b"", dump_record(completed(0))[:-9], b'{"format": 2, "name": "not ours"}'],
    ids=["empty", "torn", "foreign"],
)
def test_a_file_that_is_no_record_is_named(ledger: Ledger, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "results" / STUDY.name / "trial-00000.json"
    path.write_bytes(content)
    with pytest.raises(WorkspaceError, match=r"trial-00000\.json: not a result .* move this one out"):
        ledger.trials(STUDY.name)


def test_a_record_under_another_trial_s_name_is_named(ledger: Ledger, tmp_path: Path) -> None:
    ledger.write_trial(completed(1), PREDICTIONS)
    folder = tmp_path / "results" / STUDY.name
    (folder / "trial-00001.json").rename(folder / "trial-00002.json")
    with pytest.raises(WorkspaceError, match=r"trial-00002\.json.*belongs to trial 1"):
        ledger.results(STUDY.name)


def test_torn_predictions_are_named(ledger: Ledger, tmp_path: Path) -> None:
    ledger.write_trial(completed(0), PREDICTIONS)
    path = tmp_path / "results" / STUDY.name / "trial-00000.npz"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(WorkspaceError, match=r"trial-00000\.npz"):
        ledger.results(STUDY.name).predictions[0]


def test_settings_are_read_back_and_say_where_they_are_missing(ledger: Ledger) -> None:
    with pytest.raises(WorkspaceError, match=r"settings\.json: not there. Start the same `harness run` again"):
        ledger.settings(STUDY.name)
    settings = RunSettings(data=Path("music"), trials=3, jobs="auto")
    ledger.write_settings(STUDY.name, settings)
    assert ledger.settings(STUDY.name) == settings


def rewrite(path: Path, found: int | None) -> None:
    """Make a JSON file one of another format, or of the time before formats had numbers."""
    fields = json.loads(path.read_bytes())
    del fields["format"]
    path.write_text(json.dumps(fields if found is None else {"format": found, **fields}))


@pytest.mark.parametrize(
    ("found", "written"), [(3, "format 3,"), (None, r"format 0 \(before formats were numbered\),")]
)
@pytest.mark.parametrize("name", ["study.json", "trial-00000.json", "settings.json", "files/importance.json"])
def test_another_format_is_named_with_what_to_do(
    ledger: Ledger, tmp_path: Path, name: str, found: int | None, written: str
) -> None:
    ledger.write_trial(completed(0), PREDICTIONS)
    ledger.write_settings(STUDY.name, RunSettings())
    ledger.write_study_files(STUDY.name, {IMPORTANCE: dump_importance({"rate": 1.0})})
    rewrite(tmp_path / "results" / STUDY.name / name, found)
    with pytest.raises(
        WorkspaceError,
        match=rf"{name.rpartition('/')[2]}: written in {written} and this version reads format {FORMAT}\. "
        r"Use the version of harness that wrote it, or start a new --workspace\.$",
    ):
        ledger.settings(ledger.results(STUDY.name).study.name)


def test_a_workspace_of_another_format_is_refused_before_anything_is_done(ledger: Ledger, tmp_path: Path) -> None:
    ledger.check_readable()
    rewrite(tmp_path / "results" / STUDY.name / "study.json", FORMAT + 1)
    for read in (ledger.check_readable, ledger.studies, lambda: ledger.open_study(STUDY)):
        with pytest.raises(
            WorkspaceError,
            match=rf"study\.json: written in format {FORMAT + 1}, and this version reads format {FORMAT}\.",
        ):
            read()
    assert Ledger(Workspace(tmp_path / "new")).check_readable() is None
    assert not (tmp_path / "new").exists()


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_deleted_trial_is_gone_with_all_that_it_left(ledger: Ledger, tmp_path: Path) -> None:
    ledger.write_trial(completed(0), PREDICTIONS)
    before = files_in(tmp_path)
    ledger.write_trial(completed(1), PREDICTIONS)
    ledger.running.write(RunningTrial(study=STUDY.name, number=1, params={}))
    for path in (ledger.model_path(STUDY.name, 1), ledger.log_path(STUDY.name, "trial-00001")):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    for _ in range(2):
        ledger.delete_trial(STUDY.name, 1)
        assert files_in(tmp_path) == before
    assert ledger.trials(STUDY.name) == (completed(0),)
    assert ledger.pending() == [Entry(STUDY.name, None), Entry(STUDY.name, 0)]


def test_what_was_sampled_is_on_record_until_the_trial_has_ended(ledger: Ledger, tmp_path: Path) -> None:
    trials = [RunningTrial(study=STUDY.name, number=number, params=completed(number).params) for number in range(3)]
    for trial in trials:
        ledger.running.write(trial)
    ledger.write_trial(completed(0), PREDICTIONS)
    folder = tmp_path / "results" / STUDY.name
    assert {path.name for path in folder.glob("*.running.json")} == {
        "trial-00001.running.json",
        "trial-00002.running.json",
    }
    assert ledger.trials(STUDY.name) == (completed(0),)
    # A power cut may bring back what was removed.
    ledger.running.write(trials[0])
    assert ledger.running.read(STUDY.name, {0}) == ({1: trials[1], 2: trials[2]}, [])
    assert (folder / "trial-00000.running.json").exists()
    (folder / "trial-00002.running.json").write_bytes(b"torn")
    assert ledger.running.take_up(STUDY.name, {0}) == ({1: trials[1]}, [folder / "trial-00002.running.json"])
    assert not (folder / "trial-00000.running.json").exists()


def test_a_deleted_study_is_gone_and_its_neighbour_is_not(ledger: Ledger, tmp_path: Path) -> None:
    other = STUDY.model_copy(update={"name": f"{STUDY.name}.b"})
    ledger.open_study(other)
    before = files_in(tmp_path) - {f"results/{STUDY.name}/study.json", f"results/outbox/{STUDY.name}.study"}
    ledger.write_trial(completed(0), PREDICTIONS)
    for _ in range(2):
        ledger.delete_study(STUDY.name)
        assert files_in(tmp_path) == before
    assert ledger.studies() == (other,)
    assert ledger.pending() == [Entry(other.name, None)]
    assert ledger.open_study(STUDY) == STUDY
    assert ledger.trials(STUDY.name) == ()


@pytest.mark.parametrize("target", ["trial", "study"])
def test_a_kill_while_deleting_leaves_nothing_by_halves(ledger: Ledger, tmp_path: Path, target: str) -> None:
    """The process is killed right after each step that makes something disappear, until a deletion ends."""

    def delete() -> None:
        if target == "trial":
            ledger.delete_trial(STUDY.name, 0)
        else:
            ledger.delete_study(STUDY.name)

    def delete_and_die(last_step: int) -> None:
        steps = count(1)

        def dying(step: Callable[..., Any]) -> Callable[..., Any]:
            def cut(*arguments: Any, **options: Any) -> None:
                step(*arguments, **options)
                if next(steps) == last_step:
                    os.kill(os.getpid(), signal.SIGKILL)

            return cut

        for owner, name in ((Path, "rename"), (Path, "unlink"), (os, "unlink"), (os, "rmdir")):
            setattr(owner, name, dying(getattr(owner, name)))
        delete()

    for last_step in count(1):
        ledger.open_study(STUDY)
        ledger.write_trial(completed(0), PREDICTIONS)
        process = multiprocessing.get_context("fork").Process(target=delete_and_die, args=(last_step,))
        process.start()
        process.join()
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        # The first step already takes the record away: no half of it is ever read or delivered.
        reopened = Ledger(Workspace(tmp_path))
        assert reopened.trials(STUDY.name) == ()
        assert Entry(STUDY.name, 0) not in reopened.pending()
        assert reopened.studies() == ((STUDY,) if target == "trial" else ())
        delete()
        left = {"workspace.id"} | (
            {f"{STUDY.name}/study.json", f"outbox/{STUDY.name}.study"} if target == "trial" else set()
        )
        assert files_in(tmp_path / "results") <= left
    assert last_step > 3


def test_a_record_is_read_once_until_it_is_replaced(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []

    def counted(kind: type, path: Path) -> Any:
        read.append(path)
        return load_record(kind, path)

    monkeypatch.setattr("harness.tracking.ledger.load_record", counted)
    for number in range(2):
        ledger.write_trial(completed(number), PREDICTIONS)
    assert ledger.trials(STUDY.name) == ledger.trials(STUDY.name) == (completed(0), completed(1))
    assert len(read) == 2
    other = completed(1).model_copy(update={"message": "another"})
    ledger.write_trial(other, PREDICTIONS)
    assert ledger.trials(STUDY.name) == (completed(0), other)
    ledger.delete_trial(STUDY.name, 0)
    assert ledger.trials(STUDY.name) == (other,)
    assert len(read) == 3
