"""What all records share: the frozen base, the number of their format, and the kinds of values in them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

FORMAT = 2
"""The format of what a ledger, MLflow or a model's folder holds: it stands in every file, and no other is read."""


Value = bool | int | float | str | None


RunLinks = Mapping[tuple[str, int | str | None], str]
"""Web addresses of tracked runs, by study and by what the run stands for: a trial's number, a `FinalRecord.key`, or
None for the study itself."""


def utc_now() -> str:
    """Return the time as records hold it: ISO 8601, in UTC, with microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def format_complaint(found: object) -> str | None:
    """Return what is wrong with something of the format `found`, and what reads it; None if this version does.

    Args:
        found: the number that stands there, or its text; None where none does.
    """
    if str(found) == str(FORMAT):
        return None
    written = "0 (before formats were numbered)" if found is None else found
    return (
        f"written in format {written}, and this version reads format {FORMAT}. Use the version of harness that wrote it"
    )


class RunKind(StrEnum):
    """What a tracked run stands for."""

    STUDY = "study"
    TRIAL = "trial"
    FINAL = "final"


class Record(BaseModel):
    """Base of all records: immutable, and strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")
