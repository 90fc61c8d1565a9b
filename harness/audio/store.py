"""Features and waveforms on disk, made once a track, keyed by content and settings, read as memory maps."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.audio import features
from harness.audio.decode import content_address, decode, resample
from harness.audio.features import Features, InputView, Samples
from harness.audio.parallel import Progress, map_items
from harness.audio.tracks import Dataset, Track
from harness.errors import DataError, WorkspaceError
from harness.records import short_hash

Waveform = npt.NDArray[np.int16]

FULL_SCALE = 32_768
"""A stored waveform's value is int16 / `FULL_SCALE`."""

_WAVEFORM_SETTINGS = {"version": 1, "rate": features.SAMPLE_RATE, "resampler": "soxr HQ", "dtype": "int16"}
_FEATURE_SETTINGS = {
    "version": features.FEATURE_VERSION,
    "rate": features.SAMPLE_RATE,
    "n_fft": features.N_FFT,
    "hop_length": features.HOP_LENGTH,
    "rows": [features.N_MELS, features.N_MFCC, features.N_CHROMA, features.N_CONTRAST],
}
_BLOCK = 1 << 20
_HOUR = 3600


class Store:
    """A folder of arrays, two a track: `<settings>/<digest>.features.npy` and `waveforms/<settings>/<digest>.npy`."""

    def __init__(self, root: Path) -> None:
        """Name the folder; it is made by `prepare`."""
        self.root = root

    def prepare(
        self,
        tracks: Dataset | Iterable[Track],
        *,
        progress: Progress | None = None,
        workers: int | None = None,
    ) -> None:
        """Make what is missing or damaged. Safe to kill at any time, and to run again: whole files only appear.

        Args:
            tracks: whose features and waveforms are needed.
            progress: told after every track that is made how many are done, and of how many; not called if none is.
            workers: processes; by default as many as are worth it.

        Raises:
            DataError: a file changed or vanished since it was scanned, or a worker process died.
            WorkspaceError: the store cannot be written.
        """
        wanted = {track.digest: track for track in (tracks.tracks if isinstance(tracks, Dataset) else tracks)}
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            _sweep(self.root)
            missing = [track for track in wanted.values() if not self._is_whole(track.digest)]
        except OSError as error:
            raise _unwritable(self.root, error) from None
        map_items(partial(_make, self), missing, progress=progress, workers=workers, name=lambda track: track.path)

    def features(self, digest: str) -> Features:
        """Return a track's features, memory-mapped float32, shape (187, frames).

        Raises:
            WorkspaceError: they are not in the store, or are damaged.
        """
        return _mapped(self._features_path(digest), _are_features)

    def waveform(self, digest: str) -> Waveform:
        """Return a track's waveform, memory-mapped int16, shape (samples,), at 22,050 Hz; value = int16 / 32,768.

        Raises:
            WorkspaceError: it is not in the store, or is damaged.
        """
        return _mapped(self._waveform_path(digest), _is_waveform)

    def moments(
        self, view: InputView, digests: Sequence[str]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return mean and variance of each row of a view over whole tracks; name training tracks only.

        Tracks are read one after another and merged in float64 (Chan, Golub and LeVeque, 1979), so memory does not
        grow with their number.

        Returns:
            mean and (population) variance, float32, shape (rows,), or (1,) for a waveform in units of full scale.

        Raises:
            WorkspaceError: a track is not in the store, or is damaged.
        """
        rows = 1 if view.kind == "waveform" else view.stop - view.start
        count, mean, squares = 0, np.zeros(rows), np.zeros(rows)
        for digest in digests:
            whole: npt.NDArray[Any]
            if view.kind == "waveform":
                whole, scale = self.waveform(digest)[None], FULL_SCALE
            else:
                whole, scale = self.features(digest)[view.start : view.stop], 1
            for start in range(0, whole.shape[1], _BLOCK):
                block = whole[:, start : start + _BLOCK].astype(np.float64) / scale
                n, block_mean = block.shape[1], block.mean(axis=1)
                delta = block_mean - mean
                squares += np.square(block - block_mean[:, None]).sum(axis=1) + delta**2 * count * n / (count + n)
                count += n
                mean += delta * n / count
        return mean.astype(np.float32), (squares / max(count, 1)).astype(np.float32)

    def _features_path(self, digest: str) -> Path:
        return self.root / short_hash(_FEATURE_SETTINGS) / digest[:2] / f"{digest}.features.npy"

    def _waveform_path(self, digest: str) -> Path:
        return self.root / "waveforms" / short_hash(_WAVEFORM_SETTINGS) / digest[:2] / f"{digest}.npy"

    def _is_whole(self, digest: str) -> bool:
        try:
            frames, samples = self.features(digest).shape[1], len(self.waveform(digest))
        except WorkspaceError:
            return False
        return bool(frames == features.n_frames(samples))


def _make(store: Store, track: Track) -> None:
    """Write both arrays of a track. Runs in a worker."""
    try:
        samples, rate = decode(track.path)
    except DataError as error:
        raise DataError(f"{track.path}: {error}, since it was scanned. Put it back, and run again.") from None
    if content_address(samples, rate) != track.digest:
        raise DataError(f"{track.path}: its audio changed since it was scanned. Run again to scan it anew.")
    samples = resample(samples, rate)
    try:
        _write(store._waveform_path(track.digest), quantised(samples))
        _write(store._features_path(track.digest), features.extract(samples))
    except OSError as error:
        raise _unwritable(store.root, error) from None


def quantised(samples: Samples) -> Waveform:
    """Return float samples, shape (n,), as the int16 that the store keeps; beyond full scale they are clipped."""
    return np.clip(np.rint(samples * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)


def _write(path: Path, array: npt.NDArray[Any]) -> None:
    """Write a whole file or none: under another name in the same folder, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.stem}.{uuid.uuid4().hex}.tmp")
    try:
        with unfinished.open("wb") as file:
            np.save(file, array)
        os.replace(unfinished, path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def _sweep(root: Path) -> None:
    """Remove what killed runs left; what is younger than an hour may be another run's."""
    for unfinished in root.rglob("*.tmp"):
        if unfinished.stat().st_mtime < time.time() - _HOUR:
            unfinished.unlink(missing_ok=True)


def _unwritable(root: Path, error: OSError) -> WorkspaceError:
    return WorkspaceError(
        f"{root}: the store of features cannot be written ({error.strerror}). Free some space or choose another "
        f"--workspace; what is there is kept."
    )


def _mapped(path: Path, is_right: Callable[[npt.NDArray[Any]], bool]) -> npt.NDArray[Any]:
    array: npt.NDArray[Any] | None
    try:
        # Mapping fails on a file that is shorter than its header says, and reads nothing but that header.
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise WorkspaceError(f"{path}: not in the store. Run again to have it made.") from None
    except (OSError, ValueError, EOFError):
        array = None
    if array is None or not is_right(array):
        raise WorkspaceError(f"{path}: damaged. Run again to have it made anew.")
    return array


def _are_features(array: npt.NDArray[Any]) -> bool:
    return array.ndim == 2 and len(array) == features.N_ROWS and bool(array.dtype == np.float32)


def _is_waveform(array: npt.NDArray[Any]) -> bool:
    return array.ndim == 1 and bool(array.dtype == np.int16)
