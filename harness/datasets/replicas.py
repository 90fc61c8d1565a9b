"""Tracks that are one recording: the same audio, one name in two formats, another coding, numbered pieces.

A linker takes the tracks and returns sets of ids that it finds to be one recording; each stands in `_LINKERS` with its
reason. Sets that overlap are one group.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from pathlib import Path

from harness.datasets.dataset import Track
from harness.datasets.fingerprint import linked
from harness.datasets.names import normal_name
from harness.datasets.stratified_split import linked_units

_COUNTED = re.compile(r"(?P<stem>.*(?<!\d)\d{3,})[._ -](?P<number>0|[1-9]\d{0,2})")
"""`blues.00000.7`: a piece of a track whose own name ends in a number of three digits or more.

Fewer digits are a disc, an album side or a movement (`1-02`, `CD1.3`); and see `_YEAR`.
"""

_YEAR = re.compile(r"(?:.*\D)?(?:19|20)\d\d")

_WORDED = re.compile(
    r"(?P<stem>.*\w)[._ (-]+(?:part|pt|piece|segment|seg|chunk|clip|slice)[._ -]*(?P<number>\d{1,3})\)?"
)
"""`song_part1`, `song (part 2)`: a piece that says so."""


def replicas(tracks: Iterable[Track]) -> dict[tuple[str, ...], str]:
    """Return the groups of tracks that are one recording, ids sorted, each with the reason why it is one."""
    tracks = list(tracks)
    found = [(reason, same) for reason, linker in _LINKERS.items() for same in linker(tracks)]
    groups = [unit for unit in linked_units([t.id for t in tracks], [same for _, same in found]) if len(unit) > 1]
    return {
        group: "; ".join(dict.fromkeys(reason for reason, same in found if not set(same).isdisjoint(group)))
        for group in groups
    }


def _same_audio(tracks: Sequence[Track]) -> Iterator[list[str]]:
    return _equal(tracks, lambda track: track.digest)


def _same_name(tracks: Sequence[Track]) -> Iterator[list[str]]:
    """Yield tracks whose files lie in one folder under one name, as `song.wav` and `song.mp3` do."""
    return _equal(tracks, lambda track: (track.path.parent, normal_name(track.path.stem)))


def _same_sound(tracks: Sequence[Track]) -> Iterator[list[str]]:
    """Yield tracks that sound the same, one of each audio."""
    different = list({track.digest: track for track in tracks}.values())
    prints = [track.acoustic_fingerprint for track in different]
    for group in linked(prints, [track.seconds for track in different]):
        yield [different[index].id for index in group]


def _equal(tracks: Iterable[Track], key: Callable[[Track], Hashable]) -> Iterator[list[str]]:
    ids = defaultdict(list)
    for track in tracks:
        ids[key(track)].append(track.id)
    return (same for same in ids.values() if len(same) > 1)


def _numbered_pieces(tracks: Sequence[Track]) -> Iterator[list[str]]:
    """Yield tracks in one folder that are pieces of one, by their names.

    To link tracks that are none costs more than to miss some: numbers that tracks of an album have do not count.
    """
    pieces: dict[tuple[Path, str, bool], dict[str, int]] = defaultdict(dict)
    recordings: dict[Path, set[str]] = defaultdict(set)
    for track in tracks:
        name = normal_name(track.path.stem)
        worded = _WORDED.fullmatch(name)
        counted = _COUNTED.fullmatch(name)
        parts = worded or (counted if counted and not _YEAR.fullmatch(counted["stem"]) else None)
        recordings[track.path.parent].add(parts["stem"] if parts else name)
        if parts:
            pieces[track.path.parent, parts["stem"], parts is worded][track.id] = int(parts["number"])
    for (folder, _, by_word), numbers in pieces.items():
        # A folder of nothing else than `Jazz Part 1`, `Jazz Part 2` has tracks with poor names.
        if _is_run(numbers.values()) and not (by_word and len(recordings[folder]) < 2):
            yield list(numbers)


def _is_run(numbers: Iterable[int]) -> bool:
    """Whether numbers count from 0 or 1, by steps of one; pieces that cannot serve may be missing, up to a half."""
    different = set(numbers)
    return len(different) > 1 and min(different) <= 1 and max(different) - min(different) < 2 * len(different)


_LINKERS: dict[str, Callable[[Sequence[Track]], Iterable[Sequence[str]]]] = {
    "the same audio": _same_audio,
    "same name, other format": _same_name,
    "the same recording in another coding": _same_sound,
    "numbered pieces of one track": _numbered_pieces,
}
"""Reason -> what links tracks for it."""
