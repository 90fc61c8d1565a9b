"""What a path that a user names is, without an error for one that cannot be looked at; and how a terminal shows it."""

from __future__ import annotations

import errno
import os
import re
import stat
from pathlib import Path
from typing import Literal, NamedTuple

_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""Characters that move the cursor, end a line, or turn its direction."""


class PathState(NamedTuple):
    """What a path is now.

    Attributes:
        kind: links are followed; `unreadable` is what may be there and cannot be looked at, as in a locked folder.
        why: what the system says, where nothing is seen there.
    """

    kind: Literal["missing", "file", "folder", "other", "unreadable"]
    why: str = ""

    @property
    def exists(self) -> bool:
        return self.kind in ("file", "folder", "other")

    def said(self, missing: str) -> str:
        """Return what to tell a user of a path at which nothing is seen: `missing` where there really is nothing."""
        return missing if self.kind != "unreadable" else f"cannot be read ({self.why})"


def path_state(path: Path) -> PathState:
    """Return what a path is. `Path.is_file` and its like raise where a folder is locked or a name is too long."""
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        return PathState("missing" if error.errno in _ABSENT else "unreadable", error.strerror or str(error))
    except ValueError as error:  # a NUL in it
        return PathState("missing", str(error))
    if stat.S_ISDIR(mode):
        return PathState("folder")
    return PathState("file" if stat.S_ISREG(mode) else "other")


def storable(name: str) -> str:
    """Return a file's name without the bytes that are no text, which no record can hold."""
    return name.encode("utf-8", "replace").decode()


def printable(text: str) -> str:
    r"""Return a text that stays one line of a terminal, whatever names are in it: a line feed becomes `\n`."""
    return _UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
