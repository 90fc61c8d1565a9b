"""Optuna's storage, opened by its address."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest

from harness.errors import UsageError
from harness.search.storage import open_storage


def test_a_file_is_made_where_there_is_none(tmp_path: Path) -> None:
    storage = open_storage(f"sqlite:///{tmp_path / 'optuna.db'}")
    assert optuna.get_all_study_names(storage) == []


@pytest.mark.parametrize("url", ["sqlite:////nowhere/at/all.db", "no address"])
def test_what_cannot_be_opened_is_named(url: str) -> None:
    with pytest.raises(UsageError, match=rf"--storage {url}: cannot be opened \(.+\)\. Give a database address"):
        open_storage(url)
