"""Files that are whole or not there: written beside their place, then renamed into it."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MARK = ".tmp"


@contextmanager
def replacing(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """Yield a path to write a whole file to; it takes the place of `path` when the block ends without an error.

    The path lies in the same folder, which is made, and has the same suffix. Two processes may write the same file at
    once: one of them wins.

    Args:
        path: where the file is to be.
        durable: whether it must be there whole after a power cut, too: then file and folder are synced.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.stem}.{uuid.uuid4().hex}{_MARK}{path.suffix}")
    try:
        yield unfinished
        if durable:
            _sync(unfinished)
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    if durable:
        _sync(path.parent)


def write_atomically(path: Path, content: bytes | str, *, durable: bool = False) -> None:
    """Write a file that is whole or not there; text as UTF-8. See `replacing`."""
    with replacing(path, durable=durable) as unfinished:
        unfinished.write_bytes(content.encode() if isinstance(content, str) else content)


def touch(path: Path) -> None:
    """Make an empty file that is there after a power cut, too; its folder must exist."""
    path.touch()
    _sync(path.parent)


def remove(path: Path) -> None:
    """Remove a file, if it is there, so that it stays away after a power cut, too."""
    path.unlink(missing_ok=True)
    if path.parent.exists():
        _sync(path.parent)


def move(path: Path, target: Path) -> None:
    """Move a file or folder to a place that is free, so that it stays there after a power cut, too."""
    target.parent.mkdir(parents=True, exist_ok=True)
    path.rename(target)
    _sync(target.parent)
    _sync(path.parent)


def remove_unfinished(root: Path, older_than_seconds: float) -> None:
    """Remove what killed processes left under `root`; what is younger may be another process's work."""
    for unfinished in root.rglob(f".*{_MARK}*"):
        if unfinished.stat().st_mtime < time.time() - older_than_seconds:
            unfinished.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
