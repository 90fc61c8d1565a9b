"""An audio file is decoded to samples, or the reason is given why it cannot serve.

Samples come in blocks, so that a file of any length takes the same memory; `decode` puts them together.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from harness.datasets.byte_range import ByteRange
from harness.datasets.file_kinds import HEAD, id3_length, unreadable_kind
from harness.datasets.file_parts import UNKNOWN, Coding, parts
from harness.datasets.signal import Samples
from harness.datasets.track_checks import SILENCE, TrackChecks
from harness.errors import DataError
from harness.processes import c_notes_discarded

AUDIO_SUFFIXES = (
    ".au",
    ".wav",
    ".flac",
    ".mp3",
    ".ogg",
    ".aif",
    ".aifc",
    ".aiff",
    ".caf",
    ".mp2",
    ".oga",
    ".opus",
    ".rf64",
    ".snd",
    ".w64",
    ".wave",
)

_BLOCK = 1 << 18
"""Samples of a channel that are decoded at once. libmpg123 rounds by where a block begins: another size, other bits."""

CRASH_ADVICE = (
    "It may have run out of memory, or one of these files may crash the decoder. Free some memory and run again, or "
    "remove the file."
)
"""What to do when a worker process died while it decoded."""

_NO_FILE = 7
"""What libsndfile answers, with a text that says so, to anything called `.mp3` that is none."""

_NO_LENGTH = 1 << 62
"""What libsndfile takes for the length of a FLAC file that does not say it, and then cannot read."""

_Channels = npt.NDArray[np.float32]
"""Samples of all channels, shape (n, channels)."""

_LOSSY = ("MP3", "OGG")

_Source = bytes | ByteRange
"""What libsndfile is told to read: a file's name in the bytes of the system, which need not be text, or a part."""


class _Block(NamedTuple):
    """Mono samples, with what they were mixed from."""

    rate: int
    lossy: bool
    mono: Samples
    channels: _Channels


def open_blocks(path: Path) -> tuple[int, Iterator[Samples]]:
    """Begin to decode an audio file.

    A channel that is silent throughout is left out where others are not: mixed in, it would only halve them.

    Returns:
        The rate in Hz, and the samples as blocks, each float32, shape (n,), mixed down to mono. The file is closed
        when the last was taken, or the iterator is dropped.

    Raises:
        DataError: the file is unreadable or of another kind, at once; or, while blocks are taken: damaged, not finite,
            or far beyond full scale; or, behind the last: empty, silent, cancelled by mixing, or shorter than
            `MIN_SECONDS`. The message is the reason alone, without the file's name.
    """
    decoded = _decoded(path)
    first = next(decoded, None)
    if first is None:
        raise DataError("empty: it holds no samples")
    return first.rate, _checked_blocks(first, decoded)


def decode(path: Path) -> tuple[Samples, int]:
    """Return the samples of an audio file, float32, shape (n,), mixed down to mono, and their rate in Hz.

    Raises:
        DataError: as `open_blocks`, in whatever it says.
    """
    rate, blocks = open_blocks(path)
    with _reasons():
        return np.concatenate(list(blocks)), rate


def checked(samples: Samples, rate: int) -> Samples:
    """Return the same samples, float32, shape (n,), mono at `rate` Hz.

    Raises:
        DataError: they cannot serve; the message is the reason alone.
    """
    checks = TrackChecks(rate)
    checks.see(samples)
    checks.finish()
    return samples


class ContentAddress:
    """The content address of decoded audio, made block by block: equal audio, equal address, whatever the file."""

    def __init__(self, rate: int) -> None:
        """Begin with the rate in Hz."""
        self._hash = hashlib.sha256(rate.to_bytes(8, "little"))

    def update(self, block: Samples) -> None:
        """Add samples, float32, shape (n,); how they are cut into blocks makes no difference."""
        self._hash.update(np.ascontiguousarray(block, "<f4").data)

    def hexdigest(self) -> str:
        """Return the SHA-256 of rate and samples so far, 64 hexadecimal digits."""
        return self._hash.hexdigest()


def content_address(samples: Samples, rate: int) -> str:
    """Return the content address of decoded audio: equal audio, equal address, whatever the file.

    Args:
        samples: float32, shape (n,), mono.
        rate: their rate in Hz.

    Returns:
        The SHA-256 of rate and samples, 64 hexadecimal digits.
    """
    address = ContentAddress(rate)
    address.update(samples)
    return address.hexdigest()


