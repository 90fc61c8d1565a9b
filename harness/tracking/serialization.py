"""Records and predictions as bytes, and back; what cannot be read is named with its file.

Every file carries the number of its format, `harness.records.base.FORMAT`: a JSON object as its first field, beside
those of the record; an archive of predictions as an array. A file of another format is not guessed at.
"""

from __future__ import annotations

import gc
import threading
import zipfile
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json, to_json

from harness.errors import WorkspaceError
from harness.records.base import FORMAT, Record, format_complaint
from harness.records.final import FinalsRecord
from harness.records.predictions import Predictions
from harness.records.study import ReferenceRecord, StudyRecord, StudyResults
from harness.records.trial import Outcome, TrialRecord

RecordT = TypeVar("RecordT", bound=BaseModel)
KeyT = TypeVar("KeyT", bound=Hashable)

FINALS, REFERENCES, IMPORTANCE = "finals.json", "references.json", "importance.json"
"""Files of a study: a `FinalsRecord`, beside it one archive of predictions a run; what `dump_references` and
`dump_importance` make."""

_HEAD = b'{\n  "format": %d,' % FORMAT
"""How each file begins that `dump_record` writes."""


class _References(Record):
    references: tuple[ReferenceRecord, ...]


class _Importance(Record):
    importance: dict[str, float]
    trials: int | None = None


class LazyPredictions(Mapping[KeyT, Predictions]):
    """Predictions by trial number or by another key, read when they are asked for."""

    def __init__(self, keys: Iterable[KeyT], load: Callable[[KeyT], Predictions]) -> None:
        self._keys: dict[KeyT, None] = dict.fromkeys(keys)
        self._load = load

    def __getitem__(self, key: KeyT) -> Predictions:
        if key not in self._keys:
            raise KeyError(key)
        return self._load(key)

    def __contains__(self, key: object) -> bool:
        return key in self._keys  # without reading them

    def __iter__(self) -> Iterator[KeyT]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


def check_format(found: object, where: Path | str) -> None:
    """Make sure that what was found at `where` is of this version's format.

    Args:
        found: the number that stands there, or its text; None where none does.
        where: names it for the user.

    Raises:
        WorkspaceError: it is of another format.
    """
    complaint = format_complaint(found)
    if complaint is not None:
        raise WorkspaceError(f"{where}: {complaint}, or start a new --workspace.")


def unreadable(where: Path | str, reason: str) -> WorkspaceError:
    """Return what a user is told of a file that is torn, or something else."""
    return WorkspaceError(
        f"{where}: not a result that this version can read ({reason}). "
        "Put the right file back, or move this one out of the workspace to go on without it."
    )


def dump_record(record: BaseModel, indent: int | None = 2) -> bytes:
    """Return `record` as JSON. A loss that is not finite is written as `"NaN"` or `"Infinity"`."""
    return to_json({"format": FORMAT, **record.model_dump()}, indent=indent, inf_nan_mode="strings") + b"\n"


def dump_references(references: Iterable[ReferenceRecord]) -> bytes:
    """Return the content of the file `REFERENCES`."""
    return dump_record(_References(references=tuple(references)))


def dump_importance(importance: Mapping[str, float], trials: int | None = None) -> bytes:
    """Return the content of the file `IMPORTANCE`: each hyperparameter's share of the variance of the score, and how
    many completed trials there were.
    """
    return dump_record(_Importance(importance=dict(importance), trials=trials))


def importance_trials(path: Path) -> int | None:
    """Return how many completed trials there were when the file `IMPORTANCE` at `path` was made; None if none says."""
    try:
        return load_record(_Importance, path).trials
    except WorkspaceError:
        return None


def parse_record(kind: type[RecordT], content: bytes, where: Path | str) -> RecordT:
    """Return the record of class `kind` that `dump_record` wrote; an error names `where` it is from.

    Raises:
        WorkspaceError: it is torn, of another format, or something else.
    """
    if content.startswith(_HEAD):
        # Straight from JSON, which is faster; whatever is wrong with it is found and named below.
        with suppress(ValidationError):
            return kind.model_validate_json(b"{" + content[len(_HEAD) :])
    try:
        stored: Any = from_json(content)
    except ValueError as error:
        raise unreadable(where, str(error)) from error
    fields = dict(stored) if isinstance(stored, dict) else {}
    check_format(fields.pop("format", None), where)
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        reason = error.errors()[0]
        field = ".".join(map(str, reason["loc"]))
        raise unreadable(where, f"{field + ': ' if field else ''}{reason['msg']}") from error


