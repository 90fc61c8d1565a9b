"""How the end of a child becomes an outcome."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from harness.records import Outcome
from harness.trials.spec import Ended


@dataclass(frozen=True)
class Kill:
    """Why the parent ended a child."""

    outcome: Outcome
    message: str


def judge(ended: Ended | None, kill: Kill | None, exit_code: int | None, log: str) -> Ended:
    """Return the end of a trial.

    What the parent did counts before what the child said: a child that is being killed may still speak.

    Args:
        ended: the child's last message, if it sent one.
        kill: why the parent ended the child, if it did.
        exit_code: of the child; negative for a signal.
        log: where the child's output is, for the message.
    """
    if kill is not None:
        return Ended(kill.outcome, kill.message)
    if ended is not None:
        return ended
    if exit_code == -signal.SIGKILL:
        # Nobody here sent it; on Linux that is nearly always the kernel's out-of-memory killer.
        return Ended(
            Outcome.HOST_OOM, "killed from outside with SIGKILL, most likely for want of main memory; run fewer jobs"
        )
    if exit_code is not None and exit_code < 0:
        return Ended(Outcome.CRASHED, f"died of {signal.Signals(-exit_code).name}; its log is {log}")
    return Ended(Outcome.CRASHED, f"exited with status {exit_code} before it had ended; its log is {log}")
