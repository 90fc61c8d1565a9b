"""The group of every track, mostly its artist: from a table of the user's, else from the sub-folders of the genres."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.datasets.dataset import ARTIST_TABLE, Track
from harness.datasets.names import first_spellings, genre_number
from harness.datasets.track_tables import meant, read_table, values_of
from harness.errors import ProtocolError, listed

FROM_FOLDERS = f"the sub-folders of the genres, since there is no {ARTIST_TABLE}"

_COLUMNS = ("artist", "group", "artist_group")

_NO_ARTIST = re.compile(
    r"(?:cd|disc|disk|dvd|lp|side|vol|volume|part)[\W_]*(?:\d+|[a-d])?"
    r"|train|training|valid|validation|val|test|testing|dev|eval|fold[\W_]*\d+"
    r"|aac|aiff?|au|flac|mp3|ogg|opus|wav|audio|music|songs|tracks",
    re.IGNORECASE,
)
"""Names of folders that part the tracks of a genre, and not by who plays."""


def read_groups(table: Path) -> dict[str, str]:
    """Return the rows of a table of groups: what it calls a track -> what it says of it.

    Raises:
        ProtocolError: the table is broken.
    """
    return read_table(table, _COLUMNS)


def groups_of(table: Path, tracks: Sequence[Track]) -> dict[str, str]:
    """Return track id -> group, as a table with the columns `track` and `artist`, `group` or `artist_group` says.

    Names in several spellings are one group, by the first of them in the table.

    Raises:
        ProtocolError: the table is broken, contradicts itself, or misses tracks.
    """
    rows = read_groups(table)
    groups = values_of(table, rows, meant(tracks, rows))
    missing = [track.id for track in tracks if track.id not in groups]
    if missing:
        raise ProtocolError(
            f"{table}: {len(missing)} of {len(tracks)} tracks have no group:\n{listed(missing)}\n"
            f"Add a row for each of them: its id, and its artist."
        )
    spelled = first_spellings(rows.values())
    return {track.id: spelled[groups[track.id]] for track in tracks}


def folder_groups(base: Path, tracks: Sequence[Track]) -> Mapping[str, str]:
    """Return track id -> the first folder under its genre's, where folders are artists; else nothing.

    They are, if every track of the data set lies in such a folder, none of these is a disc, a format, a partition or a
    track by its name (`blues.00007`), and some genre has two. One artist in two genres is one group.
    """
    folders: dict[str, str] = {}
    for track in tracks:
        below = track.path.relative_to(base).parts[1:]
        if len(below) < 2 or _NO_ARTIST.fullmatch(below[0].strip()) or genre_number(below[0].strip(), track.genre):
            return {}
        folders[track.id] = unicodedata.normalize("NFC", below[0]).strip()
    spelled = first_spellings(folders.values())
    artists = {track: spelled[folder] for track, folder in folders.items()}
    by_genre = defaultdict(set)
    for track in tracks:
        by_genre[track.genre].add(artists[track.id])
    return artists if any(len(names) > 1 for names in by_genre.values()) else {}
