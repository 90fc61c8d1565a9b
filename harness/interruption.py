"""SIGTERM and SIGHUP end a command as Ctrl-C does: what is open is closed, and the same command goes on later."""

from __future__ import annotations

import errno
import signal
import termios
from types import FrameType

from harness.processes import redirect


class Interrupted(KeyboardInterrupt):
    """A signal asks this process to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def exit_status(interrupt: KeyboardInterrupt) -> int:
    """Return the exit status, by a shell's rule, of a program that a signal ended; Ctrl-C is SIGINT."""
    return 128 + (interrupt.number if isinstance(interrupt, Interrupted) else signal.SIGINT)


def interrupt_on_signals() -> None:
    """Raise `Interrupted` in the main thread on SIGTERM and SIGHUP; for a program, not for a library.

    A signal that whoever started this process has ignored stays so, as SIGHUP under `nohup`. Programs that this one
    starts have the usual handlers.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    # A closed terminal sends SIGHUP twice, and nothing more is needed to end. Not SIG_IGN: children would inherit it.
    for each in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(each) is _interrupt:
            signal.signal(each, _no_more)
    for descriptor in (1, 2):
        if _is_gone(descriptor):
            redirect(descriptor)
    raise Interrupted(number)


def _no_more(number: int, frame: FrameType | None) -> None:
    """Let the process end as it does already."""


def _is_gone(descriptor: int) -> bool:
    """Whether a terminal was closed; to write to it would fail, and keep the program from closing what is open."""
    try:
        termios.tcgetattr(descriptor)
    except termios.error as error:
        return bool(error.args[0] == errno.EIO)
    return False
