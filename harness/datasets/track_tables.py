"""Tables that users write about their tracks: how they are read, and how a row finds its track."""

from __future__ import annotations

import csv
import posixpath
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePath

from harness.datasets.dataset import Track
from harness.datasets.decode import AUDIO_SUFFIXES
from harness.datasets.gtzan import canonical_name
from harness.datasets.names import normal_name
from harness.errors import ProtocolError, listed

_SEPARATORS = (",", ";", "\t")
"""What parts the columns: spreadsheets write the second where a comma parts decimals, and the third when pasted."""


def read_table(path: Path, columns: Iterable[str]) -> dict[str, str]:
    """Return the rows of a CSV whose first column is `track` and whose second is called one of `columns`.

    Its columns are parted by commas, semicolons or tabs. A line such as `sep=;` may stand before the header.

    Raises:
        ProtocolError: no such file, no such columns, a row without a second value, or a track named twice.
    """
    expected = " or ".join(f"track,{column}" for column in columns)
    rows: dict[str, str] = {}
    seen: set[str] = set()
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = list(file)
        before = int(bool(lines) and re.fullmatch(r'"?sep=.*', lines[0].strip(), re.IGNORECASE) is not None)
        separator = _separator(path, lines[before : before + 1])
        reader = csv.reader(lines[before:], delimiter=separator)
        header = [name.strip().lower() for name in next(reader, [])]
        if header[:1] != ["track"] or not set(header[1:2]) & set(columns):
            raise ProtocolError(f"{path}: its header is {separator.join(header)!r}. It must begin with {expected}.")
        for row in reader:
            where = f"{path}: row {before + reader.line_num}"
            if not any(row):
                continue
            if len(row) < 2:
                raise ProtocolError(f"{where} has one column. Write {expected}.")
            name = row[0].strip()
            if (composed := unicodedata.normalize("NFC", name)) in seen:
                raise ProtocolError(f"{where} names {name} a second time. Remove one of them.")
            seen.add(composed)
            rows[name] = row[1].strip()
    except OSError as error:
        raise ProtocolError(f"{path}: cannot be read ({error.strerror}). Name a CSV file with {expected}.") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise ProtocolError(f"{path}: not a CSV file in UTF-8 ({error}). Save it as one, with {expected}.") from None
    return rows


def _separator(path: Path, header: Sequence[str]) -> str:
    """Return what parts the columns of a table, by its header.

    Raises:
        ProtocolError: it is none of `_SEPARATORS`.
    """
    for separator in _SEPARATORS:
        cells = next(csv.reader(header, delimiter=separator), [])
        if len(cells) > 1 and cells[0].strip().lower() == "track":
            return separator
    other = re.match(r'\s*"?track"?\s*(\W)\s*"?\w', "".join(header), re.IGNORECASE)
    if other and other[1] not in _SEPARATORS:
        raise ProtocolError(
            f"{path}: {other[1]!r} parts the columns of its header. Save it with commas, semicolons or tabs."
        )
    return ","


def values_of(
    table: Path,
    rows: Mapping[str, str],
    meaning: Mapping[str, Iterable[str]],
    form: Callable[[str], Hashable] = normal_name,
) -> dict[str, str]:
    """Return track id -> what the rows of a table say of it; a track of which they say nothing is not there.

    Args:
        table: where the rows are from.
        rows: name -> value.
        meaning: name -> the ids of the tracks that it means; see `meant`.
        form: what equal values have in common.

    Raises:
        ProtocolError: two rows mean one track, and say different things.
    """
    values: dict[str, str] = {}
    said_by: dict[str, str] = {}
    contradictions = []
    for name, ids in meaning.items():
        for track in ids if rows[name] else ():
            first = said_by.setdefault(track, name)
            if form(values.setdefault(track, rows[name])) != form(rows[name]):
                contradictions.append(f"{track}: the row {first} says {rows[first]}, and {name} says {rows[name]}")
    if contradictions:
        raise ProtocolError(
            f"{table}: rows that mean one track say different things of it:\n{listed(contradictions)}\n"
            f"Remove those that are wrong."
        )
    return values


