"""A study keeps its promises without a storage, and with every kind that the harness opens."""

from __future__ import annotations

import shutil
from pathlib import Path

import optuna
import pytest

from harness.search.storage import open_storage
from harness.testing.storage_contract import StorageContract
from harness.testing.study_contract import Storages, StudyContract


class TestWithoutStorage(StudyContract):
    @pytest.fixture
    def storages(self) -> Storages:
        return lambda: None


class TestMemory(StorageContract):
    @pytest.fixture
    def storages(self) -> Storages:
        storage = optuna.storages.InMemoryStorage()
        return lambda: storage


class TestSqlite(StorageContract):
    @pytest.fixture(scope="class")
    def empty(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """A database without studies: making its tables takes longer than all the rest."""
        file = tmp_path_factory.mktemp("empty") / "optuna.db"
        open_storage(f"sqlite:///{file}")
        return file

    @pytest.fixture
    def storages(self, empty: Path, tmp_path: Path) -> Storages:
        file = shutil.copyfile(empty, tmp_path / "optuna.db")
        return lambda: open_storage(f"sqlite:///{file}")
