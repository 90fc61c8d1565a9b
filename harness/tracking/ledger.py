"""The durable results of one workspace: what is written here is never lost and never written twice.

    WORKSPACE/results/workspace.id               tells a storage of Optuna's whose studies it holds
    WORKSPACE/results/STUDY/study.json           the StudyRecord, as the study was first opened
    WORKSPACE/results/STUDY/trial-00003.npz      predictions of a completed trial
    WORKSPACE/results/STUDY/trial-00003.json     the TrialRecord; once it is there, the trial has ended
    WORKSPACE/results/STUDY/trial-00003.running.json  the RunningTrial, until then; see `running_trials`
    WORKSPACE/results/STUDY/files/               what describes the study as a whole, such as importance.json
    WORKSPACE/results/STUDY/settings.json        the settings of its latest run
    WORKSPACE/results/STUDY/models/              trained models of completed trials
    WORKSPACE/results/STUDY/outer/               smaller searches, where the protocol has no test set
    WORKSPACE/results/STUDY/logs/                what the trials' processes printed
    WORKSPACE/results/outbox/STUDY.trial-00003   an empty marker: the tracking server has not got it yet
    WORKSPACE/results/deleted/                   what a deletion that was killed left; the next one removes it

Every file appears whole or not at all. A trial's predictions and its marker are written before its
record, so a process killed at any instant leaves either no trial, or a whole one that will be delivered.
A trial is deleted the other way round, its record first; a study leaves at once, by one rename.
"""

from __future__ import annotations

import re
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path

from harness.errors import WorkspaceError
from harness.files import move, remove, remove_unfinished, write_atomically, writing
from harness.records.predictions import Predictions
from harness.records.study import StudyRecord, StudyResults
from harness.records.trial import TrialRecord
from harness.settings import RunSettings
from harness.tracking.outbox import Entry, Outbox, trial_name
from harness.tracking.running_trials import RunningTrials
from harness.tracking.serialization import (
    IMPORTANCE,
    LazyPredictions,
    assemble_results,
    dump_importance,
    dump_predictions,
    dump_record,
    importance_trials,
    load_predictions,
    load_record,
    many_records,
    unreadable,
)
from harness.workspace import Workspace


