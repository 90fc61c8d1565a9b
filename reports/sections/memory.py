"""GPU memory: what each budget would have bought, how well it was kept, and how well needs were predicted."""

from __future__ import annotations

from harness.analysis.comparison_group import GroupAnalysis, StudyAnalysis
from harness.analysis.memory_curve import GuardCounts
from harness.analysis.memory_needs import PredictionErrors
from harness.markdown import escape, table
from harness.records.base import RunLinks
from harness.records.trial import TrialRecord
from harness.units import GIB, MIB, NOTHING, format_size, percent, plural, ratio
from reports import figures
from reports.formatting import measured_memory, size_or_dash
from reports.templating import Section

_THIRDS = ("First third", "Second third", "Last third")
_PICTURE = "Macro F1 of the completed trials against the smallest budget they fit into, with the Pareto front"


def sections(group: GroupAnalysis, links: RunLinks) -> tuple[Section, ...]:
    """Write all that is to be said of memory, with a picture of scores against memory where there are both."""
    name, picture = f"memory-section-{group.number}.svg", _score_memory_svg(group)
    parts = (
        f"![{_PICTURE}](pictures/{name})" if picture else "",
        _pareto_front(group),
        _budget_curve(group),
        _needed_and_held(group),
        _over_budget_by_third(group),
        _prediction_errors(group),
        _guards(group.memory.guards),
    )
    return (Section("Memory", tuple(part for part in parts if part), {name: picture} if picture else {}),)


def _score_memory_svg(group: GroupAnalysis) -> bytes | None:
    families = {study.label: study.memory.points for study in group.studies if study.memory.points}
    if not families:
        return None
    return figures.score_memory_svg(families, group.memory.pareto_front, group.record.budget_bytes)


def _pareto_front(group: GroupAnalysis) -> str:
    """Write the trials on the Pareto front, by rising memory; empty where there is none."""
    front = group.memory.pareto_front
    if not front:
        return ""
    points = ", ".join(
        f"{escape(point.label)} trial {point.number} "
        f"({ratio(point.macro_f1)} at {'' if point.measured else '~'}{format_size(point.budget_bytes)})"
        for point in front
    )
    measured = all(point.measured for point in front)
    note = "" if measured else " `~` marks a size that is predicted, not measured."
    return f"**Pareto front**, the completed trials that none beats in macro F1 with as little memory: {points}.{note}"


def _budget_curve(group: GroupAnalysis) -> str:
    """Write the best score within each budget, one row a study.

    A completed trial counts for every budget that it fits into. Where nothing was measured, the predicted footprint
    stands in, and the cell is marked `~`. Without any such size there is no table.
    """
    lead = "**Best score within a budget**, of the completed trials that fit into it: macro F1 (accuracy)."
    if not group.memory.budgets:
        return f"{lead} No completed trial has a peak to hold against a budget."
    own = format_size(group.record.budget_bytes)
    fitted = f"Micro-batches were fitted into {own}, so a search within less may find better."
    columns = [f"{size / GIB:g} GiB" if 4 * size >= GIB else f"{size // MIB} MiB" for size in group.memory.budgets]
    rows = [[escape(study.label), *map(_best_score, study.memory.best_within)] for study in group.studies]
    curve = table(["Family", *columns], rows, numeric=columns)
    return f"{' '.join([lead, fitted, *_below_what_was_held(group), *_not_measured(group)])}\n\n{curve}"


def _best_score(best: TrialRecord | None) -> str:
    if best is None:
        return NOTHING
    mark = "~" if best.memory.reading.measured_bytes is None else ""
    return f"{mark}{ratio(best.scores.valid_macro_f1)} ({percent(best.scores.valid_accuracy)})"


def _below_what_was_held(group: GroupAnalysis) -> list[str]:
    """Say why a trial can fit into less than it held, where one does."""
    if not group.memory.below_held:
        return []
    return [
        "Here, in the picture and on the Pareto front, a measured trial counts with what it needed and what lay beside "
        "the framework's allocator, where both are known, and not with what it held: the allocator takes regions that "
        "double in size, so what it holds can be twice the need."
    ]


def _not_measured(group: GroupAnalysis) -> list[str]:
    """Say what a reader must know of the sizes behind the budget curve."""
    memories = [(escape(study.label), study.memory) for study in group.studies]
    predicted = [
        f"{each.predicted_only} of {each.completed} of {name}" for name, each in memories if each.predicted_only
    ]
    without = [f"{each.without_size} of {each.completed} of {name}" for name, each in memories if each.without_size]
    sentences = []
    if not group.memory.measured:
        sentences.append("Cells marked `~` rest on predicted footprints: nothing was measured.")
    elif predicted:
        sentences.append(
            "Cells marked `~` rest on predicted footprints, for some completed trials were not measured: "
            f"{', '.join(predicted)}."
        )
    if without:
        sentences.append(f"Left out, with neither a measured nor a predicted peak: {', '.join(without)}.")
    return sentences


