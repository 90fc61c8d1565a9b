"""The comparison of families as markdown with pictures, made from records alone; equal records give equal bytes.

Studies are compared within a section only: same data set, protocol, budget, epochs, seed and size of the spaces.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UsageError
from harness.records import StudyResults, TrialRecord
from harness.scoring.metrics import confusion
from harness.units import format_size
from reports import memory, sections, summary, tables
from reports.figures import confusion_matrix_png
from reports.finals import finals
from reports.pairs import pairwise
from reports.tables import one_line, percent, ratio

_OPEN, _CLOSE = "<!-- harness:results -->", "<!-- /harness:results -->"


@dataclass(frozen=True)
class Report:
    """The comparison: `pictures` are PNG bytes by file name, linked from the markdown as `pictures/<name>`."""

    markdown: str
    pictures: dict[str, bytes]
    scores: str


@dataclass(frozen=True)
class _Family:
    """One study as the template shows it."""

    label: str
    results: StudyResults
    facts: str
    hyperparameters: str | None
    per_genre: str | None
    picture: str | None


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
    memory: tuple[str, ...]
    families: tuple[_Family, ...]
    provenance: str


def report(studies: Sequence[StudyResults]) -> Report:
    """Return the whole comparison.

    Raises:
        UsageError: there is no study.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    pictures: dict[str, bytes] = {}
    groups = sections.grouped(studies)
    made = [_section(group, pictures) for group in groups]
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    markdown = environment.get_template("RESULTS.md.j2").render(
        sections=made,
        synthetic=sections.SYNTHETIC if any(results.study.dataset.synthetic for results in studies) else None,
        published_note=summary.PUBLISHED_NOTE,
        notes=_notes(groups),
        one_line=one_line,
    )
    return Report(markdown=markdown, pictures=pictures, scores=tables.scores_json(studies))


def write(studies: Sequence[StudyResults], output: Path) -> list[Path]:
    """Write the comparison and return the files: markdown at `output`, `scores.json` and `pictures/` beside it.

    Each file is replaced whole, the markdown last, so a reader never meets half a report.

    Raises:
        UsageError: there is no study, or the place cannot be written to.
    """
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


def inject(text: str, document: str) -> str:
    """Return `document` with `text` between its two markers, and every other character as it was.

    The markers `<!-- harness:results -->` and `<!-- /harness:results -->` each stand once, alone on a line.

    Raises:
        UsageError: a marker is missing, stands twice, or the two are out of order.
    """
    opening, closing = (_marker(marker, document) for marker in (_OPEN, _CLOSE))
    if closing.start() < opening.end():
        raise UsageError(f"The marker {_CLOSE} stands before {_OPEN}. Put the opening marker first.")
    newline = "\r\n" if "\r\n" in document else "\n"
    content = newline.join(["", "", *text.strip().splitlines(), "", ""])
    return document[: opening.end()] + content + document[closing.start() :]


def _marker(marker: str, document: str) -> re.Match[str]:
    found = list(re.finditer(rf"^[ \t]*{re.escape(marker)}(?=[ \t]*\r?$)", document, flags=re.MULTILINE))
    if len(found) != 1:
        count = "is missing" if not found else f"stands {len(found)} times"
        raise UsageError(
            f"The marker {marker} {count} in the document. Put {_OPEN} and {_CLOSE} in it once, each alone on a line."
        )
    return found[0]


def inject_into(path: Path, studies: Sequence[StudyResults]) -> Path:
    """Renew the results table between the markers of the document at `path`, and return the path.

    The document is replaced whole; line ends stay as they are.

    Raises:
        UsageError: there is no study, the file cannot be read or written, or the markers are not there.
    """
    table = results_table(studies)
    try:
        document = path.read_bytes().decode()
        _replace(path, inject(table, document).encode())
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: the table cannot be renewed ({error}). Name another file with --inject.") from error
    return path


def _replace(path: Path, content: bytes) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        draft.write_bytes(content)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _section(group: sections.Group, pictures: dict[str, bytes]) -> _Section:
    """Return a group for the template; its pictures are added to `pictures`."""
    labels = sections.labels(group)
    return _Section(
        heading=sections.heading(group),
        notices=sections.notices(group),
        summary=summary.summary(group),
        remarks=summary.remarks(group),
        tested=summary.tested_word(group),
        finals=finals(group),
        pairs=pairwise(group),
        memory=_memory(group),
        families=tuple(_family(results, labels[results.study.study], pictures) for results in group),
        provenance=sections.provenance(group),
    )


def _memory(group: sections.Group) -> tuple[str, ...]:
    parts = (memory.budget_curve, memory.over_budget_by_third, memory.prediction_errors, memory.guards)
    return tuple(text for part in parts if (text := part(group)))


def _family(results: StudyResults, label: str, pictures: dict[str, bytes]) -> _Family:
    best = results.best
    predictions = results.predictions.get(best.number) if best else None
    picture = None
    if best and predictions:
        picture = f"confusion-{re.sub(r'[^A-Za-z0-9.-]+', '_', results.study.study)}.png"
        title = f"{results.study.family}, trial {best.number}: {len(predictions.labels)} validation tracks"
        pictures[picture] = confusion_matrix_png(confusion(predictions), predictions.genres, title)
    return _Family(
        label=label,
        results=results,
        facts=_facts(results),
        hyperparameters=_hyperparameters(results),
        per_genre=tables.per_genre_table(predictions) if predictions else None,
        picture=picture,
    )


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
    return f"Best: {'; '.join(facts)}."


def _hyperparameters(results: StudyResults) -> str | None:
    trials: dict[str, TrialRecord] = {}
    if results.best:
        trials[f"Best (trial {results.best.number})"] = results.best
    if results.baseline:
        trials["Baseline (trial 0)"] = results.baseline
    return tables.hyperparameter_table(trials) if any(trial.params for trial in trials.values()) else None
