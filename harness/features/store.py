"""Features, waveforms and embeddings are stored on disk: made once a track, keyed by content and settings, mapped."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from harness.datasets.dataset import Track
from harness.datasets.decode import CRASH_ADVICE
from harness.datasets.signal import FULL_SCALE, SAMPLE_RATE, Waveform, quantised
from harness.datasets.track_audio import Audio, TrackAudio, read_audio
from harness.errors import DataError
from harness.features import augment, extract
from harness.features.array_file import Header, header, mapped, write, write_blocks
from harness.features.extract import Features
from harness.features.input_spec import InputSpec
from harness.features.normalization import mean_and_variance
from harness.files import remove_unfinished, writing
from harness.hashing import short_hash
from harness.parallel import Progress, map_items

_WAVEFORM_SETTINGS = {"version": 1, "rate": SAMPLE_RATE, "resampler": "soxr HQ", "dtype": "int16"}
_FEATURE_SETTINGS = {
    "version": extract.FEATURE_VERSION,
    "rate": SAMPLE_RATE,
    "n_fft": extract.N_FFT,
    "hop_length": extract.HOP_LENGTH,
    "rows": [extract.N_MELS, extract.N_MFCC, extract.N_CHROMA, extract.N_CONTRAST],
}
_HOUR = 3600

_IN_CACHE = 1 << 16
"""Samples that are rounded at once: few enough to stay in the cache of a core."""


class _Work(NamedTuple):
    """What is to be made of a track: augmented copies by their numbers, 0 the track itself."""

    track: Track
    numbers: tuple[int, ...]


class FeatureStore:
    """A folder of arrays: two a track, and two for each of its augmented copies that are numbered from 1.

    A track lies in `<settings>/<digest>.features.npy` and `waveforms/<settings>/<digest>.npy`; its augmented copies lie
    in folders of other settings, those of `augment` included, under `<digest>.<number>`. What a frozen network made of
    a track lies in `embeddings/<network>/<digest>.npy`.
    """

    def __init__(self, root: Path) -> None:
        """Name the folder; it is made by `prepare`."""
        self.root = root

    def prepare(
        self,
        tracks: Iterable[Track],
        *,
        augmented: Iterable[Track] = (),
        copies: int = 0,
        progress: Progress | None = None,
        workers: int | None = None,
    ) -> None:
        """Make what is missing or damaged. Safe to kill at any time, and to run again: whole files only appear.

        Args:
            tracks: whose features and waveforms are needed.
            augmented: those among them that need augmented copies too: what is trained on.
            copies: how many of them a track.
            progress: told after every track that is made how many are done, and of how many; not called if none is.
            workers: processes; by default as many as are worth it.

        Raises:
            DataError: a file changed or vanished since it was scanned, or a worker process died.
            WorkspaceError: the store cannot be written.
        """
        wanted = {track.digest: track for track in tracks}
        to_augment = {track.digest for track in augmented}
        missing = []
        with writing(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            remove_unfinished(self.root, _HOUR)
            for digest, track in wanted.items():
                numbers = range(copies + 1 if digest in to_augment else 1)
                if lacking := tuple(number for number in numbers if not self._is_whole(digest, number)):
                    missing.append(_Work(track, lacking))
        map_items(
            partial(_make, self),
            missing,
            progress=progress,
            workers=workers,
            name=lambda work: work.track.path,
            advice=CRASH_ADVICE,
        )

    def put(self, digest: str, rows: Features, waveform: Waveform, copy: int = 0) -> None:
        """Store both arrays of a track or of one of its augmented copies, each whole or not at all.

        Args:
            digest: the address of the track's audio.
            rows: float32, shape (187, frames).
            waveform: int16, shape (samples,), at 22,050 Hz.
            copy: 0 is the track itself.

        Raises:
            WorkspaceError: the store cannot be written.
        """
        write(self._waveform_path(digest, copy), waveform)
        write(self._features_path(digest, copy), rows)

    def put_audio(self, digest: str, audio: Audio, copy: int = 0) -> None:
        """Store what is made of audio: both arrays of a track or of one of its augmented copies. See `put`."""
        waveform = (quantised(audio[start : start + _IN_CACHE]) for start in range(0, len(audio), _IN_CACHE))
        write_blocks(self._waveform_path(digest, copy), (len(audio),), np.dtype(np.int16), waveform)
        shape = (extract.N_ROWS, extract.n_frames(len(audio)))
        write_blocks(self._features_path(digest, copy), shape, np.dtype(np.float32), extract.extract_blocks(audio))

    def features(self, digest: str, copy: int = 0) -> Features:
        """Return a track's features or an augmented copy's, memory-mapped float32, shape (187, frames).

        Raises:
            WorkspaceError: they are not in the store, or are damaged.
        """
        return mapped(self._features_path(digest, copy), _are_features)

    def waveform(self, digest: str, copy: int = 0) -> Waveform:
        """Return a track's waveform or an augmented copy's, memory-mapped int16, shape (samples,), at 22,050 Hz.

        A value is int16 / `FULL_SCALE`.

        Raises:
            WorkspaceError: it is not in the store, or is damaged.
        """
        return mapped(self._waveform_path(digest, copy), _is_waveform)

    def put_embedding(self, source: str, digest: str, frames: Features) -> None:
        """Store what a network made of a track, whole or not at all.

        Args:
            source: the network's fingerprint.
            digest: the address of the track's audio.
            frames: float32, shape (numbers, frames).

        Raises:
            WorkspaceError: the store cannot be written.
        """
        write(self._embedding_path(source, digest), frames)

    def embedding(self, source: str, digest: str) -> Features:
        """Return what a network made of a track, memory-mapped float32, shape (numbers, frames).

        Raises:
            WorkspaceError: it is not in the store, or is damaged.
        """
        return mapped(self._embedding_path(source, digest), _is_embedding)

    def load(self, input_spec: InputSpec, digest: str, copy: int = 0) -> npt.NDArray[Any]:
        """Return what `input_spec` sees of a track, or of an augmented copy of it, memory-mapped.

        It is float32 (rows, frames) or int16 (samples,); copy 0 is the track itself, and embeddings have no other.

        Raises:
            WorkspaceError: it is not in the store, or is damaged.
        """
        if input_spec.kind == "waveform":
            return self.waveform(digest, copy)
        if input_spec.kind == "embedding":
            return self.embedding(input_spec.source, digest)
        return self.features(digest, copy)[input_spec.start : input_spec.stop]

    def normalization(
        self, input_spec: InputSpec, digests: Sequence[str]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return mean and variance of each row of an input over whole tracks; name training tracks only.

        Their augmented copies are left out: what is validated and tested is as it is.

        Returns:
            mean and (population) variance, float32, shape (rows,), or (1,) for a waveform in units of full scale.

        Raises:
            WorkspaceError: a track is not in the store, or is damaged.
        """
        scale = FULL_SCALE if input_spec.kind == "waveform" else 1
        return mean_and_variance((self.load(input_spec, digest) for digest in digests), input_spec.rows, scale)

    def _features_path(self, digest: str, copy: int) -> Path:
        folder, name = _address(_FEATURE_SETTINGS, digest, copy)
        return self.root / folder / digest[:2] / f"{name}.features.npy"

    def _waveform_path(self, digest: str, copy: int) -> Path:
        folder, name = _address(_WAVEFORM_SETTINGS, digest, copy)
        return self.root / "waveforms" / folder / digest[:2] / f"{name}.npy"

    def _embedding_path(self, source: str, digest: str) -> Path:
        folder = short_hash({**_WAVEFORM_SETTINGS, "network": source})
        return self.root / "embeddings" / folder / digest[:2] / f"{digest}.npy"

    def _is_whole(self, digest: str, copy: int) -> bool:
        features, waveform = header(self._features_path(digest, copy)), header(self._waveform_path(digest, copy))
        if features is None or waveform is None or not _are_features(features) or not _is_waveform(waveform):
            return False
        return features.shape[1] == extract.n_frames(waveform.shape[0])


