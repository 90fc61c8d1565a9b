"""The memory of trials in figures: peaks, budgets, the Pareto front, guards, needs and how well they were predicted."""

from __future__ import annotations

from typing import Any

import pytest

from harness.analysis.comparison_group import GroupAnalysis, analyse
from harness.analysis.memory_curve import budget_columns, peak, smallest_budget
from harness.analysis.memory_needs import held_over_needed, prediction_errors
from harness.records.study import StudyResults
from harness.records.trial import Outcome, Reading, TrialRecord
from harness.units import GIB, MIB
from tests.helpers.reports import make_results, make_trial, measured, scored


def needing(number: int, needed: float, **changes: Any) -> TrialRecord:
    """A completed trial that held 4 GiB, and needed so many GiB; scores rise with the number."""
    scores = {"valid_macro_f1": (1 + number) / 10, "valid_accuracy": 0.5}
    fields = {"reading": measured(4), "allocator_peak_bytes": int(needed * GIB)} | scores
    return make_trial(number, **(fields | changes))


def only_group(*studies: StudyResults) -> GroupAnalysis:
    (group,) = analyse(studies)
    return group


@pytest.mark.parametrize(
    ("changes", "gib"),
    [
        ({"pool_bytes": 3 * GIB}, 2.5),
        ({"pool_bytes": 3 * GIB, "beside_bytes": GIB // 4}, 2.5),
        ({"beside_bytes": GIB // 4}, 1.75),
        ({"beside_bytes": 0}, 1.5),
        ({}, 4),
        # Never more than what was held.
        ({"beside_bytes": 3 * GIB}, 4),
        # A reading below what the allocator had taken says nothing of what lay beside.
        ({"pool_bytes": 5 * GIB, "beside_bytes": GIB // 4}, 1.75),
        ({"pool_bytes": 5 * GIB}, 4),
        ({"allocator_peak_bytes": None, "pool_bytes": 3 * GIB, "beside_bytes": GIB // 4}, 4),
        ({"allocator_peak_bytes": 0, "beside_bytes": GIB // 4}, 4),
    ],
)
def test_a_measured_trial_fits_into_its_need_and_what_lay_beside(changes: dict[str, Any], gib: float):
    assert smallest_budget(needing(0, 1.5, **changes)) == (gib * GIB, True)


def test_without_a_reading_a_trial_fits_into_its_footprint_only():
    known = {"reading": Reading(), "pool_bytes": 2 * GIB, "beside_bytes": GIB // 4}
    assert smallest_budget(needing(0, 1.5, **known)) == (3 * GIB, False)
    assert smallest_budget(needing(0, 1.5, **known, footprint_bytes=None)) is None


def test_a_peak_is_measured_else_predicted() -> None:
    assert peak(scored(0, 2, 0.5)) == (2 * GIB, True)
    assert peak(scored(0, None, 0.5)) == (3 * GIB, False)
    assert peak(scored(0, None, 0.5, footprint=None)) is None
    no_source = make_trial(0, reading=Reading(peak_bytes=GIB))
    assert peak(no_source) == (3 * GIB, False)


@pytest.mark.parametrize(
    ("peaks", "budget", "columns"),
    [
        ((1.0, 2.0), 2.0, [1, 2, 4, 8]),
        ((1.0, 2.0), 24.0, [1, 2, 4, 8, 16, 32]),
        ((1.0, 8.5), 8.0, [1, 2, 4, 8, 16]),
        ((0.25, 0.9), 8.0, [0.25, 0.5, 1, 2, 4, 8]),
        ((), 8.0, []),
    ],
)
def test_budgets_hold_every_peak(peaks: tuple[float, ...], budget: float, columns: list[float]) -> None:
    trials = tuple(scored(number, size, 0.5) for number, size in enumerate(peaks))
    found = budget_columns([make_results(trials=trials, budget_bytes=int(budget * GIB))])
    assert [size / GIB for size in found] == columns


def test_small_peaks_are_told_apart_in_mebibytes() -> None:
    trials = (scored(0, 0.05, 0.5), scored(1, 0.12, 0.5))
    assert [size // MIB for size in budget_columns([make_results(trials=trials)])][:3] == [32, 64, 128]


def test_the_best_within_a_budget_is_a_completed_trial_that_fits() -> None:
    pruned = make_trial(4, Outcome.PRUNED, reading=measured(0.5), valid_macro_f1=0.9)
    trials = (scored(0, 1.5, 0.3), scored(1, 2, 0.5), scored(2, 3, 0.4), scored(3, 7.5, 0.61), pruned)
    group = only_group(make_results(trials=trials), make_results(None, family="cnn1d-raw"))
    assert group.memory.budgets == (GIB, 2 * GIB, 4 * GIB, 8 * GIB)
    first, second = (study.memory for study in group.studies)
    assert [None if best is None else best.number for best in first.best_within] == [None, 1, 1, 3]
    assert second.best_within == (None,) * 4
    assert group.memory.measured
    assert not group.memory.below_held


def test_what_was_not_measured_is_counted() -> None:
    trials = (scored(0, None, 0.5), scored(1, 3.5, 0.6), scored(2, None, 0.2, footprint=None))
    (study,) = only_group(make_results(trials=trials)).studies
    memory = study.memory
    assert (memory.completed, memory.predicted_only, memory.without_size) == (3, 1, 1)
    assert not only_group(make_results(trials=trials[:1])).memory.measured


def test_the_pareto_front_rises_in_memory_and_score() -> None:
    first = (scored(0, 2, 0.4), scored(1, 1, 0.3), scored(2, 3, 0.35), scored(3, 4, 0.4), scored(4, 2, 0.2))
    second = make_results(trials=(scored(0, None, 0.6, footprint=6),), family="cnn1d-raw")
    front = only_group(make_results(trials=first), second).memory.pareto_front
    assert front == (
        ("cnn2d-fusion", 1, GIB, True, 0.3),
        ("cnn2d-fusion", 0, 2 * GIB, True, 0.4),
        ("cnn1d-raw", 0, 6 * GIB, False, 0.6),
    )


def test_thirds_go_by_number() -> None:
    kinds = [Outcome.REFUSED, Outcome.OVER_BUDGET, Outcome.OOM, Outcome.REFUSED, Outcome.COMPLETED, Outcome.HOST_OOM]
    trials = tuple(make_trial(number, kind) for number, kind in enumerate([*kinds, Outcome.OOM]))
    (study,) = only_group(make_results(trials=trials[::-1])).studies
    assert study.memory.thirds == ((2, 1, 1), (2, 1, 1), (3, 1, 0))
    (short,) = only_group(make_results(trials=trials[:2])).studies
    assert short.memory.thirds is None


def test_guards_are_counted_apart() -> None:
    trials = (
        make_trial(0, cap_bytes=7 * GIB),
        make_trial(1, Outcome.OOM, cap_bytes=7 * GIB, reading=measured(6.9)),
        make_trial(2, Outcome.OVER_BUDGET, cap_bytes=7 * GIB, reading=measured(8.1)),
        make_trial(3, Outcome.OOM),
        make_trial(4, Outcome.REFUSED, footprint_bytes=9 * GIB),
    )
    guards = only_group(make_results(trials=trials)).memory.guards
    assert (guards.capped, guards.stopped_by_cap) == (3, 1)
    assert (guards.watched, guards.stopped_by_watchdog) == (3, 1)
    assert (guards.refused, guards.out_of_memory_uncapped) == (1, 1)


def test_held_over_needed_leaves_out_what_ended_early_or_trained_nothing() -> None:
    cut_short = make_trial(5, Outcome.OOM, reading=measured(8), allocator_peak_bytes=GIB)
    empty = needing(3, 2.5, reading=measured(0))
    found = held_over_needed((needing(0, 2), needing(1, 3.2), needing(2, 2.5), empty, cut_short))
    assert found == (3, pytest.approx(1.6), 2.0)
    assert held_over_needed((cut_short, empty)) is None


def test_predicted_needs_are_compared_with_what_was_needed() -> None:
    # 3 GiB with 1 GiB beside were predicted: 2 GiB in the allocator, which needed 1, 1.25, 2 and 2.5 GiB.
    predicted = {"footprint_bytes": 3 * GIB, "beside_bytes": GIB}
    trials = (
        *(needing(number, needed, **predicted) for number, needed in enumerate((1, 1.25, 2, 2.5))),
        make_trial(6, Outcome.CRASHED, allocator_peak_bytes=GIB // 2, **predicted),
        needing(5, 0, **predicted),
    )
    # Ratios are 2, 1.6, 1 and 0.8, errors 100 %, 60 %, 0 % and 20 %.
    assert prediction_errors(trials) == (
        4,
        0.8,
        pytest.approx(1.3),
        2.0,
        pytest.approx(0.4),
        pytest.approx(0.94),
        0.25,
        0,
    )
    assert prediction_errors(trials[4:]) is None


def test_the_reading_stands_in_for_an_allocator_without_a_peak() -> None:
    unknown = {"allocator_peak_bytes": None, "footprint_bytes": 3 * GIB}
    capped = make_trial(2, Outcome.OVER_BUDGET, reading=measured(6), footprint_bytes=3 * GIB, cap_bytes=GIB)
    errors = prediction_errors((needing(0, 0, **unknown), needing(1, 0, **unknown, beside_bytes=GIB), capped))
    assert errors is not None
    # 3 of 4 GiB, 2 of 3 GiB.
    assert (errors.trials, errors.stand_ins, errors.too_low) == (2, 2, 1.0)
    assert (errors.minimum, errors.maximum) == (pytest.approx(2 / 3), 0.75)
