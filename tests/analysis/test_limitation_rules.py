"""What limits a family, as figures: each rule with the values that it found."""

from __future__ import annotations

from typing import Any

import pytest

from harness.analysis.limitations import (
    AccuracyAtChance,
    FewValidationTracks,
    Limitation,
    LostToMemory,
    LostToTime,
    MacroF1AtChance,
    NoCompletedTrial,
    OverFitting,
    TooFewEpochs,
    UnusedBudget,
    find_limitations,
)
from harness.analysis.memory_curve import Peak
from harness.analysis.score_intervals import validation_score
from harness.records.study import StudyResults
from harness.records.trial import Outcome, Reading
from harness.scoring.metrics import wilson
from harness.units import GIB
from tests.helpers.reports import make_results, make_trial


def found(results: StudyResults) -> tuple[Limitation, ...]:
    return find_limitations(results, validation_score(results))


@pytest.mark.parametrize(
    ("results", "limitation"),
    [
        (make_results(None), NoCompletedTrial({Outcome.OOM: 1, Outcome.TIMEOUT: 1})),
        (make_results(trials=()), NoCompletedTrial({})),
        (make_results(0.12), AccuracyAtChance(wilson(24, 200), 0.1)),
        (make_results(trials=(make_trial(0, valid_accuracy=0.5, valid_macro_f1=0.05),)), MacroF1AtChance(0.05, 0.1)),
        (make_results(best={"train_accuracy": 0.98}), OverFitting(0.98, 0.61)),
        (make_results(best={"best_epoch": 18}), TooFewEpochs(19, 20)),
        (make_results(0.6, tracks=40), FewValidationTracks(40, wilson(24, 40))),
        (make_results(budget_bytes=12 * GIB), UnusedBudget(Peak(2 * GIB, True), 12 * GIB)),
        (
            make_results(budget_bytes=16 * GIB, best={"reading": Reading()}),
            UnusedBudget(Peak(3 * GIB, False), 16 * GIB),
        ),
    ],
)
def test_the_first_rule_that_applies_comes_with_its_figures(results: StudyResults, limitation: Limitation) -> None:
    first = found(results)[0]
    assert type(first) is type(limitation)
    assert first == pytest.approx(limitation) if isinstance(limitation, OverFitting) else first == limitation


@pytest.mark.parametrize(
    ("lost", "limitations"),
    [
        ([Outcome.REFUSED, Outcome.OOM], (LostToMemory(2, 5),)),
        ([Outcome.TIMEOUT] * 2, (LostToTime(2, 5),)),
        ([Outcome.TIMEOUT], ()),
    ],
)
def test_a_third_of_the_trials_lost_is_a_limitation(lost: list[Outcome], limitations: tuple[Any, ...]) -> None:
    results = make_results()
    more = tuple(make_trial(3 + index, outcome) for index, outcome in enumerate(lost))
    assert found(StudyResults(results.study, results.trials + more, results.predictions)) == limitations


def test_where_no_rule_applies_there_is_none() -> None:
    assert found(make_results()) == ()


def test_rules_stand_in_their_order() -> None:
    results = make_results(0.6, tracks=40, best={"train_accuracy": 0.98, "best_epoch": 19})
    assert [type(limitation) for limitation in found(results)] == [OverFitting, TooFewEpochs, FewValidationTracks]
