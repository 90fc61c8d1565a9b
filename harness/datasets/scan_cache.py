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
from functools import cache
from pathlib import Path
from typing import NamedTuple

SCANNED_TRACKS = "tracks.db"
"""The file in a cache's folder."""

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
        self._before: dict[Path, str] = {}

    def known(self, paths: Iterable[Path]) -> dict[Path, Examined]:
        """Return what is known of those files among `paths` that did not change since."""
        # Before any of them is read: what changes while others are read must not be remembered as it was.
        self._before = {path: state for path in paths if (state := _state(path)) is not None}
        found: dict[Path, Examined] = {}
        with suppress(sqlite3.Error, OSError):
            if not self._file.exists():
                return found
            with self._opened() as connection:
                names = list(self._before)
                for at in range(0, len(names), _AT_ONCE):
                    some = {os.fsencode(path): path for path in names[at : at + _AT_ONCE]}
                    marks = ",".join("?" * len(some))
                    rows = connection.execute(
                        f"SELECT path, state, digest, seconds, print FROM files WHERE path IN ({marks})", list(some)
                    )
                    for name, state, digest, seconds, made in rows:
                        if state == self._before[some[name]]:
                            found[some[name]] = Examined(digest, seconds, made)
        return found

    def remember(self, examined: Mapping[Path, Examined]) -> None:
        """Remember what was found in files after `known` was asked of them."""
        with suppress(sqlite3.Error, OSError):
            rows = [
                (os.fsencode(path), state, *held)
                for path, held in examined.items()
                if (state := self._before.get(path)) is not None and state == _state(path) and not _is_fresh(path)
            ]
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._opened() as connection:
                connection.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?)", rows)

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._file, timeout=_WAIT_SECONDS)) as connection, connection:
            columns = "path BLOB PRIMARY KEY, state TEXT, digest TEXT, seconds REAL, print BLOB"
            connection.execute(f"CREATE TABLE IF NOT EXISTS files ({columns})")
            yield connection


@cache
def _libraries() -> str:
    """Return the version of what decodes, which may give other samples of the same file."""
    import soundfile

    return str(soundfile.__libsndfile_version__)


def _state(path: Path) -> str | None:
    """Return what is another once a file is; None for a file that is not there."""
    try:
        seen = path.stat()
    except (OSError, ValueError):
        return None
    return f"{_VERSION}/{_libraries()}/{seen.st_size}/{seen.st_mtime_ns}/{seen.st_ctime_ns}/{seen.st_ino}"


def _is_fresh(path: Path) -> bool:
    """Whether a file may change once more without a trace."""
    seen = path.stat()
    return time.time() - max(seen.st_mtime, seen.st_ctime) < _GRAIN_SECONDS
