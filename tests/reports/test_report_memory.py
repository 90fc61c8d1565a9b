"""The memory of a report: what each budget would have bought, and how well the budget was kept."""

from __future__ import annotations

from typing import Any

import pytest

from harness.records.study import StudyResults
from harness.records.trial import Outcome, Reading, ReadingSource, TrialRecord
from harness.units import GIB
from reports.document import build_report
from tests.helpers.reports import make_results, make_trial, measured, scored, without_predictions


def memory_table(markdown: str, title: str) -> dict[str, list[str]]:
    """The other cells of a table of the memory part by its first cell; the header's is `Family`."""
    _, found, rest = markdown.partition(f"**{title}")
    assert found
    lines = rest.split("\n\n")[1].splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert {len(row) for row in cells} == {len(cells[0])}
    return {row[0]: row[1:] for row in cells}


def memory_of(*studies: StudyResults) -> str:
    """The memory part of the only section, as a reader finds it."""
    _, _, rest = build_report(without_predictions(*studies)).markdown.partition("### Memory\n")
    return rest.partition("\n### ")[0]


def test_the_budget_curve_gives_the_best_score_that_fits_each_budget():
    pruned = make_trial(4, Outcome.PRUNED, reading=measured(0.5), valid_macro_f1=0.9, valid_accuracy=0.9)
    trials = (scored(0, 1.5, 0.3), scored(1, 2, 0.5), scored(2, 3, 0.4), scored(3, 7.5, 0.61), pruned)
    text = memory_of(make_results(trials=trials), make_results(None, family="cnn1d-raw"))
    curve = memory_table(text, "Best score within a budget")
    assert curve["Family"] == ["1 GiB", "2 GiB", "4 GiB", "8 GiB"]
    assert curve["cnn2d-fusion"] == ["–", "0.50 (52.0 %)", "0.50 (52.0 %)", "0.61 (63.0 %)"]
    assert curve["cnn1d-raw"] == ["–"] * 4
    assert "~" not in text
    assert "predicted footprints" not in text.partition("|")[0]


@pytest.mark.parametrize(
    ("peaks", "budget", "columns"),
    [
        ((1.0, 2.0), 2.0, "1 GiB, 2 GiB, 4 GiB, 8 GiB"),
        ((1.0, 2.0), 24.0, "1 GiB, 2 GiB, 4 GiB, 8 GiB, 16 GiB, 32 GiB"),
        ((1.0, 8.5), 8.0, "1 GiB, 2 GiB, 4 GiB, 8 GiB, 16 GiB"),
        ((0.25, 1.0), 8.0, "1 GiB, 2 GiB, 4 GiB, 8 GiB"),
        ((0.25, 0.9), 8.0, "0.25 GiB, 0.5 GiB, 1 GiB, 2 GiB, 4 GiB, 8 GiB"),
        ((0.05, 0.12), 8.0, "32 MiB, 64 MiB, 128 MiB, 1 GiB, 2 GiB, 4 GiB, 8 GiB"),
    ],
)
def test_the_columns_hold_every_peak_and_tell_small_peaks_apart(peaks: tuple[float, ...], budget: float, columns: str):
    trials = tuple(scored(number, peak, 0.5) for number, peak in enumerate(peaks))
    text = memory_of(make_results(trials=trials, budget_bytes=int(budget * GIB)))
    assert ", ".join(memory_table(text, "Best score within a budget")["Family"]) == columns


def test_what_rests_on_predictions_is_marked_in_its_cell_and_counted():
    mixed = make_results(trials=(scored(0, None, 0.5, footprint=1), scored(1, 3.5, 0.6), scored(2, None, 0.2)))
    gone = make_results(trials=(scored(0, 4, 0.3), scored(1, None, 0.9, footprint=None)), family="cnn1d-raw")
    text = memory_of(mixed, gone)
    curve = memory_table(text, "Best score within a budget")
    assert curve["cnn2d-fusion"] == ["~0.50 (52.0 %)", "~0.50 (52.0 %)", "0.60 (62.0 %)", "0.60 (62.0 %)"]
    assert curve["cnn1d-raw"] == ["–", "–", "0.30 (32.0 %)", "0.30 (32.0 %)"]
    assert "some completed trials were not measured: 2 of 3 of cnn2d-fusion." in text
    assert "with neither a measured nor a predicted peak: 1 of 2 of cnn1d-raw." in text
    assert "nothing was measured" not in text


