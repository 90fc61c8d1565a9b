"""A stratified split of tracks that keeps together what must not be parted.

It is not scikit-learn's `StratifiedGroupKFold`, for it promises the same split of the same tracks under any version of
any library, and takes shares of any size.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

Side = TypeVar("Side", bound=str)


def linked_units(tracks: Iterable[str], sets: Iterable[Iterable[str]]) -> list[tuple[str, ...]]:
    """Return the tracks in units that must stay together, sorted: all that the sets link, directly or by others."""
    unit_of = {track: {track} for track in tracks}
    for members in sets:
        merged = set().union(*(unit_of[track] for track in members))
        unit_of |= dict.fromkeys(merged, merged)
    return sorted({tuple(sorted(unit)) for unit in unit_of.values()})


def assign_stratified(
    units: Sequence[tuple[str, ...]],
    genre_of: Mapping[str, str],
    shares: Mapping[Side, float],
    seed: int,
) -> dict[str, Side]:
    """Return a side for every track: whole units, the largest first, each to where its genres miss the most.

    The order among units of a size comes from a hash of seed and name: the same on any machine, with any version of
    any library, whatever the order of `units`. Every genre reaches every side, if it has as many units as there are
    sides and shares none of them with another genre.

    Args:
        units: sets of tracks that stay together.
        genre_of: track -> genre.
        shares: side -> the fraction of each genre's tracks that it should get.
        seed: another seed is another draw.
    """
    contents = {unit: Counter(genre_of[track] for track in unit) for unit in units}
    totals = Counter(genre_of.values())
    units_left = Counter(genre for content in contents.values() for genre in content)
    counts: dict[Side, Counter[str]] = {side: Counter() for side in shares}

    def cost(side: Side, content: Counter[str]) -> tuple[float, bool]:
        """What a unit adds to the chi-squared distance from the targets; of equals, a side still empty is better."""
        growth = 0.0
        for genre, size in content.items():
            target = shares[side] * totals[genre]
            growth += size * (2 * (counts[side][genre] - target) + size) / target
        return round(growth, 9), any(counts[side][genre] for genre in content)

    def order(unit: tuple[str, ...]) -> tuple[int, bytes]:
        return -len(unit), hashlib.sha256(f"{seed}:{unit[0]}".encode()).digest()

    assignment: dict[str, Side] = {}
    for unit in sorted(units, key=order):
        content = contents[unit]
        empty = {genre: [side for side in shares if not counts[side][genre]] for genre in content}
        urgent = [side for genre, sides in empty.items() if units_left[genre] <= len(sides) for side in sides]
        growth = {side: cost(side, content) for side in urgent or shares}
        chosen = min(growth, key=growth.__getitem__)
        counts[chosen] += content
        units_left -= Counter(content.keys())
        assignment |= dict.fromkeys(unit, chosen)
    return assignment
