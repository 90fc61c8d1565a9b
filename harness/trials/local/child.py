"""The child process of a job: isolates itself, trains, sends messages, and always ends by itself.

It is forked from a server that has imported the framework and touched no device.
"""

from __future__ import annotations

import errno
import os
import signal
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from harness.errors import WorkspaceError, first_line
from harness.keras_backend import NO_GPU
from harness.processes import die_with_parent, redirect
from harness.records.trial import Outcome
from harness.trials import framework, symptoms
from harness.trials.job import TrialSpec
from harness.trials.report import MachineFailure, Message, NoGpu, TrialReport
from harness.vram.device import Device


@dataclass(frozen=True)
class ChildJob:
    """A job as the local back end hands it to a child: with the places of files, and the device.

    Attributes:
        store: the root folder of the feature store.
        model: where to save the trained model, as `.keras`; None for nowhere.
        log: where the child's standard output and error go.
    """

    spec: TrialSpec
    device: Device
    store: Path
    model: Path | None
    log: Path

    @property
    def on_gpu(self) -> bool:
        """Whether the child is to compute on a GPU."""
        return self.device.uuid is not None


def isolate(environment: dict[str, str], log: Path) -> None:
    """Make this process the leader of a group of its own that does not outlive its parent.

    The fork server outlives the parent, so no signal would come from there.

    Args:
        environment: variables to set before the framework looks at them.
        log: where standard output and error go from here on.
    """
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.environ.update(environment)
    log.parent.mkdir(parents=True, exist_ok=True)
    redirect(1, 2, to=log)
    die_with_parent(group=True)


def run_job(job: ChildJob, connection: Connection) -> None:
    """Train, and send a `Message` after each epoch, after each fold and at the end, each answered with a bool."""

    def ask(message: Message) -> bool:
        connection.send(message)
        return bool(connection.recv())

    try:
        isolate(job.device.environment(), job.log)
    except OSError as error:
        ask(_machine_failure(error, job))
    else:
        ask(_train(job, ask))
    connection.close()


def _train(job: ChildJob, ask: Callable[[Message], bool]) -> TrialReport | NoGpu | MachineFailure:
    from harness.families import family
    from harness.features.store import FeatureStore
    from harness.trials.training.train import train

    training, limits = job.spec.training, job.spec.limits
    try:
        if not job.on_gpu:
            framework.hide_devices()
        framework.prepare(
            training.threads, training.deterministic, training.seed, limits.cap_bytes, job.device.total_bytes
        )
        if job.on_gpu and not framework.computes_on_gpu():
            return NoGpu(framework.why_no_gpu(symptoms.tail(job.log)))
        report = train(training, family(training.family), FeatureStore(job.store), ask, limits.seconds, job.model)
        # All that it took, in the timing of inference too: the meter sees that as well.
        return replace(report, pool_bytes=framework.pool_bytes(job.log)) if job.on_gpu else report
    except MemoryError:
        return TrialReport(Outcome.HOST_OOM, "the machine's own memory ran out")
    except Exception as error:
        with suppress(OSError):  # the log may lie on a full disk
            traceback.print_exc()
        if isinstance(error, OSError | WorkspaceError) and not isinstance(error, ConnectionError):
            return _machine_failure(error, job)
        if not symptoms.is_out_of_memory(f"{type(error).__name__} {error}", job.on_gpu):
            return TrialReport(Outcome.CRASHED, f"{type(error).__name__}: {first_line(error)}; its log is {job.log}")
        if not job.on_gpu:
            return TrialReport(Outcome.HOST_OOM, f"the machine's own memory ran out: {first_line(error)}")
        peak = framework.allocator_peak()
        return TrialReport(Outcome.OOM, f"out of device memory: {first_line(error)}", allocator_peak_bytes=peak)


def _machine_failure(error: OSError | WorkspaceError, job: ChildJob) -> TrialReport | MachineFailure:
    """Return what an error tells that no configuration is to blame for, but the machine or the workspace."""
    if isinstance(error, WorkspaceError):
        return MachineFailure(str(error))
    if error.errno == errno.ENOMEM:
        return TrialReport(Outcome.HOST_OOM, f"the machine's own memory ran out: {first_line(error)}")
    why = f"{type(error).__name__}: {first_line(error)}; its log is {job.log}"
    return MachineFailure(f"{why}. Mend that, as by freeing some space; the same command goes on.")


@dataclass(frozen=True)
class CallFailure:
    """A function that was called in a child raised an error.

    Attributes:
        of_machine: whether the machine is to blame, not what the function was called with.
    """

    message: str
    of_machine: bool


def run_call(
    function: Callable[..., Any], arguments: tuple[Any, ...], environment: dict[str, str], connection: Connection
) -> None:
    """Send (True, the answer of `function(*arguments)`), or (False, the `CallFailure`)."""
    isolate(environment, Path(os.devnull))
    try:
        if environment.get("CUDA_VISIBLE_DEVICES") == NO_GPU:
            framework.hide_devices()
        else:
            framework.forget_fractions()
        connection.send((True, function(*arguments)))
    except Exception as error:
        of_machine = isinstance(error, OSError | MemoryError)
        connection.send((False, CallFailure(f"{type(error).__name__}: {error}", of_machine)))
    connection.close()


def server_threads() -> list[str]:
    """Return the names of the fork server's threads besides its first: a fork beside them could hang the child.

    The background thread of jemalloc, which an imported library brings, is left out: jemalloc is made to be forked.
    """
    tasks = Path(f"/proc/{os.getppid()}/task")
    names = {task.name: (task / "comm").read_text().strip() for task in tasks.glob("*")}
    return sorted(name for task, name in names.items() if task != tasks.parent.name and name != "jemalloc_bg_thd")


def server_maps(library: str) -> bool:
    """Whether the fork server has loaded a library: with the driver's in it, its children could not use a GPU."""
    return library in Path(f"/proc/{os.getppid()}/maps").read_text()
