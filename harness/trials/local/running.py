"""A job whose child lives, from its start until its memory is free again."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.errors import DeviceError, HarnessError, WorkspaceError
from harness.records.predictions import Predictions
from harness.records.trial import EpochRecord, Outcome, Reading
from harness.trials import symptoms
from harness.trials.backend import BackendEvent, EpochReported, FoldReported, TrialEnded
from harness.trials.job import JobKey, TrialSpec
from harness.trials.local.exit_status import KillReason, classify_exit
from harness.trials.local.fork_server import Child
from harness.trials.report import MachineFailure, NoGpu, TrialReport
from harness.units import format_size
from harness.vram.meter import Meter
from harness.vram.probes import Probe, has_returned, is_lost
from harness.vram.slots import DeviceSlot

GRACE_SECONDS, GRACE_SHARE = 60.0, 0.5
"""A child ends itself at its time limit; one that is later by this, and this share of the limit, hangs, and is killed.

It may still vote and save after its training, so the grace is wide.
"""

RETURN_SECONDS = 15.0
"""How long a driver may take to give back the memory of a child that is gone."""


@dataclass
class RunningJob:
    """A job in a child, and what is known of it so far.

    Attributes:
        baseline: device use before it started; None where others ran there, or nobody can tell.
        killed: why it was ended, if it was.
        report: its last message, if it sent one.
        failure: why the machine, or the workspace, was of no use to it.
        lost: its pipe is broken.
    """

    spec: TrialSpec
    slot: DeviceSlot
    probe: Probe
    child: Child
    log: Path
    baseline: int | None
    started: float = field(default_factory=time.monotonic)
    killed: KillReason | None = None
    report: TrialReport | None = None
    no_gpu: NoGpu | None = None
    failure: MachineFailure | None = None
    epochs: list[EpochRecord] = field(default_factory=list)
    lost: bool = False

    def __post_init__(self) -> None:
        budget = self.spec.limits.budget_bytes
        self.meter = Meter(self.probe, self.child.pid, budget, on_over_budget=self._over_budget)

    @property
    def key(self) -> JobKey:
        return self.spec.key

    @property
    def deadline(self) -> float:
        """When it is killed for want of an end, by `time.monotonic`."""
        limit = self.spec.limits.seconds
        if limit is None or self.killed is not None:
            return float("inf")
        return self.started + limit * (1 + GRACE_SHARE) + GRACE_SECONDS

    def kill(self, outcome: Outcome, message: str) -> None:
        """End its whole process group; the job ends with this outcome."""
        self.killed = KillReason(outcome, message)
        self.child.kill()

    def check_limits(self) -> None:
        """Kill it where it is long after its time limit, or has lost its GPU."""
        if time.monotonic() >= self.deadline:
            limit = self.spec.limits.seconds
            self.kill(Outcome.TIMEOUT, f"still running long after its limit of {limit:.0f} s; killed")
        elif self.killed is None and self.meter.lost:
            self.kill(Outcome.CRASHED, self.meter.lost)

    def receive(self) -> BackendEvent | None:
        """Return what its child reports; None where there is nothing to tell, or its last word was kept."""
        try:
            while not self.lost and self.child.connection.poll():
                message = self.child.connection.recv()
                # Either way the child waits for an answer, holding all of its memory.
                self.meter.sample_now()
                if isinstance(message, EpochRecord):
                    self.epochs.append(message)
                    return EpochReported(self.key, message)
                if isinstance(message, Predictions):
                    return FoldReported(self.key, message)
                if isinstance(message, NoGpu):
                    self.no_gpu = message
                elif isinstance(message, MachineFailure):
                    self.failure = message
                else:
                    self.report = message
                self.child.connection.send(True)
        except (EOFError, OSError):
            # The child died, perhaps in the middle of a message.
            self.lost = True
        return None

    @property
    def has_ended(self) -> bool:
        return self.lost or not self.child.process.is_alive()

    def finish(self) -> tuple[TrialEnded, HarnessError | None]:
        """Collect what is left: exit status, reading, and the rest of the process group.

        Returns:
            The end, and how the job has shown that its GPU or its machine is of no use any more; None where it has not.
        """
        process = self.child.process
        process.join(timeout=5)
        is_gone = self.child.kill()
        is_gone = self.child.reap() and is_gone
        gone = time.monotonic()
        reading = self.meter.stop()
        self.child.connection.close()
        report = classify_exit(self.report, self.killed, process.exitcode, self.log, self.epochs, self.slot.on_gpu)
        loss = self._loss(report, is_gone)
        if self.slot.on_gpu:
            report = replace(report, pool_bytes=report.pool_bytes or symptoms.pool_bytes(self.log))
        report = with_note(report, self.meter.message)
        return TrialEnded(self.key, report, reading, self.meter.series, gone - self.started), loss

    def _over_budget(self, reading: Reading) -> None:
        held, budget = format_size(reading.peak_bytes or 0), format_size(self.spec.limits.budget_bytes)
        self.kill(Outcome.OVER_BUDGET, f"held {held} of GPU memory, over the budget of {budget}; killed")

    def _loss(self, report: TrialReport, is_gone: bool) -> HarnessError | None:
        where = f"{self.slot.device.name}, in trial {self.key.number}"
        if not is_gone:
            hangs = f"process {self.child.pid} outlives SIGKILL, so it hangs in the driver"
            return DeviceError(f"{where}: {hangs}. Restart the machine; the same command goes on.")
        if self.failure is not None:
            return WorkspaceError(f"trial {self.key.number}: {self.failure.message}")
        why = None
        if self.no_gpu is not None:
            why = self.no_gpu.cause.what
        elif report.outcome in (Outcome.CRASHED, Outcome.OOM):
            if self.meter.lost:
                why = self.meter.lost.rstrip(".")
            elif is_lost(self.slot.device):
                why = "it fell off the bus, or needs a reset"
        if why is None:
            return None
        return DeviceError(
            f"{where}: the framework cannot use the GPU any more, {why}. No trial trains on the CPU instead. See what "
            "`nvidia-smi` and `harness doctor` say; the same command goes on."
        )


@dataclass(frozen=True)
class LeavingJob:
    """A job that has ended, and whose memory the driver has not given back yet.

    Attributes:
        returned: tells whether it has; None where nobody can tell.
        gone: when its processes were.
    """

    end: TrialEnded
    slot: DeviceSlot
    returned: Callable[[], bool | None]
    gone: float

    @classmethod
    def of(cls, job: RunningJob, end: TrialEnded, *, shared: bool) -> LeavingJob:
        """Return a job that has ended.

        Args:
            shared: whether others run on its slot, so that device use cannot come back.
        """
        baseline = None if shared else job.baseline
        held = end.reading.peak_bytes or 0

        def returned() -> bool | None:
            return has_returned(job.probe, job.slot.device, job.meter.pids, baseline, held)

        return cls(end, job.slot, returned, time.monotonic())

    def settled(self, give_up: bool) -> TrialEnded | None:
        """Return the job's end, once its memory is free again, or was waited for long enough.

        Args:
            give_up: do not wait any more.
        """
        waited, returned = time.monotonic() - self.gone, self.returned()
        if returned is None or give_up:
            return self.end
        if returned:
            return replace(self.end, returned_seconds=waited)
        if waited >= RETURN_SECONDS:
            note = f"its GPU memory was not seen returned within {RETURN_SECONDS:.0f} s"
            return replace(self.end, report=with_note(self.end.report, note))
        return None


def with_note(report: TrialReport, note: str) -> TrialReport:
    """Return a report whose message ends with a note; an empty one changes nothing."""
    return replace(report, message="; ".join(filter(None, (report.message, note))))
