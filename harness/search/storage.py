"""A storage of Optuna's that the user named: opened, checked, and spoken for where it fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import optuna

from harness.addresses import sqlite_file
from harness.errors import HarnessError, UsageError, first_line
from harness.passwords import without_passwords

WAIT_SECONDS = 60.0
"""How long a file that another process has locked is waited for: a backup or a synchronising disk holds it so long."""


def open_storage(url: str) -> optuna.storages.BaseStorage:
    """Open a storage of Optuna's.

    Args:
        url: a database address such as `sqlite:///FILE`.

    Raises:
        UsageError: there is no such database, or it cannot be used.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # Only SQLite's driver knows this one.
    waiting = {"connect_args": {"timeout": WAIT_SECONDS}} if url.startswith("sqlite") else {}
    try:
        return optuna.storages.get_storage(optuna.storages.RDBStorage(url, engine_kwargs=waiting))
    except Exception as error:
        raise _unusable(url, _reason(error)) from error


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
        raise _unusable(url, _reason(error)) from error


@contextmanager
def searching_in(url: str | None) -> Iterator[optuna.storages.BaseStorage | None]:
    """Open a storage for a search in the block, if one is named, and say what it means for the search if it fails.

    Raises:
        UsageError: there is no such database, or it cannot be used.
        HarnessError: it failed during the search; nothing finished is lost.
    """
    if url is None:
        yield None
        return
    storage = open_storage(url)
    try:
        yield storage
    except optuna.exceptions.StorageInternalError as error:
        where, reason = str(sqlite_file(url) or url), _reason(error)
        free = "Free the file" if sqlite_file(url) else "See that its server runs"
        text = f"{where}: Optuna's storage failed ({reason}). Nothing finished is lost. {free}; then the same command"
        raise HarnessError(without_passwords(f"{text} goes on.", url)) from error


def _unusable(url: str, reason: str) -> HarnessError:
    text = f"--storage {url}: cannot be opened ({reason}). Give a database address such as sqlite:///FILE, and check"
    return UsageError(without_passwords(f"{text} that its server runs.", url))


def _reason(error: BaseException) -> str:
    """Return what the database itself said: Optuna's own words name no cause."""
    while isinstance(error, optuna.exceptions.StorageInternalError) and error.__cause__ is not None:
        error = error.__cause__
    return first_line(getattr(error, "orig", error))
