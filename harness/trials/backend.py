"""Where trials run: the contract between whoever wants something trained and whatever carries it out.

Promises of a `TrialBackend`:

**Jobs.** A job is named by its `JobKey`, which no other job has while this one runs. What is given (`TrialSpec`,
`DeviceSlot`) and what comes back is plain data without local paths: it may cross to another machine. Only the message
of a report, which a person reads, may say where the log lies.

**Order of events.** Those of one job come in the order in which they happened: epochs, folds, then exactly one
`TrialEnded`, however the job ended: by itself, killed for its memory or time, or with its machine. Events of different
jobs may interleave. After a job's `TrialEnded`, no event of it follows and its key is free.

**Who answers what.** After an `EpochReported` or a `FoldReported` the job waits, memory and all, until `reply` says
whether it goes on. Nothing else is answered. A reply to a job that has died meanwhile is thrown away.

**What has survived.** When `TrialEnded` comes, the job's processes are gone, and its memory was seen returned, or was
waited for and its report says that it was not. Its trained model (if it completed and `keep_model` was set) and its log
lie where the driver keeps them. A back end keeps nothing else: results are the driver's to keep, before it asks for
more events. When the driver dies, its jobs end with it; a job that had not ended leaves nothing.

**Failure.** What goes wrong with a job is an outcome of that job. What goes wrong with a device or a machine (a lost
GPU, a hung driver, a full disk, a dead fork server) raises `DeviceError` or another `HarnessError`, after the events of
what ended before; the jobs that it cost have no end, and may be started again under their keys by a later run.

**Threads.** All methods are called from one thread, but for `estimate_footprints`, which any may call at any time.

`harness.testing.backend_contract` holds these promises as tests that every implementation must pass.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.features.input_spec import InputSpec
from harness.models import Config
from harness.records.predictions import Predictions
from harness.records.trial import NOT_MEASURED, EpochRecord, Reading
from harness.trials.job import JobKey, TrialSpec
from harness.trials.report import TrialReport
from harness.vram.footprint import Footprint
from harness.vram.slots import DeviceSlot


@dataclass(frozen=True)
class EpochReported:
    """An epoch of a job ended; the job waits for a reply."""

    key: JobKey
    record: EpochRecord


@dataclass(frozen=True)
class FoldReported:
    """A fold of a job ended, not the last one; the job waits for a reply."""

    key: JobKey
    predictions: Predictions


@dataclass(frozen=True)
class TrialEnded:
    """A job ended; its processes are gone.

    Attributes:
        reading: the peak that its processes held on the device.
        series: what `reading` is the peak of: seconds since the start, bytes.
        gone_seconds: from the job's start until its processes were gone.
        returned_seconds: from there until its memory was free again; None where that was not seen, and where nobody can
            tell.
    """

    key: JobKey
    report: TrialReport
    reading: Reading = NOT_MEASURED
    series: tuple[tuple[float, int], ...] = ()
    gone_seconds: float | None = None
    returned_seconds: float | None = None


BackendEvent = EpochReported | FoldReported | TrialEnded


class TrialBackend(ABC):
    """Carries out jobs on device slots; the module's docstring has its promises."""

    @abstractmethod
    def slots(self) -> tuple[DeviceSlot, ...]:
        """Return the device slots on which jobs may be started, at least one; the CPU counts as one."""

    @abstractmethod
    def device_used_bytes(self, slot: DeviceSlot) -> int | None:
        """Return the bytes in use on a slot's device, by everyone; None for a CPU, and where nobody can tell."""

    @abstractmethod
    def estimate_footprints(
        self, family: str, input_spec: InputSpec, configs: Sequence[Config], genres: int
    ) -> list[Footprint]:
        """Return the footprint of each configuration, estimated without touching a device.

        Raises:
            BuildError: a model cannot be built.
            HarnessError: the machine failed.
        """

    @abstractmethod
    def start(self, spec: TrialSpec, slot: DeviceSlot) -> None:
        """Start a job on a slot.

        Raises:
            DeviceError: a device was lost before.
        """

    @abstractmethod
    def events(self) -> Iterator[BackendEvent]:
        """Wait until something happens to a job, and yield what did; nothing at once where no job runs.

        Raises:
            DeviceError: a device is not there any more, or a job hangs in its driver.
            WorkspaceError: a job can read or write its files no more.
        """

    @abstractmethod
    def reply(self, key: JobKey, proceed: bool) -> None:
        """Answer the epoch or fold that a job waits on."""

    @abstractmethod
    def memory_in_use(self) -> Mapping[JobKey, int | None]:
        """Return the most that each running job was seen to hold on its device, in bytes; None where not measured."""

    @abstractmethod
    def close(self) -> None:
        """End every running job and wait until all of its processes are gone; they have no `TrialEnded`."""


def run_to_end(
    backend: TrialBackend,
    spec: TrialSpec,
    slot: DeviceSlot,
    proceed: Callable[[EpochReported | FoldReported], bool] = lambda event: True,
) -> TrialEnded:
    """Run one job, the only one of the back end, and return its end.

    Args:
        proceed: answers every epoch and fold.
    """
    backend.start(spec, slot)
    while True:
        for event in backend.events():
            if isinstance(event, TrialEnded):
                return event
            backend.reply(event.key, proceed(event))
