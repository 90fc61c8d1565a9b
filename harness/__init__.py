"""A resource-aware AutoML benchmark harness for music genre classifiers.

`from harness import run, load_results`; see `harness.api`. Importing this package loads no framework: what its names
stand for is imported when they are asked for.
"""

from __future__ import annotations

from harness.python_path import leave_current_folder

leave_current_folder()  # before anything else is imported

from harness.caches import use_writable_caches  # noqa: E402

use_writable_caches()

from importlib import import_module  # noqa: E402
from typing import TYPE_CHECKING, Any  # noqa: E402

if TYPE_CHECKING:
    from harness.api import Results, load_results, run

__all__ = ["Results", "load_results", "run"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("harness.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
