"""Tables that users write about their tracks: how they are read, and how a row finds its track."""

from __future__ import annotations

import csv
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePath

from harness.datasets.dataset import Track
from harness.datasets.gtzan import canonical_name
from harness.datasets.names import normal_name
from harness.errors import ProtocolError

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


def matched(tracks: Iterable[Track], names: Iterable[str]) -> dict[str, str]:
    """Return track id -> the name in a user's table that means this track.

    A name means a track by its id, by its stem, or by the end of its path, with or without its suffix; by all of these
    only where no other recording is called so. Letters are compared in Unicode's form NFC, without their case; where
    that finds nothing, in the form of GTZAN's names. Files of one path but for the suffix are one recording.

    A name that could mean two recordings, or that another name says in other letters, means none.
    """
    tracks = list(tracks)
    ids = {track.id for track in tracks}
    found = {name: name for name in names if name in ids}
    left = [name for name in names if name not in ids]
    for form in (plain_name, _canonical):
        called = _by_name(tracks, form)
        counts = Counter(form(name) for name in left)
        for name in sorted(left, key=len, reverse=True):  # the whole path before the stem
            meant = called.get(form(name), []) if counts[form(name)] == 1 else []
            if len({_recording(track) for track in meant}) == 1:
                found = {track.id: name for track in meant} | found
        used = set(found.values())
        left = [name for name in left if name not in used]
    of_recording = {_recording(track): found[track.id] for track in tracks if track.id in found}
    return {track.id: of_recording[_recording(track)] for track in tracks if _recording(track) in of_recording} | found


def _recording(track: Track) -> PurePath:
    return track.path.with_suffix("")


def endings(path: PurePath) -> Iterator[str]:
    """Yield a path from its last part on, then with more of it: each with its suffix, and without."""
    for start in range(1, len(path.parts) + 1):
        end = "/".join(path.parts[-start:])
        yield end
        if path.suffix:
            yield end.removesuffix(path.suffix)


def plain_name(name: str) -> str:
    """Return a name as it is compared: in the normal form, with slashes, and none of them at its beginning."""
    path = re.sub(r"^(\.?/)+", "", name.strip().replace("\\", "/"))
    return normal_name(path)


def _canonical(name: str) -> str:
    return canonical_name(plain_name(name))


def _by_name(tracks: Iterable[Track], form: Callable[[str], str]) -> dict[str, list[Track]]:
    called = defaultdict(list)
    for track in tracks:
        names = {track.id, f"{track.genre}/{track.path.stem}", *endings(track.path)}
        for name in {form(name) for name in names}:
            called[name].append(track)
    return called
