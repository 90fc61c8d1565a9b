"""What a command tells whoever watches it; the terminal view and `--json` are made from these."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from harness.passwords import without_passwords
from harness.records.base import Value
from harness.records.final import FinalRecord
from harness.records.study import StudyRecord, StudyResults
from harness.records.trial import EpochRecord, TrialRecord


@dataclass(frozen=True)
class Progress:
    """Work that is no training: `done` of `total` in what `task` names."""

    task: str
    done: int
    total: int


@dataclass(frozen=True)
class Note:
    """Something that the user should read once; it shows no password."""

    text: str
    warning: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", without_passwords(self.text))


@dataclass(frozen=True)
class StudyStarted:
    """A study starts or goes on.

    Attributes:
        trials: total of trials that the study is to have.
        ended: those of them that ended in earlier runs.
        best: highest validation macro F1 so far; None before the first completed trial.
    """

    study: StudyRecord
    trials: int
    ended: int
    best: float | None


@dataclass(frozen=True)
class TrialStarted:
    """A trial starts to train, `micro_batch` crops in one forward pass, `accumulation` of them in one update."""

    family: str
    number: int
    params: Mapping[str, Value]
    micro_batch: int
    accumulation: int
    footprint_bytes: int


@dataclass(frozen=True)
class EpochFinished:
    """An epoch of a trial ended.

    Attributes:
        used_bytes: the most GPU memory that the trial was seen to use so far; None where nothing was measured.
    """

    family: str
    number: int
    epoch: EpochRecord
    used_bytes: int | None = None


@dataclass(frozen=True)
class TrialFinished:
    """A trial ended, and its record is stored."""

    trial: TrialRecord


@dataclass(frozen=True)
class StudyFinished:
    """All trials of a study ended, or no more are wanted."""

    results: StudyResults


@dataclass(frozen=True)
class FinalFinished:
    """A configuration was trained again and scored on tested tracks."""

    family: str
    run: FinalRecord


Event = Progress | Note | StudyStarted | TrialStarted | EpochFinished | TrialFinished | StudyFinished | FinalFinished
Notify = Callable[[Event], None]


def counter(notify: Notify, task: str) -> Callable[[int, int], None]:
    """Return a function that reports the progress of a task by how much of it is done, and how much there is."""
    return lambda done, total: notify(Progress(task, done, total))
