"""The comparison of families as markdown with pictures, and as one HTML page; equal records give equal bytes.

Studies are compared within a section only: same data set, protocol, budget, epochs, seed and size of the spaces.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UsageError
from harness.records import StudyResults
from harness.scoring.metrics import confusion
from harness.units import format_size
from reports import memory, needs, search, sections, summary, tables
from reports.diagnosis import held_in_words, limitations
from reports.figures import confusion_matrix_svg
from reports.finals import finals
from reports.markers import inject
from reports.page import page
from reports.pairs import pairwise
from reports.tables import RunLinks, escape, link, percent, ratio
from reports.templating import template


@dataclass(frozen=True)
class Report:
    """The comparison: `pictures` are SVG bytes by file name, linked from the markdown as `pictures/<name>`."""

    markdown: str
    pictures: dict[str, bytes]
    scores: str


@dataclass(frozen=True)
class _Family:
    """One study as the template shows it."""

    label: str
    results: StudyResults
    tracked: str
    facts: str
    limitations: tuple[str, ...]
    history: str | None
    trials: str
    per_genre: str | None
    picture: str | None
    hyperparameters: str


@dataclass(frozen=True)
class _Section:
    """One group as the template shows it."""

    heading: str
    notices: str
    summary: str
    remarks: str
    tested: str
    finals: tuple[str, ...]
    pairs: tuple[str, ...]
    score_memory: str | None
    memory: tuple[str, ...]
    families: tuple[_Family, ...]
    provenance: str


def report(studies: Sequence[StudyResults], links: RunLinks | None = None) -> Report:
    """Return the whole comparison, with `links` to tracked runs where there are any.

    Raises:
        UsageError: there is no study.
    """
    pictures: dict[str, bytes] = {}
    groups = sections.grouped(studies)
    markdown = template("RESULTS.md.j2").render(
        sections=[_section(group, f"section-{1 + index}", pictures, links or {}) for index, group in enumerate(groups)],
        synthetic=sections.SYNTHETIC if any(results.study.dataset.synthetic for results in studies) else None,
        published_note=summary.PUBLISHED_NOTE,
        notes=_notes(groups),
        escape=escape,
    )
    return Report(markdown=markdown, pictures=pictures, scores=tables.scores_json(studies))


def write(studies: Sequence[StudyResults], output: Path) -> list[Path]:
    """Write the comparison and return the files: markdown at `output`, `scores.json` and `pictures/` beside it.

    Each file is replaced whole, the markdown last, so a reader never meets half a report.

    Raises:
        UsageError: there is no study, or the place cannot be written to.
    """
    _no_folder(output, "--output")
    made = report(studies)
    pictures = {output.parent / "pictures" / name: picture for name, picture in sorted(made.pictures.items())}
    files = {**pictures, output.parent / "scores.json": made.scores.encode(), output: made.markdown.encode()}
    try:
        for path, content in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            _replace(path, content)
    except OSError as error:
        raise UsageError(f"{output}: cannot write the report ({error}). Name another file with --output.") from error
    return list(files)


def write_page(studies: Sequence[StudyResults], output: Path, links: RunLinks | None = None) -> Path:
    """Write the comparison as one HTML page that needs nothing else, with `links` to tracked runs; return the path.

    Raises:
        UsageError: there is no study, or the place cannot be written to.
    """
    _no_folder(output, "--html")
    made = report(studies, links)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        _replace(output, page(made.markdown, made.pictures).encode())
    except OSError as error:
        raise UsageError(f"{output}: cannot write the page ({error}). Name another file with --html.") from error
    return output


def results_table(studies: Sequence[StudyResults]) -> str:
    """Return the summary tables alone, with their notices and notes, to stand in another document.

    Raises:
        UsageError: there is no study.
    """
    groups = sections.grouped(studies)
    parts = [
        part
        for group in groups
        for part in (
            f"**{sections.heading(group)}**",
            sections.notices(group),
            summary.summary(group),
            summary.remarks(group),
        )
        if part
    ]
    return "\n\n".join([*parts, summary.PUBLISHED_NOTE, *_notes(groups)]) + "\n"


def _notes(groups: Sequence[sections.Group]) -> list[str]:
    """Return what is to be known of all sections' scores, paragraph by paragraph."""
    opened = any(results.finals is not None for group in groups for results in group)
    notes = [summary.SCORE_NOTE, summary.TESTED_NOTE] if opened else [summary.SCORE_NOTE]
    return [*notes, *sections.artist_gaps(groups)]


