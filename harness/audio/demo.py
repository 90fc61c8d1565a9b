"""The synthetic demo set: seeded General-MIDI music in the GTZAN layout, for when there is no real music at hand.

`composer` writes the songs, `studio` plays and records them, this module makes the set of files. Scores on this music
say nothing about real music, so the set says that it is synthetic.
"""

from __future__ import annotations

import csv
import io
import math
import multiprocessing
import os
import signal
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.audio import composer, studio
from harness.errors import DataError, UsageError
from harness.records import short_hash

MIN_SECONDS = 5.0
NOTICE = "SYNTHETIC.txt"
# Raise it when the code makes other audio than before from the same arguments and styles.
RECIPE = 1


@dataclass(frozen=True)
class Track:
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
    progress: Callable[[int, int], None] | None = None,
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
        DataError: `directory` holds something else, or cannot be written to, or a worker was killed.
    """
    _check_arguments(artists=artists, tracks=tracks, seconds=seconds, workers=workers)
    notice = _notice(artists=artists, tracks=tracks, seconds=seconds, seed=seed)
    plan = _plan(directory, artists=artists, tracks=tracks, seconds=seconds, seed=seed)
    try:
        _claim(directory, notice)
        missing = [track for track in plan if not track.path.exists()]
        _make_tracks(missing, workers or min(4, os.cpu_count() or 1), len(plan), progress)
        # The table comes last: whoever finds it finds all of its tracks. A complete set is not written to.
        table = directory / "artists.csv"
        if missing or not table.exists():
            _write_atomically(table, _artist_table(plan).encode())
    except OSError as error:
        raise DataError(
            f"{directory}: the demo set cannot be written there ({error.strerror or error}). "
            "Make room there or choose another folder, then make it again: what is finished is kept."
        ) from error
    return directory


def _check_arguments(*, artists: int, tracks: int, seconds: float, workers: int | None) -> None:
    for name, count in (("artists", artists), ("tracks", tracks), ("workers", workers)):
        if count is not None and count < 1:
            raise UsageError(f"The demo set cannot be made with {name} = {count}. Ask for at least 1.")
    if not (math.isfinite(seconds) and seconds >= MIN_SECONDS):
        raise UsageError(f"Tracks of {seconds:g} seconds cannot be made. Ask for at least {MIN_SECONDS:g} seconds.")


def _plan(directory: Path, *, artists: int, tracks: int, seconds: float, seed: int) -> list[Track]:
    """Return every track of the set; within a genre they are numbered by artist, then by track."""
    return [
        Track(
            path=directory / "genres" / genre / f"{genre}.{artist * tracks + number:05d}.wav",
            genre=genre,
            artist=artist,
            number=number,
            seconds=seconds,
            seed=seed,
        )
        for genre in composer.load_styles().genres
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
recipe: {RECIPE}-{short_hash(composer.styles_text())}
"""


def _claim(directory: Path, notice: str) -> None:
    """Put the notice into an empty folder, or find the same one there.

    Raises:
        DataError: `directory` is no folder, or holds anything else.
    """
    path = directory / NOTICE
    if directory.exists() and not directory.is_dir():
        raise DataError(f"{directory}: a file, where the demo set needs a folder. Choose another place.")
    if path.is_file():
        if path.read_bytes() != notice.encode():
            raise DataError(
                f"{directory}: holds a demo set made with other arguments or by another version (see {NOTICE}). "
                "Choose another folder, or delete this one."
            )
    elif directory.is_dir() and any(directory.iterdir()):
        raise DataError(
            f"{directory}: holds files that are not a demo set, and nothing of yours is overwritten. "
            "Choose a new or empty folder."
        )
    else:
        directory.mkdir(parents=True, exist_ok=True)
        _write_atomically(path, notice.encode())


def _make_tracks(missing: list[Track], workers: int, total: int, progress: Callable[[int, int], None] | None) -> None:
    def report(finished: int) -> None:
        if progress:
            progress(total - len(missing) + finished, total)

    if not missing:
        return
    if workers == 1 or len(missing) == 1:
        for finished, track in enumerate(missing, 1):
            _make_track(track)
            report(finished)
        return
    # Not "forkserver": a process has one server, and the first to start it decides what it has imported.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(missing)), context, initializer=_leave_interrupts_to_parent) as executor:
        try:
            for finished, _ in enumerate(executor.map(_make_track, missing), 1):
                report(finished)
        except BrokenProcessPool as error:
            raise DataError(
                f"{missing[0].path.parents[2]}: a process that was making the demo set was killed, perhaps for lack "
                "of memory. Make it again with fewer workers: what is finished is kept."
            ) from error
        except BaseException:
            executor.shutdown(cancel_futures=True)
            raise


def _leave_interrupts_to_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _make_track(track: Track) -> None:
    import soundfile

    song = track.genre, track.artist, track.number
    dry = studio.render(composer.compose(*song, seed=track.seed, seconds=track.seconds), track.seconds)
    rng = np.random.default_rng(composer.stable_seed("recording", track.seed, *song))
    audio = studio.record(dry, studio.artist_sound(track.genre, track.artist, seed=track.seed), rng)
    buffer = io.BytesIO()
    soundfile.write(buffer, audio, studio.SAMPLE_RATE, format="WAV", subtype="PCM_16")
    track.path.parent.mkdir(parents=True, exist_ok=True)
    _write_atomically(track.path, buffer.getvalue())


def _artist_table(plan: list[Track]) -> str:
    """Return the text of `artists.csv`."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("track", "artist"))
    table.writerows((track.path.stem, f"{track.genre}-artist-{track.artist:02d}") for track in plan)
    return text.getvalue()


def _write_atomically(path: Path, content: bytes) -> None:
    """Write a file that is either whole or not there, also when two processes write it at once."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        # mkstemp makes files that only their owner may read.
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