def meant(tracks: Iterable[Track], names: Iterable[str]) -> dict[str, list[str]]:
    """Return a name in a user's table -> the ids of the tracks that it means; one that means none is not there.

    A name means a track by its id, by its stem, or by the end of its path, with or without its suffix; by all of these
    only where no other recording is called so. A longer path, as the files have elsewhere, means a track by their
    longest common end, if that has the genre's folder in it. Letters are compared in their normal form; where that
    finds nothing, in the form of GTZAN's names. Files of one path but for the suffix are one recording, and a name of
    one means those that have no name, too.

    Two kinds of names mean only what no other name means: those with the suffix of another format; and paths from a
    root or from `..` through no genre's folder.
    """
    tracks, names = list(tracks), list(names)
    by_id = {track.id: track for track in tracks}
    found = {name: [by_id[name]] for name in names if name in by_id}
    perhaps: dict[str, list[Track]] = {}
    genres = {plain_path(track.genre) for track in tracks}
    for form in (plain_path, _canonical):
        called = _by_name(tracks, form)
        for name in (name for name in names if name not in found):
            same, sure = _longest(called, form(name))
            if not same or not (sure or _is_elsewhere(name, genres)):
                continue
            fitting = [track for track in same if form is plain_path or _fits(track, name)]
            if sure and fitting:
                found[name] = fitting
                perhaps.pop(name, None)
            else:
                perhaps[name] = same
    claims = Counter(_recording(same[0]) for same in perhaps.values())
    taken = {_recording(track) for same in found.values() for track in same}
    found |= {n: s for n, s in perhaps.items() if claims[_recording(s[0])] == 1 and _recording(s[0]) not in taken}
    return _with_other_formats(tracks, found)


def mean_any(tracks: Iterable[Track], names: Iterable[str]) -> set[str]:
    """Return those names in a user's table that mean any of these tracks, be it one or more."""
    tracks = list(tracks)
    genres = {plain_path(track.genre) for track in tracks}
    called = _by_name(tracks, _canonical)
    found = {name: _longest(called, _canonical(name), any_of=True) for name in names}
    return {name for name, (same, sure) in found.items() if sure or (same and _is_elsewhere(name, genres))}


def _longest(called: Mapping[str, list[Track]], path: str, any_of: bool = False) -> tuple[list[Track], bool]:
    """Return the tracks of one recording that are called as the longest end of a path, and whether it is surely they.

    It is, where that is the whole path, or has the folder of their genre in it.
    """
    parts = path.split("/")
    for start in range(len(parts)):
        if same := called.get("/".join(parts[start:])):
            if len({_recording(track) for track in same}) > 1 and not any_of:
                break
            return same, start == 0 or any(plain_path(track.genre) in parts[start:-1] for track in same)
    return [], False


def _is_elsewhere(name: str, genres: Collection[str]) -> bool:
    """Whether a name is the path of a file that lies in another place, and not sorted by genre."""
    rooted = re.match(r"\s*(?:[a-zA-Z]:)?[\\/]|\s*\.\.[\\/]", name)
    return bool(rooted) and not set(genres) & set(plain_path(name).split("/")[:-1])


def _fits(track: Track, name: str) -> bool:
    """Whether a name has the suffix of a track, or none of audio."""
    suffix = PurePath(name.strip().lower()).suffix
    return suffix not in AUDIO_SUFFIXES or suffix == track.path.suffix.lower()


def _with_other_formats(tracks: Iterable[Track], found: Mapping[str, Iterable[Track]]) -> dict[str, list[str]]:
    """Return name -> the ids of the tracks that it means, and of what is a recording with them and has no name."""
    ids = {name: [track.id for track in same] for name, same in found.items()}
    named = {track for same in ids.values() for track in same}
    unnamed = defaultdict(list)
    for track in tracks:
        if track.id not in named:
            unnamed[_recording(track)].append(track.id)
    return {
        name: [*ids[name], *(other for path in {_recording(track) for track in same} for other in unnamed[path])]
        for name, same in found.items()
    }


def _recording(track: Track) -> PurePath:
    return track.path.with_suffix("")


def plain_path(name: str) -> str:
    """Return a name or path as it is compared: in its normal form, with slashes, and none of them at its beginning."""
    return posixpath.normpath(normal_name(name).replace("\\", "/")).lstrip("/")


def _canonical(name: str) -> str:
    return canonical_name(plain_path(name))


def _by_name(tracks: Iterable[Track], form: Callable[[str], str]) -> dict[str, list[Track]]:
    called = defaultdict(list)
    for track in tracks:
        names = {track.id, f"{track.genre}/{track.path.stem}", *_endings(track.path)}
        for name in {form(name) for name in names}:
            called[name].append(track)
    return called


def _endings(path: PurePath) -> Iterator[str]:
    """Yield a path from its last part on, then with more of it: each with its suffix, and without."""
    for start in range(1, len(path.parts) + 1):
        end = "/".join(path.parts[-start:])
        yield end
        if path.suffix:
            yield end.removesuffix(path.suffix)
