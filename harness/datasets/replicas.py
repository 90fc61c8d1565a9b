"""Tracks that are one recording: the same audio, one name in two formats, another coding, numbered pieces.

A linker takes the tracks and returns sets of ids that it finds to be one recording; each stands in `_LINKERS` with its
reason. Sets that overlap are one group.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from harness.datasets.dataset import Track
from harness.datasets.fingerprint import linked
from harness.datasets.names import genre_number, normal_name
from harness.datasets.stratified_split import linked_units

_COUNTED = re.compile(r"(?P<stem>.*(?<!\d)\d{3,})[._ -](?P<number>\d{1,6})")
"""`blues.00000.7`: a piece of a track whose own name ends in a number of three digits or more.

Fewer digits are a disc, an album side or a movement (`1-02`, `CD1.3`); and see `_count_as_albums`.
"""

_DATE = re.compile(r"(?:.*\D)?(?:19|20)\d\d(?:[01]\d[0-3]\d)?")
"""A name that ends in a year or a day: `2012.1` and `Live 20210314-1` are tracks of an album or a concert."""

_WORDED = re.compile(
    r"(?P<stem>.*\w)[._ (-]+(?:part|pt|piece|segment|seg|chunk|clip|slice)[._ -]*(?P<number>\d{1,6})\)?"
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


class _Whole(NamedTuple):
    """The track that a file is a piece of, by its name.

    Attributes:
        place: the folder that its pieces lie in; of a track with the name of its genre and a number, the genre.
        name: without case; of a track with the name of its genre, the number.
        certain: whether the name alone says which track it is.
    """

    place: Path | str
    name: str
    certain: bool


def _numbered_pieces(tracks: Sequence[Track]) -> Iterator[list[str]]:
    """Yield tracks that are pieces of one by their names, and that one, where it lies beside them.

    To link tracks that are none costs more than to miss some: numbers that tracks of an album have do not count.
    """
    worded: dict[_Whole, dict[str, str]] = defaultdict(dict)
    counted: dict[_Whole, dict[str, str]] = defaultdict(dict)
    by_name: dict[_Whole, list[str]] = defaultdict(list)
    recordings: dict[Path | str, set[str]] = defaultdict(set)
    for track in tracks:
        name = normal_name(track.path.stem)
        by_name[_whole(track, name)].append(track.id)
        stem, number, says_so = _parts(track, name)
        recordings[track.path.parent].add(stem)
        if number:
            whole = _whole(track, stem)
            (worded if says_so and not whole.certain else counted)[whole][track.id] = number
    for whole, pieces in worded.items():
        # A folder of nothing else than `Jazz Part 1`, `Jazz Part 2` has tracks with poor names.
        if _is_run(pieces.values()) and (whole in by_name or len(recordings[whole.place]) > 1):
            yield [*pieces, *by_name.get(whole, ())]
    for whole, pieces in counted.items():
        told = len(set(pieces.values())) > 1 or whole in by_name if whole.certain else _is_run(pieces.values())
        if told and (whole.certain or not _count_as_albums(whole.name, pieces.values())):
            yield [*pieces, *by_name.get(whole, ())]


def _parts(track: Track, name: str) -> tuple[str, str, bool]:
    """Return the name of the track that a file is a piece of, the piece's number, and whether a word says so.

    Of no piece it is the file's own name, and no number. A folder with a track's name has its pieces, as `7.wav`.
    """
    folder = normal_name(track.path.parent.name)
    for text in (name, f"{folder}.{name}") if _whole(track, folder).certain else (name,):
        if parts := _WORDED.fullmatch(text):
            return parts["stem"], parts["number"], True
        parts = _COUNTED.fullmatch(text)
        if parts and (_whole(track, parts["stem"]).certain or _may_have_pieces(parts)):
            return parts["stem"], parts["number"], False
    return name, "", False


def _whole(track: Track, name: str) -> _Whole:
    """Return the track of this name among those that lie with another."""
    number = genre_number(name, track.genre)
    return _Whole(track.genre, number, True) if number else _Whole(track.path.parent, name, False)


def _may_have_pieces(parts: re.Match[str]) -> bool:
    return len(parts["number"]) <= 3 and not _DATE.fullmatch(parts["stem"])


def _count_as_albums(stem: str, numbers: Collection[str]) -> bool:
    """Whether numbers count in two digits from 1, as in `op 100.01` and `8550123-01`, and not in a program's way.

    A program begins at 0, or pads the number of the whole, too: `take.0100.01`.
    """
    padded = any(re.fullmatch("0[1-9]", number) for number in numbers)
    return padded and not any(int(number) == 0 for number in numbers) and not re.search(r"(?<!\d)0\d+$", stem)


def _is_run(numbers: Iterable[str]) -> bool:
    """Whether numbers count from 0 or 1, by steps of one; up to a half may be missing, the first ones, too."""
    different = {int(number) for number in numbers}
    return len(different) > 1 and max(different) + (0 in different) <= 2 * len(different)


_LINKERS: dict[str, Callable[[Sequence[Track]], Iterable[Sequence[str]]]] = {
    "the same audio": _same_audio,
    "same name, other format": _same_name,
    "the same recording in another coding": _same_sound,
    "numbered pieces of one track": _numbered_pieces,
}
"""Reason -> what links tracks for it."""
