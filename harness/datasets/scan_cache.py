"""What was found in audio files is remembered, so that files that did not change are not decoded again.

A file is the same while its path, size, times and inode are: what replaces it changes one of them. What could change
within the clock's grain is not remembered. Losing the cache costs time, so whatever is wrong with it, it is not used.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

_VERSION = 1
"""Rises whenever the same file would be found to hold something else: by decoding, by checks or by the fingerprint."""

_GRAIN_SECONDS = 2.0
"""Two changes within so little time may leave the same times, on the coarsest of file systems."""

_WAIT_SECONDS = 5.0
_AT_ONCE = 500


class Examined(NamedTuple):
    """What a file that can serve holds: the address of its audio, its length, and what it sounds like."""

    digest: str
    seconds: float
    acoustic_fingerprint: bytes | None


class ScanCache:
    """Remembers what files hold, in one SQLite file, for any number of data sets and processes."""

    def __init__(self, file: Path) -> None:
        """Name the file; it is made when there is something to remember."""
        self._file = file

    def known(self, paths: Iterable[Path]) -> dict[Path, Examined]:
        """Return what is known of those files among `paths` that did not change since."""
        states = {path: state for path in paths if (state := _state(path)) is not None}
        found: dict[Path, Examined] = {}
        if not self._file.exists():
            return found
        with suppress(sqlite3.Error, OSError), self._opened() as connection:
            names = list(states)
            for at in range(0, len(names), _AT_ONCE):
                some = {os.fsencode(path): path for path in names[at : at + _AT_ONCE]}
                marks = ",".join("?" * len(some))
                rows = connection.execute(
                    f"SELECT path, state, digest, seconds, print FROM files WHERE path IN ({marks})", list(some)
                )
                for name, state, digest, seconds, made in rows:
                    if state == states[some[name]]:
                        found[some[name]] = Examined(digest, seconds, made)
        return found

    def remember(self, examined: Mapping[Path, Examined]) -> None:
        """Remember what was just found in files."""
        rows = [
            (os.fsencode(path), state, *held)
            for path, held in examined.items()
            if (state := _state(path)) is not None and not _is_fresh(path)
        ]
        with suppress(sqlite3.Error, OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._opened() as connection:
                connection.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?)", rows)

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._file, timeout=_WAIT_SECONDS)) as connection, connection:
            columns = "path BLOB PRIMARY KEY, state TEXT, digest TEXT, seconds REAL, print BLOB"
            connection.execute(f"CREATE TABLE IF NOT EXISTS files ({columns})")
            yield connection


def _state(path: Path) -> str | None:
    """Return what is another once a file is; None for a file that is not there."""
    try:
        seen = path.stat()
    except (OSError, ValueError):
        return None
    return f"{_VERSION}/{seen.st_size}/{seen.st_mtime_ns}/{seen.st_ctime_ns}/{seen.st_ino}"


def _is_fresh(path: Path) -> bool:
    """Whether a file may change once more without a trace."""
    seen = path.stat()
    return time.time() - max(seen.st_mtime, seen.st_ctime) < _GRAIN_SECONDS
