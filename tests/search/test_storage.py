"""Optuna's storage, opened by its address."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import optuna
import pytest

from harness.addresses import sqlite_url
from harness.errors import HarnessError, UsageError
from harness.search.storage import WAIT_SECONDS, check_storage, open_storage, searching_in


def test_a_file_is_made_where_there_is_none(tmp_path: Path) -> None:
    storage = open_storage(f"sqlite:///{tmp_path / 'optuna.db'}")
    assert optuna.get_all_study_names(storage) == []


@pytest.mark.parametrize("url", ["sqlite:////nowhere/at/all.db", "no address"])
def test_what_cannot_be_opened_is_named(url: str) -> None:
    with pytest.raises(UsageError, match=rf"--storage {url}: cannot be opened \(.+\)\. Give a database address"):
        open_storage(url)


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Path]:
    """A storage that another process has locked; it holds one study."""
    file = tmp_path / "optuna.db"
    optuna.create_study(study_name="study", storage=open_storage(sqlite_url(file)))
    with closing(sqlite3.connect(file, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield file


def test_a_locked_file_is_waited_for(tmp_path: Path) -> None:
    file = tmp_path / "optuna.db"
    study = optuna.create_study(storage=open_storage(sqlite_url(file)))
    with closing(sqlite3.connect(file, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN EXCLUSIVE")
        # Longer than the driver's own five seconds would be a slow test: that ours are given is asked below.
        threading.Timer(0.3, other.rollback).start()
        study.set_user_attr("told", True)
    with closing(study._storage._backend.engine.raw_connection()) as connection:
        assert connection.execute("PRAGMA busy_timeout").fetchone() == (1000 * WAIT_SECONDS,)


def test_a_file_that_stays_locked_is_told_of(locked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.search.storage.WAIT_SECONDS", 0.1)
    with pytest.raises(UsageError, match=r"--storage .*optuna.db: cannot be opened \(database is locked\)"):
        open_storage(sqlite_url(locked))


def test_a_search_without_a_storage_opens_none() -> None:
    with searching_in(None) as storage:
        assert storage is None


def test_a_storage_that_fails_during_a_search_says_that_the_same_command_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "optuna.db"
    monkeypatch.setattr("harness.search.storage.WAIT_SECONDS", 0.1)

    def search(other: sqlite3.Connection) -> None:
        with searching_in(sqlite_url(file)) as storage:
            study = optuna.create_study(storage=storage)
            other.execute("BEGIN EXCLUSIVE")
            study.ask()

    with closing(sqlite3.connect(file, isolation_level=None)) as other, pytest.raises(HarnessError) as failed:
        search(other)
    assert str(failed.value) == (
        f"{file}: Optuna's storage failed (database is locked). Nothing finished is lost. Free the file; then the same "
        "command goes on."
    )


@pytest.mark.parametrize("opened", [open_storage, check_storage])
@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("mysql+nosuch://me:geheim@box/studies", "mysql+nosuch://me:***@box/studies"),
        ("mysql+nosuch://me@azure:ge heim@box/studies", "mysql+nosuch://me@azure:***@box/studies"),
        ("mysql+nosuch://box/studies?sslpassword=ge heim", "mysql+nosuch://box/studies?sslpassword=***"),
        ("me:geheim@box/studies", "me:***@box/studies"),
    ],
)
def test_a_password_is_not_shown(opened: Callable[[str], object], url: str, shown: str) -> None:
    with pytest.raises(UsageError) as failed:
        opened(url)
    assert str(failed.value).startswith(f"--storage {shown}: cannot be opened (")
    assert "heim" not in str(failed.value)


def test_what_a_driver_says_of_the_password_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*about: object, **more: object) -> None:
        raise RuntimeError("connection of 'me' with 'ge heim' refused")

    monkeypatch.setattr("optuna.storages.RDBStorage", fail)
    with pytest.raises(UsageError, match=r"\(connection of 'me' with '\*\*\*' refused\)"):
        open_storage("postgresql://me:ge%20heim@box/studies")


def test_to_check_a_storage_makes_nothing(tmp_path: Path) -> None:
    check_storage(f"sqlite:///{tmp_path / 'new.db'}")
    (tmp_path / "empty.db").touch()
    check_storage(f"sqlite:///{tmp_path / 'empty.db'}")
    open_storage(f"sqlite:///{tmp_path / 'old.db'}")
    before = (tmp_path / "old.db").read_bytes()
    check_storage(f"sqlite:///{tmp_path / 'old.db'}")
    assert (tmp_path / "old.db").read_bytes() == before
    assert {path.name: path.stat().st_size for path in tmp_path.iterdir()} == {"empty.db": 0, "old.db": len(before)}
    with pytest.raises(UsageError, match=r"new.db: cannot be opened \(.*/nowhere: no such folder\)"):
        check_storage(f"sqlite:///{tmp_path / 'nowhere' / 'new.db'}")
