"""Is the first really better than the second? Every pair of families, on the same tracks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.records import Predictions, Role
from harness.scoring.comparison import Comparison, compare
from reports.sections import Group, labels
from reports.tables import markdown_table, p_value, points
from reports.tested import tested

_LEVEL = 0.05
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


def pairwise(group: Group) -> tuple[str, ...]:
    """Return which differences between families hold, as words and a matrix; empty with fewer than two families.

    The winners' tested answers count; where fewer than two families have any, the best trials' validation answers.
    """
    lead, answers = _TESTED, _same_tracks(_tested_answers(group))
    if len(answers) < 2:
        lead, answers = _VALIDATION, _same_tracks(_validation_answers(group))
    if len(answers) < 2:
        return ()
    comparisons = compare(answers)
    sentences = [lead.format(len(next(iter(answers.values())).tracks)), *_verdict(comparisons)]
    if missing := [name for name in labels(group).values() if name not in answers]:
        sentences.append(f"Without such answers: {', '.join(missing)}.")
    return " ".join(sentences), _matrix(comparisons, list(answers)), _NOTE


def _tested_answers(group: Group) -> dict[str, Predictions]:
    names = labels(group)
    return {
        names[results.study.study]: winner.answers
        for results in group
        if (winner := tested(results, Role.WINNER)) is not None and winner.answers is not None
    }


def _validation_answers(group: Group) -> dict[str, Predictions]:
    names = labels(group)
    return {
        names[results.study.study]: answers
        for results in group
        if results.best is not None and (answers := results.predictions.get(results.best.number)) is not None
    }


def _same_tracks(answers: Mapping[str, Predictions]) -> dict[str, Predictions]:
    """Return those that answer the tracks of the first."""
    first = next((sorted(each.tracks) for each in answers.values()), [])
    return {name: each for name, each in answers.items() if sorted(each.tracks) == first}


def _verdict(comparisons: Sequence[Comparison]) -> list[str]:
    """Return which differences hold, and what that says of the first two, as sentences."""
    holding = [pair for pair in comparisons if pair.adjusted_p_value <= _LEVEL]
    better = [
        f"{pair.first} over {pair.second}" if pair.difference > 0 else f"{pair.second} over {pair.first}"
        for pair in holding
    ]
    which = f" ({', '.join(better)})" if better else ""
    told = f"Differences that hold at {_LEVEL} after Holm's correction: {len(better)} of {len(comparisons)}{which}."
    leading = comparisons[0]
    first, second = leading.first, leading.second
    by = f"{points(leading.difference)}, corrected p {p_value(leading.adjusted_p_value)}"
    if leading not in holding:
        answer = f"So the first of them, {first}, is not shown to be better than the second, {second} ({by})."
    elif leading.difference > 0:
        answer = f"So the first of them, {first}, is better than the second, {second} ({by})."
    else:
        answer = f"So the second of them, {second}, is better than the first, {first} ({by})."
    return [told, f"**{answer}**"]


def _matrix(comparisons: Sequence[Comparison], names: Sequence[str]) -> str:
    cells = {(pair.first, pair.second): _cell(pair) for pair in comparisons}
    rows = [[row, *(cells.get((row, column), "") for column in names[1:])] for row in names[:-1]]
    return markdown_table(["", *names[1:]], rows, numeric=names[1:])


def _cell(pair: Comparison) -> str:
    return f"{points(pair.difference)}, p {p_value(pair.p_value)}, Holm {p_value(pair.adjusted_p_value)}"
