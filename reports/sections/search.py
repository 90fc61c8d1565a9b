"""The course of a study's search: its picture, its trials one by one, and which hyperparameters mattered."""

from __future__ import annotations

from harness.analysis.comparison_group import StudyAnalysis
from harness.markdown import escape, folded, link, one_line, table
from harness.records.base import RunLinks
from harness.records.trial import TrialRecord
from harness.units import NOTHING, format_setting, percent, plural, ratio
from reports.figures import search_history_svg
from reports.formatting import seconds, size_or_dash

_LONGEST_MESSAGE = 160
_MOST_IMPORTANT = 3


def history_svg(study: StudyAnalysis) -> bytes | None:
    """Draw the search: scores by trial, the best so far, and how the others ended; None without trials.

    A completed trial without a finite score stands with the others.
    """
    trials = study.results.trials
    if not trials:
        return None
    title = f"{study.record.family}: {plural(len(trials), 'trial')}"
    return search_history_svg(study.search.scores, study.search.unscored, title)


def trial_table(study: StudyAnalysis, links: RunLinks) -> str:
    """Write every trial as a row of a table, folded; empty without trials."""
    trials = study.results.trials
    if not trials:
        return ""
    rows = [
        [
            link(str(trial.number), links.get((study.record.name, trial.number))),
            trial.outcome.label,
            ratio(trial.scores.valid_macro_f1) if trial.completed else NOTHING,
            percent(trial.scores.valid_accuracy) if trial.completed else NOTHING,
            *map(
                size_or_dash,
                (trial.memory.footprint_bytes, trial.memory.allocator_peak_bytes, trial.memory.reading.measured_bytes),
            ),
            NOTHING if trial.batch is None else f"{trial.batch.micro_batch} × {trial.batch.accumulation}",
            seconds(trial.timing.train_seconds),
            _message(trial),
        ]
        for trial in trials
    ]
    columns = [
        *("Trial", "Outcome", "Macro F1", "Accuracy", "Footprint", "Needed", "Held"),
        *("Micro-batch", "Training seconds", "What happened"),
    ]
    title = f"All {len(rows)} trials" if len(rows) > 1 else "The only trial"
    return folded(title, table(columns, rows, numeric=["Trial", *columns[2:-1]]))


def hyperparameters(study: StudyAnalysis) -> str:
    """Write which hyperparameters mattered, and a folded table of them; empty without trials.

    The table has the best trial's and the baseline's values, and the importance that the search logged.
    """
    shares = study.search.hyperparameters
    if not shares:
        return ""
    best, baseline = study.results.best, study.results.baseline
    trials = {f"Best (trial {best.number})": best} if best else {}
    trials |= {"Baseline (trial 0)": baseline} if baseline else {}
    rows = [
        [
            escape(name),
            *(escape(format_setting(trial.params.get(name))) for trial in trials.values()),
            percent(share),
        ]
        for name, share in shares.items()
    ]
    columns = ["Hyperparameter", *trials, "Importance"]
    return f"{_importance(study)}\n\n{folded('Hyperparameters', table(columns, rows, columns[1:]))}"


def _importance(study: StudyAnalysis) -> str:
    completed = study.memory.completed
    lead = "**Importance of hyperparameters**"
    known = [
        f"{escape(name)} {percent(share)}" for name, share in study.search.hyperparameters.items() if share is not None
    ]
    if not known:
        return f"{lead}: not known; it takes two completed trials with different scores, and there are {completed}."
    return (
        f"{lead}, as a share of the variance of the score (fANOVA, of those that every completed trial has): "
        f"{', '.join(known[:_MOST_IMPORTANT])}. It rests on {plural(completed, 'completed trial')}; of few trials it "
        "is a hint, not a finding."
    )


def _message(trial: TrialRecord) -> str:
    message = one_line(trial.message)
    cut = message if len(message) <= _LONGEST_MESSAGE else f"{message[:_LONGEST_MESSAGE]}…"
    return escape(cut) or NOTHING
