"""All that is known of one data set, GTZAN.

Tzanetakis and Cook, "Musical genre classification of audio signals", 2002. Its tracks, and how copies of it name and
lay them out; which are damaged; the partition that filters its faults; the public mirror it comes from, and what a copy
lacks.
"""

from __future__ import annotations

import csv
import re
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from gzip import BadGzipFile
from importlib.resources import files
from pathlib import Path

from harness.datasets.dataset import Dataset
from harness.datasets.decode import AUDIO_SUFFIXES
from harness.datasets.split import Partition
from harness.errors import DataError, ProtocolError, listed
from harness.parallel import Progress

GENRES = ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock")
TRACKS = tuple(f"{genre}.{number:05d}" for genre in GENRES for number in range(100))

LAYOUTS = ("genres", "genres_original", "Data/genres_original")
"""Where copies have the folders of their genres."""

KNOWN_DAMAGED = frozenset({"jazz.00054"})
"""Tracks that cannot be decoded in copies that are passed around, or that were left out of them for that."""

RANDOM_SPLIT_LEAK_PERCENT = 63
"""Of the held-out tracks of a random split, so many have their artist in training."""

MIRROR = (
    "https://huggingface.co/datasets/marsyas/gtzan/resolve/d2146561ecc7df707d9e6b8318885fe6a39668a2/data/genres.tar.gz"
)
"""Of Marsyas, the group that made GTZAN, at a fixed revision; its university's own server has been away since 2022."""

DIGEST_HEADER = "X-Linked-ETag"
"""Hugging Face tells the SHA-256 of a large file in the answer that redirects to its storage."""

ARCHIVE = "genres.tar.gz"

_TRACKS = frozenset(TRACKS)
_NAME = re.compile(r"([a-z]+(?:[-_ ][a-z]+)*)[._-](\d{5})")
_PIECE = 2**16


def canonical_name(name: str) -> str:
    """Return a track's name in GTZAN's own form if it is one, else in lower case without its audio suffix.

    `blues_00000`, `Blues.00000.wav` and `blues.00000` are one name; so are `hip-hop.00001` and `hiphop.00001`.
    """
    name = name.lower()
    while name.endswith(AUDIO_SUFFIXES):
        name = name.rpartition(".")[0]
    folder, slash, stem = name.rpartition("/")
    if parts := _NAME.fullmatch(stem):
        stem = re.sub(r"[-_ ]", "", parts[1]) + "." + parts[2]
    return folder + slash + stem


def is_gtzan(dataset: Dataset) -> bool:
    """Return whether all tracks of a data set have names of GTZAN's, in folders of their genres."""
    return len(_names(dataset)) == len(dataset.tracks)


def fault_filtered(dataset: Dataset) -> dict[str, Partition]:
    """Return the partition of every track by the artist- and fault-filtered split of GTZAN.

    Kereliuk, Sturm and Larsen, "Deep Learning and Music Adversaries", 2015: 443 tracks train, 197 validate, 290 test,
    and 70 are excluded.

    Raises:
        ProtocolError: a track has no name of GTZAN's.
    """
    names, table = _names(dataset), _fault_filtered_table()
    if others := [track.id for track in dataset.tracks if track.id not in names]:
        raise ProtocolError(
            f"fault_filtered: a partition of GTZAN, and {len(others)} of the {len(dataset.tracks)} tracks of "
            f"{dataset.name} do not have names of GTZAN:\n{listed(others)}\nChoose another protocol."
        )
    return {track: table.get(name, Partition.EXCLUDED) for track, name in names.items()}


def _names(dataset: Dataset) -> dict[str, str]:
    """Return track id -> GTZAN's name for it, for the tracks that have one."""
    names = {}
    for track in dataset.tracks:
        name = canonical_name(track.id.rpartition("/")[2])
        genre = canonical_name(f"{track.genre}.00000").partition(".")[0]
        if name in _TRACKS and name.partition(".")[0] == genre:
            names[track.id] = name
    return names