class _Pause(AbstractContextManager[None]):
    """Garbage collection, switched off by the first who enters, and on again by the last who leaves, if it was on."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside, self._was_enabled = 0, False

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._was_enabled = gc.isenabled()
                gc.disable()
            self._inside += 1

    def __exit__(self, *raised: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside and self._was_enabled:
                gc.enable()


_pause = _Pause()


def many_records() -> AbstractContextManager[None]:
    """Let no garbage be looked for while thousands of records are made or shown: that takes as long, and finds none.

    Several threads may do so at once.
    """
    return _pause


def load_record(kind: type[RecordT], path: Path) -> RecordT:
    """Return the record of class `kind` that lies at `path`.

    Raises:
        WorkspaceError: the file is missing, torn, of another format, or something else.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WorkspaceError(f"{path}: cannot be read ({error.strerror}). Is this the right workspace?") from error
    return parse_record(kind, content, path)


def dump_predictions(predictions: Predictions) -> bytes:
    """Return `predictions` as a NumPy archive without pickles; equal predictions give equal bytes."""
    buffer = BytesIO()
    np.savez(
        buffer,
        format=np.array(FORMAT),
        tracks=np.array(predictions.tracks, dtype=str),
        genres=np.array(predictions.genres, dtype=str),
        labels=np.asarray(predictions.labels, dtype=np.int64),
        probabilities=np.asarray(predictions.probabilities, dtype=np.float32),
    )
    return buffer.getvalue()


def parse_predictions(content: bytes, where: Path | str) -> Predictions:
    """Return the predictions that `dump_predictions` wrote; an error names `where` they are from.

    Raises:
        WorkspaceError: they are torn, of another format, or something else.
    """
    try:
        with np.load(BytesIO(content), allow_pickle=False) as arrays:
            check_format(int(arrays["format"]) if "format" in arrays else None, where)
            return Predictions(
                tracks=tuple(arrays["tracks"].tolist()),
                genres=tuple(arrays["genres"].tolist()),
                labels=arrays["labels"],
                probabilities=arrays["probabilities"],
            )
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise unreadable(where, str(error)) from error


def load_predictions(path: Path) -> Predictions:
    """Return the predictions that lie at `path`.

    Raises:
        WorkspaceError: the file is missing, torn, of another format, or something else.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise unreadable(path, str(error)) from error
    return parse_predictions(content, path)


def assemble_results(
    study: StudyRecord,
    trials: tuple[TrialRecord, ...],
    predictions: Mapping[int, Predictions],
    read_file: Callable[[str], bytes | None],
) -> StudyResults:
    """Put together what a study is, wherever its parts are kept.

    Args:
        study: its record.
        trials: those that ended, by number.
        predictions: of the completed ones.
        read_file: returns one of the study's files by name, None where there is no such file.

    Raises:
        WorkspaceError: a file is torn, of another format, or something else.
    """

    def parsed(name: str, kind: type[RecordT]) -> RecordT | None:
        content = read_file(name)
        return None if content is None else parse_record(kind, content, f"{study.name}/{name}")

    def final_predictions(key: str) -> Predictions:
        content = read_file(f"{key}.npz")
        if content is None:
            raise unreadable(f"{study.name}/{key}.npz", "it is missing")
        return parse_predictions(content, f"{study.name}/{key}.npz")

    finals, references, importance = (
        parsed(FINALS, FinalsRecord),
        parsed(REFERENCES, _References),
        parsed(IMPORTANCE, _Importance),
    )
    keys = [run.key for run in finals.runs if run.outcome is Outcome.COMPLETED] if finals is not None else []
    return StudyResults(
        study,
        trials,
        predictions,
        references.references if references is not None else (),
        finals,
        LazyPredictions(keys, final_predictions),
        importance.importance if importance is not None else {},
    )
