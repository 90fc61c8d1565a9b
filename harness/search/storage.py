"""Where Optuna keeps its studies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna

from harness.addresses import sqlite_file
from harness.errors import HarnessError, UsageError, WorkspaceError, first_line
from harness.passwords import without_passwords

WAIT_SECONDS = 60.0
"""How long a file that another process has locked is waited for: a backup or a synchronising disk holds it so long."""


def open_storage(url: str, own: Path | None = None) -> optuna.storages.BaseStorage:
    """Open Optuna's storage.

    Args:
        url: a database address such as `sqlite:///FILE`.
        own: the workspace whose own storage it is; None for one that the user named.

    Raises:
        WorkspaceError: the workspace's own cannot be used.
        UsageError: there is no such database, or it cannot be used.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # Only SQLite's driver knows this one.
    waiting = {"connect_args": {"timeout": WAIT_SECONDS}} if url.startswith("sqlite") else {}
    try:
        return optuna.storages.get_storage(optuna.storages.RDBStorage(url, engine_kwargs=waiting))
    except Exception as error:
        raise _unusable(url, own, _reason(error)) from error


def check_storage(url: str) -> None:
    """Make sure that a storage that a user named can be connected to. Makes nothing, neither a file nor tables.

    Raises:
        UsageError: there is no such database, or it does not answer.
    """
    file = sqlite_file(url)
    try:
        import sqlalchemy  # of Optuna

        engine = sqlalchemy.create_engine(url)
        if file is None or file.exists():
            with engine.connect():
                engine.dispose()
        elif not file.parent.is_dir():
            raise FileNotFoundError(f"{file.parent}: no such folder")
    except Exception as error:
        raise _unusable(url, None, _reason(error)) from error


@contextmanager
def searching_in(url: str, own: Path | None = None) -> Iterator[optuna.storages.BaseStorage]:
    """Open Optuna's storage for a search in the block, and say what it means for the search where it fails there.

    Raises:
        WorkspaceError: the workspace's own cannot be used.
        UsageError: there is no such database, or it cannot be used.
        HarnessError: it failed during the search; nothing finished is lost.
    """
    storage = open_storage(url, own)
    try:
        yield storage
    except optuna.exceptions.StorageInternalError as error:
        where, reason = str(sqlite_file(url) or url), _reason(error)
        free = "Free the file" if own is not None or sqlite_file(url) else "See that its server runs"
        text = f"{where}: Optuna's storage failed ({reason}). Nothing finished is lost. {free}; then the same command"
        raise HarnessError(without_passwords(f"{text} goes on.", url)) from error


def _unusable(url: str, own: Path | None, reason: str) -> HarnessError:
    if own is not None:
        return WorkspaceError(
            f"{sqlite_file(url)}: Optuna's storage cannot be opened ({reason}). Free the file; if it is damaged, or "
            "of another Optuna, move it away: the same command makes it again from the results."
        )
    text = f"--storage {url}: cannot be opened ({reason}). Give a database address such as sqlite:///FILE, and check"
    return UsageError(without_passwords(f"{text} that its server runs.", url))


def _reason(error: BaseException) -> str:
    """Return what the database itself said: Optuna's own words name no cause."""
    while isinstance(error, optuna.exceptions.StorageInternalError) and error.__cause__ is not None:
        error = error.__cause__
    return first_line(getattr(error, "orig", error))
