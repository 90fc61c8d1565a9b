"""Children that train: forked from a warm server, watched, and ended when they must be."""

from __future__ import annotations

import multiprocessing
import multiprocessing.process
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from harness.errors import DeviceError, HarnessError, UnusableGpuError
from harness.features.input_spec import InputView
from harness.keras_backend import LOGGED, environment
from harness.models import Config
from harness.processes import kill_group
from harness.records import EpochRecord, Outcome, Predictions, Reading
from harness.trials import symptoms, worker
from harness.trials.outcome import Kill, judge
from harness.trials.spec import NO_GPU, Ended, EpochEnded, FoldEnded, NoGpu, TrialSpec
from harness.trials.symptoms import Cause
from harness.units import MIB, format_size
from harness.vram.admission import CPU_LANE, Lane
from harness.vram.device import Device, memory_used
from harness.vram.footprint import Footprint
from harness.vram.meter import Meter
from harness.vram.probes import SelfTest, has_returned, is_lost

GRACE_SECONDS, GRACE_SHARE = 60.0, 0.5
"""A child ends itself at its time limit; one that is later by this, and this share of the limit, hangs, and is killed.

It may still vote and save after its training, so the grace is wide.
"""

RETURN_SECONDS = 15.0
"""How long a driver may take to give back the memory of a child that is gone."""

ANSWER_SECONDS = 180.0
"""How long a child may take to do its first work on a device: a driver that hangs never answers."""

FORWARD_SECONDS = 600.0
"""How long a child may take for a forward pass, the largest network on a CPU included."""

SELF_TEST_BYTES = 256 * MIB
"""What the self-test's child holds."""

_POLL_SECONDS, _LOST_SECONDS = 0.1, 5.0
"""How often to ask whether memory is free again, and whether a GPU is lost under a trial that says nothing."""

REAP_SECONDS = 15.0
"""How long a process may take to be gone after SIGKILL; one that hangs in a driver stays."""

NO_DEVICE = {"CUDA_VISIBLE_DEVICES": NO_GPU}


@dataclass(frozen=True)
class Epoch:
    """An epoch of trial `number` ended; the child waits for `Pool.reply`."""

    number: int
    record: EpochRecord


@dataclass(frozen=True)
class FoldEnd:
    """A fold of trial `number` ended, not the last one; the child waits for `Pool.reply`."""

    number: int
    predictions: Predictions


@dataclass(frozen=True)
class End:
    """Trial `spec.number` ended; its process group is gone.

    Attributes:
        series: what `reading` is the peak of: seconds since the start, bytes.
        pool_bytes: the most that the framework's allocator had taken; None where it did not tell.
        gone_seconds: from the trial's start until its process group was gone.
        returned_seconds: from there until its memory was free again; None where that was not seen, and where nobody can
            tell.
    """

    spec: TrialSpec
    ended: Ended
    reading: Reading
    series: tuple[tuple[float, int], ...] = ()
    pool_bytes: int | None = None
    gone_seconds: float | None = None
    returned_seconds: float | None = None


Event = Epoch | FoldEnd | End


@dataclass
class _Running:
    spec: TrialSpec
    process: ForkServerProcess
    connection: Connection
    started: float
    lane: Lane
    baseline: int | None
    meter: Meter | None = None
    kill: Kill | None = None
    ended: Ended | None = None
    no_gpu: NoGpu | None = None
    epochs: list[EpochRecord] = field(default_factory=list)
    lost: bool = field(default=False)

    @property
    def deadline(self) -> float:
        limit = self.spec.time_limit_seconds
        if limit is None or self.kill is not None:
            return float("inf")
        return self.started + limit * (1 + GRACE_SHARE) + GRACE_SECONDS


@dataclass
class _Leaving:
    """A trial that has ended, and whose memory the driver has not given back yet.

    Attributes:
        returned: whether it has; None where nobody can tell.
        gone: when its processes were.
    """

    end: End
    lane: Lane
    returned: Callable[[], bool | None]
    gone: float


