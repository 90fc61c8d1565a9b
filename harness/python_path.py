"""Where Python looks for modules: what lies in a user's folder takes the place of no installed module in our processes.

Python puts the current folder, or that of a script, before its own library: a user's `random.py` or `keras.py` there
would be executed for the module of that name. This module is imported before all others, and imports next to nothing.
"""

from __future__ import annotations

import os
import sys

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
"""The folder that holds this package, whether it is installed or not."""

LIBRARY = os.path.dirname(os.path.abspath(os.__file__))
"""The folder of Python's own library."""


def safe_path() -> list[str]:
    """Return the search path of this process with what stands before Python's own library at its end.

    What is there can still be imported under names that nobody else has. Folders that `PYTHONPATH` names stay where
    they are, and so does that of this package, of which another version may be installed.
    """
    first = _before_library()
    kept = {_ROOT, *map(os.path.abspath, _asked_for())}
    moved = [entry for entry in first if os.path.abspath(entry) not in kept and not entry.endswith(".zip")]
    return [*(entry for entry in first if entry not in moved), *sys.path[len(first) :], *moved]


def child_variables() -> dict[str, str]:
    """Return the variables by which a Python child, and its own children, start on a path like `safe_path`."""
    folders = _asked_for()
    if _ROOT in map(os.path.abspath, _before_library()) and _ROOT not in map(os.path.abspath, folders):
        folders.append(_ROOT)
    return {"PYTHONSAFEPATH": "1", **({"PYTHONPATH": os.pathsep.join(folders)} if folders else {})}


def leave_current_folder() -> None:
    """Take the current folder from the front of the path, where `python -m` of a module of ours has put it."""
    # So an argument list begins while Python still looks for the module that it is to run.
    if sys.argv[:1] == ["-m"]:
        sys.path[:] = safe_path()


def _before_library() -> list[str]:
    return sys.path[: sys.path.index(LIBRARY)] if LIBRARY in sys.path else []


def _asked_for() -> list[str]:
    """Return the folders of `PYTHONPATH`; an empty name in it, as a leading colon leaves it, is not asked for."""
    return [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]
