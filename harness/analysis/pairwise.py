"""Paired tests between all families of a group, on the same tracks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.records.predictions import Predictions
from harness.scoring.comparison import Comparison, compare

LEVEL = 0.05
"""A difference holds where its p-value, corrected over all pairs, is at most this."""


@dataclass(frozen=True)
class PairwiseTests:
    """Every pair of models, the best family first.

    Attributes:
        tested: whether they were compared on the tested tracks; else on the validation tracks.
        tracks: how many.
        labels: of the families that were compared, at least two.
        missing: labels of those without predictions of these tracks.
        comparisons: every pair once, in the order of `labels`.
    """

    tested: bool
    tracks: int
    labels: tuple[str, ...]
    missing: tuple[str, ...]
    comparisons: tuple[Comparison, ...]

    @property
    def holding(self) -> tuple[Comparison, ...]:
        """The pairs whose difference holds at `LEVEL`."""
        return tuple(pair for pair in self.comparisons if pair.adjusted_p_value <= LEVEL)


def compare_pairs(
    tested: Mapping[str, Predictions | None], validation: Mapping[str, Predictions | None]
) -> PairwiseTests | None:
    """Test every pair of families for a difference in accuracy; None where fewer than two can be compared.

    Args:
        tested: the winners' predictions of the tested tracks by label, the best family first; these count.
        validation: the best trials' predictions of the validation tracks, for all families: they stand in where fewer
            than two families have been tested.
    """
    chosen = _same_tracks(tested)
    on_tested = len(chosen) >= 2
    if not on_tested:
        chosen = _same_tracks(validation)
    if len(chosen) < 2:
        return None
    return PairwiseTests(
        tested=on_tested,
        tracks=len(next(iter(chosen.values())).tracks),
        labels=tuple(chosen),
        missing=tuple(label for label in validation if label not in chosen),
        comparisons=tuple(compare(chosen)),
    )


def _same_tracks(predictions: Mapping[str, Predictions | None]) -> dict[str, Predictions]:
    """Return those of the same tracks as the first."""
    known = {label: found for label, found in predictions.items() if found is not None}
    first = next((sorted(found.tracks) for found in known.values()), [])
    return {label: found for label, found in known.items() if sorted(found.tracks) == first}
