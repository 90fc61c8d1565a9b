"""What came of opening a test set."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from harness.records.base import Record
from harness.records.trial import MemoryRecord, Outcome, TimingRecord


class FinalRole(StrEnum):
    """Whose configuration is trained again when the test set is opened."""

    WINNER = "winner"
    BASELINE = "baseline"


class FinalRecord(Record):
    """One retraining with a fresh seed, scored on tracks by which nothing was chosen.

    Attributes:
        trial: whose configuration it is.
        seed: counts from 0.
        fold: the outer fold that was tested; None for a test set.
        tracks: how many were tested.
    """

    role: FinalRole
    trial: int
    seed: int
    fold: int | None
    outcome: Outcome
    message: str = ""
    tracks: int = 0
    test_accuracy: float | None = None
    test_macro_f1: float | None = None
    memory: MemoryRecord = MemoryRecord()
    timing: TimingRecord = TimingRecord()

    @property
    def key(self) -> str:
        """Identifies it among those of its opening."""
        return final_key(self.role, self.seed, self.fold)

    @property
    def label(self) -> str:
        """Names it for a reader, beside its role: `seed 2`, or `seed 2, outer fold 4`; both count from 1."""
        return f"seed {self.seed + 1}" + ("" if self.fold is None else f", outer fold {self.fold + 1}")


def final_key(role: FinalRole, seed: int, fold: int | None) -> str:
    """Return what identifies the training of a role's configuration with a seed among those of an opening."""
    return f"{role}-{seed}" + ("" if fold is None else f"-{fold}")


class OpeningRecord(Record):
    """The test set was opened: after how many trials, in which state of the study, and when."""

    trials: int
    state: str
    opened: str


class EnsembleRecord(Record):
    """Trained models that answer together, chosen by validation predictions and scored on what was tested.

    Attributes:
        name: for a reader.
        members: shares of the answer, by the trial's name; with outer folds, means over the folds.
        tracks: how many were tested.
        peak_bytes: the most that the framework's allocator held while one process with all members loaded predicted;
            None where it cannot tell.
        inference_seconds: of all members, one after another, for one track whose features are there.
    """

    name: str
    members: dict[str, float]
    tracks: int
    accuracy: float
    macro_f1: float
    peak_bytes: int | None
    inference_seconds: float


class FinalsRecord(Record):
    """What came of opening the test set of a study; `runs` are those of the last opening.

    Attributes:
        ensembles: the study's own, and those with the studies that were opened with it.
        tested: `test`, or `outer folds` where the protocol has no test set.
    """

    tested: Literal["test", "outer folds"]
    openings: tuple[OpeningRecord, ...]
    runs: tuple[FinalRecord, ...] = ()
    ensembles: tuple[EnsembleRecord, ...] = ()
