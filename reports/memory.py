"""The memory of a group of studies: what each budget would have bought, and how well the budget was kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from harness.records import Outcome, StudyResults, TrialRecord, is_finite
from harness.units import GIB, MIB, format_size
from reports import figures
from reports.diagnosis import measured_peak, smallest_budget
from reports.figures import Scored
from reports.sections import Group, labels, plain_labels
from reports.tables import NOTHING, escape, markdown_table, percent, ratio

_OVER = (Outcome.OVER_BUDGET, Outcome.OOM)
_THIRDS = ("First third", "Second third", "Last third")


def budget_curve(group: Group) -> str:
    """Return the best score within each budget, one row a study, as a sentence and a markdown table.

    A completed trial counts for every budget that it fits into. Where nothing was measured, the predicted footprint
    stands in, and the cell is marked `~`. Without any such size there is no table.
    """
    lead = "**Best score within a budget**, of the completed trials that fit into it: macro F1 (accuracy)."
    sizes = [
        found.size
        for results in group
        for trial in _completed(results)
        if (found := smallest_budget(trial)) is not None
    ]
    if not sizes:
        return f"{lead} No completed trial has a peak to hold against a budget."
    own = group[0].study.budget_bytes
    fitted = f"Micro-batches were fitted into {format_size(own)}, so a search within less may find better."
    names, budgets = labels(group), _budgets(sizes, own)
    columns = [_column(budget) for budget in budgets]
    rows = [[names[results.study.study], *(_best_within(results, budget) for budget in budgets)] for results in group]
    table = markdown_table(["Family", *columns], rows, numeric=columns)
    return f"{' '.join([lead, fitted, *_below_what_was_held(group), *_not_measured(group)])}\n\n{table}"


def score_memory_svg(group: Group) -> bytes | None:
    """Return scores against memory as a picture; None where no completed trial has both."""
    points = _points(group)
    if not points:
        return None
    families = {
        name: [point.scored for point in points if point.name == name]
        for name in plain_labels(group).values()
        if any(point.name == name for point in points)
    }
    budget = group[0].study.budget_bytes
    return figures.score_memory_svg(families, [point.scored for point in _front(points)], budget)


def pareto_front(group: Group) -> str:
    """Return the trials on the Pareto front in words, by rising memory; empty where there is none."""
    front = _front(_points(group))
    if not front:
        return ""
    told = ", ".join(
        f"{escape(name)} trial {number} ({ratio(macro_f1)} at {'' if measured else '~'}{format_size(size)})"
        for name, number, (size, measured, macro_f1) in front
    )
    measured = all(point.scored.measured for point in front)
    note = "" if measured else " `~` marks a size that is predicted, not measured."
    return f"**Pareto front**, the completed trials that none beats in macro F1 with as little memory: {told}.{note}"


def over_budget_by_third(group: Group) -> str:
    """Return how many trials broke the budget, or were refused, in each third of a search, by order of number.

    A study of fewer than three trials has dashes; empty when all have so few.
    """
    names = labels(group)
    searches = {results.study.study: sorted(results.trials, key=lambda trial: trial.number) for results in group}
    if all(len(trials) < len(_THIRDS) for trials in searches.values()):
        return ""
    lead = (
        "**Over the budget in the course of the search**, of all trials in each third by number. Over: stopped in "
        "training, over budget or out of GPU memory. Refused: never trained."
    )
    rows = [[names[study], *_by_third(trials)] for study, trials in searches.items()]
    return f"{lead}\n\n{markdown_table(['Family', *_THIRDS], rows, numeric=_THIRDS)}"


def guards(group: Group) -> str:
    """Return which guard stopped how many trials: the cap inside the framework, or the watchdog outside."""
    trials = [trial for results in group for trial in results.trials]
    capped = [trial for trial in trials if trial.cap_bytes is not None]
    watched = [trial for trial in trials if measured_peak(trial) is not None or trial.outcome is Outcome.OVER_BUDGET]
    refused = _count(trials, Outcome.REFUSED)
    sentences = []
    if not capped and not watched:
        sentences.append(
            "No trial was measured, so neither guard was tried; the budget was held against predicted footprints: "
            f"{refused} refused."
        )
    else:
        cap = f"stopped {_count(capped, Outcome.OOM)} of {len(capped)} trials that had one" if capped else "was not set"
        watchdog = (
            f"stopped {_count(watched, Outcome.OVER_BUDGET)} of {len(watched)} trials that it measured"
            if watched
            else "measured nothing"
        )
        sentences.append(f"The cap inside the framework {cap}; the watchdog outside {watchdog}.")
        sentences.append(f"Before training, by predicted footprint: {refused} refused.")
    uncapped = _count(trials, Outcome.OOM) - _count(capped, Outcome.OOM)
    if uncapped:
        sentences.append(f"Out of device memory without a cap: {uncapped}.")
    return f"**Which guard held.** {' '.join(sentences)}"


class _Point(NamedTuple):
    """A completed trial with a score and a size; `name` is its study's for the reader."""

    name: str
    number: int
    scored: Scored


