"""Names as users, tags and file systems write them: the forms in which they are compared, and one spelling of each."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

_GENRE_NUMBER = re.compile(r"(?P<genre>.+)[._ -](?P<number>\d{5})")


def normal_name(name: str) -> str:
    """Return what all spellings of a name share: in NFC, without case, with one blank between words and none around."""
    # Composed twice, for some letters come apart as they lose their case.
    return " ".join(unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold()).split())


def letters(name: str) -> str:
    """Return letters and digits of a name alone, without case: the same for `Hip-Hop` and `hiphop`."""
    plain = normal_name(unicodedata.normalize("NFKC", name))
    return "".join(letter for letter in plain if letter.isalnum()) or plain


def genre_number(name: str, genre: str) -> str | None:
    """Return `00012` of `blues.00012` or `Blues_00012`, if it is named after its genre.

    No other track of the genre has such a name, in whatever folder it lies.
    """
    parts = _GENRE_NUMBER.fullmatch(name)
    return parts["number"] if parts and letters(parts["genre"]) == letters(genre) else None


def first_spellings(names: Iterable[str]) -> dict[str, str]:
    """Return name -> the first of the names that is the same one in another spelling, or itself."""
    first: dict[str, str] = {}
    return {name: first.setdefault(normal_name(name), name) for name in names}
