"""What a run tells whoever watches it; the terminal view and `--json` are made from these."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.records import EpochRecord, FinalRecord, StudyRecord, StudyResults, TrialRecord


@dataclass(frozen=True)
class Progress:
    """Work before the search: `done` of `total` in what `task` names."""

    task: str
    done: int
    total: int


@dataclass(frozen=True)
class Note:
    """Something that the user should read once."""

    text: str
    warning: bool = False


@dataclass(frozen=True)
class StudyStarted:
    study: StudyRecord
    trials: int
    ended: int
    best: float | None


@dataclass(frozen=True)
class TrialStarted:
    family: str
    number: int
    params: Mapping[str, Any]
    micro_batch: int
    accumulation: int
    footprint_bytes: int


@dataclass(frozen=True)
class EpochEnded:
    """`held_bytes` is the most GPU memory that the trial was seen to hold so far; None where nothing was measured."""

    family: str
    number: int
    epoch: EpochRecord
    held_bytes: int | None = None


@dataclass(frozen=True)
class TrialEnded:
    trial: TrialRecord


@dataclass(frozen=True)
class StudyEnded:
    results: StudyResults


@dataclass(frozen=True)
class FinalEnded:
    family: str
    run: FinalRecord


Event = Progress | Note | StudyStarted | TrialStarted | EpochEnded | TrialEnded | StudyEnded | FinalEnded
Notify = Callable[[Event], None]
