"""Addresses of files with odd names."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.addresses import sqlite_file, sqlite_url


@pytest.mark.parametrize(
    "name",
    [
        "mein ws",
        "My%20Music",
        "what?",
        "?mode=memory",
        "c#1 & co",
        "{SCHEMA_VERSION}",
        "Mü音",
        "a;b@c:d",
        "100%",
        "'\"\\n",
    ],
)
def test_the_address_of_a_file_leads_back_to_it(name: str) -> None:
    file = Path("/somewhere") / name / "optuna.db"
    assert sqlite_file(sqlite_url(file)) == file


def test_an_ordinary_address_is_what_it_was() -> None:
    assert sqlite_url(Path("/folder/mein ws/mlflow.db")) == "sqlite:////folder/mein ws/mlflow.db"


@pytest.mark.parametrize("url", ["http://localhost:5000", "sqlite://", "sqlite:///:memory:", "postgresql://box/db"])
def test_an_address_of_no_file_names_none(url: str) -> None:
    assert sqlite_file(url) is None
