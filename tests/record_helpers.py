"""Trial and final records from flat fields, so that a test names only what it is about."""

from __future__ import annotations

from typing import Any

from harness.records.base import Record
from harness.records.trial import BatchShape, MemoryRecord, TimingRecord, ValidationScores

GROUPS: dict[str, type[Record]] = {
    "scores": ValidationScores,
    "batch": BatchShape,
    "memory": MemoryRecord,
    "timing": TimingRecord,
}


def grouped(**fields: Any) -> dict[str, Any]:
    """The fields of a record, those of its groups within them."""
    found = dict(fields)
    for name, kind in GROUPS.items():
        own = {key: found.pop(key) for key in tuple(found) if key in kind.model_fields}
        if any(value is not None for value in own.values()):
            found[name] = kind(**own)
    return found
