"""A study in a ledger, and an MLflow store that has not got it yet."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.tracking.ledger import Ledger


@pytest.fixture
def uri(tmp_path: Path) -> str:
    from tests.helpers.mlflow import new_store  # which imports MLflow

    return new_store(tmp_path)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    from tests.helpers.mlflow import new_ledger

    return new_ledger(tmp_path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "artifacts"
