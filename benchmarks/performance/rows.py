"""All rows of docs/performance.md, in its order."""

from __future__ import annotations

from benchmarks.performance import bookkeeping, child, features, many_trials, memory, prompt, training, voting
from benchmarks.performance.row import Row, Setting


def rows(setting: Setting) -> tuple[Row, ...]:
    """Return all rows."""
    modules = (child, memory, bookkeeping, features, training, voting, many_trials, prompt)
    return tuple(row for module in modules for row in module.rows(setting))
