"""The durable results of one workspace: what is written here is never lost and never written twice.

    WORKSPACE/lock                               held by the process that owns the workspace
    WORKSPACE/results/workspace.id               tells Optuna's storage whose studies it holds
    WORKSPACE/results/STUDY/study.json           the StudyRecord, as the study was first opened
    WORKSPACE/results/STUDY/trial-00003.npz      predictions of a completed trial
    WORKSPACE/results/STUDY/trial-00003.json     the TrialRecord; once it is there, the trial has ended
    WORKSPACE/results/STUDY/files/               what describes the study as a whole, such as importance.json
    WORKSPACE/results/STUDY/settings.json        the settings of its latest run
    WORKSPACE/results/STUDY/models/              trained models of completed trials
    WORKSPACE/results/STUDY/outer/               smaller searches, where the protocol has no test set
    WORKSPACE/results/STUDY/logs/                what the trials' processes printed
    WORKSPACE/results/outbox/STUDY.trial-00003   an empty marker: the tracking server has not got it yet

Every file appears whole or not at all. A trial's predictions and its marker are written before its
record, so a process killed at any instant leaves either no trial, or a whole one that will be delivered.
"""

from __future__ import annotations

import fcntl
import os
import re
import threading
import uuid
import zipfile
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from harness.errors import WorkspaceError
from harness.records import (
    FinalsRecord,
    Outcome,
    Predictions,
    Record,
    ReferenceRecord,
    StudyRecord,
    StudyResults,
    TrialRecord,
)

RecordT = TypeVar("RecordT", bound=Record)
KeyT = TypeVar("KeyT", bound=Hashable)
ParsedT = TypeVar("ParsedT")

FINALS, REFERENCES, IMPORTANCE = "finals.json", "references.json", "importance.json"
"""Files of a study: a `FinalsRecord`, beside it one archive of predictions a run; a list of `ReferenceRecord`; and
`StudyResults.importance`."""


class Entry(NamedTuple):
    """What waits for delivery: trial `number` of `study`, or the study itself where `number` is None."""

    study: str
    number: int | None


class LazyPredictions(Mapping[KeyT, Predictions]):
    """Predictions by trial number or by another key, read when they are asked for."""

    def __init__(self, keys: Iterable[KeyT], load: Callable[[KeyT], Predictions]) -> None:
        self._keys: dict[KeyT, None] = dict.fromkeys(keys)
        self._load = load

    def __getitem__(self, key: KeyT) -> Predictions:
        if key not in self._keys:
            raise KeyError(key)
        return self._load(key)

    def __iter__(self) -> Iterator[KeyT]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


