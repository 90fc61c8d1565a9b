"""How the figures of a report are written, beside those of `harness.units`."""

from __future__ import annotations

from collections.abc import Mapping

from harness.analysis.comparison_group import GroupAnalysis
from harness.records.trial import Outcome, Reading
from harness.scoring.metrics import Interval
from harness.units import NOTHING, format_size, is_finite, percent, percent_range


def points(difference: float) -> str:
    """Write a difference of two fractions in points of a per cent: `+4.5 points`."""
    # Adding 0 takes the sign off what rounds to 0.
    return f"{round(100 * difference, 1) + 0.0:+.1f} points".replace("-", "−")


def p_value(probability: float) -> str:
    """Write a p-value with its sign: `= 0.0123`, or `< 0.001`."""
    return "< 0.001" if probability < 0.001 else f"= {probability:.3g}"


def seconds(spent: float | None) -> str:
    """Write seconds with one decimal below ten: `4.2`, `1,234`; or a dash."""
    if spent is None or not is_finite(spent):
        return NOTHING
    return f"{spent:.1f}" if spent < 10 else f"{spent:,.0f}"


def milliseconds(spent: float) -> str:
    """Write seconds as milliseconds: `42 ms`, `3.1 ms`."""
    return f"{1000 * spent:.1f} ms" if spent < 0.01 else f"{1000 * spent:,.0f} ms"


def accuracy_on(accuracy: float | None, interval: Interval, tracks: int) -> str:
    """Write an accuracy with its interval: `61.0 % (54–68 %; 200 tracks)`."""
    return f"{percent(accuracy)} ({percent_range(interval)}; {tracks} tracks)"


def size_or_dash(size: int | None) -> str:
    """Write a size in bytes, or a dash."""
    return NOTHING if size is None else format_size(size)


def measured_memory(reading: Reading) -> str:
    """Write what a trial held with the source of the reading: `2.00 GiB (process)`, or `not measured`."""
    size = reading.measured_bytes
    return "not measured" if size is None else f"{format_size(size)} ({reading.source.label})"


def part_of_budget(size: int, budget: int) -> str:
    """Write a share of the budget, both in bytes: `3.10 of 8.00 GiB`, `310 MiB of 8.00 GiB`."""
    part, whole = format_size(size), format_size(budget)
    return f"{part.removesuffix(whole[whole.index(' ') :])} of {whole}"


def outcome_counts(counts: Mapping[Outcome, int]) -> str:
    """Write how many trials ended in which way: `8 completed, 2 pruned`."""
    return ", ".join(f"{count} {outcome.label}" for outcome, count in counts.items())


def tested_word(group: GroupAnalysis) -> str:
    """Name what final scores are on: `Test`, or `Outer folds` where the protocol keeps no test set."""
    return group.tested_on.capitalize()
