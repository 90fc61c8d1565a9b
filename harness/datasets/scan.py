"""A folder of genres is scanned: its tracks, what cannot serve and why, and which tracks are the same."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from harness.datasets import gtzan
from harness.datasets.dataset import ARTIST_TABLE, SYNTHETIC_NOTICE, Dataset, Track, dataset_name
from harness.datasets.decode import AUDIO_SUFFIXES, CRASH_ADVICE, content_address, decode
from harness.datasets.fingerprint import fingerprint, linked
from harness.datasets.stratified_split import linked_units
from harness.datasets.track_tables import matched, read_table
from harness.errors import DataError, ProtocolError, listed
from harness.hashing import short_hash
from harness.parallel import Progress, map_items

_LAYOUT_NAMES = {"genres", "genres_original", "data"}
_UNSERVED_SUFFIXES = (".aac", ".aif", ".aiff", ".m4a", ".mp4", ".opus", ".wma")
_GROUP_COLUMNS = ("artist", "group", "artist_group")


class _File(NamedTuple):
    """An audio file, and its path below the genre folders' folder as records hold it."""

    path: Path
    name: str


class TrackFiles(NamedTuple):
    """The audio files of a data set by the ids of their tracks, and where its table of artists lies, or would."""

    paths: dict[str, Path]
    artist_table: Path


class _Examined(NamedTuple):
    """What a file that can serve holds: the address of its audio, its length, and what it sounds like."""

    digest: str
    seconds: float
    acoustic_fingerprint: bytes | None


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
    base, files = _files_below(root)
    paths = [file.path for file in files]
    found = map_items(_examine, paths, progress=progress, workers=workers, advice=CRASH_ADVICE)
    quarantined = {file.name: seen for file, seen in zip(files, found, strict=True) if isinstance(seen, str)}
    if quarantined and not skip_bad:
        raise DataError(
            f"{base}: {len(quarantined)} of {len(files)} files cannot serve:\n"
            + listed(f"{name}: {reason}" for name, reason in quarantined.items())
            + "\nRemove or replace them, or pass --skip-bad to go on without them."
        )
    return _assemble(root, base, _tracks(base, files, found), quarantined, groups)


def track_files(root: Path) -> TrackFiles:
    """Return the audio files of a folder, but for those whose names no table can hold. Nothing is decoded.

    Raises:
        DataError: no genre folders, or fewer than two genres.
    """
    base, files = _files_below(Path(os.path.abspath(root)))
    paths = {track: path for path, track in _ids(files).items() if _printable(str(path)) == str(path)}
    return TrackFiles(paths, _artist_table(base) or base / ARTIST_TABLE)


def _files_below(root: Path) -> tuple[Path, list[_File]]:
    """Return the folder of the genre folders, and every audio file in them."""
    try:
        base = _genres_folder(root)
        return base, _list_files(base)
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be read ({error.strerror}). Check its permissions.") from None


def _list_files(base: Path) -> list[_File]:
    """Return every audio file in the genre folders, sorted."""
    return [
        _File(path, _printable(path.relative_to(base).as_posix()))
        for folder in _folders(base)
        for path in _audio_in(folder)
    ]


def _examine(path: Path) -> _Examined | str:
    """Return what a file holds, or why it cannot serve. Runs in a worker."""
    if _printable(str(path)) != str(path):
        return "its name is not UTF-8: rename it"
    if path.suffix.lower() in _UNSERVED_SUFFIXES:
        return f"not one of {', '.join(AUDIO_SUFFIXES)}: convert it"
    try:
        samples, rate = decode(path)
    except DataError as error:
        return str(error)
    return _Examined(content_address(samples, rate), len(samples) / rate, fingerprint(samples, rate))