class Ledger:
    """The results of one workspace. One process writes, under `Workspace.lock`; anyone may read.

    Within that process, one thread may deliver while another writes.
    """

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.running = RunningTrials(workspace.results)
        self._outbox = Outbox(workspace.results)
        self._known: dict[Path, tuple[tuple[int, int, int], TrialRecord]] = {}

    def owner(self) -> str:
        """Return the id that this workspace keeps for life, wherever its folder goes; the first call makes it."""
        path = self.workspace.results / "workspace.id"
        if not path.exists():
            write_atomically(path, uuid.uuid4().hex, durable=True)
        return path.read_text(encoding="ascii")

    def check_readable(self) -> None:
        """Make sure that this version can read the studies that are there, before anything is done at length.

        Raises:
            WorkspaceError: a study is torn, or was written in another format.
        """
        self.studies()

    def study(self, study: str) -> StudyRecord:
        """Return the record of `study`.

        Raises:
            WorkspaceError: there is no such study, or its record cannot be read.
        """
        path = self._study_path(study)
        record = load_record(StudyRecord, path)
        if record.name != study:
            raise unreadable(path, f"it belongs to the study {record.name}")
        return record

    def studies(self) -> tuple[StudyRecord, ...]:
        """Return all studies, by family, then by name.

        Raises:
            WorkspaceError: a record, or the folder of all, cannot be read.
        """
        self.workspace.check_readable()
        names = [path.parent.name for path in self.workspace.results.glob("*/study.json")]
        return tuple(sorted(map(self.study, names), key=lambda study: (study.family, study.name)))

    def trial(self, study: str, number: int) -> TrialRecord | None:
        """Return trial `number` of `study`, or None while it has not ended.

        Raises:
            WorkspaceError: the record cannot be read, or belongs to another trial.
        """
        path = self._trial_path(study, number)
        try:
            seen = path.stat()
        except FileNotFoundError:
            return None
        # Thousands of records are asked for again and again; one is replaced, never changed.
        state, known = (seen.st_ino, seen.st_mtime_ns, seen.st_size), self._known.get(path)
        if known is not None and known[0] == state:
            return known[1]
        record = load_record(TrialRecord, path)
        if (record.study, record.number) != (study, number):
            raise unreadable(path, f"it belongs to trial {record.number} of {record.study}")
        self._known[path] = state, record
        return record

    def trials(self, study: str) -> tuple[TrialRecord, ...]:
        """Return the trials of `study` that ended, by number."""
        names = (re.fullmatch(r"trial-(\d+)\.json", path.name) for path in self._folder(study).glob("trial-*.json"))
        numbers = sorted(int(name[1]) for name in names if name)
        with many_records():
            return tuple(trial for number in numbers if (trial := self.trial(study, number)) is not None)

    def predictions(self, study: str, number: int) -> Predictions:
        """Return the stored predictions of a completed trial.

        Raises:
            WorkspaceError: there are none, or they cannot be read.
        """
        return load_predictions(self._predictions_path(study, number))

    def has_predictions(self, study: str, number: int) -> bool:
        """Return whether there are predictions of a trial; those of one that another workspace ran are not here."""
        return self._predictions_path(study, number).exists()

    def files(self, study: str) -> dict[str, bytes]:
        """Return the files that `write_study_files` wrote, by name."""
        paths = sorted((self._folder(study) / "files").glob("[!.]*"))
        return {path.name: path.read_bytes() for path in paths}

    def results(self, study: str) -> StudyResults:
        """Return `study` with its trials; predictions are read when they are asked for.

        Raises:
            WorkspaceError: a part of it cannot be read.
        """
        trials = self.trials(study)
        stored = tuple(
            trial.number for trial in trials if trial.completed and self.has_predictions(study, trial.number)
        )

        def read_file(name: str) -> bytes | None:
            path = self._folder(study) / "files" / name
            return path.read_bytes() if path.exists() else None

        predictions = LazyPredictions(stored, lambda number: self.predictions(study, number))
        return assemble_results(self.study(study), trials, predictions, read_file)

    def settings(self, study: str) -> RunSettings:
        """Return the settings of the latest run of `study`.

        Raises:
            WorkspaceError: there are none, or another version wrote them.
        """
        path = self._settings_path(study)
        if not path.exists():
            raise WorkspaceError(f"{path}: not there. Start the same `harness run` again to have it written.")
        return load_record(RunSettings, path)

    def model_path(self, study: str, number: int) -> Path:
        """Return where trial `number` stores its trained model."""
        return self._folder(study) / "models" / f"{trial_name(number)}.keras"

    def log_path(self, study: str, job: str) -> Path:
        """Return where what a job prints goes; see `JobKey`."""
        return self._folder(study) / "logs" / f"{job}.log"

    def outer_folder(self, study: str, fold: str) -> Path:
        """Return the folder of the smaller search without an outer fold, a workspace with a ledger of its own."""
        return self._folder(study) / "outer" / fold

    def open_study(self, study: StudyRecord) -> StudyRecord:
        """Store `study` unless it is there, and return the stored record: the first to open a study describes it.

        Raises:
            WorkspaceError: the stored record cannot be read, or the workspace cannot be written to.
        """
        folder, path = self._folder(study.name), self._study_path(study.name)
        with writing(folder):
            for part in (folder / "models", folder / "files", self._outbox.folder):
                part.mkdir(parents=True, exist_ok=True)
            remove_unfinished(folder, older_than_seconds=0)
        if not path.exists():
            self._outbox.mark(Entry(study.name, None))
            write_atomically(path, dump_record(study), durable=True)
        return self.study(study.name)

    def add_device(self, study: StudyRecord, device: str) -> StudyRecord:
        """Add to a study's record, and return it, that its trials run on another device from now on."""
        known = study.provenance.model_copy(update={"device": f"{study.provenance.device}, then {device}"})
        record = dump_record(study.model_copy(update={"provenance": known}))
        write_atomically(self._study_path(study.name), record, durable=True)
        self._outbox.mark(Entry(study.name, None))
        return self.study(study.name)

    def write_study_files(self, study: str, files: Mapping[str, bytes]) -> None:
        """Store `files`, by name, which describe the study as a whole, and mark the study for delivery."""
        for name, content in files.items():
            write_atomically(self._folder(study) / "files" / name, content, durable=True)
        self._outbox.mark(Entry(study, None))

    def importance_trials(self, study: str) -> int | None:
        """Return how many completed trials there were for the stored importance; None where none is stored."""
        return importance_trials(self._folder(study) / "files" / IMPORTANCE)

    def write_importance(self, study: str, importance: Mapping[str, float], trials: int) -> None:
        """Store each hyperparameter's share of the variance of the score, of so many completed trials, and mark the
        study for delivery.
        """
        self.write_study_files(study, {IMPORTANCE: dump_importance(importance, trials)})

    def write_settings(self, study: str, settings: RunSettings) -> None:
        """Store the settings of the latest run of `study`: with paths, without passwords, and delivered to nobody."""
        write_atomically(self._settings_path(study), dump_record(settings), durable=True)

    def write_trial(self, trial: TrialRecord, predictions: Predictions | None) -> None:
        """Store a trial that ended, durably, and mark it for delivery. After this returns, nothing can lose it.

        Raises:
            WorkspaceError: it cannot be written; then it has not ended, and a later run goes on with it.
        """
        if predictions is not None:
            path = self._predictions_path(trial.study, trial.number)
            write_atomically(path, dump_predictions(predictions), durable=True)
        entry = Entry(trial.study, trial.number)
        self._outbox.mark(entry)
        write_atomically(self._trial_path(trial.study, trial.number), dump_record(trial), durable=True)
        self.running.remove(trial.study, trial.number)
        self._outbox.changed(entry)

    def delete_trial(self, study: str, number: int) -> None:
        """Delete a trial with all that it left, if it is there; whether it may go is for the caller to know.

        The record goes first: a deletion that was killed leaves no trial, and the same call removes the rest.
        """
        remove(self._trial_path(study, number))
        self.running.remove(study, number)
        self._outbox.drop(Entry(study, number))
        for path in (
            self._predictions_path(study, number),
            self.model_path(study, number),
            self.log_path(study, trial_name(number)),
        ):
            path.unlink(missing_ok=True)

    def delete_study(self, study: str) -> None:
        """Delete a study with all that it left, if it is there; whether it may go is for the caller to know.

        It leaves whole: a deletion that was killed leaves all of the study or none, and the next one removes the rest.
        """
        deleted = self.workspace.results / "deleted"
        if self._folder(study).exists():
            move(self._folder(study), deleted / f"{study}.{uuid.uuid4().hex}")
        self._outbox.drop_study(study)
        shutil.rmtree(deleted, ignore_errors=True)

    def pending(self) -> list[Entry]:
        """Return what the tracking server has not got yet, each study before its trials.

        A marker without a record is a trial that has not ended: it is left out until it has.
        """
        return self._outbox.pending()

    def delivered(self, entry: Entry) -> None:
        """Note that the tracking server has `entry`, unless it was written again since `pending` listed it."""
        self._outbox.delivered(entry)

    def _folder(self, study: str) -> Path:
        return self.workspace.results / study

    def _study_path(self, study: str) -> Path:
        return self._folder(study) / "study.json"

    def _settings_path(self, study: str) -> Path:
        return self._folder(study) / "settings.json"

    def _trial_path(self, study: str, number: int) -> Path:
        return self._folder(study) / f"{trial_name(number)}.json"

    def _predictions_path(self, study: str, number: int) -> Path:
        return self._folder(study) / f"{trial_name(number)}.npz"