class Pool:
    """Trials in children of one warm fork server.

    The server imports the framework once, while the caller does something else; a child then starts in
    hundredths of a second.
    """

    def __init__(self) -> None:
        """Start the server, without waiting for its imports."""
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(worker.PRELOAD))
        os.environ.update(environment())
        _start_server()
        self._running: dict[int, _Running] = {}
        self._leaving: list[_Leaving] = []
        self._broken: DeviceError | None = None
        self._checked = False

    def call(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        environment: Mapping[str, str] = NO_DEVICE,
        seconds: float | None = None,
    ) -> Any:
        """Return what `function(*arguments)` answers in a child of its own that sees no device, unless told otherwise.

        Args:
            environment: variables to set in the child.
            seconds: how long to wait for the answer; None for as long as the child lives.

        Raises:
            HarnessError: the function raised, the child died, or it did not answer in time.
        """
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=worker.run_call, args=(function, arguments, dict(environment), theirs), daemon=True
        )
        _start(process)
        theirs.close()
        try:
            if ours.poll(seconds):
                good, answer = ours.recv()
            else:
                good, answer = False, f"no answer within {seconds:.0f} s"
                process.kill()
        except EOFError:
            good, answer = False, "the child process died"
        finally:
            ours.close()
            process.join(REAP_SECONDS)
            if process.is_alive():
                _abandon(process)
        if not good:
            raise HarnessError(f"{function.__name__} failed in a child process: {answer}.")
        return answer

    def reckon(self, family: str, view: InputView, config: Config, genres: int) -> Footprint:
        """Return the footprint of a configuration, reckoned in a child.

        Raises:
            HarnessError: the family's `build` failed.
        """
        return self.reckon_all(family, view, [config], genres)[0]

    def reckon_all(self, family: str, view: InputView, configs: Sequence[Config], genres: int) -> list[Footprint]:
        """Return the footprints of several configurations, reckoned in one child.

        Raises:
            HarnessError: the family's `build` failed.
        """
        answer = self.call(worker.reckon, family, view, [dict(config) for config in configs], genres)
        assert isinstance(answer, list)
        return answer

    def time_forward(
        self, family: str, view: InputView, config: Config, genres: int, crops: int, environment: Mapping[str, str]
    ) -> float:
        """Return the seconds of one forward pass over `crops` crops, measured in a child that sees the device.

        Raises:
            HarnessError: the family's `build` failed.
        """
        arguments = family, view, dict(config), genres, crops
        answer = self.call(worker.time_forward, *arguments, environment=environment, seconds=FORWARD_SECONDS)
        return float(answer)

    @contextmanager
    def self_test(self, device: Device, size: int = SELF_TEST_BYTES) -> Iterator[SelfTest]:
        """Run a child that has trained a small network on the device and holds `size` bytes there, for the block.

        Raises:
            DeviceError: the framework cannot compute on the device, or does not answer; the message says why.
        """
        ours, theirs = self._context.Pipe()
        with TemporaryDirectory() as folder:
            log = Path(folder) / "log"
            arguments = size, device.environment(), log, theirs
            process = self._context.Process(target=worker.run_self_test, args=arguments, daemon=True)
            _start(process)
            theirs.close()
            assert process.pid is not None
            try:
                yield SelfTest(process.pid, size, _answer(ours, device, log))
            finally:
                kill_group(process.pid)
                process.kill()
                process.join(REAP_SECONDS)
                if process.is_alive():
                    _abandon(process)
                ours.close()

    def check(self) -> None:
        """Make sure that the server may fork safely.

        Raises:
            HarnessError: the server runs threads, so a module that it imported started some.
        """
        threads = self.call(worker.server_threads)
        if threads:
            raise HarnessError(
                f"the fork server runs threads ({', '.join(threads)}), so its children could hang. A family's module, "
                "or a package that it imports, starts threads or uses the framework at import: move that into `build`."
            )

    @property
    def held(self) -> dict[int, int]:
        """What each running trial has been seen to hold on its device, in bytes, by number."""
        readings = {number: running.meter.reading for number, running in self._running.items() if running.meter}
        return {number: reading.peak_bytes or 0 for number, reading in readings.items()}

    def start(self, spec: TrialSpec, lane: Lane = CPU_LANE) -> None:
        """Start the trial on `lane`, in a process group of its own.

        Raises:
            DeviceError: a GPU was lost before.
        """
        if self._broken is not None:
            raise self._broken
        if not self._checked:
            self.check()
            self._checked = True
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=worker.run_trial, args=(spec, theirs), daemon=True)
        baseline = None if self._on(lane) or self._leave(lane) else memory_used(lane.device)
        _start(process)
        theirs.close()
        running = _Running(spec, process, ours, time.monotonic(), lane, baseline)
        self._running[spec.number] = running
        assert process.pid is not None

        def over_budget(reading: Reading) -> None:
            held = format_size(reading.peak_bytes or 0)
            message = f"held {held} of GPU memory, over the budget of {format_size(spec.budget_bytes)}; killed"
            self._end(running, Kill(Outcome.OVER_BUDGET, message))

        running.meter = Meter(lane.probe, process.pid, spec.budget_bytes, on_over_budget=over_budget)
        running.meter.start()

    def events(self) -> Iterator[Event]:
        """Wait until something happens to a trial, and yield it; nothing if none is running.

        Raises:
            DeviceError: the GPU is not there any more, or a trial hangs in its driver. What ended before is told first.
        """
        while self._running or self._leaving or self._broken is not None:
            end = self._left()
            if end is None and self._broken is not None:
                raise self._broken
            if end is not None:
                yield end
                return
            waiting: dict[Any, _Running] = {
                running.connection: running for running in self._running.values() if not running.lost
            }
            waiting |= {running.process.sentinel: running for running in self._running.values()}
            deadline = min((running.deadline for running in self._running.values()), default=float("inf"))
            on_gpu = any(running.spec.on_gpu for running in self._running.values())
            longest = _POLL_SECONDS if self._leaving else _LOST_SECONDS if on_gpu else 3600.0
            ready = wait(list(waiting), timeout=max(0.0, min(deadline - time.monotonic(), longest)))
            for number in sorted({waiting[item].spec.number for item in ready}):
                event = self._next(self._running[number])
                if event is not None:
                    yield event
                    return
            for running in self._running.values():
                if time.monotonic() >= running.deadline:
                    message = f"still running long after its limit of {running.spec.time_limit_seconds:.0f} s; killed"
                    self._end(running, Kill(Outcome.TIMEOUT, message))
                elif running.kill is None and running.meter is not None and running.meter.lost:
                    self._end(running, Kill(Outcome.CRASHED, running.meter.lost))

    def reply(self, number: int, go_on: bool) -> None:
        """Answer the epoch that trial `number` waits on."""
        # A child that has just died is noticed by its sentinel.
        with suppress(BrokenPipeError):
            self._running[number].connection.send(go_on)

    def close(self) -> None:
        """Kill every running trial and wait until all of its processes are gone."""
        for running in list(self._running.values()):
            self._end(running, Kill(Outcome.INTERRUPTED, "the run was interrupted"))
            self._finish(running)
        self._leaving.clear()
        self._broken = None

    def _next(self, running: _Running) -> Event | None:
        try:
            while not running.lost and running.connection.poll():
                message = running.connection.recv()
                # Either way the child waits for an answer, holding all of its memory.
                assert running.meter is not None
                running.meter.sample_now()
                if isinstance(message, EpochEnded):
                    running.epochs.append(message.record)
                    return Epoch(running.spec.number, message.record)
                if isinstance(message, FoldEnded):
                    return FoldEnd(running.spec.number, message.predictions)
                if isinstance(message, NoGpu):
                    running.no_gpu = message
                else:
                    running.ended = message
                self.reply(running.spec.number, True)
        except (EOFError, OSError):
            # The child died, perhaps in the middle of a message.
            running.lost = True
        if running.process.is_alive() and not running.lost:
            return None
        self._finish(running)
        return self._left()

    def _left(self) -> End | None:
        """Return the end of a trial whose memory is free again, or was waited for long enough."""
        for leaving in self._leaving:
            waited, returned = time.monotonic() - leaving.gone, leaving.returned()
            if returned is None or self._broken is not None:
                found = leaving.end
            elif returned:
                found = replace(leaving.end, returned_seconds=waited)
            elif waited >= RETURN_SECONDS:
                note = f"its GPU memory was not seen returned within {RETURN_SECONDS:.0f} s"
                found = replace(leaving.end, ended=_with_notes(leaving.end.ended, note))
            else:
                continue
            self._leaving.remove(leaving)
            return found
        return None

    def _finish(self, running: _Running) -> None:
        """Collect what is left of a trial: its exit status, its reading, and the rest of its process group.

        Where its GPU is not there any more, or its process hangs in the driver, no trial starts after it; what it had
        said of its end by then still counts.
        """
        spec, lane = running.spec, running.lane
        running.process.join(timeout=5)
        assert running.process.pid is not None
        is_gone = kill_group(running.process.pid)
        running.process.join(REAP_SECONDS)
        gone = time.monotonic()
        assert running.meter is not None
        meter = running.meter
        reading = meter.stop()
        running.connection.close()
        del self._running[spec.number]
        ended = judge(running.ended, running.kill, running.process.exitcode, spec.log, running.epochs, spec.on_gpu)
        hangs = not is_gone or running.process.exitcode is None
        if hangs:
            _abandon(running.process)
        if (why := self._lost(running, ended, hangs)) is not None:
            self._broken = DeviceError(f"{lane.device.name}, in trial {spec.number}: {why}; the same command goes on.")
            if running.ended is None or running.ended.outcome is not Outcome.COMPLETED:
                return
        pool = (ended.pool_bytes or symptoms.pool_bytes(spec.log)) if spec.on_gpu else None
        ended = _with_notes(ended, meter.message)
        end = End(spec, ended, reading, meter.series, pool, gone - running.started)
        baseline = running.baseline if not self._on(lane) else None
        known = partial(has_returned, lane.probe, lane.device, meter.pids, baseline, reading.peak_bytes or 0)
        self._leaving.append(_Leaving(end, lane, known, gone))

    def _lost(self, running: _Running, ended: Ended, hangs: bool) -> str | None:
        """Return how a trial has shown that its GPU is of no use any more; None where it has not."""
        if hangs:
            pid = running.process.pid
            return f"process {pid} outlives SIGKILL, so it hangs in the driver. Restart the machine"
        why = None
        if running.no_gpu is not None:
            why = running.no_gpu.cause.what
        elif ended.outcome in (Outcome.CRASHED, Outcome.OOM):
            assert running.meter is not None
            if running.meter.lost:
                why = running.meter.lost.rstrip(".")
            elif is_lost(running.lane.device):
                why = "it fell off the bus, or needs a reset"
        if why is None:
            return None
        return (
            f"the framework cannot use the GPU any more, {why}. No trial trains on the CPU instead. See what "
            "`nvidia-smi` and `harness doctor` say"
        )

    def _leave(self, lane: Lane) -> bool:
        return any(leaving.lane is lane for leaving in self._leaving)

    def _on(self, lane: Lane) -> list[_Running]:
        return [running for running in self._running.values() if running.lane is lane]

    def _end(self, running: _Running, kill: Kill) -> None:
        running.kill = kill
        assert running.process.pid is not None
        kill_group(running.process.pid)
        running.process.kill()  # a child that had no time to lead its group yet


