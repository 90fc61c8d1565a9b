"""What a benchmark leaves behind: the frozen records that cross every border.

The child process fills them, the ledger stores them as JSON, MLflow carries them, `reports` reads them.
A unit stands in the field's name: `_bytes`, `_seconds`; scores are fractions in [0, 1].
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict


class Outcome(StrEnum):
    """How a trial ended."""

    COMPLETED = "completed"
    PRUNED = "pruned"
    REFUSED = "refused"
    OVER_BUDGET = "over_budget"
    OOM = "oom"
    HOST_OOM = "host_oom"
    TIMEOUT = "timeout"
    DIVERGED = "diverged"
    CRASHED = "crashed"
    INTERRUPTED = "interrupted"

    @property
    def label(self) -> str:
        """Names the outcome for a reader: `over budget`."""
        return self.replace("_", " ")


class Source(StrEnum):
    """Where a reading of GPU memory comes from; `none` means that nothing was measured."""

    ACCOUNTING = "accounting"
    PROCESS = "process"
    DEVICE_DELTA = "device_delta"
    NONE = "none"

    @property
    def label(self) -> str:
        """Names the source for a reader: `device delta`."""
        return self.replace("_", " ")


class Kind(StrEnum):
    """What a tracked run stands for."""

    STUDY = "study"
    TRIAL = "trial"
    FINAL = "final"


Value = bool | int | float | str | None

RunLinks = Mapping[tuple[str, int | str | None], str]
"""Web addresses of tracked runs, by study and by what the run stands for: a trial's number, a `FinalRecord.key`, or
None for the study itself."""


class Record(BaseModel):
    """Base of all records: immutable, and strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Reading(Record):
    """The peak GPU memory that a trial's process tree held, as NVML counts it."""

    peak_bytes: int | None = None
    source: Source = Source.NONE

    @property
    def measured_bytes(self) -> int | None:
        """The peak where it was measured; None where it was not, whatever stands in `peak_bytes`."""
        return None if self.source is Source.NONE else self.peak_bytes


class EpochRecord(Record):
    """One training epoch. `val_*` are over tracks (crops voted), the others over training crops.

    `fold` counts from 0; None where the split is a single one.
    """

    epoch: int
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    val_macro_f1: float
    seconds: float
    fold: int | None = None


class TrialRecord(Record):
    """One trial as it ended.

    Attributes:
        params: the sampled hyperparameters by their names in the space.
        reading: what its processes held on the device at most, by NVML ("held").
        allocator_peak_bytes: the most that was in use in the framework's allocator ("needed"); without a GPU, of the
            computer's own memory.
        pool_bytes: the most that the framework's allocator had taken from the device: what was in use, and more.
        device: the UUID of the GPU that it ran on; None for the CPU.
        beside_bytes: what the process was estimated to hold on the device beside its allocator, as it was when the
            trial was fitted into the budget.
        vram_series: what `reading` is the peak of: seconds since the start, bytes.
        footprint_bytes: the predicted peak, as it was when the trial was fitted into the budget.
        reckoned_bytes: the model's own footprint, before correction and without the device's overhead.
        cap_bytes: what the framework's allocator was allowed on the device; None where it had no cap.
        track_seconds: in which the trained model answers for 30 s of audio whose features are there.
        constraints: shares over (above 0) or under (below 0) a limit, by the limit's name.
    """

    family: str
    study: str
    number: int
    outcome: Outcome
    params: dict[str, Value]
    message: str = ""
    micro_batch: int | None = None
    accumulation: int | None = None
    epochs: tuple[EpochRecord, ...] = ()
    best_epoch: int | None = None
    valid_accuracy: float | None = None
    valid_macro_f1: float | None = None
    train_accuracy: float | None = None
    reading: Reading = Reading()
    allocator_peak_bytes: int | None = None
    pool_bytes: int | None = None
    device: str | None = None
    beside_bytes: int | None = None
    vram_series: tuple[tuple[float, int], ...] = ()
    footprint_bytes: int | None = None
    reckoned_bytes: int | None = None
    cap_bytes: int | None = None
    parameters: int | None = None
    train_seconds: float | None = None
    epoch_seconds: float | None = None
    track_seconds: float | None = None
    constraints: dict[str, float] = {}
    started: str = ""
    ended: str = ""

    @property
    def completed(self) -> bool:
        return self.outcome is Outcome.COMPLETED

    @property
    def counted(self) -> bool:
        """Whether it counts toward the number of trials that was asked for: a refused one never trained."""
        return self.outcome is not Outcome.REFUSED

    @property
    def predicted_need_bytes(self) -> int | None:
        """The predicted footprint without what lies beside the allocator; None where there is no footprint."""
        return None if self.footprint_bytes is None else self.footprint_bytes - (self.beside_bytes or 0)


class Published(Record):
    """What the original author reported for a family, on a split of their own."""

    accuracy: float
    macro_f1: float
    limitation: str


class DatasetRecord(Record):
    """The data set that a study ran on. `fingerprint` changes when any track's audio or genre changes."""

    name: str
    fingerprint: str
    genres: tuple[str, ...]
    tracks: int
    synthetic: bool
    replicas: tuple[tuple[str, ...], ...] = ()
    quarantined: dict[str, str] = {}


