"""GTZAN from a public mirror: downloaded, resumed where it was cut, unpacked, and held against what it should be."""

from __future__ import annotations

import hashlib
import re
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from gzip import BadGzipFile
from pathlib import Path

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from harness.audio.parallel import Progress
from harness.audio.tables import canonical_name, listed
from harness.audio.tracks import LAYOUTS, Dataset
from harness.errors import DataError

MIRROR = (
    "https://huggingface.co/datasets/marsyas/gtzan/resolve/d2146561ecc7df707d9e6b8318885fe6a39668a2/data/genres.tar.gz"
)
"""Of Marsyas, the group that made GTZAN, at a fixed revision; its university's own server has been away since 2022."""

ARCHIVE = "genres.tar.gz"
GENRES = ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock")
TRACKS = tuple(f"{genre}.{number:05d}" for genre in GENRES for number in range(100))

KNOWN_DAMAGED = frozenset({"jazz.00054"})
"""Tracks that cannot be decoded in copies that are passed around, or that were left out of them for that."""

RETRIES = Retry(3, backoff_factor=1, status_forcelist=(429, 500, 502, 503, 504), raise_on_status=False)
TIMEOUT_SECONDS = (10.0, 60.0)
"""To connect, and between two pieces."""

# What a cut connection loses at most.
_PIECE = 2**16
# Hugging Face tells the SHA-256 of a large file in the answer that redirects to its storage.
_DIGEST_HEADER = "X-Linked-ETag"


def fetch(directory: Path, url: str = MIRROR, progress: Progress | None = None) -> None:
    """Put GTZAN into a folder as `genres/`. What is there already is not fetched again.

    Args:
        directory: may hold the unpacked data set, which leaves nothing to do; `genres.tar.gz`, which is unpacked and
            kept; or the part of it that an earlier call received, which is completed.
        url: of an archive that `tarfile` can read, with the genre folders in it as `harness.audio.tracks.scan` finds
            them.
        progress: told how many bytes there are, and how many there will be.

    Raises:
        DataError: the archive cannot be downloaded, is damaged, or leads out of its folder; the folder is a file,
            cannot be written to, or holds another data set.
    """
    archive = directory / ARCHIVE
    try:
        if _is_there(directory):
            return
        directory.mkdir(parents=True, exist_ok=True)
        placed = archive.exists()
        if not placed:
            _download(url, archive, progress)
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


def compare(dataset: Dataset) -> Iterator[str]:
    """Yield lines on how a data set differs from GTZAN as it should be: 1,000 tracks, ten genres of 100.

    Raises:
        DataError: tracks are missing or damaged that are not known to be.
    """
    expected = set(TRACKS)
    usable = expected & {canonical_name(track.id).rpartition("/")[2] for track in dataset.tracks}
    yield f"GTZAN: {len(usable):,} of {len(expected):,} tracks can be used"
    if known := (expected - usable) & KNOWN_DAMAGED:
        yield f"  damaged or missing, as in many copies: {', '.join(sorted(known))}; if damaged, run with --skip-bad"
    if lost := expected - usable - KNOWN_DAMAGED:
        raise DataError(
            f"{dataset.root}: {len(lost)} of GTZAN's {len(expected):,} tracks are missing or damaged:\n"
            f"{listed(sorted(lost))}\nFetch it into an empty folder, from another mirror with --url."
        )


def _is_there(directory: Path) -> bool:
    """Return whether a folder, which need not exist, holds the unpacked data set.

    Raises:
        DataError: it holds another one, or is a file.
    """
    for place in (directory, *directory.parents):
        if place.exists() and not place.is_dir():
            raise DataError(f"{place}: a file, not a folder. Name a folder; it is made if it is not there.")
    held = [directory / name for name in (*LAYOUTS, GENRES[0]) if (directory / name).is_dir()]
    # By names: to decode what may be all of a user's music takes long.
    if held and not any(canonical_name(path.name) in TRACKS for folder in held for path in folder.rglob("*")):
        raise DataError(
            f"{directory}: holds another data set: nothing in {held[0]} is called as GTZAN's tracks are "
            f"({TRACKS[0]}). Name an empty folder, or a new one."
        )
    return bool(held)


def _download(url: str, archive: Path, progress: Progress | None) -> None:
    """Download the archive, as often as a cut connection asks for it, and check its size and, if known, its digest."""
    part = archive.with_name(f"{archive.name}.part")
    with requests.Session() as session:
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=RETRIES))
        while True:
            before = _size(part)
            try:
                digest = _receive(session, url, part, progress)
                break
            except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
                # One that was cut goes on at once, for as long as it gets on.
                if _size(part) <= before:
                    raise _unreachable(url, archive, f"the connection failed or was cut: {_cause(error)}") from error
            except requests.HTTPError as error:
                answer = f"it answers {error.response.status_code} {error.response.reason}"
                raise _unreachable(url, archive, answer) from error
            except requests.RequestException as error:
                raise _unreachable(url, archive, str(error)) from error
    if digest:
        with part.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != digest:
            part.unlink()
            raise DataError(
                f"{url}: what arrived has the SHA-256 {found}, and the mirror says {digest}. It was removed. Fetch it "
                "again, or name another mirror with --url."
            )
    part.rename(archive)


def _receive(session: requests.Session, url: str, part: Path, progress: Progress | None) -> str | None:
    """Receive what is missing of a file, to its end, and return its SHA-256 if the server tells it."""
    have = _size(part)
    # Compressed on the way, a file could not be resumed by its own bytes.
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    with session.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            if response.headers.get("Content-Range") != f"bytes */{have}":
                part.unlink()  # of another file than the server has now
                return _receive(session, url, part, progress)
        else:
            response.raise_for_status()
            resumed = response.status_code == requests.codes.partial_content
            done = have if resumed else 0
            total = done + int(response.headers.get("Content-Length", 0))
            with part.open("ab" if resumed else "wb") as file:
                for piece in response.iter_content(_PIECE):
                    file.write(piece)
                    done += len(piece)
                    if progress is not None:
                        progress(done, max(done, total))
        answers = [*response.history, response]
    digests = (answer.headers.get(_DIGEST_HEADER, "").strip('"') for answer in answers)
    return next((digest for digest in digests if re.fullmatch("[0-9a-f]{64}", digest)), None)


def _cause(error: BaseException) -> str:
    """Return what is at the bottom of an error, such as `Connection refused`, without who passed it on."""
    while below := error.__cause__ or error.__context__:
        error = below
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _unreachable(url: str, archive: Path, reason: str) -> DataError:
    home = archive.parent
    return DataError(
        f"{url}: cannot be downloaded ({reason}). Try again later, what has arrived is kept; or name another mirror "
        f"with --url; or place a copy from elsewhere: the archive as {archive}, or its genre folders as "
        f"{home / LAYOUTS[0] / GENRES[0]} and so on. Then give this command again."
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


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
