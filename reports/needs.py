"""What trials needed of the device, what they held of it, and how well the need was predicted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from harness.records import Outcome, StudyResults, TrialRecord
from harness.units import format_size
from reports.diagnosis import held_in_words, measured_peak
from reports.sections import Group, labels
from reports.tables import NOTHING, count, markdown_table, percent, ratio

# These may end before training has reached its peak, so that a peak of theirs says little.
_CUT_SHORT = (Outcome.REFUSED, Outcome.OOM, Outcome.HOST_OOM, Outcome.CRASHED, Outcome.INTERRUPTED)


def needed_and_held(group: Group) -> str:
    """Return what each study's best trial needed and held, as a markdown table, and held / needed of all trials.

    Empty where no best trial has either.
    """
    best = [trial for results in group if (trial := results.best) is not None]
    if all(trial.allocator_peak_bytes is None and measured_peak(trial) is None for trial in best):
        return ""
    lead = (
        "**Needed and held** by the best trials. Needed: the most bytes in use in the framework's allocator. Held: the "
        "process's memory on the device, by NVML, with the source of the reading."
    )
    names = labels(group)
    rows = [[names[results.study.study], *_best_needed_and_held(results)] for results in group]
    table = markdown_table(["Family", "Trial", "Needed", "Held"], rows, numeric=["Trial", "Needed", "Held"])
    shares = {names[results.study.study]: _held_shares(results.trials) for results in group}
    told = "; ".join(
        f"{name} {ratio(float(np.median(found)))} and {ratio(max(found))} ({count(len(found), 'trial')})"
        for name, found in shares.items()
        if found
    )
    if not told:
        return f"{lead}\n\n{table}"
    allocator = (
        f"Held / needed, median and maximum of all trials that have both: {told}. That is what the allocator's regions "
        "add, and what lies beside the allocator."
    )
    return f"{lead} {allocator}\n\n{table}"


def prediction_errors(group: Group) -> str:
    """Return how far predicted needs lie from what was needed, as a sentence and a markdown table.

    Where the allocator's peak is not known, the reading less what lay beside the allocator stands in. Percentiles are
    numpy's, linear between ranks. Without a trial that has both figures there is no table.
    """
    lead = "**Predicted against needed**: predicted need / needed. Error: |predicted / needed − 1|."
    names = labels(group)
    predictions = {names[results.study.study]: _predictions(results.trials) for results in group}
    rows = [[name, *_prediction_cells(found)] for name, found in predictions.items() if found]
    if not rows:
        return f"{lead} No trial has both figures."
    notes = [
        "Too low: the share of trials that needed more than was predicted.",
        "Trials that may have ended before their peak (out of memory, crashed, interrupted) are left out; one that was "
        "stopped over the budget without a cap counts with what it held by then.",
    ]
    stand_ins = sum(each.stand_in for found in predictions.values() for each in found)
    if stand_ins:
        notes.append(
            f"For {count(stand_ins, 'trial')} the allocator's peak is not known. What NVML read, less what lay beside "
            "the allocator, stands in; it is too large by what the allocator's regions add."
        )
    columns = [
        *("Family", "Trials", "Minimum", "Median", "Maximum"),
        *("Error, median", "Error, 95th percentile", "Too low"),
    ]
    return f"{' '.join([lead, *notes])}\n\n{markdown_table(columns, rows, numeric=columns[1:])}"


def _best_needed_and_held(results: StudyResults) -> list[str]:
    best = results.best
    if best is None:
        return [NOTHING] * 3
    needed = best.allocator_peak_bytes
    return [str(best.number), NOTHING if needed is None else format_size(needed), held_in_words(best)]


def _held_shares(trials: Sequence[TrialRecord]) -> list[float]:
    """Return held / needed of each trial that has both; a 0 says that nothing was trained."""
    return [
        size / trial.allocator_peak_bytes
        for trial in trials
        if trial.outcome not in _CUT_SHORT and trial.allocator_peak_bytes and (size := measured_peak(trial))
    ]


class _Prediction(NamedTuple):
    """A predicted need over what was needed; `stand_in` says that the allocator's peak is not known."""

    ratio: float
    stand_in: bool


def _predictions(trials: Sequence[TrialRecord]) -> list[_Prediction]:
    """Return the prediction of each trial that has both figures; a need of 0 says that nothing was trained."""
    return [
        _Prediction(predicted / needed, trial.allocator_peak_bytes is None)
        for trial in trials
        if trial.outcome not in _CUT_SHORT
        and (predicted := trial.predicted_need_bytes) is not None
        and (needed := _needed(trial))
    ]


def _needed(trial: TrialRecord) -> int:
    """Return the allocator's peak, else the reading less what lay beside the allocator; 0 where neither is known.

    Of a trial that went over the budget under a cap, what passed it lay beside the allocator, and says nothing here.
    """
    if trial.allocator_peak_bytes is not None:
        return trial.allocator_peak_bytes
    if trial.outcome is Outcome.OVER_BUDGET and trial.cap_bytes is not None:
        return 0
    return max((measured_peak(trial) or 0) - (trial.beside_bytes or 0), 0)


def _prediction_cells(found: Sequence[_Prediction]) -> list[str]:
    ratios = np.array([each.ratio for each in found])
    spread = [ratios.min(), np.median(ratios), ratios.max()]
    shares = [*np.percentile(np.abs(ratios - 1), [50, 95]), np.mean(ratios < 1)]
    return [str(len(found)), *(ratio(float(each)) for each in spread), *(percent(float(each)) for each in shares)]
