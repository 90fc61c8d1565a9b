"""`harness data artists`: the table of artists, written from the tags of the files; and the hint that it can be."""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from harness.datasets.dataset import Dataset
from harness.datasets.names import normal_name
from harness.datasets.scan import track_files
from harness.datasets.tags import artist_names, one_artist_each
from harness.errors import DataError, UsageError, listed
from harness.files import write_atomically
from harness.paths import path_state

_LOOKED_AT = 50
"""Files whose tags are read for the hint: enough to find artists where there are some, and done in no time."""


def write_artists(
    directory: Path, output: Path | None, force: bool, progress: Callable[[str, int, int], None]
) -> Iterator[str]:
    """Write the table of artists of a data set, and yield lines on what stands in it. Nothing is decoded.

    Args:
        output: where to, else to where a run looks for it, beside the genre folders.
        force: replace a table that is there.
        progress: told of the folder's name, the files that were read, and how many there are.

    Raises:
        DataError: no genre folders; no file has an artist, and nothing is written; or some have none, and the table is
            written with gaps.
        UsageError: the table is there.
        WorkspaceError: it cannot be written.
    """
    found = track_files(directory)
    table = output or found.artist_table
    if path_state(table).exists and not force:
        raise UsageError(f"{table}: is there already. Pass --force to replace it, or --output FILE to write elsewhere.")
    tagged = {}
    for done, (track, path) in enumerate(found.paths.items(), 1):
        tagged[track] = artist_names(path)
        progress(directory.name, done, len(found.paths))
    artist_of = one_artist_each(tagged)
    if not artist_of:
        raise DataError(
            f"{directory}: none of its {len(tagged)} files names an artist in its tags. Write {table} by hand: the "
            f"line track,artist, and one for each track."
        )
    _write(table, {track: artist_of.get(track, "") for track in sorted(tagged)})
    yield f"{table}: {len(tagged)} tracks, {len(set(artist_of.values()))} artists"
    yield from _joined(tagged, artist_of)
    if missing := sorted(tagged.keys() - artist_of):
        raise DataError(
            f"{table}: {len(missing)} of {len(tagged)} tracks have no artist in their tags:\n{listed(missing)}\n"
            f"Their rows end in a comma. Write an artist behind it, for a table with gaps is refused."
        )
    groups = f" --groups {shlex.quote(str(table))}" if output else ""
    yield f"next: harness data check {shlex.quote(str(directory))}{groups}"


def artists_hint(dataset: Dataset) -> str | None:
    """Return what to do where no artists are known of a data set, and the tags of some of its files name them."""
    if dataset.groups:
        return None
    step = -(-len(dataset.tracks) // _LOOKED_AT)  # from all genres
    if not any(artist_names(track.path) for track in dataset.tracks[:: step or 1]):
        return None
    return (
        f"the files' tags name artists: `harness data artists {shlex.quote(str(dataset.root))}` writes them for the "
        f"protocol `group`"
    )


def _write(table: Path, artist_of: Mapping[str, str]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("track", "artist"), *artist_of.items()])
    write_atomically(table, text.getvalue())


def _joined(tagged: Mapping[str, tuple[str, ...]], artist_of: Mapping[str, str]) -> Iterator[str]:
    """Yield a line for each artist under whose name others stand, for there are tracks by both."""
    for artist in sorted(set(artist_of.values())):
        tracks = (track for track, whose in artist_of.items() if whose == artist)
        names = {normal_name(name): name for track in tracks for name in tagged[track]}
        del names[normal_name(artist)]
        if names:
            yield f"  {artist}: with {', '.join(sorted(names.values()))}, for they share tracks"
