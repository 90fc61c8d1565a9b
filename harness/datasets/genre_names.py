"""What the names of genre folders give away: numbers instead of genres, one genre under two names, no genres at all."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from harness.datasets.names import letters, normal_name
from harness.errors import DataError
from harness.paths import path_state

_PARTITIONS = frozenset({"train", "training", "valid", "val", "validation", "test", "testing", "dev", "eval"})


def one_name_twice(base: Path, genres: Iterable[str]) -> Iterator[DataError]:
    """Yield an error for each name that two folders have, in two forms of Unicode: nobody can tell them apart."""
    for name, same in _alike(genres, lambda genre: unicodedata.normalize("NFC", genre)):
        yield DataError(
            f"{base}: {len(same)} folders are called {name}, in different forms of Unicode (NFC and NFD, as macOS "
            f"writes names). Move the files of one into the other."
        )


def name_notes(genres: Sequence[str], homes: Iterable[Path]) -> Iterator[str]:
    """Yield what a user should know of the genres' names.

    Args:
        genres: the names of those that have tracks.
        homes: the folder that they lie in, and those above it that belong to the data set.
    """
    if genres and all(re.fullmatch(r"\d+", genre) for genre in genres):
        places = (place / "tracks.csv" for home in homes for place in (home, home / "fma_metadata"))
        table = any(path_state(place).kind == "file" for place in places)
        where = "the tracks.csv beside them" if table else "its tracks.csv"
        yield (
            f"the folders are called by numbers ({', '.join(genres[:3])}, …), which are no genres. FMA comes so, and "
            f"has its genres in {where}: sort the files into one folder a genre."
        )
    if genres and all(normal_name(genre) in _PARTITIONS for genre in genres):
        yield (
            f"the folders are called {', '.join(genres)}, which are partitions, not genres. Put all files into one "
            f"folder a genre, and say who trains in a FILE.csv (--protocol)."
        )
    for _, same in _alike(genres, letters):
        yield f"these genres look like one: {', '.join(same)}. If they are, put their files into one folder."


def _alike(names: Iterable[str], key: Callable[[str], str]) -> list[tuple[str, list[str]]]:
    found = defaultdict(list)
    for name in names:
        found[key(name)].append(name)
    return sorted((form, same) for form, same in found.items() if len(same) > 1)
