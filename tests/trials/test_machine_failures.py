"""A child tells what its configuration is to blame for from what its machine is."""

from __future__ import annotations

import errno
import threading
from multiprocessing import Pipe
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from harness.errors import WorkspaceError
from harness.records.trial import Outcome
from harness.trials import framework
from harness.trials.local import child
from harness.trials.local.child import CallFailure, ChildJob, run_call, run_job
from harness.trials.local.running import RunningJob
from harness.trials.report import MachineFailure, TrialReport
from harness.vram.probes import NoProbe
from harness.vram.slots import CPU_SLOT
from tests.helpers.models import ToneStore, job_of

FULL = OSError(errno.ENOSPC, "No space left on device")


def said(job: ChildJob) -> Any:
    """What a child says of a job, in the end."""
    ours, theirs = Pipe()
    thread = threading.Thread(target=run_job, args=(job, theirs))
    thread.start()
    message = ours.recv()
    ours.send(True)
    thread.join()
    return message


@pytest.fixture
def job(tone_store: ToneStore, tmp_path: Path) -> ChildJob:
    return ChildJob(job_of(*tone_store), CPU_SLOT.device, tone_store[0], None, tmp_path / "log")


def failing(error: Exception) -> Any:
    def fail(*_: object) -> None:
        raise error

    return fail


def test_a_log_that_cannot_be_opened_is_the_machines_fault(job: ChildJob, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "isolate", failing(FULL))
    message = said(job)
    assert isinstance(message, MachineFailure)
    assert message.message.startswith("OSError: [Errno 28] No space left on device; its log is ")
    assert message.message.endswith("the same command goes on.")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (FULL, MachineFailure),
        (WorkspaceError("x.npy: damaged. Run again to have it made anew."), MachineFailure),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), Outcome.HOST_OOM),
        (ValueError("negative dimension"), Outcome.CRASHED),
        (MemoryError(), Outcome.HOST_OOM),
    ],
)
def test_errors_of_a_training_are_told_apart(
    keras: ModuleType, job: ChildJob, monkeypatch: pytest.MonkeyPatch, error: Exception, expected: Any
) -> None:
    monkeypatch.setattr(child, "isolate", lambda *_: None)
    monkeypatch.setattr(framework, "prepare", failing(error))
    message = said(job)
    if isinstance(message, TrialReport):
        assert message.outcome is expected
    else:
        assert isinstance(message, expected)


def test_a_job_whose_machine_fails_it_ends_the_run(job: ChildJob) -> None:
    class Process:
        pid, exitcode = 2**22 + 1, 0

        @staticmethod
        def join(timeout: float) -> None:
            pass

    class Child:
        pid, process = Process.pid, Process
        kill = reap = staticmethod(lambda: True)

    ours, theirs = Pipe()
    running = RunningJob(job.spec, CPU_SLOT, NoProbe(), Child(), job.log, None)  # type: ignore[arg-type]
    Child.connection = ours  # type: ignore[attr-defined]
    running.meter.start()
    theirs.send(MachineFailure("models/3.keras: cannot be written (No space left on device). Free some space."))
    assert running.receive() is None
    _, loss = running.finish()
    assert isinstance(loss, WorkspaceError)
    assert str(loss).startswith("trial 3: models/3.keras: cannot be written")


@pytest.mark.parametrize(("error", "of_machine"), [(FULL, True), (MemoryError(), True), (KeyError("width"), False)])
def test_a_call_says_who_is_to_blame(monkeypatch: pytest.MonkeyPatch, error: Exception, of_machine: bool) -> None:
    monkeypatch.setattr(child, "isolate", lambda *_: None)
    ours, theirs = Pipe()
    run_call(failing(error), (), {"CUDA_VISIBLE_DEVICES": "-1"}, theirs)
    good, failure = ours.recv()
    assert not good
    assert isinstance(failure, CallFailure)
    assert failure.of_machine is of_machine