def test_a_reading_without_a_source_is_no_measurement():
    trial = make_trial(0, reading=Reading(peak_bytes=GIB), valid_macro_f1=0.5, valid_accuracy=0.6)
    text = memory_of(make_results(trials=(trial,)))
    assert memory_table(text, "Best score within a budget")["cnn2d-fusion"] == ["–", "–"] + ["~0.50 (60.0 %)"] * 2
    assert "predicted footprints: nothing was measured." in text


def test_without_a_completed_trial_there_is_no_budget_curve():
    text = memory_of(make_results(None), make_results(trials=(), family="cnn1d-raw"))
    assert "No completed trial has a peak to hold against a budget." in text
    assert "|" not in text.replace("|predicted / needed − 1|", "")


def test_each_third_of_the_search_tells_how_often_it_broke_the_budget():
    kinds = [Outcome.REFUSED, Outcome.OVER_BUDGET, Outcome.OOM, Outcome.REFUSED, Outcome.COMPLETED, Outcome.HOST_OOM]
    trials = tuple(make_trial(number, kind) for number, kind in enumerate([*kinds, Outcome.OOM]))
    text = memory_of(make_results(trials=trials[::-1]), make_results(trials=trials[:2], family="cnn1d-raw"))
    thirds = memory_table(text, "Over the budget")
    assert thirds["Family"] == ["First third", "Second third", "Last third"]
    assert thirds["cnn2d-fusion"] == ["1 of 2 over, 1 refused", "1 of 2 over, 1 refused", "1 of 3 over, 0 refused"]
    assert thirds["cnn1d-raw"] == ["–"] * 3
    assert "Over the budget" not in memory_of(make_results(trials=trials[:2]))


def needing(number: int, needed: float, **changes: Any) -> TrialRecord:
    """A completed trial that held 4 GiB, and needed so many GiB; scores rise with the number."""
    scores = {"valid_macro_f1": (1 + number) / 10, "valid_accuracy": 0.5}
    fields = {"reading": measured(4), "allocator_peak_bytes": int(needed * GIB)} | scores
    return make_trial(number, **(fields | changes))