class Ledger:
    """The results of one workspace. One process writes, under `lock_workspace`; anyone may read.

    Within that process, one thread may deliver while another writes.
    """

    def __init__(self, workspace: Path) -> None:
        self.workspace = workspace
        self._results = workspace / "results"
        self._outbox = self._results / "outbox"
        self._lock = threading.Lock()
        self._changed: set[Entry] = set()

    @property
    def owner(self) -> str:
        """An id that this workspace keeps for life, wherever its folder goes."""
        path = self._results / "workspace.id"
        if not path.exists():
            self._results.mkdir(parents=True, exist_ok=True)
            _write(path, uuid.uuid4().hex.encode())
        return path.read_text(encoding="ascii")

    def open_study(self, study: StudyRecord) -> StudyRecord:
        """Store `study` unless it is there, and return the stored record: the first to open a study describes it.

        Raises:
            WorkspaceError: the stored record cannot be read, or the workspace cannot be written to.
        """
        folder = self._folder(study.study)
        try:
            for path in (folder / "models", folder / "files", self._outbox):
                path.mkdir(parents=True, exist_ok=True)
            for leftover in folder.glob(".*.tmp"):
                leftover.unlink()
        except OSError as error:
            raise WorkspaceError(
                f"{folder}: cannot be written to ({error}). Free the folder, or name another with --workspace."
            ) from error
        if not (folder / "study.json").exists():
            self._mark(Entry(study.study, None))
            _write(folder / "study.json", dump_record(study))
        return self.study(study.study)

    def add_device(self, study: StudyRecord, device: str) -> StudyRecord:
        """Add to a study's record, and return it, that its trials run on another device from now on."""
        known = study.provenance.model_copy(update={"device": f"{study.provenance.device}, then {device}"})
        _write(self._folder(study.study) / "study.json", dump_record(study.model_copy(update={"provenance": known})))
        self._mark(Entry(study.study, None))
        return self.study(study.study)

    def write_study_files(self, study: str, files: Mapping[str, bytes]) -> None:
        """Keep `files`, by name, which describe the study as a whole, and mark the study for delivery."""
        for name, content in files.items():
            _write(self._folder(study) / "files" / name, content)
        self._mark(Entry(study, None))

    def write_trial(self, trial: TrialRecord, predictions: Predictions | None) -> None:
        """Store a trial that ended, durably, and mark it for delivery. After this returns, nothing can lose it."""
        path = self._trial_path(trial.study, trial.number)
        if predictions is not None:
            save_predictions(path.with_suffix(".npz"), predictions)
        entry = Entry(trial.study, trial.number)
        self._mark(entry)
        _write(path, dump_record(trial))
        with self._lock:
            self._changed.add(entry)

    def study(self, study: str) -> StudyRecord:
        """Return the record of `study`.

        Raises:
            WorkspaceError: there is no such study, or its record cannot be read.
        """
        record = load_record(StudyRecord, self._folder(study) / "study.json")
        if record.study != study:
            raise _foreign(self._folder(study) / "study.json", f"it belongs to the study {record.study}")
        return record

    def studies(self) -> tuple[StudyRecord, ...]:
        """Return all studies, by family, then by name."""
        names = [path.parent.name for path in self._results.glob("*/study.json")]
        return tuple(sorted(map(self.study, names), key=lambda study: (study.family, study.study)))

    def trial(self, study: str, number: int) -> TrialRecord | None:
        """Return trial `number` of `study`, or None while it has not ended.

        Raises:
            WorkspaceError: the record cannot be read, or belongs to another trial.
        """
        path = self._trial_path(study, number)
        if not path.exists():
            return None
        record = load_record(TrialRecord, path)
        if (record.study, record.number) != (study, number):
            raise _foreign(path, f"it belongs to trial {record.number} of {record.study}")
        return record

    def trials(self, study: str) -> tuple[TrialRecord, ...]:
        """Return the trials of `study` that ended, by number."""
        names = (re.fullmatch(r"trial-(\d+)\.json", path.name) for path in self._folder(study).glob("trial-*.json"))
        numbers = sorted(int(name[1]) for name in names if name)
        return tuple(trial for number in numbers if (trial := self.trial(study, number)) is not None)

    def predictions(self, study: str, number: int) -> Predictions:
        """Return the stored predictions of a completed trial.

        Raises:
            WorkspaceError: there are none, or they cannot be read.
        """
        return load_predictions(self._trial_path(study, number).with_suffix(".npz"))

    def results(self, study: str) -> StudyResults:
        """Return `study` with its trials; predictions are read when they are asked for."""
        trials = self.trials(study)
        stored = tuple(
            trial.number
            for trial in trials
            if trial.completed and self._trial_path(study, trial.number).with_suffix(".npz").exists()
        )
        predictions = LazyPredictions(stored, lambda number: self.predictions(study, number))
        return assembled(self.study(study), trials, predictions, lambda name: self._file(study, name))

    def files(self, study: str) -> dict[str, bytes]:
        """Return the files that `keep_files` kept, by name."""
        paths = sorted((self._folder(study) / "files").glob("[!.]*"))
        return {path.name: path.read_bytes() for path in paths}

    def write_settings(self, study: str, settings: str) -> None:
        """Keep the settings of the latest run of `study`, as JSON; they hold paths, and are delivered to nobody."""
        _write(self._folder(study) / "settings.json", settings.encode())

    def settings(self, study: str) -> str:
        """Return the settings of the latest run of `study`, as JSON.

        Raises:
            WorkspaceError: there are none.
        """
        path = self._folder(study) / "settings.json"
        if not path.exists():
            raise WorkspaceError(f"{path}: not there. Start the same `harness run` again to have it written.")
        return path.read_text(encoding="utf-8")

    def _file(self, study: str, name: str) -> bytes | None:
        path = self._folder(study) / "files" / name
        return path.read_bytes() if path.exists() else None

    def pending(self) -> list[Entry]:
        """Return what the tracking server has not got yet, each study before its trials.

        A marker without a record is a trial that has not ended: it is left out until it has.
        """
        entries = []
        with self._lock:
            self._changed.clear()
        for path in self._outbox.glob("*"):
            study, _, name = path.name.rpartition(".")
            record = self._folder(study) / f"{name}.json"
            if study and record.exists():
                entries.append(Entry(study, None if name == "study" else int(name.removeprefix("trial-"))))
        return sorted(entries, key=lambda entry: (entry.study, -1 if entry.number is None else entry.number))

    def delivered(self, entry: Entry) -> None:
        """Note that the tracking server has `entry`, unless it was written again since `pending` listed it."""
        with self._lock:
            if entry not in self._changed:
                self._marker(entry).unlink(missing_ok=True)

    def model_path(self, study: str, number: int) -> Path:
        """Return where trial `number` stores its trained model."""
        return self._folder(study) / "models" / f"trial-{number:05d}.keras"

    def log_path(self, study: str, job: str) -> Path:
        """Return where what a job prints goes; see `JobKey`."""
        return self._folder(study) / "logs" / f"{job}.log"

    def outer_folder(self, study: str, fold: str) -> Path:
        """Return the folder of the smaller search without an outer fold; it has a ledger of its own."""
        return self._folder(study) / "outer" / fold

    def _folder(self, study: str) -> Path:
        return self._results / study

    def _trial_path(self, study: str, number: int) -> Path:
        return self._folder(study) / f"trial-{number:05d}.json"

    def _marker(self, entry: Entry) -> Path:
        name = "study" if entry.number is None else f"trial-{entry.number:05d}"
        return self._outbox / f"{entry.study}.{name}"

    def _mark(self, entry: Entry) -> None:
        with self._lock:
            self._changed.add(entry)
            self._marker(entry).touch()
        _sync_folder(self._outbox)


