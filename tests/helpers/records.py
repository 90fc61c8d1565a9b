"""Trial and final records from flat fields, so that a test names only what it is about."""

from __future__ import annotations

from typing import Any, TypeVar

from harness.records.base import Record
from harness.records.final import FinalRecord
from harness.records.trial import BatchShape, MemoryRecord, TimingRecord, TrialRecord, ValidationScores

RecordT = TypeVar("RecordT", TrialRecord, FinalRecord)

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


def changed(record: RecordT, **fields: Any) -> RecordT:
    """A copy that differs in some fields, those of its groups named like its own."""
    stored = {name: getattr(record, name) for name in type(record).model_fields}
    for name, kind in GROUPS.items():
        own = {key: fields.pop(key) for key in tuple(fields) if key in kind.model_fields}
        if own:
            before = stored[name]
            stored[name] = kind(
                **(own if before is None else {key: getattr(before, key) for key in kind.model_fields} | own)
            )
    return type(record)(**(stored | fields))
