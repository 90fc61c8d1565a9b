"""Is the first really better than the second? Every pair of families, on the same tracks."""

from __future__ import annotations

from collections.abc import Sequence

from harness.analysis.comparison_group import GroupAnalysis
from harness.analysis.pairwise import LEVEL, PairwiseTests
from harness.markdown import escape, table
from harness.records.base import RunLinks
from harness.scoring.comparison import Comparison
from reports.formatting import p_value, points
from reports.templating import Section

_TESTED = "Compared are the winners' answers to the {} tested tracks, each family's first seed."
_VALIDATION = (
    "Compared are the best trials' answers to the {} **validation** tracks by which they were chosen; fewer than two "
    "families are tested."
)
_NOTE = (
    "A cell is the accuracy of the row's family minus that of the column's, the p-value of McNemar's exact test, and "
    "the same after Holm's correction over all pairs. The test is about these trained models, not about what another "
    "seed would change, and takes tracks as independent: where artists have several, p-values are too small."
)


def sections(group: GroupAnalysis, links: RunLinks) -> tuple[Section, ...]:
    """Write which differences between families hold; no section with fewer than two families to compare."""
    tests = group.pairwise
    if tests is None:
        return ()
    lead = (_TESTED if tests.tested else _VALIDATION).format(tests.tracks)
    sentences = [lead, *_verdict(tests)]
    if tests.missing:
        sentences.append(f"Without such answers: {', '.join(map(escape, tests.missing))}.")
    parts = (" ".join(sentences), _matrix(tests.comparisons, tests.labels), _NOTE)
    return (Section("Is the first really better than the second?", parts),)


def _verdict(tests: PairwiseTests) -> list[str]:
    """Say which differences hold, and what that means for the first two."""
    better = [
        f"{escape(pair.first)} over {escape(pair.second)}"
        if pair.difference > 0
        else f"{escape(pair.second)} over {escape(pair.first)}"
        for pair in tests.holding
    ]
    which = f" ({', '.join(better)})" if better else ""
    count = f"{len(better)} of {len(tests.comparisons)}{which}"
    leading = tests.comparisons[0]
    first, second = escape(leading.first), escape(leading.second)
    by = f"{points(leading.difference)}, corrected p {p_value(leading.adjusted_p_value)}"
    if leading not in tests.holding:
        answer = f"So the first of them, {first}, is not shown to be better than the second, {second} ({by})."
    elif leading.difference > 0:
        answer = f"So the first of them, {first}, is better than the second, {second} ({by})."
    else:
        answer = f"So the second of them, {second}, is better than the first, {first} ({by})."
    return [f"Differences that hold at {LEVEL} after Holm's correction: {count}.", f"**{answer}**"]


def _matrix(comparisons: Sequence[Comparison], labels: Sequence[str]) -> str:
    cells = {(pair.first, pair.second): _cell(pair) for pair in comparisons}
    names = [escape(label) for label in labels]
    rows = [[escape(row), *(cells.get((row, column), "") for column in labels[1:])] for row in labels[:-1]]
    return table(["", *names[1:]], rows, numeric=names[1:])


def _cell(pair: Comparison) -> str:
    return f"{points(pair.difference)}, p {p_value(pair.p_value)}, Holm {p_value(pair.adjusted_p_value)}"