def _fault_filtered_table() -> dict[str, Partition]:
    """Return GTZAN's name of a track -> its partition; a name that is not there is excluded."""
    table = {}
    with (files("harness.datasets") / "gtzan_fault_filtered.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            for numbers in row["track_numbers"].split():
                first, _, last = numbers.partition("-")
                for number in range(int(first), int(last or first) + 1):
                    table[f"{row['genre']}.{number:05d}"] = Partition(row["partition"])
    return table


def compare(dataset: Dataset) -> Iterator[str]:
    """Yield lines on how a data set differs from GTZAN as it should be: 1,000 tracks, ten genres of 100.

    Raises:
        DataError: tracks are missing or damaged that are not known to be.
    """
    usable = _TRACKS & {canonical_name(track.id).rpartition("/")[2] for track in dataset.tracks}
    yield f"GTZAN: {len(usable):,} of {len(_TRACKS):,} tracks can be used"
    if known := (_TRACKS - usable) & KNOWN_DAMAGED:
        yield f"  damaged or missing, as in many copies: {', '.join(sorted(known))}; if damaged, run with --skip-bad"
    if lost := _TRACKS - usable - KNOWN_DAMAGED:
        raise DataError(
            f"{dataset.root}: {len(lost)} of GTZAN's {len(_TRACKS):,} tracks are missing or damaged:\n"
            f"{listed(sorted(lost))}\nFetch it into an empty folder, from another mirror with --url."
        )


def fetch(directory: Path, url: str = MIRROR, progress: Progress | None = None) -> None:
    """Download GTZAN into a folder, as `genres/`. What is there already is not fetched again.

    Args:
        directory: may hold the unpacked data set, which leaves nothing to do; `genres.tar.gz`, which is unpacked and
            kept; or the part of it that an earlier call received, which is completed.
        url: of an archive that `tarfile` can read, with the genre folders in it as `harness.datasets.scan` finds them.
        progress: told how many bytes there are, and how many there will be.

    Raises:
        DataError: the archive cannot be downloaded, is damaged, or leads out of its folder; the folder is a file,
            cannot be written to, or holds another data set.
    """
    # Here, because it imports requests, and every worker that reads tracks imports this module.
    from harness.download import download

    archive = directory / ARCHIVE
    try:
        if _is_there(directory):
            return
        directory.mkdir(parents=True, exist_ok=True)
        placed = archive.exists()
        if not placed:
            download(url, archive, progress, digest_header=DIGEST_HEADER, otherwise=_otherwise(archive))
        try:
            _unpack(archive)
        except (tarfile.TarError, BadGzipFile, zlib.error, EOFError) as error:
            if placed:
                raise DataError(
                    f"{archive}: not a whole archive ({error}). Replace it, or move it away to download it."
                ) from error
            archive.unlink()
            raise DataError(
                f"{url}: what arrived is not a whole archive ({error}), and was removed. Fetch it again, or name "
                "another mirror with --url."
            ) from error
        if not placed:
            archive.unlink()
    except OSError as error:
        raise DataError(
            f"{error.filename or directory}: cannot be written ({error.strerror or error}). Make room there, about 3 "
            "GB, or choose another folder, and fetch again: what has arrived is kept."
        ) from error


def _is_there(directory: Path) -> bool:
    """Return whether a folder, which need not exist, holds the unpacked data set.

    Raises:
        DataError: it holds another one, or is a file.
    """
    for place in (directory, *directory.parents):
        if place.exists() and not place.is_dir():
            raise DataError(f"{place}: a file, not a folder. Name a folder; it is made if it is not there.")
    present = [directory / name for name in (*LAYOUTS, GENRES[0]) if (directory / name).is_dir()]
    # By names: to decode what may be all of a user's music takes long.
    if present and not any(canonical_name(path.name) in _TRACKS for folder in present for path in folder.rglob("*")):
        raise DataError(
            f"{directory}: holds another data set: nothing in {present[0]} is called as GTZAN's tracks are "
            f"({TRACKS[0]}). Name an empty folder, or a new one."
        )
    return bool(present)


def _otherwise(archive: Path) -> str:
    """Return what a user can do who cannot download the archive."""
    return (
        f"name another mirror with --url; or place a copy from elsewhere: the archive as {archive}, or its genre "
        f"folders as {archive.parent / LAYOUTS[0] / GENRES[0]} and so on. Then give this command again."
    )


def _unpack(archive: Path) -> None:
    """Unpack the genre folders of an archive beside it, as `genres/`, all of them or nothing."""
    folder = archive.with_name(".unpacking")
    shutil.rmtree(folder, ignore_errors=True)  # of a call that was killed
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
            # A tar file ends before its compression does, which then checks its sum.
            while tar.fileobj is not None and tar.fileobj.read(_PIECE):
                pass
        whole = next((folder / layout for layout in LAYOUTS if (folder / layout).is_dir()), folder)
        whole.rename(archive.with_name(LAYOUTS[0]))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
