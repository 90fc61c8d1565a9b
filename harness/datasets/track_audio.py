"""The audio of a track as features see it: mono at 22,050 Hz, of any length in little memory."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from tempfile import SpooledTemporaryFile
from types import TracebackType

import numpy as np

from harness.datasets.decode import ContentAddress, open_blocks
from harness.datasets.signal import SAMPLE_RATE, Samples, resampled_blocks

_IN_MEMORY_SECONDS = 120
"""What is longer goes to a file."""

PIECE = 5 * 60 * SAMPLE_RATE
"""Samples of a long track that are worked on at once where all of it cannot be; a song is shorter."""


class TrackAudio:
    """Mono audio at 22,050 Hz: `len(audio)` samples; `audio[start:stop]`, float32, is a copy of some of them.

    What is longer than two minutes lies in a temporary file, which is gone when this is closed, or the process ends.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """Begin with no samples.

        Args:
            folder: for the temporary file; None for the system's.
        """
        size = _IN_MEMORY_SECONDS * SAMPLE_RATE * np.dtype(np.float32).itemsize
        self._file = SpooledTemporaryFile(size, dir=None if folder is None else str(folder))  # noqa: SIM115
        self._samples = 0

    def append(self, block: Samples) -> None:
        """Add samples, float32, shape (n,), behind the others.

        Raises:
            OSError: the temporary file cannot be written.
        """
        self._file.seek(0, 2)
        self._file.write(np.ascontiguousarray(block, np.float32).tobytes())
        self._samples += len(block)

    def __len__(self) -> int:
        return self._samples

    def __getitem__(self, part: slice) -> Samples:
        start, stop, _ = part.indices(self._samples)
        size = np.dtype(np.float32).itemsize
        self._file.seek(start * size)
        return np.frombuffer(self._file.read(max(0, stop - start) * size), np.float32)

    def __enter__(self) -> TrackAudio:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


Audio = Samples | TrackAudio
"""Mono audio at 22,050 Hz that has a length and slices, float32."""


@contextmanager
def read_audio(path: Path, folder: Path | None = None) -> Iterator[tuple[TrackAudio, str]]:
    """Give the audio of a file, resampled, and the content address of what was decoded.

    Args:
        path: the file.
        folder: for a temporary file, if it is long; None for the system's.

    Raises:
        DataError: the file cannot serve; the message is the reason alone.
        OSError: the temporary file cannot be written.
    """
    rate, blocks = open_blocks(path)
    address = ContentAddress(rate)

    def addressed() -> Iterator[Samples]:
        for block in blocks:
            address.update(block)
            yield block

    with TrackAudio(folder) as audio:
        for block in resampled_blocks(addressed(), rate):
            audio.append(block)
        yield audio, address.hexdigest()


def pieces(length: int) -> Iterable[tuple[int, int]]:
    """Return where the pieces of so many samples begin and end: as few as are not longer than `PIECE`, evenly."""
    bounds = np.linspace(0, length, max(1, math.ceil(length / PIECE)) + 1).round().astype(int).tolist()
    return pairwise(bounds)
