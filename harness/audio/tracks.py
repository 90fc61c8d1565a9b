"""A folder of genres in, a data set out: its tracks, what was quarantined and why, and which tracks are the same."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from harness.audio.decode import AUDIO_SUFFIXES, content_address, decode, load
from harness.audio.parallel import Progress, map_items
from harness.audio.tables import listed, matched, read_table
from harness.errors import DataError, ProtocolError
from harness.records import DatasetRecord, short_hash

__all__ = ["Dataset", "Track", "load", "scan"]

LAYOUTS = ("genres", "genres_original", "Data/genres_original")
_LAYOUT_NAMES = {"genres", "genres_original", "data"}
_UNSERVED_SUFFIXES = (".aac", ".aif", ".aiff", ".m4a", ".mp4", ".opus", ".wma")
_GROUP_COLUMNS = ("artist", "group", "artist_group")


@dataclass(frozen=True, slots=True)
class Track:
    """One audio file with one genre.

    Attributes:
        id: the file's stem where stems are unique in the data set, else `genre/stem`.
        genre: the name of the folder that it lies in.
        path: the file.
        digest: the content address of its decoded audio, mono at its own rate.
        seconds: its length.
    """

    id: str
    genre: str
    path: Path
    digest: str
    seconds: float


@dataclass(frozen=True)
class Dataset:
    """All usable tracks of a folder.

    Attributes:
        name: the folder's name, layout folders such as `genres` left out.
        root: the folder that was scanned.
        genres: sorted; their order is the order of the classes.
        tracks: sorted by id.
        quarantined: relative path of a file that cannot serve -> the reason.
        replicas: sets of ids of tracks with the same decoded audio, sample by sample.
        fingerprint: changes when any track's audio, id or genre changes, and not when the folder moves.
        synthetic: whether the audio was made by `harness data make`.
        groups: track id -> group (artist); empty when unknown, else complete.
    """

    name: str
    root: Path
    genres: tuple[str, ...]
    tracks: tuple[Track, ...]
    quarantined: dict[str, str]
    replicas: tuple[tuple[str, ...], ...]
    fingerprint: str
    synthetic: bool
    groups: Mapping[str, str] = field(default_factory=dict)

    def record(self) -> DatasetRecord:
        """Return what reports and trackers keep of this data set."""
        return DatasetRecord(
            name=self.name,
            fingerprint=self.fingerprint,
            genres=self.genres,
            tracks=len(self.tracks),
            synthetic=self.synthetic,
            replicas=self.replicas,
            quarantined=self.quarantined,
        )


def scan(
    root: Path,
    *,
    skip_bad: bool = False,
    groups: Path | None = None,
    progress: Progress | None = None,
    workers: int | None = None,
) -> Dataset:
    """Decode every file of a folder once, and return the data set that it holds. Nothing is written.

    Args:
        root: holds one folder a genre, or `genres/`, `genres_original/` or `Data/genres_original/` that does.
        skip_bad: go on without the files that cannot serve.
        groups: a CSV with the columns `track` and `artist`, `group` or `artist_group`. By default `artists.csv`
            beside the genre folders, if it is there.
        progress: told after every file how many are done, and of how many.
        workers: processes; by default as many as are worth it.

    Raises:
        DataError: no genre folders, fewer than two genres, a genre without a usable track, or, without `skip_bad`,
            files that are unreadable, empty, silent, not finite or too short.
        ProtocolError: the table of groups is broken or misses tracks.
    """
    root = Path(os.path.abspath(root))
    try:
        base = _genres_folder(root)
        files = {path: _printable(path.relative_to(base).as_posix()) for path in _audio_files(base)}
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be read ({error.strerror}). Check its permissions.") from None
    found = map_items(_examine, list(files), progress=progress, workers=workers)
    quarantined = {name: seen for name, seen in zip(files.values(), found, strict=True) if isinstance(seen, str)}
    if quarantined and not skip_bad:
        raise DataError(
            f"{base}: {len(quarantined)} of {len(files)} files cannot serve:\n"
            + listed(f"{name}: {reason}" for name, reason in quarantined.items())
            + "\nRemove or replace them, or pass --skip-bad to go on without them."
        )

    ids = _ids(files)
    tracks = tuple(
        sorted(
            (
                Track(ids[path], path.parent.name, path, seen.digest, seen.seconds)
                for path, seen in zip(files, found, strict=True)
                if not isinstance(seen, str)
            ),
            key=lambda track: track.id,
        )
    )
    genres = tuple(sorted({path.parent.name for path in files}))
    for genre in set(genres) - {track.genre for track in tracks}:
        raise DataError(
            f"{base / genre}: none of its files can serve. Replace them, or remove the folder to go on without {genre}."
        )

    homes = _homes(base)
    table = groups or next((home / "artists.csv" for home in homes if (home / "artists.csv").is_file()), None)
    by_digest = defaultdict(list)
    for track in tracks:
        by_digest[track.digest].append(track.id)
    return Dataset(
        name=re.sub(r"[^\w.-]+", "-", homes[-1].name, flags=re.ASCII).strip("-") or "dataset",
        root=root,
        genres=genres,
        tracks=tracks,
        quarantined=quarantined,
        replicas=tuple(sorted(tuple(same) for same in by_digest.values() if len(same) > 1)),
        fingerprint=short_hash([(track.genre, track.id, track.digest) for track in tracks], 16),
        synthetic=any((home / "SYNTHETIC.txt").is_file() for home in homes),
        groups=_groups(table, [track.id for track in tracks]) if table else {},
    )


class _Seen(NamedTuple):
    digest: str
    seconds: float


def _examine(path: Path) -> _Seen | str:
    """Return what a file holds, or why it cannot serve. Runs in a worker."""
    if _printable(str(path)) != str(path):
        return "its name is not UTF-8: rename it"
    if path.suffix.lower() in _UNSERVED_SUFFIXES:
        return f"not one of {', '.join(AUDIO_SUFFIXES)}: convert it"
    try:
        samples, rate = decode(path)
    except DataError as error:
        return str(error)
    return _Seen(content_address(samples, rate), len(samples) / rate)


def _genres_folder(root: Path) -> Path:
    """Return the folder whose folders are the genres."""
    if not root.is_dir():
        raise DataError(f"{root}: no such folder. Name the folder that holds the genre folders.")
    for base in (*(root / layout for layout in LAYOUTS), root):
        if base.is_dir() and any(_audio_in(folder) for folder in _folders(base)):
            break
    else:
        raise DataError(
            f"{root}: no genre folders with audio in it. A data set is one folder a genre, with "
            f"{', '.join(AUDIO_SUFFIXES)} files, directly in it or in {', '.join(LAYOUTS)}."
        )
    genres = [folder for folder in _folders(base) if _audio_in(folder)]
    for folder in _folders(base):
        if not any(not _is_stray(name) for name in os.listdir(folder)):
            raise DataError(f"{folder}: a genre folder without a file. Fill it, or remove it to go on without it.")
    if len(genres) < 2:
        raise DataError(f"{base}: one genre only, {genres[0].name}. A classifier needs at least two genre folders.")
    return base


def _folders(base: Path) -> list[Path]:
    return sorted(path for path in base.iterdir() if path.is_dir() and not path.name.startswith((".", "__MACOSX")))


def _audio_in(folder: Path) -> list[Path]:
    suffixes = (*AUDIO_SUFFIXES, *_UNSERVED_SUFFIXES)
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in suffixes and not _is_stray(path.name) and not path.is_dir()
    )


def _audio_files(base: Path) -> list[Path]:
    return [path for folder in _folders(base) for path in _audio_in(folder)]


def _is_stray(name: str) -> bool:
    """Whether a file is litter that copies of GTZAN carry: `bextract_single.mf`, `.DS_Store`, `._blues.00000.au`."""
    return name.startswith(".") or name.endswith(".mf") or name in {"Thumbs.db", "desktop.ini"}


def _printable(name: str) -> str:
    """Return a file's name without the bytes that are no text, which no record can hold."""
    return name.encode("utf-8", "replace").decode()


def _ids(files: Mapping[Path, str]) -> dict[Path, str]:
    """Return the shortest form of the names that is unique in the whole data set."""
    forms: tuple[Callable[[Path], str], ...] = (
        lambda path: path.stem,
        lambda path: f"{path.parent.name}/{path.stem}",
    )
    for form in forms:
        ids = {path: form(path) for path in files}
        if len(set(ids.values())) == len(ids):
            return ids
    return dict(files)


def _homes(base: Path) -> list[Path]:
    """Return the folder of the genre folders and what lies above it, up to the folder that names the data set."""
    homes = [base]
    while homes[-1].name.lower() in _LAYOUT_NAMES and homes[-1] != homes[-1].parent:
        homes.append(homes[-1].parent)
    return homes


def _groups(table: Path, ids: Collection[str]) -> dict[str, str]:
    rows = read_table(table, _GROUP_COLUMNS)
    names = matched(ids, rows)
    missing = [track for track in ids if track not in names or not rows[names[track]]]
    if missing:
        raise ProtocolError(
            f"{table}: {len(missing)} of {len(ids)} tracks have no group:\n{listed(missing)}\n"
            f"Add a row for each of them: its id, and its artist."
        )
    return {track: rows[names[track]] for track in ids}
