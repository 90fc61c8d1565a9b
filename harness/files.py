"""Files that are whole or not there: written beside their place, then renamed into it.

Where that fails, as on a full disk, it is an error of ours that names the file and what to do.
"""

from __future__ import annotations

import errno
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from harness.errors import WorkspaceError, first_line

_MARK = ".tmp"

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, None)
"""What the system answers where a disk or a quota is full; NumPy raises an error without a number then."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Let an error of the system within the block say what cannot be written, why, and what to do.

    Raises:
        WorkspaceError: a disk is full, or one may not write there.
    """
    try:
        yield
    except OSError as error:
        advice = "Free some space" if error.errno in _FULL else "Make that place writable, or name another"
        raise WorkspaceError(
            f"{path}: cannot be written ({error.strerror or first_line(error)}). {advice}; the same command goes on, "
            "and what is there is kept."
        ) from error


@contextmanager
def replacing(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """Yield a path to write a whole file to; it takes the place of `path` when the block ends without an error.

    The path lies in the same folder, which is made, and has the same suffix. Two processes may write the same file at
    once: one of them wins.

    Args:
        path: where the file is to be.
        durable: whether it must be there whole after a power cut, too: then file and folder are synced.

    Raises:
        WorkspaceError: it cannot be written.
    """
    unfinished = path.with_name(f".{path.stem}.{uuid.uuid4().hex}{_MARK}{path.suffix}")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield unfinished
            if durable:
                _sync(unfinished)
            unfinished.replace(path)
        except BaseException:
            with suppress(OSError):
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
    with writing(path):
        path.touch()
        _sync(path.parent)


def remove(path: Path) -> None:
    """Remove a file, if it is there, so that it stays away after a power cut, too."""
    with writing(path):
        path.unlink(missing_ok=True)
        if path.parent.exists():
            _sync(path.parent)


def move(path: Path, target: Path) -> None:
    """Move a file or folder to a place that is free, so that it stays there after a power cut, too."""
    with writing(target):
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
