"""Who may open a test set: rules on records, without any audio."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from harness.errors import UsageError, WorkspaceError
from harness.evaluation.test_set_access import TestSetAccess, check_same_data, openings_before
from harness.records.final import FinalsRecord, OpeningRecord
from harness.records.study import StudyResults
from tests.helpers.reports import make_results, make_trial

TRACKS = (("a", "b"), ("c",))


def searched(*ended: str, openings: Sequence[OpeningRecord] = (), **study: Any) -> StudyResults:
    """A study whose trials ended at these times, and whose test set was opened."""
    trials = tuple(make_trial(number, ended=time) for number, time in enumerate(ended))
    results = make_results(trials=trials, **study)
    return replace(results, finals=FinalsRecord(tested="test", openings=tuple(openings)) if openings else None)


def opening(opened: str, state: str = "other") -> OpeningRecord:
    return OpeningRecord(trials=1, state=state, opened=opened)


def access(results: StudyResults, *known: StudyResults) -> TestSetAccess:
    return TestSetAccess(results, TRACKS, True, openings_before(results, [results, *known]))


def test_a_closed_test_set_is_opened_and_counted() -> None:
    found = access(searched("1", "2"))
    found.check(reopen=False)
    finals = found.open()
    assert finals.tested == "test"
    assert [(each.trials, each.state) for each in finals.openings] == [(2, found.state)]
    assert not finals.runs


def test_outer_folds_are_called_so() -> None:
    assert replace(access(searched("1")), has_test_set=False).open().tested == "outer folds"


def test_the_same_opening_goes_on() -> None:
    first = access(searched("1", "2")).open()
    results = replace(searched("1", "2"), finals=first)
    again = access(results)
    again.check(reopen=False)
    assert again.open() is first


def test_trials_after_a_look_need_to_be_allowed() -> None:
    found = access(searched("1", "3", "4", openings=[opening("2")]))
    with pytest.raises(UsageError, match=r"opened 1 times, and since then 2 trials(.|\n)*--reopen-test"):
        found.check(reopen=False)
    found.check(reopen=True)
    assert len(found.open().openings) == 2


def test_looks_by_the_familys_other_studies_on_the_split_count_if_they_came_before_the_last_trial() -> None:
    results = searched("1", "5", name="now")
    longer = searched("1", openings=[opening("4"), opening("6")], name="longer", epochs=99)
    other_family = searched("1", openings=[opening("3")], name="other", family="cnn1d-raw")
    assert [each.opened for each in openings_before(results, [results, longer, other_family])] == ["4"]


def test_what_is_tested_is_part_of_the_state() -> None:
    found = access(searched("1"))
    moved = replace(found, tracks=(("a",), ("b", "c")))
    assert found.fingerprint != moved.fingerprint
    assert found.state != moved.state
    assert found.state != access(searched("1", "2")).state


def test_other_tracks_or_another_split_are_refused() -> None:
    study = searched("1").study
    check_same_data(study.dataset, study.protocol, study)
    for part in ("dataset", "protocol"):
        records = {"dataset": study.dataset, "protocol": study.protocol}
        records[part] = records[part].model_copy(update={"fingerprint": "other"})
        with pytest.raises(WorkspaceError, match="ran on other tracks"):
            check_same_data(study=study, **records)  # type: ignore[arg-type]
