"""The layout of a data set on disk: which folders are its genres, and which files lie under them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from harness.datasets import gtzan
from harness.datasets.decode import AUDIO_SUFFIXES
from harness.datasets.suffixes import is_archive
from harness.datasets.walk import Found, entries, seen, walk
from harness.errors import DataError
from harness.paths import path_state, storable


class AudioFile(NamedTuple):
    """A file that is to be decoded, and its path below the genre folders' folder as records hold it."""

    path: Path
    name: str

    @property
    def genre(self) -> str:
        return self.name.partition("/")[0]


@dataclass
class Layout:
    """What lies in the genre folders of a data set; nothing of it has been decoded.

    Attributes:
        base: the folder whose folders are the genres.
        files: those to decode, sorted by name.
        refused: name of a file or folder that is not looked into -> the reason.
        ignored: suffix -> how many files are no audio, whatever genre they lie in.
        genres: the name of every genre folder -> whether its loss would be one of music: it holds what may be audio.
        loose: names of files beside the genre folders that hold music, or may.
        empty: names of genre folders without a file.
        beside: where `base` lies in the folder that was named: what else there holds audio, by names from that folder.
    """

    base: Path
    files: list[AudioFile] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    ignored: Counter[str] = field(default_factory=Counter)
    genres: dict[str, bool] = field(default_factory=dict)
    loose: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    beside: list[str] = field(default_factory=list)


def find_layout(root: Path) -> Layout:
    """Return what lies in the genre folders of a data set.

    Args:
        root: holds one folder a genre, or a folder such as `genres/` that does.

    Raises:
        DataError: it is no folder, or has no genre folders with audio in them at any depth.
        OSError: it cannot be listed.
    """
    state = path_state(root)
    if state.kind == "file":
        advice = "unpack it, and name the folder" if is_archive(root.suffix.lower()) else "name the folder"
        raise DataError(f"{root}: is a file: {advice} that holds the genre folders.")
    if state.kind != "folder":
        raise DataError(f"{root}: {state.said('no such folder')}. Name the folder that holds the genre folders.")
    for base in (*(root / layout for layout in gtzan.LAYOUTS), root):
        if path_state(base).kind == "folder" and ((found := _layout(base)).files or found.refused):
            found.beside = list(_beside(base, root))
            return found
    lie = f" What lies directly in it is in no genre's folder: {', '.join(found.loose[:3])}." if found.loose else ""
    raise DataError(
        f"{root}: no genre folders with audio in it.{lie} A data set is one folder a genre, with "
        f"{', '.join(AUDIO_SUFFIXES)} files, directly in it or in {', '.join(gtzan.LAYOUTS)}."
    )


def _layout(base: Path) -> Layout:
    layout = Layout(base)
    folders = [storable(path.name) for path in entries(base) if path_state(path).kind == "folder"]
    layout.genres = dict.fromkeys(folders, False)
    filled = set()
    for found in walk(base):
        name = storable(found.path.relative_to(base).as_posix())
        if "/" not in name and found.kind in ("audio", "refused"):
            layout.loose.append(name)
        elif "/" in name or found.kind in ("closed", "again"):
            filled.add(name.partition("/")[0])
            _take(layout, found, name)
    layout.files.sort(key=lambda file: file.path)
    layout.refused = dict(sorted(layout.refused.items()))
    layout.empty = [genre for genre in layout.genres if genre not in filled]
    return layout


def _take(layout: Layout, found: Found, name: str) -> None:
    if found.kind == "audio":
        layout.files.append(AudioFile(found.path, name))
    elif found.kind in ("other", "unknown"):
        layout.ignored[found.reason] += 1
    else:
        layout.refused[name] = found.reason
    # What no one knows may be music, so a genre of nothing else is not passed over.
    if found.kind != "other":
        layout.genres[name.partition("/")[0]] = True


def _beside(base: Path, root: Path) -> Iterator[str]:
    """Yield what holds audio and lies in `root`, or on the way from there to `base`, which is the data set."""
    for parent in (folder for folder in base.parents if folder.is_relative_to(root)):
        with suppress(OSError):  # one may enter it, but not list it
            for path in entries(parent):
                if not base.resolve().is_relative_to(path.resolve()) and _holds_audio(path):
                    yield storable(path.relative_to(root).as_posix())


def _holds_audio(path: Path) -> bool:
    state = path_state(path)
    try:
        return any(found.kind == "audio" for found in (walk(path) if state.kind == "folder" else [seen(path, state)]))
    except OSError:
        return False


def ignored_kinds(layout: Layout) -> Iterator[str]:
    """Yield the kinds of files that are no audio, the commonest first: `12 .jpg`."""
    for suffix, count in sorted(layout.ignored.items(), key=lambda kind: (-kind[1], kind[0])):
        yield f"{count} {suffix}"
