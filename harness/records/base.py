"""What all records share: the frozen base, the number of their format, and the kinds of values in them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

FORMAT = 1
"""The format of what a ledger, MLflow or a model's folder holds: it stands in every file, and no other is read."""


Value = bool | int | float | str | None


RunLinks = Mapping[tuple[str, int | str | None], str]
"""Web addresses of tracked runs, by study and by what the run stands for: a trial's number, a `FinalRecord.key`, or
None for the study itself."""


class RunKind(StrEnum):
    """What a tracked run stands for."""

    STUDY = "study"
    TRIAL = "trial"
    FINAL = "final"


class Record(BaseModel):
    """Base of all records: immutable, and strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")
