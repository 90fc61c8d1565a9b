"""One section a family: its best trial, what limits it, the course of its search, its scores by genre."""

from __future__ import annotations

import re

from harness.analysis.comparison_group import GroupAnalysis, StudyAnalysis
from harness.markdown import escape, genre_table, link
from harness.records.base import RunLinks
from harness.scoring.metrics import confusion, per_genre
from harness.units import format_size, percent, ratio
from reports.figures import confusion_matrix_svg
from reports.formatting import measured_memory
from reports.limitation_texts import limitation_text
from reports.sections import search
from reports.templating import Section

_Illustrated = tuple[tuple[str, ...], dict[str, bytes]]
"""Parts as markdown, and the pictures that they link by file name."""


def sections(group: GroupAnalysis, links: RunLinks) -> tuple[Section, ...]:
    """Write a section for each family of the group, the best first."""
    return tuple(_section(study, links) for study in group.studies)


def _section(study: StudyAnalysis, links: RunLinks) -> Section:
    label, record = escape(study.label), study.record
    name = re.sub(r"[^A-Za-z0-9.-]+", "_", record.name)
    history, history_picture = _history(study, f"search-{name}.svg")
    by_genre, confusion_picture = _by_genre(study, f"confusion-{name}.svg")
    parts = (
        f"{escape(record.description)}. Input: {escape(record.input)}.\nStudy `{record.name}`.",
        _tracked(study, links),
        _best(study),
        _limitations(study),
        f"The original author's limitation: {escape(record.published.limitation)}." if record.published else "",
        *history,
        search.trial_table(study, links),
        *by_genre,
        search.hyperparameters(study),
    )
    return Section(label, tuple(part for part in parts if part), history_picture | confusion_picture)


def _tracked(study: StudyAnalysis, links: RunLinks) -> str:
    """Write links to the runs of the study and of its finals; those of its trials stand in their table."""
    name, finals = study.record.name, study.final.record.runs if study.final is not None else ()
    runs = {"the study": links.get((name, None))}
    runs |= {f"{run.role}, {run.label}": links.get((name, run.key)) for run in finals}
    linked = " · ".join(link(text, address) for text, address in runs.items() if address is not None)
    return f"Runs in MLflow: {linked}." if linked else ""


def _best(study: StudyAnalysis) -> str:
    best = study.results.best
    if best is None:
        return "No trial completed, so there is nothing to score."
    facts = [
        f"trial {best.number}",
        f"validation accuracy {percent(best.scores.valid_accuracy)}, macro F1 {ratio(best.scores.valid_macro_f1)}",
        f"training accuracy {percent(best.scores.train_accuracy)}",
    ]
    if best.best_epoch is not None and best.epochs:
        folds = {epoch.fold for epoch in best.epochs}
        over = f" over {len(folds)} folds, each its own best, the median" if len(folds) > 1 else ""
        facts.append(f"best epoch {best.best_epoch} of {len(best.epochs)} trained{over}")
    if best.batch is not None:
        facts.append(f"micro-batch {best.batch.micro_batch} × {best.batch.accumulation}")
    if best.memory.footprint_bytes is not None:
        facts.append(f"predicted footprint {format_size(best.memory.footprint_bytes)}")
    if best.memory.allocator_peak_bytes is not None:
        facts.append(f"needed: {format_size(best.memory.allocator_peak_bytes)}")
    facts.append(f"held: {measured_memory(best.memory.reading)}")
    return f"Best: {'; '.join(facts)}."


def _limitations(study: StudyAnalysis) -> str:
    if not study.limitations:
        return ""
    first, *others = (escape(limitation_text(limitation)) for limitation in study.limitations)
    return f"Main limitation: {first}." + (f" Also: {'; '.join(others)}." if others else "")


def _history(study: StudyAnalysis, name: str) -> _Illustrated:
    picture = search.history_svg(study)
    if picture is None:
        return (), {}
    shown = f"Search of {escape(study.label)}: macro F1 by trial, the best so far, and how the other trials ended"
    return (f"![{shown}](pictures/{name})",), {name: picture}


def _by_genre(study: StudyAnalysis, name: str) -> _Illustrated:
    best, predictions = study.results.best, study.best_predictions
    if best is None:
        return (), {}
    if predictions is None:
        return ("The predictions of this trial are not stored, so there is no table by genre.",), {}
    title = f"{study.record.family}, trial {best.number}: {len(predictions.labels)} validation tracks"
    parts = (
        f"**By genre**, trial {best.number} on the validation tracks.",
        genre_table(per_genre(predictions)),
        f"![Confusion matrix of {escape(study.label)}](pictures/{name})",
    )
    return parts, {name: confusion_matrix_svg(confusion(predictions), predictions.genres, title)}
