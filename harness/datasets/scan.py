"""A folder of genres is scanned: its tracks, what cannot serve and why, and which tracks are the same."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from harness.datasets.dataset import ARTIST_TABLE, SYNTHETIC_NOTICE, Dataset, Track, dataset_name
from harness.datasets.examination import examine_all
from harness.datasets.genre_names import name_notes, one_name_twice
from harness.datasets.layout import AudioFile, Layout, find_layout, ignored_kinds
from harness.datasets.replicas import replicas
from harness.datasets.scan_cache import Examined
from harness.datasets.track_groups import FROM_FOLDERS, folder_groups, groups_of, read_groups
from harness.errors import DataError, combined, listed
from harness.hashing import short_hash
from harness.parallel import Progress
from harness.paths import path_state, printable, storable

_LAYOUT_NAMES = {"genres", "genres_original", "data"}

_Examine = Callable[[Sequence[Path]], Sequence[Examined | str]]


class TrackFiles(NamedTuple):
    """The audio files of a data set by the ids of their tracks, and where its table of artists lies, or would."""

    paths: dict[str, Path]
    artist_table: Path


@dataclass(frozen=True)
class Inspection:
    """All that is found in a folder, whether it can serve as a data set or not.

    Attributes:
        dataset: of the tracks that there are, be they none.
        problems: why it cannot serve, though the quarantined files are left out; in a fixed order.
        ignored: kinds of files that are no audio, each with its count.
    """

    dataset: Dataset
    problems: tuple[DataError, ...]
    ignored: tuple[str, ...]


def scan(
    root: Path,
    *,
    skip_bad: bool = False,
    groups: Path | None = None,
    progress: Progress | None = None,
    workers: int | None = None,
    cache: Path | None = None,
) -> Dataset:
    """Decode every file of a folder once, and return the data set that it holds. Nothing is written there.

    Args:
        root: holds one folder a genre, or `genres/`, `genres_original/` or `Data/genres_original/` that does.
        skip_bad: go on without the files that cannot serve.
        groups: a CSV with the columns `track` and `artist`, `group` or `artist_group`. By default `artists.csv`
            beside the genre folders, if it is there.
        progress: told after every file how many are done, and of how many.
        workers: processes; by default as many as are worth it.
        cache: a folder for what files held that did not change since; None for none.

    Raises:
        DataError: no genre folders, fewer than two genres, a genre without a usable track, or, without `skip_bad`,
            files that are unreadable, empty, silent, not finite or too short.
        ProtocolError: the table of groups is broken or misses tracks.
    """
    base, layout = _listed(root)
    # What makes reading worthless is said before it, which may take an hour.
    if problems := _layout_problems(layout):
        raise combined(problems)
    if table := groups or _artist_table(layout.base):
        read_groups(table)
    examine = partial(examine_all, cache=cache, progress=progress, workers=workers)
    inspection = _inspected(base, layout, groups, examine)
    found = inspection.dataset
    if found.quarantined and not skip_bad:
        total = len(layout.files) + len(layout.refused)
        raise DataError(
            f"{layout.base}: {len(found.quarantined)} of {total} files cannot serve:\n"
            + listed(f"{name}: {reason}" for name, reason in found.quarantined.items())
            + "\nRemove or replace them, or pass --skip-bad to go on without them."
        )
    if inspection.problems:
        raise combined(inspection.problems)
    return found


def inspect(
    root: Path,
    *,
    groups: Path | None = None,
    progress: Progress | None = None,
    workers: int | None = None,
    cache: Path | None = None,
) -> Inspection:
    """Decode every file of a folder once, and return what it holds, and all that is wrong with it. See `scan`.

    Raises:
        DataError: there is no such folder, or it has no folders with audio in them.
    """
    base, layout = _listed(root)
    return _inspected(base, layout, groups, partial(examine_all, cache=cache, progress=progress, workers=workers))


def track_files(root: Path) -> TrackFiles:
    """Return the audio files of a folder, but for those whose names no table can hold. Nothing is decoded.

    Raises:
        DataError: no genre folders, or fewer than two genres.
    """
    _, layout = _listed(root)
    if problems := _layout_problems(layout):
        raise combined(problems)
    paths = {track: path for path, track in _ids(layout.files).items() if storable(str(path)) == str(path)}
    return TrackFiles(paths, _artist_table(layout.base) or layout.base / ARTIST_TABLE)


def _listed(root: Path) -> tuple[Path, Layout]:
    root = Path(os.path.abspath(root))
    try:
        return root, find_layout(root)
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be read ({error.strerror}). Check its permissions.") from None


def _inspected(root: Path, layout: Layout, groups: Path | None, examine: _Examine) -> Inspection:
    found = examine([file.path for file in layout.files])
    bad = {file.name: seen for file, seen in zip(layout.files, found, strict=True) if isinstance(seen, str)}
    quarantined = dict(sorted((bad | layout.refused).items()))
    tracks = _tracks(layout, found)
    dataset = _assembled(root, layout, tracks, quarantined)
    problems = [*_layout_problems(layout), *_lost_genres(layout, tracks, quarantined)]
    try:
        dataset = _grouped(dataset, layout.base, groups)
    except DataError as error:
        problems.append(error)
    return Inspection(dataset, tuple(problems), tuple(ignored_kinds(layout)))


def _layout_problems(layout: Layout) -> list[DataError]:
    """Return why the folders are no data set, whatever their files hold."""
    genres = [genre for genre, music in layout.genres.items() if music]
    problems = list(one_name_twice(layout.base, genres))
    if len(genres) < 2:
        base = layout.base / genres[0]
        below = sorted({file.name.split("/")[1] for file in layout.files if file.name.count("/") > 1})
        advice = f" If the genres are its folders ({', '.join(below[:3])}), name {base}." if len(below) > 1 else ""
        problems.append(
            DataError(
                f"{layout.base}: one genre only, {genres[0]}. A classifier needs at least two genre folders.{advice}"
            )
        )
    return problems


def _lost_genres(layout: Layout, tracks: Sequence[Track], quarantined: dict[str, str]) -> list[DataError]:
    """Return one error for each genre that holds what may be music, and gives no track."""
    with_tracks = {track.genre for track in tracks}
    lost = sorted(genre for genre, music in layout.genres.items() if music and genre not in with_tracks)
    problems = []
    for genre in lost:
        reasons = [f"{name}: {reason}" for name, reason in quarantined.items() if name.split("/")[0] == genre]
        why = f":\n{listed(reasons)}\n" if reasons else ", for none is called as audio is. "
        problems.append(
            DataError(
                f"{printable(str(layout.base / genre))}: none of its files can serve{why}Replace them, or remove the "
                f"folder to go on without {printable(genre)}."
            )
        )
    return problems


def _tracks(layout: Layout, found: Sequence[Examined | str]) -> tuple[Track, ...]:
    """Return the tracks that can serve, sorted by id."""
    ids = _ids(layout.files)
    tracks = [
        Track(ids[file.path], file.genre, file.path, *seen)
        for file, seen in zip(layout.files, found, strict=True)
        if not isinstance(seen, str)
    ]
    return tuple(sorted(tracks, key=lambda track: track.id))


def _assembled(root: Path, layout: Layout, tracks: tuple[Track, ...], quarantined: dict[str, str]) -> Dataset:
    """Return the data set of the tracks without groups, with what stands beside their folders: its name, its mark."""
    homes = _homes(layout.base)
    genres = tuple(sorted({track.genre for track in tracks}))
    reasons = replicas(tracks)
    return Dataset(
        name=dataset_name(storable(homes[-1].name)),
        root=root,
        genres=genres,
        tracks=tracks,
        quarantined=quarantined,
        replicas=tuple(reasons),
        fingerprint=short_hash([(track.genre, track.id, track.digest) for track in tracks], 16),
        synthetic=any(path_state(home / SYNTHETIC_NOTICE).kind == "file" for home in homes),
        replica_reasons=reasons,
        notes=(*_folder_notes(layout), *name_notes(genres, homes)),
    )


def _folder_notes(layout: Layout) -> Iterator[str]:
    if layout.empty:
        yield f"empty, so no genres: {', '.join(layout.empty)}"
    if bare := [name for name, music in layout.genres.items() if not music and name not in layout.empty]:
        yield f"no audio in them, so no genres: {', '.join(bare)}"
    if layout.loose:
        yield f"in no genre's folder, so left out: {_first(layout.loose)}"
    if layout.beside:
        yield (
            f"the genres are the folders of {layout.base.name}/, so audio beside it is left out: "
            f"{_first(layout.beside)}. Move what belongs to the data set into {layout.base.name}/."
        )


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _grouped(dataset: Dataset, base: Path, table: Path | None) -> Dataset:
    """Return the data set with the groups of its tracks, as far as there are any.

    Raises:
        ProtocolError: the table is broken or misses tracks.
    """
    table = table or _artist_table(base)
    if table:
        return replace(dataset, groups=groups_of(table, dataset.tracks), groups_from=table.name)
    groups = folder_groups(base, dataset.tracks)
    return replace(dataset, groups=groups, groups_from=FROM_FOLDERS if groups else "")


def _ids(files: Iterable[AudioFile]) -> dict[Path, str]:
    """Return the shortest form of the names that is unique in the whole data set."""
    names = {file.path: PurePosixPath(file.name) for file in files}
    forms: tuple[Callable[[PurePosixPath], str], ...] = (
        lambda name: name.stem,
        lambda name: f"{name.parts[0]}/{name.stem}",
        lambda name: str(name.with_suffix("")),
        str,
    )
    for form in forms:
        ids = {path: form(name) for path, name in names.items()}
        if len(set(ids.values())) == len(ids):
            break
    return ids


def _homes(base: Path) -> list[Path]:
    """Return the folder of the genre folders and what lies above it, up to the folder that names the data set."""
    homes = [base]
    while homes[-1].name.lower() in _LAYOUT_NAMES and homes[-1] != homes[-1].parent:
        homes.append(homes[-1].parent)
    return homes


def _artist_table(base: Path) -> Path | None:
    tables = (home / ARTIST_TABLE for home in _homes(base))
    return next((table for table in tables if path_state(table).kind == "file"), None)