def _checked_blocks(first: _Block, others: Iterator[_Block]) -> Iterator[Samples]:
    checks = TrackChecks(first.rate, lossy=first.lossy)
    for block in chain([first], others):
        if block.rate != first.rate:
            raise DataError(f"joined of parts of {first.rate} and {block.rate} Hz: convert it, as with ffmpeg")
        checks.see(block.mono, block.channels)
        yield block.mono
    checks.finish()


def _decoded(path: Path) -> Iterator[_Block]:
    with _reasons():
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise DataError("a folder, no file" if stat.S_ISDIR(mode) else "no ordinary file")
        with path.open("rb", buffering=0) as file:
            descriptor = file.fileno()
            if os.fstat(descriptor).st_size == 0:
                raise DataError("empty file")
            start = id3_length(os.pread(descriptor, HEAD, 0))
            if kind := unreadable_kind(os.pread(descriptor, HEAD, start)):
                raise DataError(kind)
            for source in _parts(descriptor) or [os.fsencode(path)]:
                yield from _mixed(source)


def _parts(descriptor: int) -> Iterator[ByteRange] | None:
    import soundfile

    try:
        with _opened(ByteRange(descriptor, 0, os.fstat(descriptor).st_size)) as sound:
            coding = Coding(sound.format, sound.subtype, sound.samplerate * sound.channels)
    except soundfile.LibsndfileError:
        coding = UNKNOWN
    return parts(descriptor, coding)


def _mixed(source: _Source) -> Iterator[_Block]:
    sounding: list[int] | None = None
    for number, (rate, lossy, channels) in enumerate(_read(source)):
        if number == 0 and channels.shape[1] > 1 and _still(channels).any():
            sounding = _sounding_channels(source)
        if sounding is not None:
            channels = channels[:, sounding]
        yield _Block(rate, lossy, _mean(channels), channels)


def _mean(channels: _Channels) -> Samples:
    if channels.shape[1] == 1:
        return channels[:, 0]
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(channels.mean(axis=1, dtype=np.float32))


def _sounding_channels(source: _Source) -> list[int]:
    """Return which channels are not silent from beginning to end; all where none sounds."""
    extremes: list[_Channels] = []
    for _, _, channels in _read(source if isinstance(source, bytes) else source.copy()):
        extremes = [_extremes(np.concatenate([*extremes, _extremes(channels)]))]
        still = _still(extremes[0])
        if not still.any():
            break
    found: list[int] = np.flatnonzero(~still if not still.all() else still).tolist()
    return found


def _extremes(channels: _Channels) -> _Channels:
    """Return the lowest and the highest sample of each channel, shape (2, channels)."""
    # A channel's samples side by side: numpy is several times faster along them.
    rows = np.ascontiguousarray(channels.T)
    return np.stack([rows.min(axis=1), rows.max(axis=1)])


def _still(channels: _Channels) -> npt.NDArray[np.bool_]:
    """Return for each channel whether it keeps one value."""
    low, high = _extremes(channels)
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(high - low < SILENCE)


def _read(source: _Source) -> Iterator[tuple[int, bool, _Channels]]:
    """Yield the rate, whether coding was lossy, and a block of all channels, until the source ends."""
    with _opened(source) as sound:
        if sound.format == "FLAC" and sound.frames > _NO_LENGTH:
            raise DataError("a stream that does not say its length: write it anew, as with ffmpeg")
        while True:
            # Block by block: a damaged header may claim any length.
            with c_notes_discarded():
                block: _Channels = sound.read(_BLOCK, dtype="float32", always_2d=True)
            if isinstance(source, ByteRange) and source.error is not None:
                raise source.error
            if not len(block):
                return
            if isinstance(source, ByteRange):
                source.decoded += len(block)
                block = block[max(0, len(block) - max(0, source.decoded - source.skip)) :]
            if len(block):
                yield sound.samplerate, sound.format in _LOSSY, block


def _opened(source: _Source) -> Any:
    import soundfile

    with c_notes_discarded():
        return soundfile.SoundFile(source)


@contextmanager
def _reasons() -> Iterator[None]:
    """Turn whatever keeps a file from being decoded into the reason."""
    import soundfile

    try:
        yield
    except soundfile.LibsndfileError as error:
        why = "" if error.code == _NO_FILE else f" ({error.error_string.strip().rstrip('.')})"
        raise DataError(f"not audio that libsndfile can read{why}") from None
    except soundfile.SoundFileError as error:
        raise DataError(f"not audio that libsndfile can read ({error})") from None
    except MemoryError:
        raise DataError("too large for the memory that is free") from None
    except OSError as error:
        raise DataError(f"not readable ({error.strerror})") from None