class ProtocolRecord(Record):
    """The split that a study ran on.

    Attributes:
        fingerprint: identifies the assignment.
        sizes: tracks by partition.
        grouped: whether groups are known and each stands on one side.
        folds: trainings of a trial, each validated on its own share of the tracks; 0 for a single split.
    """

    name: str
    fingerprint: str
    sizes: dict[str, int]
    grouped: bool
    warning: str | None = None
    folds: int = 0


class ReferenceRecord(Record):
    """A classifier that needs no network, on the tracks of a study: what any family must beat.

    Attributes:
        name: for a reader.
        partition: the tracks that it was scored on: `valid`, or `test`.
        tracks: how many.
    """

    name: str
    partition: str
    tracks: int
    accuracy: float
    macro_f1: float


class Role(StrEnum):
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

    role: Role
    trial: int
    seed: int
    fold: int | None
    outcome: Outcome
    message: str = ""
    tracks: int = 0
    test_accuracy: float | None = None
    test_macro_f1: float | None = None
    reading: Reading = Reading()
    allocator_peak_bytes: int | None = None
    train_seconds: float | None = None

    @property
    def key(self) -> str:
        """Identifies it among those of its opening."""
        return f"{self.role}-{self.seed}" + ("" if self.fold is None else f"-{self.fold}")

    @property
    def label(self) -> str:
        """Names it for a reader, beside its role: `seed 2`, or `seed 2, outer fold 4`; both count from 1."""
        return f"seed {self.seed + 1}" + ("" if self.fold is None else f", outer fold {self.fold + 1}")


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
        track_seconds: of all members, one after another, for one track whose features are there.
    """

    name: str
    members: dict[str, float]
    tracks: int
    accuracy: float
    macro_f1: float
    peak_bytes: int | None
    track_seconds: float


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


class Provenance(Record):
    """Where and with what a study ran."""

    commit: str
    versions: dict[str, str]
    backend: str
    device: str
    driver: str | None
    platform: str
    cpu_count: int


class StudyRecord(Record):
    """All that defines one study: the trials of one family under one protocol, budget, epochs, seed and space.

    Attributes:
        embeddings: fingerprints of the frozen networks that the family heard with, by name.
    """

    family: str
    study: str
    description: str
    input: str
    space: str
    dataset: DatasetRecord
    protocol: ProtocolRecord
    budget_bytes: int
    epochs: int
    seed: int
    quick: bool
    trial_time_limit_seconds: float | None
    published: Published | None
    provenance: Provenance
    embeddings: dict[str, str] = {}

    @property
    def comparable_key(self) -> tuple[str, str, int, int, int, bool, str, str]:
        """Equal for studies whose scores may be compared: same data set, protocol, budget, epochs, seed and space size.

        Keys are ordered by the names of data set and protocol first.
        """
        data, split = self.dataset, self.protocol
        scale = (self.budget_bytes, self.epochs, self.seed, self.quick)
        return (data.name, split.name, *scale, data.fingerprint, split.fingerprint)


@dataclass(frozen=True, eq=False)
class Predictions:
    """A model's track-level answers on one partition.

    Attributes:
        tracks: track ids, length N.
        genres: class names, length C; the order of the columns.
        labels: true class indices, int64, shape (N,).
        probabilities: mean crop probabilities, float32, shape (N, C); rows sum to 1.
    """

    tracks: tuple[str, ...]
    genres: tuple[str, ...]
    labels: np.ndarray
    probabilities: np.ndarray

    @property
    def predicted(self) -> np.ndarray:
        """Predicted class indices, int64, shape (N,)."""
        indices: np.ndarray = self.probabilities.argmax(axis=1)
        return indices


@dataclass(frozen=True, eq=False)
class StudyResults:
    """A study with all that came of it.

    Attributes:
        trials: in order of number.
        predictions: of the completed trials by number, on the validation tracks.
        references: classifiers without a network, on the same tracks.
        importance: each hyperparameter's share of the variance of the score, by its name; empty where there are too
            few trials to tell.
        finals: what came of opening the test set; None while it is closed.
        final_predictions: on the tested tracks, by `FinalRecord.key`.
    """

    study: StudyRecord
    trials: tuple[TrialRecord, ...]
    predictions: Mapping[int, Predictions]
    references: tuple[ReferenceRecord, ...] = ()
    finals: FinalsRecord | None = None
    final_predictions: Mapping[str, Predictions] = field(default_factory=dict)
    importance: Mapping[str, float] = field(default_factory=dict)

    @property
    def best(self) -> TrialRecord | None:
        """The completed trial with the highest validation macro F1; see `best_trial`."""
        return best_trial(self.trials)

    @property
    def baseline(self) -> TrialRecord | None:
        """Trial 0, when it ended."""
        return next((trial for trial in self.trials if trial.number == 0), None)

    @property
    def counted_trials(self) -> int:
        """How many trials count toward the number that was asked for."""
        return sum(trial.counted for trial in self.trials)


def best_trial(trials: Iterable[TrialRecord]) -> TrialRecord | None:
    """Return the completed trial with the highest validation macro F1, of equals the first; None without one."""
    completed = [trial for trial in trials if trial.completed]
    return max(completed, key=lambda trial: (trial.valid_macro_f1 or 0.0, -trial.number), default=None)


def short_hash(value: Any, length: int = 8) -> str:
    """Return the first `length` hexadecimal digits of the SHA-256 of `value` as canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def is_finite(value: float | None) -> bool:
    """Whether `value` is a number that JSON, Optuna and MLflow can all store."""
    return value is not None and math.isfinite(value)