def test_the_budget_curve_counts_what_was_needed_and_says_why():
    trials = (needing(0, 0.75, beside_bytes=GIB // 4), needing(1, 1.5, pool_bytes=int(3.75 * GIB)), needing(2, 3))
    text = memory_of(make_results(trials=trials))
    curve = memory_table(text, "Best score within a budget")
    assert curve["cnn2d-fusion"] == ["0.10 (50.0 %)", "0.20 (50.0 %)", "0.30 (50.0 %)", "0.30 (50.0 %)"]
    assert "the allocator takes regions that double in size, so what it holds can be twice the need." in text
    held = memory_of(make_results(trials=trials[2:]))
    assert memory_table(held, "Best score within a budget")["cnn2d-fusion"] == ["–", "–"] + ["0.30 (50.0 %)"] * 2
    assert "double in size" not in held


def test_the_best_trials_needed_and_held_stand_side_by_side():
    on_a_cpu = make_results(trials=(needing(0, 1, reading=Reading()),), family="cnn1d-raw")
    gone = make_results(None, family="cnn2d-mfcc")
    bare = make_results(
        trials=(needing(0, 1, reading=measured(3, ReadingSource.DEVICE_DELTA), allocator_peak_bytes=None),)
    )
    cut_short = make_trial(5, Outcome.OOM, reading=measured(8), allocator_peak_bytes=GIB)
    empty = needing(3, 2.5, reading=measured(0), valid_macro_f1=None)
    trials = (needing(0, 2), needing(1, 3.2), needing(2, 2.5), empty, cut_short)
    text = memory_of(make_results(trials=trials, family="cnn-transformer"), on_a_cpu, gone, bare)
    assert memory_table(text, "Needed and held") == {
        "Family": ["Trial", "Needed", "Held"],
        "---": ["---:"] * 3,
        "cnn-transformer": ["2", "2.50 GiB", "4.00 GiB (process)"],
        "cnn1d-raw": ["0", "1.00 GiB", "not measured"],
        "cnn2d-fusion": ["0", "–", "3.00 GiB (device delta)"],
        "cnn2d-mfcc": ["–", "–", "–"],
    }
    assert "median and maximum of all trials that have both: cnn-transformer 1.60 and 2.00 (3 trials). That" in text
    assert "Held / needed" not in memory_of(on_a_cpu)
    assert "Needed and held" not in memory_of(gone)


def test_predicted_needs_are_held_against_what_was_needed():
    # 3 GiB with 1 GiB beside were predicted: 2 GiB in the allocator, which needed 1, 1.25, 2 and 2.5 GiB.
    predicted = {"footprint_bytes": 3 * GIB, "beside_bytes": GIB}
    trials = (
        *(needing(number, needed, **predicted) for number, needed in enumerate((1, 1.25, 2, 2.5))),
        needing(4, 1, footprint_bytes=None),
        needing(5, 0, **predicted),
        make_trial(6, Outcome.CRASHED, allocator_peak_bytes=GIB // 2, **predicted),
        make_trial(7, Outcome.REFUSED, **predicted),
        make_trial(8, **predicted | {"reading": Reading()}),
    )
    text = memory_of(make_results(trials=trials), make_results(trials=trials[4:], family="cnn1d-raw"))
    errors = memory_table(text, "Predicted against needed")
    assert errors["Family"] == [
        *("Trials", "Minimum", "Median", "Maximum", "Error, median", "Error, 95th percentile", "Too low"),
    ]
    # Ratios are 2, 1.6, 1 and 0.8, errors 100 %, 60 %, 0 % and 20 %.
    assert errors["cnn2d-fusion"] == ["4", "0.80", "1.30", "2.00", "40.0 %", "94.0 %", "25.0 %"]
    assert "cnn1d-raw" not in errors
    assert "the allocator's peak is not known" not in text
    assert "No trial has both figures." in memory_of(make_results(trials=trials[4:]))


def test_a_need_on_a_cpu_is_compared_as_well():
    text = memory_of(make_results(trials=(needing(0, 2.5, reading=Reading()),)))
    errors = memory_table(text, "Predicted against needed")
    assert errors["cnn2d-fusion"] == ["1", "1.20", "1.20", "1.20", "20.0 %", "20.0 %", "0.0 %"]


def test_where_the_allocator_told_no_peak_the_reading_stands_in_and_is_said_to():
    unknown = {"allocator_peak_bytes": None, "footprint_bytes": 3 * GIB}
    trials = (
        needing(0, 0, **unknown),
        needing(1, 0, **unknown, beside_bytes=GIB),
        make_trial(2, Outcome.OVER_BUDGET, reading=measured(6), footprint_bytes=3 * GIB, beside_bytes=2 * GIB),
        # What lay beside was estimated at more than all that was held.
        needing(3, 0, **unknown, beside_bytes=5 * GIB),
    )
    text = memory_of(make_results(trials=trials))
    errors = memory_table(text, "Predicted against needed")
    # 3 of 4 GiB, 2 of 3 GiB, 1 of 4 GiB.
    assert errors["cnn2d-fusion"] == ["3", "0.25", "0.67", "0.75", "33.3 %", "70.8 %", "100.0 %"]
    assert "For 3 trials the allocator's peak is not known. What NVML read, less what lay beside" in text


def test_the_guards_are_told_apart():
    trials = (
        make_trial(0, cap_bytes=7 * GIB),
        make_trial(1, Outcome.OOM, cap_bytes=7 * GIB, reading=measured(6.9)),
        make_trial(2, Outcome.OVER_BUDGET, cap_bytes=7 * GIB, reading=measured(8.1)),
        make_trial(3, Outcome.OOM),
        make_trial(4, Outcome.REFUSED, footprint_bytes=9 * GIB),
    )
    capped = memory_of(make_results(trials=trials))
    assert (
        "inside the framework stopped 1 of 3 trials that had one; the watchdog outside stopped 1 of 3 trials" in capped
    )
    assert "by predicted footprint: 1 refused. Out of device memory without a cap: 1." in capped
    blind = memory_of(make_results(trials=(make_trial(0, Outcome.OOM, cap_bytes=7 * GIB),)))
    assert "stopped 1 of 1 trials that had one; the watchdog outside measured nothing." in blind
    uncapped = memory_of(make_results(trials=(*trials[3:], scored(5, 2, 0.5))))
    assert "inside the framework was not set; the watchdog outside stopped 0 of 1 trials that it measured." in uncapped


def test_without_a_gpu_no_guard_is_said_to_have_held():
    trials = (scored(0, None, 0.5), make_trial(1, Outcome.REFUSED), make_trial(2, Outcome.REFUSED))
    text = memory_of(make_results(trials=trials))
    assert "No trial was measured, so neither guard was tried" in text
    assert "the budget was held against predicted footprints: 2 refused." in text
