"""The comparison of families put together from its sections; equal records give equal bytes.

Studies are compared within a group only: same data set, protocol, budget, epochs, seed and size of the spaces. To add a
section, write a module in `reports/sections/` with a function like those in `SECTIONS`, and list it there. A figure
that it needs is computed in `harness/analysis/` and read from the `GroupAnalysis`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.analysis.comparison_group import GroupAnalysis, analyse
from harness.records.base import RunLinks
from harness.records.study import StudyResults
from reports import notes
from reports.exports import scores_json
from reports.sections import family, final_test, headline, memory, pairwise, provenance
from reports.templating import Section, load_template

SECTIONS: tuple[Callable[[GroupAnalysis, RunLinks], Sequence[Section]], ...] = (
    final_test.sections,
    pairwise.sections,
    memory.sections,
    family.sections,
    provenance.sections,
)
"""What stands under each group's headline, in this order; a function returns none where it has nothing to say."""

_NOT_COMPARABLE = (
    "Studies on different data sets, protocols, budgets, epochs, seeds or space sizes are not comparable; each has a "
    "section of\nits own."
)


@dataclass(frozen=True)
class Report:
    """The comparison: `pictures` are SVG bytes by file name, linked from the markdown as `pictures/<name>`."""

    markdown: str
    pictures: dict[str, bytes]
    scores: str


@dataclass(frozen=True)
class _Group:
    """One group as the template shows it."""

    headline: Section
    sections: tuple[Section, ...]


def build_report(studies: Sequence[StudyResults], links: RunLinks | None = None) -> Report:
    """Build the whole comparison, with `links` to tracked runs where there are any.

    Raises:
        UsageError: there is no study.
    """
    analyses = analyse(studies)
    groups = [
        _Group(headline.section(group), tuple(part for make in SECTIONS for part in make(group, links or {})))
        for group in analyses
    ]
    synthetic = any(results.study.dataset.synthetic for results in studies)
    introduction = (
        *[f"> **{notes.SYNTHETIC}**"] * synthetic,
        *[_NOT_COMPARABLE] * (len(groups) > 1),
        *notes.score_notes(analyses),
    )
    return Report(
        markdown=load_template("RESULTS.md.j2").render(introduction=introduction, groups=groups),
        pictures={name: each for group in groups for part in group.sections for name, each in part.pictures.items()},
        scores=scores_json(studies),
    )


def results_table(studies: Sequence[StudyResults]) -> str:
    """Build the headline tables alone, with their notices and notes, to stand in another document.

    Raises:
        UsageError: there is no study.
    """
    groups = analyse(studies)
    tables = [
        part
        for group in groups
        for part in (
            f"**{headline.heading(group)}**",
            notes.notices(group),
            headline.comparison_table(group),
            notes.remarks(group),
        )
        if part
    ]
    return "\n\n".join([*tables, notes.PUBLISHED_NOTE, *notes.score_notes(groups)]) + "\n"
