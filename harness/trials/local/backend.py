"""Jobs in children of this machine's fork server: watched, and ended when they must be."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from harness.errors import DeviceError
from harness.features.input_spec import InputSpec
from harness.models import Config
from harness.records.predictions import Predictions
from harness.records.trial import EpochRecord, Outcome, Reading
from harness.trials import model_probes, symptoms
from harness.trials.backend import BackendEvent, EpochReported, FoldReported, TrialBackend, TrialEnded
from harness.trials.job import JobKey, TrialSpec
from harness.trials.local import child as child_module
from harness.trials.local.child import ChildJob
from harness.trials.local.exit_status import KillReason, classify_exit
from harness.trials.local.fork_server import Child, ForkServer
from harness.trials.report import NoGpu, TrialReport
from harness.units import format_size
from harness.vram.device import memory_used
from harness.vram.footprint import Footprint
from harness.vram.meter import Meter
from harness.vram.probes import NoProbe, Probe, has_returned, is_lost
from harness.vram.slots import CPU_SLOT, DeviceSlot

GRACE_SECONDS, GRACE_SHARE = 60.0, 0.5
"""A child ends itself at its time limit; one that is later by this, and this share of the limit, hangs, and is killed.

It may still vote and save after its training, so the grace is wide.
"""

RETURN_SECONDS = 15.0
"""How long a driver may take to give back the memory of a child that is gone."""

_POLL_SECONDS, _LOST_SECONDS = 0.1, 5.0
"""How often to ask whether memory is free again, and whether a GPU is lost under a job that says nothing."""


@dataclass(frozen=True)
class JobFiles:
    """Where on this machine files of jobs lie.

    Attributes:
        store: the root folder of the feature store.
        model, log: tell where the trained model and the log of a job go.
    """

    store: Path
    model: Callable[[JobKey], Path]
    log: Callable[[JobKey], Path]


@dataclass
class _Running:
    """A job whose child lives.

    Attributes:
        baseline: device use before it started; None where others ran there, or nobody can tell.
        lost: its pipe is broken.
    """

    spec: TrialSpec
    slot: DeviceSlot
    child: Child
    log: Path
    baseline: int | None
    meter: Meter
    started: float
    killed: KillReason | None = None
    report: TrialReport | None = None
    no_gpu: NoGpu | None = None
    epochs: list[EpochRecord] = field(default_factory=list)
    lost: bool = False

    @property
    def key(self) -> JobKey:
        return self.spec.key

    @property
    def deadline(self) -> float:
        limit = self.spec.limits.seconds
        if limit is None or self.killed is not None:
            return float("inf")
        return self.started + limit * (1 + GRACE_SHARE) + GRACE_SECONDS

    def kill(self, reason: KillReason) -> None:
        self.killed = reason
        self.child.kill()


@dataclass(frozen=True)
class _Leaving:
    """A job that has ended, and whose memory the driver has not given back yet.

    Attributes:
        returned: whether it has; None where nobody can tell.
        gone: when its processes were.
    """

    end: TrialEnded
    slot: DeviceSlot
    returned: Callable[[], bool | None]
    gone: float


class LocalBackend(TrialBackend):
    """The back end of one machine; `harness.trials.backend` has its promises."""

    def __init__(self, server: ForkServer, files: JobFiles) -> None:
        self.server, self.files = server, files
        self._probes: dict[DeviceSlot, Probe] = {}
        self._running: dict[JobKey, _Running] = {}
        self._leaving: list[_Leaving] = []
        self._broken: DeviceError | None = None

    def with_files(self, files: JobFiles) -> LocalBackend:
        """Return a back end with the same server and slots that keeps the files of its jobs elsewhere."""
        other = LocalBackend(self.server, files)
        other._probes = self._probes
        return other

    def add_slot(self, slot: DeviceSlot, probe: Probe) -> None:
        """Let jobs run on a slot, where `probe` reads their memory."""
        self._probes[slot] = probe

    def slots(self) -> tuple[DeviceSlot, ...]:
        return tuple(self._probes) or (CPU_SLOT,)

    def device_used_bytes(self, slot: DeviceSlot) -> int | None:
        return memory_used(slot.device)

    def estimate_footprints(
        self, family: str, input_spec: InputSpec, configs: Sequence[Config], genres: int
    ) -> list[Footprint]:
        plain = [dict(config) for config in configs]
        answer: list[Footprint] = self.server.call(model_probes.estimate_footprints, family, input_spec, plain, genres)
        return answer

    def memory_in_use(self) -> dict[JobKey, int | None]:
        return {key: running.meter.reading.peak_bytes for key, running in self._running.items()}

    def start(self, spec: TrialSpec, slot: DeviceSlot) -> None:
        if self._broken is not None:
            raise self._broken
        self.server.check()
        log = self.files.log(spec.key)
        model = self.files.model(spec.key) if spec.keep_model else None
        is_free = not self._on(slot) and not any(leaving.slot == slot for leaving in self._leaving)
        baseline = memory_used(slot.device) if is_free else None
        child = self.server.fork(child_module.run_job, ChildJob(spec, slot.device, self.files.store, model, log))
        budget = spec.limits.budget_bytes

        def over_budget(reading: Reading) -> None:
            held = format_size(reading.peak_bytes or 0)
            message = f"held {held} of GPU memory, over the budget of {format_size(budget)}; killed"
            running.kill(KillReason(Outcome.OVER_BUDGET, message))

        meter = Meter(self._probes.get(slot, NoProbe()), child.pid, budget, on_over_budget=over_budget)
        running = _Running(spec, slot, child, log, baseline, meter, time.monotonic())
        self._running[spec.key] = running
        meter.start()

    def events(self) -> Iterator[BackendEvent]:
        while self._running or self._leaving or self._broken is not None:
            end = self._left()
            if end is None and self._broken is not None:
                raise self._broken
            if end is not None:
                yield end
                return
            for running in self._ready():
                event = self._next(running)
                if event is not None:
                    yield event
                    return
            for running in self._running.values():
                if time.monotonic() >= running.deadline:
                    limit = running.spec.limits.seconds
                    message = f"still running long after its limit of {limit:.0f} s; killed"
                    running.kill(KillReason(Outcome.TIMEOUT, message))
                elif running.killed is None and running.meter.lost:
                    running.kill(KillReason(Outcome.CRASHED, running.meter.lost))

    def reply(self, key: JobKey, proceed: bool) -> None:
        # A child that has just died is noticed by its sentinel.
        with suppress(BrokenPipeError):
            self._running[key].child.connection.send(proceed)

    def close(self) -> None:
        for running in list(self._running.values()):
            running.kill(KillReason(Outcome.INTERRUPTED, "the run was interrupted"))
            self._finish(running)
        self._leaving.clear()
        self._broken = None

    def _on(self, slot: DeviceSlot) -> list[_Running]:
        return [running for running in self._running.values() if running.slot == slot]

    def _ready(self) -> list[_Running]:
        """Wait for messages and ends of children, and return the jobs that have some, in the order of their keys."""
        waiting: dict[Connection | int, _Running] = {}
        for running in self._running.values():
            waiting[running.child.process.sentinel] = running
            if not running.lost:
                waiting[running.child.connection] = running
        deadline = min((running.deadline for running in self._running.values()), default=float("inf"))
        on_gpu = any(running.slot.on_gpu for running in self._running.values())
        longest = _POLL_SECONDS if self._leaving else _LOST_SECONDS if on_gpu else 3600.0
        ready: list[Any] = wait(list(waiting), timeout=max(0.0, min(deadline - time.monotonic(), longest)))
        return [self._running[key] for key in sorted({waiting[item].key for item in ready}, key=repr)]

    def _next(self, running: _Running) -> BackendEvent | None:
        try:
            while not running.lost and running.child.connection.poll():
                message = running.child.connection.recv()
                # Either way the child waits for an answer, holding all of its memory.
                running.meter.sample_now()
                if isinstance(message, EpochRecord):
                    running.epochs.append(message)
                    return EpochReported(running.key, message)
                if isinstance(message, Predictions):
                    return FoldReported(running.key, message)
                if isinstance(message, NoGpu):
                    running.no_gpu = message
                else:
                    running.report = message
                self.reply(running.key, True)
        except (EOFError, OSError):
            # The child died, perhaps in the middle of a message.
            running.lost = True
        if running.child.process.is_alive() and not running.lost:
            return None
        self._finish(running)
        return self._left()

    def _left(self) -> TrialEnded | None:
        """Return the end of a job whose memory is free again, or was waited for long enough."""
        for leaving in self._leaving:
            waited, returned = time.monotonic() - leaving.gone, leaving.returned()
            if returned is None or self._broken is not None:
                found = leaving.end
            elif returned:
                found = replace(leaving.end, returned_seconds=waited)
            elif waited >= RETURN_SECONDS:
                note = f"its GPU memory was not seen returned within {RETURN_SECONDS:.0f} s"
                found = replace(leaving.end, report=_with_note(leaving.end.report, note))
            else:
                continue
            self._leaving.remove(leaving)
            return found
        return None

    def _finish(self, running: _Running) -> None:
        """Collect what is left of a job: its exit status, its reading, and the rest of its process group.

        Where its GPU is not there any more, or its process hangs in the driver, no job starts after it; what it had
        said of its end by then still counts.
        """
        process, slot, meter = running.child.process, running.slot, running.meter
        process.join(timeout=5)
        is_gone = running.child.kill()
        is_gone = running.child.reap() and is_gone
        gone = time.monotonic()
        reading = meter.stop()
        running.child.connection.close()
        del self._running[running.key]
        report = classify_exit(
            running.report, running.killed, process.exitcode, running.log, running.epochs, slot.on_gpu
        )
        if (why := _loss(running, report, is_gone)) is not None:
            number = running.key.number
            self._broken = DeviceError(f"{slot.device.name}, in trial {number}: {why}; the same command goes on.")
            if running.report is None or running.report.outcome is not Outcome.COMPLETED:
                return
        if slot.on_gpu:
            report = replace(report, pool_bytes=report.pool_bytes or symptoms.pool_bytes(running.log))
        report = _with_note(report, meter.message)
        end = TrialEnded(running.key, report, reading, meter.series, gone - running.started)
        baseline = None if self._on(slot) else running.baseline
        probe = self._probes.get(slot, NoProbe())
        returned = partial(has_returned, probe, slot.device, meter.pids, baseline, reading.peak_bytes or 0)
        self._leaving.append(_Leaving(end, slot, returned, gone))


def _loss(running: _Running, report: TrialReport, is_gone: bool) -> str | None:
    """Return how a job has shown that its GPU is of no use any more; None where it has not."""
    if not is_gone:
        pid = running.child.pid
        return f"process {pid} outlives SIGKILL, so it hangs in the driver. Restart the machine"
    why = None
    if running.no_gpu is not None:
        why = running.no_gpu.cause.what
    elif report.outcome in (Outcome.CRASHED, Outcome.OOM):
        if running.meter.lost:
            why = running.meter.lost.rstrip(".")
        elif is_lost(running.slot.device):
            why = "it fell off the bus, or needs a reset"
    if why is None:
        return None
    return (
        f"the framework cannot use the GPU any more, {why}. No trial trains on the CPU instead. See what "
        "`nvidia-smi` and `harness doctor` say"
    )


def _with_note(report: TrialReport, note: str) -> TrialReport:
    return replace(report, message="; ".join(filter(None, (report.message, note))))
