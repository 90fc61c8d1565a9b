"""Addresses of files with odd names, and passwords in messages."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.addresses import sqlite_file, sqlite_url
from harness.errors import DeviceError, TrackingError


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
    assert sqlite_url(Path("/tmp/mein ws/mlflow.db")) == "sqlite:////tmp/mein ws/mlflow.db"


@pytest.mark.parametrize("url", ["http://localhost:5000", "sqlite://", "sqlite:///:memory:", "postgresql://box/db"])
def test_an_address_of_no_file_names_none(url: str) -> None:
    assert sqlite_file(url) is None


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://me:s3cr:t@/x@box/db: away", "postgresql://me:***@box/db: away"),
        ("mysql+pymysql://me:pw@box:3306/db", "mysql+pymysql://me:***@box:3306/db"),
        ("http://box:5000 and mail me@home.org", "http://box:5000 and mail me@home.org"),
        ("postgresql://box/db?user=me&password=pw&x=1", "postgresql://box/db?user=me&password=***&x=1"),
        ("sqlite:////tmp/a;b@c:d/optuna.db", "sqlite:////tmp/a;b@c:d/optuna.db"),
    ],
)
def test_no_error_shows_a_password(text: str, shown: str) -> None:
    assert str(TrackingError(text)) == str(DeviceError(text)) == shown
