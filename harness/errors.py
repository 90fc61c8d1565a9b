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

import re
from collections.abc import Iterable, Sequence

from harness.passwords import without_passwords
from harness.paths import printable

_LISTED = 20
_IN_A_SENTENCE = 3


class HarnessError(Exception):
    """Base of all errors that are the user's to mend; prints without a traceback, and without passwords."""

    exit_code = 2

    def __str__(self) -> str:
        return without_passwords(super().__str__())


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


def combined(errors: Sequence[DataError]) -> DataError:
    """Return several errors as one, which says all that they say, in their order; a single one as it is."""
    return errors[0] if len(errors) == 1 else DataError("\n".join(str(error) for error in errors))


def one_line(error: BaseException) -> str:
    """Return all that `error` says in one line: of what it lists the first three, and a count of the others."""
    text = ""
    items: list[str] = []
    for line in [*str(error).splitlines(), ""]:
        if line.startswith("  "):
            items.append(line.strip())
            continue
        if items:
            more = re.fullmatch(r"and (\d+) more", items[-1])
            rest = len(items) - _IN_A_SENTENCE + (int(more[1]) - 1 if more else 0)
            text += " " + ", ".join(items[:_IN_A_SENTENCE]) + (f" and {rest} more" if rest > 0 else "") + "."
            items = []
        text += f" {line.strip()}"
    return text.strip()


def listed(lines: Iterable[str]) -> str:
    """Return lines for a message, indented: the first twenty of them and a count of the others."""
    lines = list(lines)
    more = [f"and {len(lines) - _LISTED} more"] if len(lines) > _LISTED else []
    return "\n".join(f"  {printable(line)}" for line in [*lines[:_LISTED], *more])
