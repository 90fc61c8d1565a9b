"""What limits a family, in words; the rules and their figures are those of `harness.analysis.limitations`."""

from __future__ import annotations

from harness.analysis.comparison_group import StudyAnalysis
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
)
from harness.units import percent, percent_range, ratio
from reports.formatting import outcome_counts, part_of_budget


def main_limitation(study: StudyAnalysis) -> str:
    """Write what limits the family most, with the figure that says so."""
    return next(map(limitation_text, study.limitations), "none found")


def limitation_text(limitation: Limitation) -> str:
    """Write one limitation with its figures."""
    match limitation:
        case NoCompletedTrial(outcomes):
            return f"no completed trial: {outcome_counts(outcomes)}" if outcomes else "no trial has ended yet"
        case AccuracyAtChance(interval, chance):
            return f"at chance: accuracy {percent_range(interval)}, chance {percent(chance)}"
        case MacroF1AtChance(macro_f1, chance):
            return f"at chance: macro F1 {ratio(macro_f1)}, chance {ratio(chance)}"
        case LostToMemory(lost, trials):
            return f"GPU memory: {lost} of {trials} trials refused, over budget or out of memory"
        case LostToTime(lost, trials):
            return f"time: {lost} of {trials} trials over the time limit"
        case OverFitting(train, valid):
            return f"over-fitting: accuracy {percent(train)} in training, {percent(valid)} in validation"
        case TooFewEpochs(best, allowed):
            return f"too few epochs: best after {best} of {allowed}"
        case FewValidationTracks(tracks, interval):
            return f"few validation tracks: {tracks} leave accuracy at {percent_range(interval)}"
        case UnusedBudget(largest, budget):
            how = "measured" if largest.measured else "predicted"
            return f"unused budget: no trial peaked above {part_of_budget(largest.size, budget)} ({how})"