def _tracks(base: Path, files: Sequence[_File], found: Sequence[_Examined | str]) -> tuple[Track, ...]:
    """Return the tracks that can serve, sorted by id.

    Raises:
        DataError: a genre has none.
    """
    ids = _ids(files)
    tracks = [
        Track(ids[file.path], file.path.parent.name, file.path, *seen)
        for file, seen in zip(files, found, strict=True)
        if not isinstance(seen, str)
    ]
    for genre in sorted({file.path.parent.name for file in files} - {track.genre for track in tracks}):
        raise DataError(
            f"{base / genre}: none of its files can serve. Replace them, or remove the folder to go on without {genre}."
        )
    return tuple(sorted(tracks, key=lambda track: track.id))


def _assemble(
    root: Path, base: Path, tracks: tuple[Track, ...], quarantined: dict[str, str], groups: Path | None
) -> Dataset:
    """Return the data set of the tracks, with what stands beside their folders: its name, its mark, its artists."""
    homes = _homes(base)
    table = groups or _artist_table(base)
    return Dataset(
        name=dataset_name(homes[-1].name),
        root=root,
        genres=tuple(sorted({track.genre for track in tracks})),
        tracks=tracks,
        quarantined=quarantined,
        replicas=_replicas(tracks),
        fingerprint=short_hash([(track.genre, track.id, track.digest) for track in tracks], 16),
        synthetic=any((home / SYNTHETIC_NOTICE).is_file() for home in homes),
        groups=_groups(table, [track.id for track in tracks]) if table else {},
    )


def _replicas(tracks: Sequence[Track]) -> tuple[tuple[str, ...], ...]:
    by_digest = defaultdict(list)
    for track in tracks:
        by_digest[track.digest].append(track.id)
    sets = [*by_digest.values(), *_same_recording(tracks)]
    return tuple(unit for unit in linked_units([track.id for track in tracks], sets) if len(unit) > 1)


def _same_recording(tracks: Iterable[Track]) -> Iterator[list[str]]:
    """Yield tracks that sound the same, one of each audio."""
    different = list({track.digest: track for track in tracks}.values())
    prints = [track.acoustic_fingerprint for track in different]
    for group in linked(prints, [track.seconds for track in different]):
        yield [different[index].id for index in group]


def _genres_folder(root: Path) -> Path:
    """Return the folder whose folders are the genres."""
    if not root.is_dir():
        raise DataError(f"{root}: no such folder. Name the folder that holds the genre folders.")
    for base in (*(root / layout for layout in gtzan.LAYOUTS), root):
        if base.is_dir() and any(_audio_in(folder) for folder in _folders(base)):
            break
    else:
        raise DataError(
            f"{root}: no genre folders with audio in it. A data set is one folder a genre, with "
            f"{', '.join(AUDIO_SUFFIXES)} files, directly in it or in {', '.join(gtzan.LAYOUTS)}."
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


def _is_stray(name: str) -> bool:
    """Whether a file is litter that copies of GTZAN carry: `bextract_single.mf`, `.DS_Store`, `._blues.00000.au`."""
    return name.startswith(".") or name.endswith(".mf") or name in {"Thumbs.db", "desktop.ini"}


def _printable(name: str) -> str:
    """Return a file's name without the bytes that are no text, which no record can hold."""
    return name.encode("utf-8", "replace").decode()


def _ids(files: Iterable[_File]) -> dict[Path, str]:
    """Return the shortest form of the names that is unique in the whole data set."""
    names = dict(files)
    forms: tuple[Callable[[Path], str], ...] = (
        lambda path: path.stem,
        lambda path: f"{path.parent.name}/{path.stem}",
    )
    for form in forms:
        ids = {path: form(path) for path in names}
        if len(set(ids.values())) == len(ids):
            return ids
    return names


def _homes(base: Path) -> list[Path]:
    """Return the folder of the genre folders and what lies above it, up to the folder that names the data set."""
    homes = [base]
    while homes[-1].name.lower() in _LAYOUT_NAMES and homes[-1] != homes[-1].parent:
        homes.append(homes[-1].parent)
    return homes


def _artist_table(base: Path) -> Path | None:
    return next((home / ARTIST_TABLE for home in _homes(base) if (home / ARTIST_TABLE).is_file()), None)


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
