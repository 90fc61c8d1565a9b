"""One trial as it ended: its scores, and what it took of memory and time.

A unit stands in a field's name: `_bytes`, `_seconds`; scores are fractions in [0, 1].
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from harness.records.base import Record, Value


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


class ReadingSource(StrEnum):
    """Where a reading of GPU memory comes from; `none` means that nothing was measured."""

    ACCOUNTING = "accounting"
    PROCESS = "process"
    DEVICE_DELTA = "device_delta"
    NONE = "none"

    @property
    def label(self) -> str:
        """Names the source for a reader: `device delta`."""
        return self.replace("_", " ")


class Reading(Record):
    """The peak GPU memory that a trial's process tree held, as NVML counts it."""

    peak_bytes: int | None = None
    source: ReadingSource = ReadingSource.NONE

    @property
    def measured_bytes(self) -> int | None:
        """The peak where it was measured; None where it was not, whatever stands in `peak_bytes`."""
        return None if self.source is ReadingSource.NONE else self.peak_bytes


NOT_MEASURED = Reading()


@dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid"))
class EpochRecord:
    """One training epoch. `val_*` are over tracks (some of their crops voted), the others over training crops.

    As a `Record`, each of the hundreds of thousands of a long study would take 1.3 kB; so it takes a quarter of that.

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


class BatchShape(Record):
    """How a sampled batch is cut into passes: `accumulation` micro-batches make one update."""

    micro_batch: int
    accumulation: int


class ValidationScores(Record):
    """Scores of a trial over tracks (crops voted), as fractions; None where it did not get so far."""

    valid_accuracy: float | None = None
    valid_macro_f1: float | None = None
    train_accuracy: float | None = None


NO_SCORES = ValidationScores()


class MemoryRecord(Record):
    """What a training took of a device, and what it was predicted to take, in bytes; None where that is not known.

    Attributes:
        reading: what its processes held on the device at most, by NVML ("held").
        series: what `reading` is the peak of: seconds since the start, bytes.
        allocator_peak_bytes: the most that was in use in the framework's allocator ("needed"); without a GPU, of the
            computer's own memory.
        pool_bytes: the most that the framework's allocator had taken from the device: what was in use, and more.
        footprint_bytes: the predicted peak, as it was when the trial was fitted into the budget.
        model_footprint_bytes: the model's own footprint, before correction and without the device's overhead.
        beside_bytes: what the process was estimated to hold on the device beside its allocator, as it was when the
            trial was fitted into the budget.
        cap_bytes: what the framework's allocator was allowed on the device; None where it had no cap.
        device: the UUID of the GPU; None for the CPU.
    """

    reading: Reading = NOT_MEASURED
    series: tuple[tuple[float, int], ...] = ()
    allocator_peak_bytes: int | None = None
    pool_bytes: int | None = None
    footprint_bytes: int | None = None
    model_footprint_bytes: int | None = None
    beside_bytes: int | None = None
    cap_bytes: int | None = None
    device: str | None = None

    @property
    def predicted_need_bytes(self) -> int | None:
        """The predicted footprint without what lies beside the allocator; None where there is no footprint."""
        return None if self.footprint_bytes is None else self.footprint_bytes - (self.beside_bytes or 0)


class TimingRecord(Record):
    """When a training ran, and how long its parts took; None where it did not get so far.

    Attributes:
        train_seconds: all folds together, validation included.
        epoch_seconds: median over its epochs.
        inference_seconds: in which the trained model answers for 30 s of audio whose features are there.
        started, ended: in UTC, ISO 8601.
    """

    train_seconds: float | None = None
    epoch_seconds: float | None = None
    inference_seconds: float | None = None
    started: str = ""
    ended: str = ""


class TrialRecord(Record):
    """One trial as it ended.

    Attributes:
        params: the sampled hyperparameters by their names in the space.
        batch: None for a trial whose model could not be built.
        parameters: number of weights.
        last_report: the last step that the pruner was told of, and the value there: by it the sampler ranks trials
            that were stopped. None where there was none.
        constraints: shares over (above 0) or under (below 0) a limit, by the limit's name.
    """

    family: str
    study: str
    number: int
    outcome: Outcome
    params: dict[str, Value]
    message: str = ""
    epochs: tuple[EpochRecord, ...] = ()
    best_epoch: int | None = None
    scores: ValidationScores = NO_SCORES
    batch: BatchShape | None = None
    parameters: int | None = None
    memory: MemoryRecord = MemoryRecord()
    timing: TimingRecord = TimingRecord()
    last_report: tuple[int, float] | None = None
    constraints: dict[str, float] = Field(default_factory=dict)

    @property
    def completed(self) -> bool:
        return self.outcome is Outcome.COMPLETED

    @property
    def counted(self) -> bool:
        """Whether it counts toward the number of trials that was asked for: a refused one never trained."""
        return self.outcome is not Outcome.REFUSED

    @property
    def feasible(self) -> bool:
        """Whether it kept to every limit; Optuna's best trial is the best of these."""
        return all(share <= 0 for share in self.constraints.values())


class RunningTrial(Record):
    """One trial that was sampled and has not ended: `params` are the hyperparameters by their names in the space."""

    study: str
    number: int
    params: dict[str, Value]


def best_trial(trials: Iterable[TrialRecord]) -> TrialRecord | None:
    """Return the completed trial with the highest validation macro F1, of equals the first; None without one."""
    completed = [trial for trial in trials if trial.completed]
    return max(completed, key=lambda trial: (trial.scores.valid_macro_f1 or 0.0, -trial.number), default=None)
