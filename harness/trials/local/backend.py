"""Jobs in children of this machine's fork server: watched, and ended when they must be."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from harness.errors import BuildError, HarnessError
from harness.features.input_spec import InputSpec
from harness.models import Config
from harness.records.trial import Outcome
from harness.trials.backend import BackendEvent, TrialBackend, TrialEnded
from harness.trials.job import JobKey, TrialSpec
from harness.trials.local.child import ChildJob, run_job
from harness.trials.local.fork_server import ForkServer
from harness.trials.local.running import LeavingJob, RunningJob
from harness.trials.model_probes import estimate_footprints
from harness.vram.device import memory_used
from harness.vram.footprint import Footprint
from harness.vram.probes import NoProbe, Probe
from harness.vram.slots import CPU_SLOT, DeviceSlot

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


class LocalBackend(TrialBackend):
    """The back end of one machine; `harness.trials.backend` has its promises."""

    def __init__(self, server: ForkServer, files: JobFiles) -> None:
        self.server, self.files = server, files
        self._probes: dict[DeviceSlot, Probe] = {}
        self._running: dict[JobKey, RunningJob] = {}
        self._leaving: list[LeavingJob] = []
        self._broken: HarnessError | None = None

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
        answer: list[Footprint] = self.server.call(
            estimate_footprints, family, input_spec, plain, genres, failure=BuildError
        )
        return answer

    def memory_in_use(self) -> dict[JobKey, int | None]:
        return {key: running.meter.reading.peak_bytes for key, running in self._running.items()}

    def start(self, spec: TrialSpec, slot: DeviceSlot) -> None:
        if self._broken is not None:
            raise self._broken
        self.server.check()
        log = self.files.log(spec.key)
        model = self.files.model(spec.key) if spec.keep_model else None
        is_free = not self._shares(slot) and not any(leaving.slot == slot for leaving in self._leaving)
        baseline = memory_used(slot.device) if is_free else None
        child = self.server.fork(run_job, ChildJob(spec, slot.device, self.files.store, model, log))
        running = RunningJob(spec, slot, self._probes.get(slot, NoProbe()), child, log, baseline)
        self._running[spec.key] = running
        running.meter.start()

    def events(self) -> Iterator[BackendEvent]:
        while self._running or self._leaving or self._broken is not None:
            end = self._settled()
            if end is None and self._broken is not None:
                raise self._broken
            if end is not None:
                yield end
                return
            for running in self._ready():
                event = running.receive()
                if event is None and running.has_ended:
                    self._finish(running)
                    event = self._settled()
                if event is not None:
                    yield event
                    return
            for running in self._running.values():
                running.check_limits()

    def reply(self, key: JobKey, proceed: bool) -> None:
        running = self._running.get(key)
        # A child that has just died is noticed by its sentinel.
        with suppress(BrokenPipeError):
            if running is not None:
                running.child.connection.send(proceed)

    def close(self) -> None:
        for running in list(self._running.values()):
            running.kill(Outcome.INTERRUPTED, "the run was interrupted")
            self._finish(running)
        self._leaving.clear()
        self._broken = None

    def _shares(self, slot: DeviceSlot) -> bool:
        return any(running.slot == slot for running in self._running.values())

    def _ready(self) -> list[RunningJob]:
        """Wait for messages and ends of children, and return the jobs that have some, in the order of their keys."""
        waiting: dict[Connection | int, RunningJob] = {}
        for running in self._running.values():
            waiting[running.child.process.sentinel] = running
            if not running.lost:
                waiting[running.child.connection] = running
        deadline = min((running.deadline for running in self._running.values()), default=float("inf"))
        on_gpu = any(running.slot.on_gpu for running in self._running.values())
        longest = _POLL_SECONDS if self._leaving else _LOST_SECONDS if on_gpu else 3600.0
        ready: list[Any] = wait(list(waiting), timeout=max(0.0, min(deadline - time.monotonic(), longest)))
        return [self._running[key] for key in sorted({waiting[item].key for item in ready}, key=_in_order)]

    def _settled(self) -> TrialEnded | None:
        """Return the end of a job whose memory is free again, or was waited for long enough."""
        for leaving in self._leaving:
            end = leaving.settled(give_up=self._broken is not None)
            if end is not None:
                self._leaving.remove(leaving)
                return end
        return None

    def _finish(self, running: RunningJob) -> None:
        """Let a job leave.

        Where its GPU is not there any more, its process hangs in the driver, or the machine fails it in another way, no
        job starts after it; what it had said of its end by then still counts.
        """
        end, loss = running.finish()
        del self._running[running.key]
        if loss is not None:
            self._broken = loss
            if running.report is None or running.report.outcome is not Outcome.COMPLETED:
                return
        self._leaving.append(LeavingJob.of(running, end, shared=self._shares(running.slot)))


def _in_order(key: JobKey) -> tuple[int, str]:
    return key.number, repr(key)
