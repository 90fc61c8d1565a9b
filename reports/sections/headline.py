"""The headline of a group: one row a family, and beneath them what any family must beat."""

from __future__ import annotations

from collections.abc import Mapping

from harness.analysis.comparison_group import GroupAnalysis, StudyAnalysis
from harness.analysis.final_scores import ConfigurationScores
from harness.markdown import escape, table
from harness.units import NOTHING, format_count, format_size, percent, percent_range, plural, ratio, ratio_range
from reports import notes
from reports.formatting import accuracy_on, milliseconds, outcome_counts, part_of_budget, seconds, tested_word
from reports.limitation_texts import main_limitation
from reports.templating import Section

_BASELINE = "Validation: baseline"
_ACCURACY, _MACRO_F1 = "Validation: best accuracy (95 % interval)", "Validation: best macro F1"
_PEAK, _PARAMETERS = "Peak VRAM of best (source)", "Parameters of best"
_LATENCY, _SECONDS = "Latency of best, 30 s track", "Training seconds of best"


def section(group: GroupAnalysis) -> Section:
    """Write what stands directly under the heading of a group."""
    parts = (notes.notices(group), comparison_table(group), notes.PUBLISHED_NOTE, notes.remarks(group))
    return Section(heading(group), tuple(part for part in parts if part))


def heading(group: GroupAnalysis) -> str:
    """Write what the studies of the group have in common, on one line."""
    study = group.record
    parts = [
        escape(study.dataset.name),
        f"protocol {escape(study.protocol.name)}",
        format_size(study.budget_bytes),
        plural(study.epochs, "epoch"),
        f"seed {study.seed}",
    ]
    return " · ".join([*parts, "quick"] if study.quick else parts)


def comparison_table(group: GroupAnalysis) -> str:
    """Write the comparison itself: one row a study, then simple baselines and ensembles."""
    word = tested_word(group)
    tested_columns = [f"{word}: baseline", *_winner_columns(word)] if group.tested else [word]
    costs = [_PEAK, _PARAMETERS, _LATENCY, _SECONDS]
    numbers = ["Published¹", _BASELINE, _ACCURACY, _MACRO_F1, *tested_columns, *costs]
    columns = ["Family", *numbers, "Trials", "Main limitation"]
    rows = [
        *(_study_row(study, word) for study in group.studies),
        *_simple_baseline_rows(group),
        *_ensemble_rows(group),
    ]
    return table(columns, [[row.get(column, NOTHING) for column in columns] for row in rows], numeric=numbers)


def _winner_columns(word: str) -> tuple[str, str]:
    return f"{word}: winner's accuracy (95 % interval)", f"{word}: winner's macro F1 (95 % interval)"


def _study_row(study: StudyAnalysis, word: str) -> Mapping[str, str]:
    results, published, best = study.results, study.record.published, study.results.best
    row = {
        "Family": escape(study.label),
        _BASELINE: _validation_of_baseline(study),
        _PEAK: _peak(study),
        "Trials": f"{len(results.trials)}: {outcome_counts(study.search.outcomes)}" if results.trials else "0",
        "Main limitation": escape(main_limitation(study)),
        **_tested_cells(study, word),
    }
    if published:
        row["Published¹"] = f"{percent(published.accuracy)}, F1 {ratio(published.macro_f1)}"
    if best:
        row[_ACCURACY], row[_MACRO_F1] = notes.best_accuracy(study), ratio(best.scores.valid_macro_f1)
        row[_PARAMETERS] = NOTHING if best.parameters is None else format_count(best.parameters)
        row[_LATENCY] = (
            NOTHING if best.timing.inference_seconds is None else milliseconds(best.timing.inference_seconds)
        )
        row[_SECONDS] = seconds(best.timing.train_seconds)
        if study.record.embeddings:
            row |= {column: f"{row[column]} (head)" for column in (_PARAMETERS, _LATENCY, _SECONDS)}
    return row


def _simple_baseline_rows(group: GroupAnalysis) -> list[Mapping[str, str]]:
    """Write a row for each classifier without a network, its scores in the columns of the tracks they are on."""
    places = {"valid": (_ACCURACY, _MACRO_F1), "test": _winner_columns(tested_word(group))}
    rows: dict[str, dict[str, str]] = {}
    for record, interval in group.simple_baselines:
        row = rows.setdefault(record.name, {"Family": f"*{escape(record.name)}*"})
        accuracy, macro_f1 = places[record.partition]
        row[accuracy] = accuracy_on(record.accuracy, interval, record.tracks)
        row[macro_f1] = ratio(record.macro_f1)
    return list(rows.values())


def _ensemble_rows(group: GroupAnalysis) -> list[Mapping[str, str]]:
    accuracy, macro_f1 = _winner_columns(tested_word(group))
    return [
        {
            "Family": f"*ensemble: {escape(record.name)}*",
            accuracy: accuracy_on(record.accuracy, interval, record.tracks),
            macro_f1: ratio(record.macro_f1),
        }
        for record, interval in group.ensembles
    ]


def _tested_cells(study: StudyAnalysis, word: str) -> Mapping[str, str]:
    accuracy, macro_f1 = _winner_columns(word)
    if study.final is None:
        return {word: "not tested", accuracy: "not tested"}
    winner, baseline = study.final.winner, study.final.baseline
    cells = {accuracy: "no complete seed"}
    if winner is not None:
        cells = {accuracy: _tested_accuracy(winner), macro_f1: _tested_macro_f1(winner)}
    if study.final.baseline_won:
        return cells | {f"{word}: baseline": "is the winner"}
    if baseline is None:
        return cells | {f"{word}: baseline": "no complete seed"}
    return cells | {f"{word}: baseline": f"{percent(baseline.accuracy.mean)}, F1 {ratio(baseline.macro_f1.mean)}"}


def _tested_accuracy(scores: ConfigurationScores) -> str:
    mean, deviation = scores.accuracy
    spread = "" if deviation is None else f" ± {100 * deviation:.1f}"
    counts = f"{scores.tracks} tracks, {plural(len(scores.seeds), 'seed')}"
    return f"{percent(mean)}{spread} ({percent_range(scores.accuracy_interval)}; {counts})"


def _tested_macro_f1(scores: ConfigurationScores) -> str:
    mean, deviation = scores.macro_f1
    interval = scores.macro_f1_interval
    spread = "" if deviation is None else f" ± {ratio(deviation)}"
    return f"{ratio(mean)}{spread}" + ("" if interval is None else f" ({ratio_range(interval)})")


def _validation_of_baseline(study: StudyAnalysis) -> str:
    trial = study.results.baseline
    if trial is None:
        return NOTHING
    if not trial.completed:
        return trial.outcome.label
    return f"{percent(trial.scores.valid_accuracy)}, F1 {ratio(trial.scores.valid_macro_f1)}"


def _peak(study: StudyAnalysis) -> str:
    best = study.results.best
    if best is None:
        return NOTHING
    peak = best.memory.reading.measured_bytes
    if peak is None:
        return "not measured"
    return f"{part_of_budget(peak, study.record.budget_bytes)} ({best.memory.reading.source.label})"
