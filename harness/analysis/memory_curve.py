"""GPU memory of a group of studies: what each budget would have bought, and how well the budget was kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from harness.records.study import StudyResults
from harness.records.trial import Outcome, TrialRecord, best_trial
from harness.units import GIB, MIB, is_finite

_THIRDS = 3


class Peak(NamedTuple):
    """GPU memory of a trial in bytes: measured, or predicted where nothing was measured."""

    size: int
    measured: bool


class MemoryPoint(NamedTuple):
    """A completed trial with a score and a size.

    Attributes:
        label: of its study.
        budget_bytes: the smallest budget that it fits into.
        measured: whether that is measured; else predicted.
    """

    label: str
    number: int
    budget_bytes: int
    measured: bool
    macro_f1: float


class OverBudgetCount(NamedTuple):
    """Of some trials: how many were stopped in training over the budget or out of GPU memory, how many were refused."""

    trials: int
    over: int
    refused: int


@dataclass(frozen=True)
class StudyMemory:
    """The memory of one study's trials.

    Attributes:
        points: its completed trials that have a score and a size.
        best_within: the best completed trial within each of the group's budgets; None where none fits.
        completed: how many trials completed.
        predicted_only: how many of these have a predicted size, but no measured one.
        without_size: how many of these have neither.
        thirds: the search in three parts by number; None where there are fewer than three trials.
    """

    points: tuple[MemoryPoint, ...]
    best_within: tuple[TrialRecord | None, ...]
    completed: int
    predicted_only: int
    without_size: int
    thirds: tuple[OverBudgetCount, ...] | None


class GuardCounts(NamedTuple):
    """How often each guard stopped a trial of a group, of how many that it watched.

    Attributes:
        capped: trials whose allocator had a cap; `stopped_by_cap` of them ran into it.
        watched: trials whose memory was measured; `stopped_by_watchdog` of them went over the budget.
        refused: before training, by the predicted footprint.
        out_of_memory_uncapped: trials that ran out of device memory without a cap.
    """

    capped: int
    stopped_by_cap: int
    watched: int
    stopped_by_watchdog: int
    refused: int
    out_of_memory_uncapped: int


@dataclass(frozen=True)
class GroupMemory:
    """The memory of a group's trials.

    Attributes:
        budgets: in bytes, rising, for `StudyMemory.best_within`; empty where no completed trial has a size.
        pareto_front: the completed trials that none beats with as little memory, by rising memory.
        measured: whether any trial was measured.
        below_held: whether a measured trial fits into less than its process held.
        guards: which guard stopped how many trials.
    """

    budgets: tuple[int, ...]
    pareto_front: tuple[MemoryPoint, ...]
    measured: bool
    below_held: bool
    guards: GuardCounts


def peak(trial: TrialRecord) -> Peak | None:
    """Return the trial's peak as NVML counted it, else its footprint; None where it has neither."""
    measured = trial.memory.reading.measured_bytes
    if measured is not None:
        return Peak(measured, measured=True)
    return None if trial.memory.footprint_bytes is None else Peak(trial.memory.footprint_bytes, measured=False)


def smallest_budget(trial: TrialRecord) -> Peak | None:
    """Estimate the smallest budget that the trial fits into; None where it was neither measured nor predicted.

    The framework's allocator takes memory in regions that double in size, and keeps them, so a trial can hold up to
    twice what it needs. It fits into the peak of its allocator and what lay beside the allocator, and in any case into
    what it held. What lay beside is the reading less what the allocator had taken, else the estimate; where neither is
    known, the trial's peak stands.
    """
    found = peak(trial)
    if found is None or not found.measured or not trial.memory.allocator_peak_bytes:
        return found
    beside = _beside_allocator(trial, found.size)
    return found if beside is None else Peak(min(trial.memory.allocator_peak_bytes + beside, found.size), measured=True)


