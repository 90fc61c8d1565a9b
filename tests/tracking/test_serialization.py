"""Records and predictions as bytes: the same on the way back, and named where they are not what they should be."""

from __future__ import annotations

import json
from io import BytesIO

import numpy as np
import pytest

from harness.errors import WorkspaceError
from harness.records.base import FORMAT
from harness.records.study import ReferenceRecord
from harness.records.trial import TrialRecord
from harness.tracking.serialization import (
    dump_importance,
    dump_predictions,
    dump_record,
    dump_references,
    parse_predictions,
    parse_record,
)
from tests.helpers.ledger import PREDICTIONS, STUDY, completed

REFERENCE = ReferenceRecord(name="largest genre", partition="valid", tracks=4, accuracy=0.5, macro_f1=1 / 3)


@pytest.mark.parametrize(
    "content",
    [dump_record(STUDY), dump_record(completed(0)), dump_references([REFERENCE]), dump_importance({"rate": 1.0})],
    ids=["study", "trial", "references", "importance"],
)
def test_every_json_file_begins_with_its_format(content: bytes) -> None:
    assert next(iter(json.loads(content).items())) == ("format", FORMAT)
    assert content.endswith(b"}\n")


def test_a_record_is_read_back_equal() -> None:
    assert parse_record(TrialRecord, dump_record(completed(3)), "here") == completed(3)


@pytest.mark.parametrize("content", [b"[]", b"3", b"{}"])
def test_what_has_no_format_is_of_the_time_before(content: bytes) -> None:
    with pytest.raises(WorkspaceError, match=r"^here: written in format 0 \(before formats were numbered\), and this"):
        parse_record(TrialRecord, content, "here")


def test_predictions_carry_their_format_and_equal_ones_are_equal_bytes() -> None:
    content = dump_predictions(PREDICTIONS)
    assert dump_predictions(parse_predictions(content, "here")) == content
    with np.load(BytesIO(content)) as arrays:
        assert arrays["format"] == FORMAT


@pytest.mark.parametrize(("found", "written"), [(7, "format 7,"), (None, "format 0 ")])
def test_predictions_of_another_format_are_not_read(found: int | None, written: str) -> None:
    with np.load(BytesIO(dump_predictions(PREDICTIONS))) as arrays:
        other = {name: arrays[name] for name in arrays if name != "format"}
    buffer = BytesIO()
    np.savez(buffer, **other, **({} if found is None else {"format": np.array(found)}))
    with pytest.raises(WorkspaceError, match=f"^here: written in {written}"):
        parse_predictions(buffer.getvalue(), "here")