def inject_into(path: Path, studies: Sequence[StudyResults]) -> Path:
    """Renew the results table between the markers of the document at `path`, and return the path.

    The document is replaced whole; line ends stay as they are.

    Raises:
        UsageError: there is no study, the file cannot be read or written, or the markers are not there.
    """
    _no_folder(path, "--inject")
    table = results_table(studies)
    try:
        document = path.read_bytes().decode()
        _replace(path, inject(table, document).encode())
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: the table cannot be renewed ({error}). Name another file with --inject.") from error
    return path


def _no_folder(path: Path, option: str) -> None:
    # An empty name is that of the folder that this process is in.
    if os.path.isdir(path):
        raise UsageError(f"{option} {path}: a folder. Name a file, which may be in it.")


def _replace(path: Path, content: bytes) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        draft.write_bytes(content)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _section(group: sections.Group, name: str, pictures: dict[str, bytes], links: RunLinks) -> _Section:
    """Return a group for the template; its pictures are added to `pictures`, under names that say whose they are."""
    labels = sections.labels(group)
    return _Section(
        heading=sections.heading(group),
        notices=sections.notices(group),
        summary=summary.summary(group),
        remarks=summary.remarks(group),
        tested=summary.tested_word(group),
        finals=finals(group),
        pairs=pairwise(group),
        score_memory=_kept(pictures, f"memory-{name}.svg", memory.score_memory_svg(group)),
        memory=_memory(group),
        families=tuple(_family(results, labels[results.study.study], pictures, links) for results in group),
        provenance=sections.provenance(group),
    )


def _memory(group: sections.Group) -> tuple[str, ...]:
    parts = (
        *(memory.pareto_front, memory.budget_curve, needs.needed_and_held, memory.over_budget_by_third),
        *(needs.prediction_errors, memory.guards),
    )
    return tuple(text for part in parts if (text := part(group)))


def _family(results: StudyResults, label: str, pictures: dict[str, bytes], links: RunLinks) -> _Family:
    best = results.best
    predictions = results.predictions.get(best.number) if best else None
    name = re.sub(r"[^A-Za-z0-9.-]+", "_", results.study.study)
    matrix = None
    if best and predictions:
        title = f"{results.study.family}, trial {best.number}: {len(predictions.labels)} validation tracks"
        matrix = confusion_matrix_svg(confusion(predictions), predictions.genres, title)
    return _Family(
        label=label,
        results=results,
        tracked=_tracked(results, links),
        facts=_facts(results),
        limitations=tuple(map(escape, limitations(results))),
        history=_kept(pictures, f"search-{name}.svg", search.history_svg(results)),
        trials=search.trial_table(results, links),
        per_genre=tables.per_genre_table(predictions) if predictions else None,
        picture=_kept(pictures, f"confusion-{name}.svg", matrix),
        hyperparameters=search.hyperparameters(results),
    )


def _kept(pictures: dict[str, bytes], name: str, picture: bytes | None) -> str | None:
    """Return the name under which the picture is among `pictures` now; None where there is none."""
    if picture is None:
        return None
    pictures[name] = picture
    return name


def _tracked(results: StudyResults, links: RunLinks) -> str:
    """Return links to the runs of the study and of its finals; those of its trials stand in their table."""
    study, finals = results.study.study, results.finals.runs if results.finals is not None else ()
    runs = {"the study": links.get((study, None))}
    for run in finals:
        fold = "" if run.fold is None else f", outer fold {run.fold + 1}"
        runs[f"{run.role}, seed {run.seed + 1}{fold}"] = links.get((study, run.key))
    return " · ".join(link(text, address) for text, address in runs.items() if address is not None)


def _facts(results: StudyResults) -> str:
    best = results.best
    if best is None:
        return "No trial completed, so there is nothing to score."
    facts = [
        f"trial {best.number}",
        f"validation accuracy {percent(best.valid_accuracy)}, macro F1 {ratio(best.valid_macro_f1)}",
        f"training accuracy {percent(best.train_accuracy)}",
    ]
    if best.best_epoch is not None and best.epochs:
        folds = {epoch.fold for epoch in best.epochs}
        over = f" over {len(folds)} folds, each its own best, the median" if len(folds) > 1 else ""
        facts.append(f"best epoch {best.best_epoch} of {len(best.epochs)} trained{over}")
    if best.micro_batch is not None:
        facts.append(f"micro-batch {best.micro_batch} × {best.accumulation or 1}")
    if best.footprint_bytes is not None:
        facts.append(f"predicted footprint {format_size(best.footprint_bytes)}")
    if best.allocator_peak_bytes is not None:
        facts.append(f"needed: {format_size(best.allocator_peak_bytes)}")
    facts.append(f"held: {held_in_words(best)}")
    return f"Best: {'; '.join(facts)}."
