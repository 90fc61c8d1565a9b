"""Paths and addresses of stores: as users write them, as libraries read them, and as settings keep them."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, unquote

from pydantic import PlainSerializer

from harness.errors import UsageError
from harness.passwords import shown_address

Address = Annotated[str, PlainSerializer(shown_address)]
"""Where a store is, as a setting: in what is made of settings to be kept, it shows no password."""

_SQLITE = re.compile(r"sqlite(?:\+\w+)?:///(?P<file>[^?]*)")
_MEANT_OTHERWISE = re.compile(r"[%?#{}]")
_TRACKING_SCHEMES = ("http", "https", "sqlite", "mysql", "postgresql", "mssql", "databricks", "databricks-uc")


def without_tilde(value: Any) -> Any:
    """Return a path, a text, or several of them, with a home folder where one begins with a tilde.

    Shells do that only where the tilde begins a word: not in `--data=~/music`, a settings file, or Python. Of an
    address, that is the file of `sqlite:///~/FILE`. Anything else is returned as it is.
    """
    if isinstance(value, list | tuple):
        return type(value)(map(without_tilde, value))
    if isinstance(value, Path):
        return Path(os.path.expanduser(value))
    if isinstance(value, str) and (found := _SQLITE.match(value)) and found["file"].startswith("~"):
        user, slash, rest = found["file"].partition("/")
        return f"{value[: found.start('file')]}{quote(os.path.expanduser(user))}{slash}{rest}{value[found.end() :]}"
    return os.path.expanduser(value) if isinstance(value, str) else value


def sqlite_url(file: Path) -> str:
    """Return the address of an SQLite database, whatever letters are in the path of its file."""
    path = str(file)
    quoted = _MEANT_OTHERWISE.sub(lambda found: quote(found[0]), path)
    # MLflow makes the parent folder of what follows `sqlite:///`, taken by the letter: beside the one that is meant.
    # With the driver's name, which SQLAlchemy takes anyway, it leaves folders alone.
    return f"sqlite:///{path}" if quoted == path else f"sqlite+pysqlite:///{quoted}"


def sqlite_file(url: str) -> Path | None:
    """Return the file of an SQLite database, or None where an address names no file."""
    found = _SQLITE.match(url)
    path = unquote(found["file"]) if found else ""
    return Path(path) if path not in ("", ":memory:") else None


def check_tracking_uri(uri: str) -> str:
    """Return the address of an MLflow server or store.

    Raises:
        UsageError: it is of a form that MLflow cannot use.
    """
    scheme, mark, _ = uri.partition("://")
    shown = shown_address(uri)
    advice = "Name a server as http://HOST:PORT, or a database as sqlite:////FOLDER/mlflow.db."
    if uri.startswith("databricks"):
        return uri
    if not mark and re.match(r"[\w.-]+:\d+(/|$)|localhost(/|$)|\[[\da-fA-F:]+\]", uri):
        raise UsageError(f"{shown}: http:// is missing. Write http://{shown}, or https:// where the server has it.")
    if not mark or scheme == "file":
        raise UsageError(f"{shown}: neither a server nor a database; MLflow keeps no runs in folders. {advice}")
    from importlib.metadata import entry_points

    known = {*_TRACKING_SCHEMES, *(each.name for each in entry_points(group="mlflow.tracking_store"))}
    if scheme.partition("+")[0] not in known:
        raise UsageError(f"{shown}: MLflow knows no address that begins with {scheme}://. {advice}")
    return uri
