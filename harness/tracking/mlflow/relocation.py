"""Artifacts of an SQLite store that lie beside its database, wherever both were moved or copied to.

MLflow keeps the absolute address of every artifact. A workspace that was moved would show none, and one that was copied
would write into the one that it was copied from. So the addresses follow the database, whenever it is opened.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

from harness.workspace import Workspace

_FOLDER = "artifacts"
"""Of artifacts, beside the database; see `Workspace.artifacts`."""

_ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
_WAIT_SECONDS = 30.0


def follow_move(database: Path) -> None:
    """Let all addresses of artifacts that lay beside an SQLite store lead to where they lie now.

    Changed are addresses under a folder `artifacts` that an experiment names, if the database is a workspace's own, if
    that folder is gone, or if what runs have in it lies beside the database, too. A database that cannot be written to
    stays as it is.

    Args:
        database: the store's file, which need not be there.
    """
    here = database.resolve().parent / _FOLDER
    if not database.exists() or not (_is_own(database) or here.is_dir()):
        return
    try:
        with closing(sqlite3.connect(database, timeout=_WAIT_SECONDS)) as connection, connection:
            for old in _roots(connection) - {here.as_uri()}:
                if not _is_own(database) and not _lies_in(here, old, connection):
                    continue
                for table, column in _ADDRESSES:
                    connection.execute(
                        f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE {column} = ? OR {column} GLOB ?",
                        (here.as_uri(), len(old) + 1, old, f"{_literally(old)}/*"),
                    )
    except sqlite3.OperationalError:
        # Not set up yet, not ours to write, or of a version without one of the tables: MLflow says what is wrong.
        return


def where_now(artifact_uri: str, database: Path) -> str:
    """Return where artifacts lie that lay beside their database before both moved; any other address as it is.

    What `follow_move` wrote needs none of this; a database that cannot be written to does.
    """
    path = _path(artifact_uri)
    if not artifact_uri.startswith("file:") or path.exists() or _FOLDER not in path.parts:
        return artifact_uri
    # The first of them may be above the workspace; the last is that of one run or model.
    for at, part in enumerate(path.parts[:-1]):
        moved = database.resolve().parent.joinpath(*path.parts[at:])
        if part == _FOLDER and moved.exists():
            return moved.as_uri()
    return artifact_uri


def _roots(connection: sqlite3.Connection) -> set[str]:
    """Return the folders `artifacts` that experiments name as theirs."""
    rows = connection.execute("SELECT DISTINCT artifact_location FROM experiments")
    return {
        address for (address,) in rows if address and address.startswith("file:") and address.endswith(f"/{_FOLDER}")
    }


def _is_own(database: Path) -> bool:
    """Whether a database is a workspace's own store: results lie beside it."""
    place = Workspace(database.resolve().parent)
    return place.mlflow_file == database.resolve() and place.results.is_dir()


def _lies_in(here: Path, old: str, connection: sqlite3.Connection) -> bool:
    """Whether what was in the folder `old` is in `here` now, as far as it can be known."""
    if not _path(old).exists():
        return True
    addresses = connection.execute("SELECT artifact_uri FROM runs WHERE artifact_uri GLOB ?", (f"{_literally(old)}/*",))
    return any((here / _path(address).relative_to(_path(old))).exists() for (address,) in addresses)


def _path(uri: str) -> Path:
    return Path(unquote(urlsplit(uri).path))


def _literally(text: str) -> str:
    """Return a pattern of SQLite's GLOB that only `text` matches."""
    return "".join(f"[{sign}]" if sign in "*?[" else sign for sign in text)