def _points(group: Group) -> list[_Point]:
    names = plain_labels(group)
    return [
        _Point(names[results.study.study], trial.number, Scored(*found, trial.valid_macro_f1))
        for results in group
        for trial in _completed(results)
        if (found := smallest_budget(trial)) is not None
        and trial.valid_macro_f1 is not None
        and is_finite(trial.valid_macro_f1)
    ]


def _front(points: Sequence[_Point]) -> list[_Point]:
    """Return the points that none beats with as little memory, by rising memory; of equals, the first."""
    front: list[_Point] = []
    for point in sorted(points, key=lambda point: (point.scored.budget_bytes, -point.scored.macro_f1)):
        if not front or point.scored.macro_f1 > front[-1].scored.macro_f1:
            front.append(point)
    return front


def _completed(results: StudyResults) -> list[TrialRecord]:
    return [trial for trial in results.trials if trial.completed]


def _budgets(sizes: Sequence[int], own: int) -> list[int]:
    """Return the columns in bytes: powers of two from 1 GiB, to hold all sizes, the study's own budget and 8 GiB.

    Where all sizes lie below 1 GiB, three smaller ones come first, up to what holds all of them: else all columns would
    be equal.
    """
    largest = _power_of_two(max(own, 8 * GIB, *sizes))
    budgets = {GIB << step for step in range((largest // GIB).bit_length())}
    if max(sizes) < GIB:
        holding = _power_of_two(max(4 * MIB, *sizes))
        budgets |= {holding // 4, holding // 2, holding}
    return sorted(budgets)


def _power_of_two(size: int) -> int:
    """Return the smallest power of two that is at least `size`, a positive number."""
    return 1 << (size - 1).bit_length()


def _column(budget: int) -> str:
    return f"{budget / GIB:g} GiB" if 4 * budget >= GIB else f"{budget // MIB} MiB"


def _best_within(results: StudyResults, budget: int) -> str:
    fitting = [
        trial for trial in results.trials if (found := smallest_budget(trial)) is not None and found.size <= budget
    ]
    best = StudyResults(results.study, tuple(fitting), {}).best
    if best is None:
        return NOTHING
    mark = "~" if measured_peak(best) is None else ""
    return f"{mark}{ratio(best.valid_macro_f1)} ({percent(best.valid_accuracy)})"


def _below_what_was_held(group: Group) -> list[str]:
    """Return why a trial can fit into less than it held, as a sentence; none where all count with what they held."""
    if all(
        (found := smallest_budget(trial)) is None or not found.measured or found.size == measured_peak(trial)
        for results in group
        for trial in _completed(results)
    ):
        return []
    return [
        "Here, in the picture and on the Pareto front, a measured trial counts with what it needed and what lay beside "
        "the framework's allocator, where both are known, and not with what it held: the allocator takes regions that "
        "double in size, so what it holds can be twice the need."
    ]


def _not_measured(group: Group) -> list[str]:
    """Return what a reader must know of the sizes behind the budget curve, as sentences."""
    names = labels(group)
    unmeasured, without = [], []
    for results in group:
        completed, name = _completed(results), names[results.study.study]
        missing = [trial for trial in completed if measured_peak(trial) is None]
        bare = sum(trial.footprint_bytes is None for trial in missing)
        if len(missing) > bare:
            unmeasured.append(f"{len(missing) - bare} of {len(completed)} of {name}")
        if bare:
            without.append(f"{bare} of {len(completed)} of {name}")
    sentences = []
    if all(measured_peak(trial) is None for results in group for trial in results.trials):
        sentences.append("Cells marked `~` rest on predicted footprints: nothing was measured.")
    elif unmeasured:
        sentences.append(
            "Cells marked `~` rest on predicted footprints, for some completed trials were not measured: "
            f"{', '.join(unmeasured)}."
        )
    if without:
        sentences.append(f"Left out, with neither a measured nor a predicted peak: {', '.join(without)}.")
    return sentences


def _by_third(trials: Sequence[TrialRecord]) -> list[str]:
    total, parts = len(trials), len(_THIRDS)
    if total < parts:
        return [NOTHING] * parts
    thirds = [trials[total * part // parts : total * (part + 1) // parts] for part in range(parts)]
    return [
        f"{_count(third, *_OVER)} of {len(third)} over, {_count(third, Outcome.REFUSED)} refused" for third in thirds
    ]


def _count(trials: Sequence[TrialRecord], *kinds: Outcome) -> int:
    return sum(trial.outcome in kinds for trial in trials)