@contextmanager
def lock_workspace(workspace: Path) -> Iterator[None]:
    """Own `workspace` while the block runs. The kernel lets go of it when the process ends, however it ends.

    Raises:
        WorkspaceError: another process owns it, or the folder cannot be written to.
    """
    path = workspace / "lock"
    try:
        workspace.mkdir(parents=True, exist_ok=True)
        file = path.open("a+")
    except OSError as error:
        raise WorkspaceError(
            f"{workspace}: cannot be used as a workspace ({error}). Free the folder, or name another with --workspace."
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            owner = file.read().strip() or "unknown"
            raise WorkspaceError(
                f"{workspace}: another run (process {owner}) owns this workspace. "
                "Wait for it to end, stop it, or name another folder with --workspace."
            ) from error
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def dump_record(record: Record) -> bytes:
    """Return `record` as indented JSON. A loss that is not finite is written as `"NaN"` or `"Infinity"`."""
    return to_json(record.model_dump(), indent=2, inf_nan_mode="strings") + b"\n"


def dump_records(records: Sequence[Record]) -> bytes:
    """Return `records` as one indented JSON list."""
    return to_json([record.model_dump() for record in records], indent=2) + b"\n"


def load_record(kind: type[RecordT], path: Path) -> RecordT:
    """Return the record of class `kind` that `dump_record` wrote to `path`.

    Raises:
        WorkspaceError: the file is missing, torn, or something else.
    """
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise WorkspaceError(f"{path}: cannot be read ({error.strerror}). Is this the right workspace?") from error
    except ValidationError as error:
        reason = error.errors()[0]
        where = ".".join(map(str, reason["loc"]))
        raise _foreign(path, f"{where + ': ' if where else ''}{reason['msg']}") from error


def assembled(
    study: StudyRecord,
    trials: tuple[TrialRecord, ...],
    predictions: Mapping[int, Predictions],
    file: Callable[[str], bytes | None],
) -> StudyResults:
    """Put together what a study is, wherever its parts are kept.

    Args:
        file: gives one of the study's files by name, None where there is no such file.

    Raises:
        WorkspaceError: a file is torn, or something else.
    """

    def parsed(name: str, kind: type[ParsedT]) -> ParsedT | None:
        content = file(name)
        try:
            return None if content is None else TypeAdapter(kind).validate_json(content)
        except ValidationError as error:
            raise _foreign(Path(name), error.errors()[0]["msg"]) from error

    def final(key: str) -> Predictions:
        content = file(f"{key}.npz")
        if content is None:
            raise _foreign(Path(f"{key}.npz"), "it is missing")
        return parse_predictions(content, f"{key}.npz")

    finals = parsed(FINALS, FinalsRecord)
    keys = [run.key for run in finals.runs if run.outcome is Outcome.COMPLETED] if finals is not None else []
    references = parsed(REFERENCES, tuple[ReferenceRecord, ...]) or ()
    importance = parsed(IMPORTANCE, dict[str, float]) or {}
    return StudyResults(study, trials, predictions, references, finals, LazyPredictions(keys, final), importance)


def save_predictions(path: Path, predictions: Predictions) -> None:
    """Write `predictions` to `path` as a NumPy archive without pickles; equal predictions give equal bytes."""
    _write(path, dump_predictions(predictions))


def dump_predictions(predictions: Predictions) -> bytes:
    """Return `predictions` as a NumPy archive without pickles; equal predictions give equal bytes."""
    buffer = BytesIO()
    np.savez(
        buffer,
        tracks=np.array(predictions.tracks, dtype=str),
        genres=np.array(predictions.genres, dtype=str),
        labels=np.asarray(predictions.labels, dtype=np.int64),
        probabilities=np.asarray(predictions.probabilities, dtype=np.float32),
    )
    return buffer.getvalue()


def load_predictions(path: Path) -> Predictions:
    """Return the predictions that `save_predictions` wrote to `path`.

    Raises:
        WorkspaceError: the file is missing, torn, or something else.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _foreign(path, str(error)) from error
    return parse_predictions(content, path)


def parse_predictions(content: bytes, where: Path | str) -> Predictions:
    """Return the predictions that `dump_predictions` wrote; an error names `where` they are from.

    Raises:
        WorkspaceError: they are torn, or something else.
    """
    try:
        with np.load(BytesIO(content), allow_pickle=False) as arrays:
            return Predictions(
                tracks=tuple(arrays["tracks"].tolist()),
                genres=tuple(arrays["genres"].tolist()),
                labels=arrays["labels"],
                probabilities=arrays["probabilities"],
            )
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise _foreign(Path(where), str(error)) from error


def _foreign(path: Path, reason: str) -> WorkspaceError:
    return WorkspaceError(
        f"{path}: not a result that this version can read ({reason}). "
        "Put the right file back, or move this one out of the workspace to go on without it."
    )


def _write(path: Path, content: bytes) -> None:
    """Put `content` at `path` so that it is there whole or not at all, also after a power cut."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