def _needed_and_held(group: GroupAnalysis) -> str:
    """Write what each study's best trial needed and held, and held / needed of all trials.

    Empty where no best trial has either.
    """
    best = [trial for study in group.studies if (trial := study.results.best) is not None]
    if all(trial.memory.allocator_peak_bytes is None and trial.memory.reading.measured_bytes is None for trial in best):
        return ""
    lead = (
        "**Needed and held** by the best trials. Needed: the most bytes in use in the framework's allocator. Held: the "
        "process's memory on the device, by NVML, with the source of the reading."
    )
    rows = [[escape(study.label), *_best_needed_and_held(study)] for study in group.studies]
    figures = table(["Family", "Trial", "Needed", "Held"], rows, numeric=["Trial", "Needed", "Held"])
    shares = "; ".join(
        f"{escape(study.label)} {ratio(share.median)} and {ratio(share.maximum)} ({plural(share.trials, 'trial')})"
        for study in group.studies
        if (share := study.held_over_needed) is not None
    )
    if not shares:
        return f"{lead}\n\n{figures}"
    allocator = (
        f"Held / needed, median and maximum of all trials that have both: {shares}. That is what the allocator's "
        "regions add, and what lies beside the allocator."
    )
    return f"{lead} {allocator}\n\n{figures}"


def _best_needed_and_held(study: StudyAnalysis) -> list[str]:
    best = study.results.best
    if best is None:
        return [NOTHING] * 3
    return [str(best.number), size_or_dash(best.memory.allocator_peak_bytes), measured_memory(best.memory.reading)]


def _over_budget_by_third(group: GroupAnalysis) -> str:
    """Write how many trials broke the budget, or were refused, in each third of a search, by order of number.

    A study of fewer than three trials has dashes; empty when all have so few.
    """
    if all(study.memory.thirds is None for study in group.studies):
        return ""
    lead = (
        "**Over the budget in the course of the search**, of all trials in each third by number. Over: stopped in "
        "training, over budget or out of GPU memory. Refused: never trained."
    )
    rows = [[escape(study.label), *_thirds(study)] for study in group.studies]
    return f"{lead}\n\n{table(['Family', *_THIRDS], rows, numeric=_THIRDS)}"


def _thirds(study: StudyAnalysis) -> list[str]:
    if study.memory.thirds is None:
        return [NOTHING] * len(_THIRDS)
    return [f"{third.over} of {third.trials} over, {third.refused} refused" for third in study.memory.thirds]


def _prediction_errors(group: GroupAnalysis) -> str:
    """Write how far predicted needs lie from what was needed; no table without a trial that has both figures."""
    lead = "**Predicted against needed**: predicted need / needed. Error: |predicted / needed − 1|."
    found = [(study.label, errors) for study in group.studies if (errors := study.prediction_errors) is not None]
    if not found:
        return f"{lead} No trial has both figures."
    notes = [
        "Too low: the share of trials that needed more than was predicted.",
        "Trials that may have ended before their peak (out of memory, crashed, interrupted) are left out; one that was "
        "stopped over the budget without a cap counts with what it held by then.",
    ]
    stand_ins = sum(errors.stand_ins for _, errors in found)
    if stand_ins:
        notes.append(
            f"For {plural(stand_ins, 'trial')} the allocator's peak is not known. What NVML read, less what lay beside "
            "the allocator, stands in; it is too large by what the allocator's regions add."
        )
    columns = [
        *("Family", "Trials", "Minimum", "Median", "Maximum"),
        *("Error, median", "Error, 95th percentile", "Too low"),
    ]
    rows = [[escape(label), *_error_cells(errors)] for label, errors in found]
    return f"{' '.join([lead, *notes])}\n\n{table(columns, rows, numeric=columns[1:])}"


def _error_cells(errors: PredictionErrors) -> list[str]:
    ratios = (errors.minimum, errors.median, errors.maximum)
    shares = (errors.error_median, errors.error_95, errors.too_low)
    return [str(errors.trials), *map(ratio, ratios), *map(percent, shares)]


def _guards(guards: GuardCounts) -> str:
    """Write which guard stopped how many trials: the cap inside the framework, or the watchdog outside."""
    sentences = []
    if not guards.capped and not guards.watched:
        sentences.append(
            "No trial was measured, so neither guard was tried; the budget was held against predicted footprints: "
            f"{guards.refused} refused."
        )
    else:
        cap = (
            f"stopped {guards.stopped_by_cap} of {guards.capped} trials that had one"
            if guards.capped
            else "was not set"
        )
        watchdog = (
            f"stopped {guards.stopped_by_watchdog} of {guards.watched} trials that it measured"
            if guards.watched
            else "measured nothing"
        )
        sentences.append(f"The cap inside the framework {cap}; the watchdog outside {watchdog}.")
        sentences.append(f"Before training, by predicted footprint: {guards.refused} refused.")
    if guards.out_of_memory_uncapped:
        sentences.append(f"Out of device memory without a cap: {guards.out_of_memory_uncapped}.")
    return f"**Which guard held.** {' '.join(sentences)}"
