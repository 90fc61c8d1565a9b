"""The course of a study's search: its trials one by one, and which hyperparameters mattered."""

from __future__ import annotations

from collections import defaultdict

from harness.records import Outcome, StudyResults, TrialRecord, is_finite
from harness.units import format_size
from reports.diagnosis import measured_peak
from reports.figures import search_history_svg
from reports.tables import (
    NOTHING,
    RunLinks,
    count,
    escape,
    folded,
    link,
    markdown_table,
    one_line,
    percent,
    ratio,
    seconds,
    value,
)

_LONGEST_MESSAGE = 160
_TOLD = 3


def history_svg(results: StudyResults) -> bytes | None:
    """Return the search as a picture: scores by trial, the best so far, and how the others ended; None without trials.

    A completed trial without a finite score stands with the others.
    """
    scores: dict[int, float] = {}
    unscored: dict[Outcome, list[int]] = defaultdict(list)
    for trial in results.trials:
        if trial.completed and trial.valid_macro_f1 is not None and is_finite(trial.valid_macro_f1):
            scores[trial.number] = trial.valid_macro_f1
        else:
            unscored[trial.outcome].append(trial.number)
    if not results.trials:
        return None
    in_order = {outcome: unscored[outcome] for outcome in Outcome if outcome in unscored}
    return search_history_svg(scores, in_order, f"{results.study.family}: {count(len(results.trials), 'trial')}")


def trial_table(results: StudyResults, links: RunLinks) -> str:
    """Return every trial as a row of a markdown table, folded; empty without trials."""
    if not results.trials:
        return ""
    rows = [
        [
            link(str(trial.number), links.get((results.study.study, trial.number))),
            trial.outcome.replace("_", " "),
            ratio(trial.valid_macro_f1) if trial.completed else NOTHING,
            percent(trial.valid_accuracy) if trial.completed else NOTHING,
            *map(_size, (trial.footprint_bytes, trial.allocator_peak_bytes, measured_peak(trial))),
            NOTHING if trial.micro_batch is None else f"{trial.micro_batch} × {trial.accumulation or 1}",
            seconds(trial.train_seconds),
            _message(trial),
        ]
        for trial in results.trials
    ]
    columns = [
        *("Trial", "Outcome", "Macro F1", "Accuracy", "Footprint", "Needed", "Held"),
        *("Micro-batch", "Training seconds", "What happened"),
    ]
    table = markdown_table(columns, rows, numeric=["Trial", *columns[2:-1]])
    return folded(f"All {len(rows)} trials" if len(rows) > 1 else "The only trial", table)


def hyperparameters(results: StudyResults) -> str:
    """Return what the search says of the hyperparameters: which mattered, and a folded table; empty without trials.

    The table has the best trial's and the baseline's values, and the importance that the search logged.
    """
    trials: dict[str, TrialRecord] = {}
    if results.best:
        trials[f"Best (trial {results.best.number})"] = results.best
    if results.baseline:
        trials["Baseline (trial 0)"] = results.baseline
    shares = {name: share for name, share in results.importance.items() if is_finite(share)}
    names = {name for trial in trials.values() for name in trial.params} | shares.keys()
    if not names:
        return ""
    rows = [
        [
            escape(name),
            *(escape(value(trial.params.get(name))) for trial in trials.values()),
            percent(shares.get(name)),
        ]
        for name in sorted(names, key=lambda name: (-shares.get(name, -1.0), name))
    ]
    columns = ["Hyperparameter", *trials, "Importance"]
    return f"{_importance(results, shares)}\n\n{folded('Hyperparameters', markdown_table(columns, rows, columns[1:]))}"


def _importance(results: StudyResults, shares: dict[str, float]) -> str:
    completed = sum(trial.completed for trial in results.trials)
    lead = "**Importance of hyperparameters**"
    if not shares:
        return f"{lead}: not known; it takes two completed trials with different scores, and there are {completed}."
    leading = sorted(shares.items(), key=lambda item: (-item[1], item[0]))[:_TOLD]
    told = ", ".join(f"{escape(name)} {percent(share)}" for name, share in leading)
    return (
        f"{lead}, as a share of the variance of the score (fANOVA, of those that every completed trial has): {told}. "
        f"It rests on {count(completed, 'completed trial')}; of few trials it is a hint, not a finding."
    )


def _size(size: int | None) -> str:
    return NOTHING if size is None else format_size(size)


def _message(trial: TrialRecord) -> str:
    message = one_line(trial.message)
    cut = message if len(message) <= _LONGEST_MESSAGE else f"{message[:_LONGEST_MESSAGE]}…"
    return escape(cut) or NOTHING
