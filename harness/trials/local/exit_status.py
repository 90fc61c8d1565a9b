"""How the exit of a child becomes the end of its trial."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.records.trial import EpochRecord, Outcome
from harness.trials import symptoms
from harness.trials.report import TrialReport

# How a process dies in a library that gets no memory, and does not say so by an error.
_OWN_FAULT = (-signal.SIGABRT, -signal.SIGSEGV)


@dataclass(frozen=True)
class KillReason:
    """Why the parent ended a child."""

    outcome: Outcome
    message: str


def classify_exit(
    report: TrialReport | None,
    killed: KillReason | None,
    exit_code: int | None,
    log: Path,
    epochs: Sequence[EpochRecord] = (),
    on_gpu: bool = False,
) -> TrialReport:
    """Return the end of a trial.

    What the parent did counts before what the child said: a child that is being killed may still speak.

    Args:
        report: the child's last message, if it sent one.
        killed: why the parent ended the child, if it did.
        exit_code: of the child; negative for a signal.
        log: where the child's output is, for the message.
        epochs: what the child reported on its way.
        on_gpu: whether the child computed on a GPU, whose libraries abort the process where memory runs out in them.
    """
    if killed is not None:
        return TrialReport(killed.outcome, killed.message, epochs=tuple(epochs))
    if report is not None:
        return report
    outcome, message = Outcome.CRASHED, f"exited with status {exit_code} before it had ended; its log is {log}"
    if exit_code == -signal.SIGKILL:
        # Nobody here sent it; on Linux that is nearly always the kernel's out-of-memory killer.
        outcome = Outcome.HOST_OOM
        message = "killed from outside with SIGKILL, most likely for want of main memory; run fewer jobs"
    elif exit_code in _OWN_FAULT and on_gpu and symptoms.is_out_of_memory(symptoms.tail(log), on_gpu):
        name = signal.Signals(-exit_code).name
        outcome, message = Outcome.OOM, f"out of device memory: died of {name} where it got none; its log is {log}"
    elif exit_code is not None and exit_code < 0:
        message = f"died of {signal.Signals(-exit_code).name}; its log is {log}"
    return TrialReport(outcome, message, epochs=tuple(epochs))
