"""Where libraries keep what can be made anew: in the user's cache, or where one may write if that cannot be.

In a container, on a cluster's node or for a service, there is often no home folder, and what is installed is read-only.
Some libraries then warn, and some do not work at all. They are told by variables, before they are imported; children
inherit these.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path


def user_cache() -> Path:
    """Return the folder in which all programs of a user keep what can be made anew."""
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))


def use_writable_caches() -> None:
    """Send the caches of libraries to a temporary folder where the user's own cannot be written.

    What a user has set stays, but for a cache that cannot be written. Where nothing can be written, nothing changes.
    """
    asked, home = user_cache(), Path(os.path.expanduser("~"))
    is_usable = _is_writable(asked)
    if is_usable and os.access(home, os.W_OK | os.X_OK):
        return
    folder = asked if is_usable else _temporary()
    if folder is None:
        return
    os.environ["XDG_CACHE_HOME"] = str(folder)
    for name, part in {"NUMBA_CACHE_DIR": "numba", "MPLCONFIGDIR": "matplotlib", "KERAS_HOME": "keras"}.items():
        os.environ.setdefault(name, str(folder / part))


def _is_writable(folder: Path) -> bool:
    """Whether one may write into a folder, which is made; without a home there is no name for it."""
    try:
        if folder.is_absolute():
            folder.mkdir(parents=True, exist_ok=True)
        return folder.is_absolute() and os.access(folder, os.W_OK | os.X_OK)
    except OSError:
        return False


def _temporary() -> Path | None:
    """Return a folder that later processes of the same user find again; None where nothing can be written."""
    import tempfile

    try:
        folder = Path(tempfile.gettempdir(), f"harness-{os.getuid()}")
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        # In a folder that everybody writes to, somebody else may have made one of that name.
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022:
            return folder
        return Path(tempfile.mkdtemp(prefix="harness-"))
    except OSError:
        return None