def _address(settings: Mapping[str, object], digest: str, copy: int) -> tuple[str, str]:
    """Return the names of a folder and, without its suffix, of a file in it."""
    if not copy:
        return short_hash(settings), digest
    return short_hash({**settings, "augmentation": augment.VERSION}), f"{digest}.{copy}"


def _make(store: FeatureStore, work: _Work) -> None:
    """Write both arrays of a track and of its augmented copies, as far as they are wanted. Runs in a worker."""
    track, numbers = work
    with ExitStack() as stack:
        stack.enter_context(writing(store.root))
        try:
            audio, digest = stack.enter_context(read_audio(track.path, store.root))
        except DataError as error:
            raise DataError(f"{track.path}: {error}, since it was scanned. Put it back, and run again.") from None
        if digest != track.digest:
            raise DataError(f"{track.path}: its audio changed since it was scanned. Run again to scan it anew.")
        for number in numbers:
            _make_one(store, track.digest, audio, number)


def _make_one(store: FeatureStore, digest: str, audio: TrackAudio, number: int) -> None:
    if number == 0:
        store.put_audio(digest, audio)
        return
    with TrackAudio(store.root) as copy:
        for piece in augment.augmented_pieces(audio, _seed(digest, number)):
            copy.append(piece)
        store.put_audio(digest, copy, number)


def _seed(digest: str, copy: int) -> int:
    """Return the seed of an augmented copy, which depends on nothing else: equal audio, equal augmented copies."""
    return zlib.crc32(f"{digest}/{copy}".encode())


def _are_features(header: Header) -> bool:
    return header.dtype == np.float32 and len(header.shape) == 2 and header.shape[0] == extract.N_ROWS


def _is_embedding(header: Header) -> bool:
    return header.dtype == np.float32 and len(header.shape) == 2 and header.shape[1] > 0


def _is_waveform(header: Header) -> bool:
    return header.dtype == np.int16 and len(header.shape) == 1
