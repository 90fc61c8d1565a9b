"""Records and predictions as bytes: the same on the way back, and named where they are not what they should be."""

from __future__ import annotations

import gc
import json
from contextlib import suppress
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
    many_records,
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


def test_however_a_file_is_laid_out_it_is_read_alike() -> None:
    content = dump_record(completed(3, loss=float("inf")))
    compact = json.dumps(json.loads(content)).encode()
    assert compact != content
    # Equal, and of the same types: 1 and 1.0 are equal.
    read = [repr(parse_record(TrialRecord, each, "here")) for each in (compact, content)]
    assert read == [repr(completed(3, loss=float("inf")))] * 2


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b'"best_epoch": ', b'"best_epoch" ', "here: not a result that this version can read (expected"),
        (b'"best_epoch"', b'"worst_epoch"', "(worst_epoch: Extra inputs are not permitted)"),
        (b'"loss"', b'"lost"', "(epochs.0.loss: Field required)"),
        (b'"loss"', b'"more": 2, "loss"', "(epochs.0.more: Unexpected keyword argument)"),
        (b'"number": 3', b'"number": 0.5', "(number: Input should be a valid integer, got a number with a fractional"),
        (b'"format": ', b'"format": 7', f"here: written in format 7{FORMAT}, and this version reads"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(old: bytes, new: bytes, reason: str) -> None:
    content = dump_record(completed(3))
    assert old in content
    with pytest.raises(WorkspaceError) as error:
        parse_record(TrialRecord, content.replace(old, new, 1), "here")
    assert reason in str(error.value)


@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_is_looked_for_again_after_many_records(enabled: bool) -> None:
    before = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        with suppress(WorkspaceError), many_records():
            assert not gc.isenabled()
            raise WorkspaceError("torn")
        assert gc.isenabled() is enabled
    finally:
        (gc.enable if before else gc.disable)()


def test_garbage_is_looked_for_again_when_the_last_of_several_has_left() -> None:
    before = gc.isenabled()
    first, last = many_records(), many_records()
    try:
        gc.enable()
        # As two threads may: who came first leaves first.
        first.__enter__()
        last.__enter__()
        first.__exit__(None, None, None)
        assert not gc.isenabled()
        last.__exit__(None, None, None)
        assert gc.isenabled()
    finally:
        (gc.enable if before else gc.disable)()


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
