"""The synthetic data set is made: seeded General-MIDI music in the GTZAN layout, for when there is no real music.

`composer` writes the songs, `recording` plays and records them, this module makes the set of files. Scores on this
music say nothing about real music, so the set says that it is synthetic.
"""

from __future__ import annotations

import csv
import io
import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.datasets.dataset import ARTIST_TABLE, SYNTHETIC_NOTICE
from harness.datasets.signal import SAMPLE_RATE
from harness.errors import DataError, UsageError
from harness.files import write_atomically, writing
from harness.hashing import seed_for, short_hash
from harness.parallel import Progress, map_items
from harness.paths import path_state
from harness.synthetic.composer import compose
from harness.synthetic.recording import apply_recording_effects, artist_sound, render
from harness.synthetic.styles import load_styles, styles_text

MIN_SECONDS = 5.0
# Raise it when the code makes other audio than before from the same arguments and styles.
RECIPE = 1


@dataclass(frozen=True)
class _Song:
    """One track to make: where it goes, and all that its audio depends on."""

    path: Path
    genre: str
    artist: int
    number: int
    seconds: float
    seed: int


def make(
    directory: Path,
    *,
    artists: int = 10,
    tracks: int = 2,
    seconds: float = 30.0,
    seed: int = 0,
    progress: Progress | None = None,
    workers: int | None = None,
) -> Path:
    """Make the demo set, or what is missing of it: `genres/`, `artists.csv` and `SYNTHETIC.txt`.

    The same arguments make the same bytes, whatever the number of workers. A complete set is left as it is, one whose
    making was interrupted is completed.

    Args:
        directory: the folder of the set; new, empty, or holding the same set.
        artists: artists per genre; 10 genres.
        tracks: tracks per artist.
        seconds: length of every track, at least 5.
        seed: seed of the whole set.
        progress: called with the tracks there are and the tracks there will be, each time one is finished.
        workers: processes to work with; one per processor core and at most four if not given.

    Returns:
        `directory`.

    Raises:
        UsageError: an argument is out of range.
        DataError: `directory` holds something else, or a worker was killed.
        WorkspaceError: it cannot be written to; what is finished is kept.
    """
    _check_arguments(artists=artists, tracks=tracks, seconds=seconds, workers=workers)
    notice = _notice(artists=artists, tracks=tracks, seconds=seconds, seed=seed)
    plan = _plan(directory, artists=artists, tracks=tracks, seconds=seconds, seed=seed)
    with writing(directory):
        _check_ownership(directory, notice)
        missing = [track for track in plan if not track.path.exists()]
        _make_tracks(missing, workers or min(4, os.cpu_count() or 1), len(plan), progress)
        # The table comes last: whoever finds it finds all of its tracks. A complete set is not written to.
        table = directory / ARTIST_TABLE
        if missing or not table.exists():
            write_atomically(table, _artist_table(plan))
    return directory


def _check_arguments(*, artists: int, tracks: int, seconds: float, workers: int | None) -> None:
    for name, count in (("artists", artists), ("tracks", tracks), ("workers", workers)):
        if count is not None and count < 1:
            raise UsageError(f"The demo set cannot be made with {name} = {count}. Ask for at least 1.")
    if not (math.isfinite(seconds) and seconds >= MIN_SECONDS):
        raise UsageError(f"Tracks of {seconds:g} seconds cannot be made. Ask for at least {MIN_SECONDS:g} seconds.")


def _plan(directory: Path, *, artists: int, tracks: int, seconds: float, seed: int) -> list[_Song]:
    """Return every track of the set; within a genre they are numbered by artist, then by track."""
    return [
        _Song(
            path=directory / "genres" / genre / f"{genre}.{artist * tracks + number:05d}.wav",
            genre=genre,
            artist=artist,
            number=number,
            seconds=seconds,
            seed=seed,
        )
        for genre in load_styles().genres
        for artist in range(artists)
        for number in range(tracks)
    ]


def _notice(*, artists: int, tracks: int, seconds: float, seed: int) -> str:
    """Return the text of `SYNTHETIC.txt`. It names all that the audio depends on, so it also identifies the set."""
    return f"""\
This music is synthetic. No one played it: a program drew it at random from chord progressions, grooves and
instruments typical of ten genres, played it with a General MIDI SoundFont and added light recording effects.
It serves to try the program out. Scores on it say nothing about real music.

Made by `harness data make` with
artists per genre: {artists}
tracks per artist: {tracks}
seconds per track: {float(seconds)}
seed: {seed}
recipe: {RECIPE}-{short_hash(styles_text())}
"""


def _check_ownership(directory: Path, notice: str) -> None:
    """Put the notice into an empty folder, or find the same one there.

    Raises:
        DataError: `directory` is no folder, or holds anything else.
    """
    path = directory / SYNTHETIC_NOTICE
    state = path_state(directory)
    if state.kind == "unreadable":
        raise DataError(f"{directory}: {state.said('')}. Choose another place.")
    if state.exists and state.kind != "folder":
        raise DataError(f"{directory}: a file, where the demo set needs a folder. Choose another place.")
    if path.is_file():
        if path.read_bytes() != notice.encode():
            raise DataError(
                f"{directory}: holds a demo set made with other arguments or by another version (see "
                f"{SYNTHETIC_NOTICE}). Choose another folder, or delete this one."
            )
    elif state.kind == "folder" and any(directory.iterdir()):
        raise DataError(
            f"{directory}: holds files that are not a demo set, and nothing of yours is overwritten. "
            "Choose a new or empty folder."
        )
    else:
        write_atomically(path, notice)


def _make_tracks(missing: list[_Song], workers: int, total: int, progress: Progress | None) -> None:
    def report(finished: int, _: int) -> None:
        if progress is not None:
            progress(total - len(missing) + finished, total)

    map_items(
        _make_track,
        missing,
        progress=report,
        workers=min(workers, len(missing)),
        name=lambda song: song.path,
        advice="It may have run out of memory. Make the set again with fewer workers: what is finished is kept.",
    )


def _make_track(track: _Song) -> None:
    """Compose, render and record one track. Runs in a worker."""
    import soundfile

    song = track.genre, track.artist, track.number
    dry = render(compose(*song, seed=track.seed, seconds=track.seconds), track.seconds)
    rng = np.random.default_rng(seed_for("recording", track.seed, *song, size=8))
    audio = apply_recording_effects(dry, artist_sound(track.genre, track.artist, seed=track.seed), rng)
    buffer = io.BytesIO()
    soundfile.write(buffer, audio, SAMPLE_RATE, format="WAV", subtype="PCM_16")
    write_atomically(track.path, buffer.getvalue())


def _artist_table(plan: list[_Song]) -> str:
    """Return the text of `artists.csv`."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("track", "artist"))
    table.writerows((track.path.stem, f"{track.genre}-artist-{track.artist:02d}") for track in plan)
    return text.getvalue()
