"""The audio of a track as features see it: mono at 22,050 Hz, of any length in little memory."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO

import numpy as np

from harness.datasets.decode import ContentAddress, open_blocks
from harness.datasets.signal import SAMPLE_RATE, Samples, resampled_blocks

_IN_MEMORY_SECONDS = 120
"""What is longer goes to a file."""

PIECE = 5 * 60 * SAMPLE_RATE
"""Samples of a long track that are worked on at once where all of it cannot be; a song is shorter."""


class TrackAudio:
    """Mono audio at 22,050 Hz: `len(audio)` samples; `audio[start:stop]`, float32, are some of them, to be read only.

    What is longer than two minutes lies in a temporary file, which is gone when this is closed, or the process ends.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """Begin with no samples.

        Args:
            folder: for the temporary file; None for the system's.
        """
        self._folder = folder
        self._blocks: list[Samples] = []
        self._file: IO[bytes] | None = None
        self._samples = 0

    def append(self, block: Samples) -> None:
        """Add samples, float32, shape (n,), behind the others; they are not copied.

        Raises:
            OSError: the temporary file cannot be written.
        """
        self._blocks.append(block)
        self._samples += len(block)
        if self._samples <= _IN_MEMORY_SECONDS * SAMPLE_RATE:
            return
        if self._file is None:
            self._file = TemporaryFile(dir=self._folder)  # noqa: SIM115
        self._file.seek(0, os.SEEK_END)
        for held in self._blocks:
            self._file.write(np.ascontiguousarray(held, np.float32).data)
        self._blocks.clear()

    def __len__(self) -> int:
        return self._samples

    def __getitem__(self, part: slice) -> Samples:
        start, stop, _ = part.indices(self._samples)
        if self._file is None:
            return self._held(start, stop)
        size = np.dtype(np.float32).itemsize
        self._file.seek(start * size)
        return np.frombuffer(self._file.read(max(0, stop - start) * size), np.float32)

    def _held(self, start: int, stop: int) -> Samples:
        parts, at = [], 0
        for block in self._blocks:
            part = block[max(0, start - at) : max(0, stop - at)]
            if len(part):
                parts.append(part)
            at += len(block)
        # Most often of one block, and then no copy is made.
        found = parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, np.float32), *parts])
        found.flags.writeable = False
        return found

    def __enter__(self) -> TrackAudio:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
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
