"""Every error that a user can meet, as one tree.

HarnessError
├── UsageError          the command line or a configuration file asks for something impossible
│   └── FamilyError     no such family, or one that cannot be loaded
├── BuildError          a model cannot be built from a configuration
├── DataError           the data set cannot serve: unreadable files, too few genres, a broken table
│   └── ProtocolError   the protocol cannot split this data set
├── ModelError          a trained model cannot be read
├── WorkspaceError      the workspace is unusable, or another run owns it
├── DeviceError         the device asked for is not there or cannot be measured
│   └── UnusableGpuError  the driver shows a GPU on which the framework cannot compute
└── TrackingError       the tracking server or its store refuses to work

A message has three parts: what is wrong, where, what to do. `str(error)` is what the user reads; the
command line prints it without a traceback and exits with `exit_code`.
"""

from __future__ import annotations

from collections.abc import Iterable

_LISTED = 20


class HarnessError(Exception):
    """Base of all errors that are the user's to mend; prints without a traceback."""

    exit_code = 2


class UsageError(HarnessError):
    """The command line or a configuration file asks for something impossible."""


class FamilyError(UsageError):
    """A family is unknown, or its entry point cannot be loaded."""


class BuildError(HarnessError):
    """A model cannot be built, for a reason that lies in its configuration or its family, not in the machine."""


class DataError(HarnessError):
    """The data set cannot be used as it is."""


class ProtocolError(DataError):
    """The protocol cannot split this data set."""


class ModelError(HarnessError):
    """A trained model cannot be read: its files are not there, damaged, or of another version."""


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


def first_line(error: BaseException) -> str:
    """Return the first line of what `error` says, or its class where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def listed(lines: Iterable[str]) -> str:
    """Return lines for a message, indented: the first twenty of them and a count of the others."""
    lines = list(lines)
    more = [f"and {len(lines) - _LISTED} more"] if len(lines) > _LISTED else []
    return "\n".join(f"  {line}" for line in [*lines[:_LISTED], *more])