def _abandon(process: ForkServerProcess) -> None:
    """Let a process be that does not end: at its exit, Python would wait for it for ever."""
    multiprocessing.process._children.discard(process)  # type: ignore[attr-defined]


def _with_notes(ended: Ended, *notes: str) -> Ended:
    return replace(ended, message="; ".join(note for note in (ended.message, *notes) if note))


def _answer(connection: Connection, device: Device, log: Path) -> int | None:
    """Return what the self-test's child says that its allocator took.

    Raises:
        UnusableGpuError: it says that something went wrong, or nothing.
    """
    name = f"{device.name} ({device.uuid})"
    if not connection.poll(ANSWER_SECONDS):
        raise UnusableGpuError(
            name,
            f"nothing came back within {ANSWER_SECONDS:.0f} s, so the driver hangs, or compiles for a card that the "
            "framework does not know",
            "See what `nvidia-smi` says, and restart the machine",
        )
    try:
        answer = connection.recv()
    except EOFError:
        said = symptoms.tail(log)
        last_line = said.strip().rpartition("\n")[2][:200]
        answer = Cause(
            f"a small network cannot be trained there, the process died ({last_line})", symptoms.remedy(said)
        )
    if isinstance(answer, Cause):
        raise UnusableGpuError(name, *answer)
    return None if answer is None else int(answer)


def _start(process: ForkServerProcess) -> None:
    """Start a child.

    Raises:
        HarnessError: the fork server is gone.
    """
    try:
        process.start()
    except (EOFError, ConnectionError) as error:
        raise HarnessError(
            f"the fork server died ({error}), most likely while it imported the framework. See what this says: "
            f"{sys.executable} -c 'import {worker.PRELOAD[0]}'"
        ) from error


def _start_server() -> None:
    """Start the server with its output thrown away, for frameworks chatter at import; its children have logs.

    Standard output goes too: whoever reads a pipe from this process to its end would wait for the server's imports.
    """
    saved = [os.dup(descriptor) for descriptor in (1, 2)]
    level = {name: os.environ.get(name) for name in LOGGED}
    os.environ.update(LOGGED)
    try:
        with open(os.devnull, "wb") as nowhere:
            for descriptor in (1, 2):
                os.dup2(nowhere.fileno(), descriptor)
        forkserver.ensure_running()
    finally:
        # In this process the framework stays silent.
        for name, value in level.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        for descriptor, copy in zip((1, 2), saved, strict=True):
            os.dup2(copy, descriptor)
            os.close(copy)
