"""Who made a track, by the tags of its file, and one artist for all tracks that must not be parted."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from tinytag import TinyTag
from tinytag.tinytag import TinyTagException, UnsupportedFormatError

from harness.datasets.names import normal_name
from harness.datasets.stratified_split import linked_units

_NOBODY = frozenset(
    {
        *("various artists", "various artist", "various", "va", "v.a.", "unknown artist", "unknown", "<unknown>"),
        *("[unknown]", "verschiedene interpreten", "verschiedene künstler", "verschiedene", "unbekannter interpret"),
        *("unbekannt", "divers", "artistes divers", "varios artistas", "artisti vari", "no artist"),
    }
)
"""What rippers and taggers write where they know no artist."""

_GUEST = re.compile(r"[\s(\[]+(?:feat|ft|featuring)\b\.?\s.*", re.IGNORECASE)
"""`A feat. B`, `A (ft. B)`: the artist is A."""


def artist_names(path: Path) -> tuple[str, ...]:
    """Return the artists that a file's tags name, as tagged but for blanks; none where there are none to be read.

    Of "A feat. B", A is the artist; "A; B" are two. An album artist counts where the artist's own tag has that name in
    it, or where there is no other. So an album by several artists does not make one of them all.
    """
    tag = _read(path)
    if tag is None:
        return ()
    artists = _names((tag.artist, *tag.other.get("artist", ())))
    of_album = _names((tag.albumartist, *tag.other.get("albumartist", ())))
    if not artists:
        return of_album
    return tuple(
        dict.fromkeys(next((name for name in of_album if _stands_in(name, artist)), artist) for artist in artists)
    )


def one_artist_each(tagged: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """Return the artist of each track that has one, by one name for all tracks that an artist links.

    Names are the same in any spelling (`normal_name`). A track by two artists links the tracks of both. The name
    is the one that stands in most of the tracks.

    Args:
        tagged: track -> the artists that its tags name.
    """
    tracks_of = defaultdict(list)
    for track, names in tagged.items():
        for name in names:
            tracks_of[normal_name(name)].append(track)
    artist_of: dict[str, str] = {}
    for unit in linked_units(tagged, tracks_of.values()):
        spelled = Counter(sorted(name for track in unit for name in tagged[track]))
        if spelled:
            artist_of |= dict.fromkeys(unit, max(spelled, key=spelled.__getitem__))
    return artist_of


def _read(path: Path) -> TinyTag | None:
    """Return the tags of a file, read by its first bytes, and by its suffix where these say nothing."""
    try:
        with path.open("rb") as file:
            try:
                return TinyTag.get(file_obj=file, duration=False)
            except UnsupportedFormatError:
                return TinyTag.get(path.name, file_obj=file, duration=False)
    except (OSError, TinyTagException):
        return None


def _names(tagged: Iterable[str | None]) -> tuple[str, ...]:
    parts = (part for text in tagged if text for part in text.split(";"))
    names = (_GUEST.sub("", _one_line(part)) for part in parts)
    return tuple(dict.fromkeys(name for name in names if name and _names_somebody(name)))


def _names_somebody(name: str) -> bool:
    # What was written in another encoding than the tag says cannot be told from another such name.
    return "\ufffd" not in name and normal_name(name) not in _NOBODY


def _one_line(text: str) -> str:
    """Return a text as a table can hold it: without control characters, and without bytes that are no text."""
    plain = "".join(" " if unicodedata.category(char) == "Cc" else char for char in text)
    return " ".join(plain.encode("utf-8", "replace").decode().split())


def _stands_in(name: str, text: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(normal_name(name))}(?!\w)", normal_name(text)) is not None
