"""Every error that a user can meet, as one tree.

HarnessError
├── UsageError          the command line or a configuration file asks for something impossible
│   └── FamilyError     no such family, or one that cannot be loaded
├── DataError           the data set cannot serve: unreadable files, too few genres, a broken table
│   └── ProtocolError   the protocol cannot split this data set
├── WorkspaceError      the workspace is unusable, or another run owns it
├── DeviceError         the device asked for is not there or cannot be measured
│   └── UnusableGpuError  the driver shows a GPU on which the framework cannot compute
└── TrackingError       the tracking server or its store refuses to work

A message has three parts: what is wrong, where, what to do. `str(error)` is what the user reads; the
command line prints it without a traceback and exits with `exit_code`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_LISTED = 20
_PASSWORDS = (
    # As far as the last @ of the word: a password may hold one, though it should not.
    (re.compile(r"(://[^\s:/@?]*):[^\s]*@"), r"\1:***@"),
    (re.compile(r"([?&](?:password|passwd|pwd|token|secret)=)[^&\s]+", re.IGNORECASE), r"\1***"),
)


class HarnessError(Exception):
    """Base of all errors that are the user's to mend; prints without a traceback, and without passwords."""

    exit_code = 2

    def __str__(self) -> str:
        return without_passwords(super().__str__())


class UsageError(HarnessError):
    """The command line or a configuration file asks for something impossible."""


class FamilyError(UsageError):
    """A family is unknown, or its entry point cannot be loaded."""


class DataError(HarnessError):
    """The data set cannot be used as it is."""


class ProtocolError(DataError):
    """The protocol cannot split this data set."""


class WorkspaceError(HarnessError):
    """The workspace is unusable, or another run owns it."""


class DeviceError(HarnessError):
    """The device that was asked for is not there, or cannot be measured."""


class UnusableGpuError(DeviceError):
    """The driver shows a GPU on which the framework cannot compute.

    Attributes:
        what: why not, without a full stop.
        advice: what to do about it, likewise.
    """

    def __init__(self, name: str, what: str, advice: str) -> None:
        super().__init__(name, what, advice)
        self.name, self.what, self.advice = name, what, advice

    def __str__(self) -> str:
        return f"{self.name}: {self.what}. {self.advice}."


class TrackingError(HarnessError):
    """The tracking server, or its store, cannot be used."""


def without_passwords(text: str) -> str:
    """Return a text with `***` for every password in the addresses that it names."""
    for password, shown in _PASSWORDS:
        text = password.sub(shown, text)
    return text


def first_line(error: BaseException) -> str:
    """Return the first line of what `error` says, or its class where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def listed(lines: Iterable[str]) -> str:
    """Return lines for a message, indented: the first twenty of them and a count of the others."""
    lines = list(lines)
    more = [f"and {len(lines) - _LISTED} more"] if len(lines) > _LISTED else []
    return "\n".join(f"  {line}" for line in [*lines[:_LISTED], *more])