def budget_columns(group: Sequence[StudyResults]) -> tuple[int, ...]:
    """Choose budgets in bytes that tell the group's trials apart; none where no completed trial has a size.

    They are powers of two from 1 GiB, to hold all sizes, the study's own budget and 8 GiB. Where all sizes lie below
    1 GiB, three smaller ones come first, up to what holds all of them: else all columns would be equal.
    """
    found = (smallest_budget(trial) for results in group for trial in results.trials if trial.completed)
    sizes = [budget.size for budget in found if budget is not None]
    if not sizes:
        return ()
    largest = _power_of_two(max(group[0].study.budget_bytes, 8 * GIB, *sizes))
    budgets = {GIB << step for step in range((largest // GIB).bit_length())}
    if max(sizes) < GIB:
        holding = _power_of_two(max(4 * MIB, *sizes))
        budgets |= {holding // 4, holding // 2, holding}
    return tuple(sorted(budgets))


def study_memory(results: StudyResults, label: str, budgets: Sequence[int]) -> StudyMemory:
    """Summarise the memory of one study's trials, under its label in the group and for the group's budgets."""
    completed = [trial for trial in results.trials if trial.completed]
    unmeasured = [trial for trial in completed if trial.memory.reading.measured_bytes is None]
    without_size = sum(trial.memory.footprint_bytes is None for trial in unmeasured)
    sized = [(trial, found) for trial in completed if (found := smallest_budget(trial)) is not None]
    return StudyMemory(
        points=tuple(
            MemoryPoint(label, trial.number, *found, trial.scores.valid_macro_f1)
            for trial, found in sized
            if trial.scores.valid_macro_f1 is not None and is_finite(trial.scores.valid_macro_f1)
        ),
        best_within=tuple(best_trial(trial for trial, found in sized if found.size <= budget) for budget in budgets),
        completed=len(completed),
        predicted_only=len(unmeasured) - without_size,
        without_size=without_size,
        thirds=_thirds(sorted(results.trials, key=lambda trial: trial.number)),
    )


def group_memory(group: Sequence[StudyResults], budgets: tuple[int, ...], points: Sequence[MemoryPoint]) -> GroupMemory:
    """Summarise the memory of a group from its trials and the points of all its studies."""
    trials = [trial for results in group for trial in results.trials]
    return GroupMemory(
        budgets=budgets,
        pareto_front=_pareto_front(points),
        measured=any(trial.memory.reading.measured_bytes is not None for trial in trials),
        below_held=any(_fits_below_held(trial) for trial in trials if trial.completed),
        guards=_guards(trials),
    )


def _beside_allocator(trial: TrialRecord, used_bytes: int) -> int | None:
    # A reading below what the allocator had taken missed the peak, and says nothing of what lay beside.
    if trial.memory.pool_bytes is None or trial.memory.pool_bytes > used_bytes:
        return trial.memory.beside_bytes
    return used_bytes - trial.memory.pool_bytes


def _fits_below_held(trial: TrialRecord) -> bool:
    found = smallest_budget(trial)
    return found is not None and found.measured and found.size != trial.memory.reading.measured_bytes


def _power_of_two(size: int) -> int:
    """Return the smallest power of two that is at least `size`, a positive number."""
    return 1 << (size - 1).bit_length()


def _pareto_front(points: Sequence[MemoryPoint]) -> tuple[MemoryPoint, ...]:
    """Return the points that none beats with as little memory, by rising memory; of equals, the first."""
    front: list[MemoryPoint] = []
    for point in sorted(points, key=lambda point: (point.budget_bytes, -point.macro_f1)):
        if not front or point.macro_f1 > front[-1].macro_f1:
            front.append(point)
    return tuple(front)


def _thirds(trials: Sequence[TrialRecord]) -> tuple[OverBudgetCount, ...] | None:
    total = len(trials)
    if total < _THIRDS:
        return None
    parts = [trials[total * part // _THIRDS : total * (part + 1) // _THIRDS] for part in range(_THIRDS)]
    return tuple(
        OverBudgetCount(
            trials=len(part),
            over=_count(part, Outcome.OVER_BUDGET, Outcome.OOM),
            refused=_count(part, Outcome.REFUSED),
        )
        for part in parts
    )


def _guards(trials: Sequence[TrialRecord]) -> GuardCounts:
    capped = [trial for trial in trials if trial.memory.cap_bytes is not None]
    watched = [
        trial
        for trial in trials
        if trial.memory.reading.measured_bytes is not None or trial.outcome is Outcome.OVER_BUDGET
    ]
    stopped_by_cap = _count(capped, Outcome.OOM)
    return GuardCounts(
        capped=len(capped),
        stopped_by_cap=stopped_by_cap,
        watched=len(watched),
        stopped_by_watchdog=_count(watched, Outcome.OVER_BUDGET),
        refused=_count(trials, Outcome.REFUSED),
        out_of_memory_uncapped=_count(trials, Outcome.OOM) - stopped_by_cap,
    )


def _count(trials: Sequence[TrialRecord], *outcomes: Outcome) -> int:
    return sum(trial.outcome in outcomes for trial in trials)
