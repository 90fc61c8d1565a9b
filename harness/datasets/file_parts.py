"""Where the audio of a file lies, which its header may not say: behind a false length, and in joined files.

libsndfile believes a header, and reads the first of several joined files only. What it is to read instead is handed to
it as ranges of bytes.
"""

from __future__ import annotations

import io
import os
import re
import struct
from collections.abc import Iterator
from itertools import pairwise

from harness.datasets.file_kinds import id3_length
from harness.errors import DataError

_ENDLESS = 1 << 40
"""A length in bytes that no file has."""

_ID3V1 = 128
_TO_THE_END = b"\xff\xff\xff\xff"
"""As a length of data: until the file ends."""

_FRAME = 1152
"""Samples in a frame of an MP3, or twice as many as there are."""

_GUESSED_FRAMES, _PADDED_FRAMES = 2, 10
"""How many frames may be left of an MP3 behind its last sample: where libmpg123 guessed how many there are, with a cut
one at the end; and where its header says so, as encoders pad."""

_BLOCK, _OVERLAP = 1 << 16, 8

_RESYNC = 1000
"""How many bytes that are no frames libmpg123 passes over."""

_MPEG_FRAME = re.compile(rb"\xff[\xe2-\xe7\xf2-\xf7\xfa-\xff][\x10-\xef]")
_FLAC_START = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")
_ENCODER = re.compile(rb"Xing|Info\0|LAME3")
_OGG_PAGE = re.compile(rb"OggS\x00([\x00-\x07])")
_OGG_FIRST_PAGE = 2


class ByteRange(io.RawIOBase):
    """A part of a file as a file by itself, to read."""

    def __init__(
        self,
        descriptor: int,
        start: int,
        stop: int,
        *,
        endless: bool = False,
        skip: int = 0,
        patch: tuple[int, bytes] = (0, b""),
    ) -> None:
        """Read nothing yet.

        Args:
            descriptor: of the file, which is to stay open.
            start: the first byte.
            stop: the byte behind the last.
            endless: claim a length that no file has, so that nobody can guess the number of samples from it.
            skip: how many samples of a channel its reader is to pass over.
            patch: bytes to show instead of those of the file, with their place behind `start`.
        """
        self._descriptor, self._start, self._stop = descriptor, start, stop
        self._endless, self._patch, self._position = endless, patch, 0
        self.skip = skip
        self.decoded = 0
        """How many samples of a channel its reader found, those included that it passed over."""
        self.error: OSError | None = None
        """What went wrong: whoever reads through C cannot be told."""

    def copy(self) -> ByteRange:
        """Return the same range, to be read from its beginning."""
        return ByteRange(
            self._descriptor, self._start, self._stop, endless=self._endless, skip=self.skip, patch=self._patch
        )

    @property
    def place(self) -> int:
        """Where in the file reading has come to, in bytes."""
        return self._start + self._position

    @property
    def frame(self) -> float:
        """How many bytes a frame of an MP3 has taken on average."""
        return _FRAME * self._position / max(1, self.decoded)

    def readable(self) -> bool:
        """Say that this can be read."""
        return True

    def seekable(self) -> bool:
        """Say that this can be read from any place."""
        return True

    def tell(self) -> int:
        """Return the place within the range, in bytes."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place within the range, or within the length that it claims."""
        length = _ENDLESS if self._endless else self._stop - self._start
        self._position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: length}[whence]
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill `buffer` as far as the range goes, and return with how many bytes."""
        view = memoryview(buffer).cast("B")
        count = max(0, min(len(view), self._stop - self.place))
        try:
            found = bytearray(os.pread(self._descriptor, count, self.place) if count else b"")
        except OSError as error:
            self.error, found = error, bytearray()
        offset, patch = self._patch
        for index in range(max(offset, self._position), min(offset + len(patch), self._position + len(found))):
            found[index - self._position] = patch[index - offset]
        # A last frame that is cut is filled up, and at the end that was claimed libmpg123 looks for a tag: without
        # these bytes it would take either for damage.
        if self._endless and (found or self._position >= _ENDLESS - _ID3V1):
            found.extend(bytes(len(view) - len(found)))
        view[: len(found)] = found
        self._position += len(found)
        return len(found)


def parts(descriptor: int, kind: str) -> Iterator[ByteRange] | None:
    """Return the ranges of a file that hold its audio, in order, or None where libsndfile reads all of it by itself.

    Each range is to be read before the next is asked for.

    Args:
        descriptor: of the open file.
        kind: the file's format, as libsndfile calls it.

    Raises:
        DataError: while they are asked for: another MP3 follows that cannot be separated.
    """
    size = os.fstat(descriptor).st_size
    if kind == "MP3":
        return _mp3_parts(descriptor, size)
    if kind in ("OGG", "FLAC"):
        starts = (
            _ogg_starts(descriptor) if kind == "OGG" else [place for place, _ in _found(_FLAC_START, descriptor)][1:]
        )
        bounds = [0, *starts, size]
        return (ByteRange(descriptor, *pair) for pair in pairwise(bounds)) if starts else None
    field = _false_length(descriptor, size, kind)
    return None if field is None else iter([ByteRange(descriptor, 0, size, patch=(field, _TO_THE_END))])


def _found(pattern: re.Pattern[bytes], descriptor: int, place: int = 0) -> Iterator[tuple[int, re.Match[bytes]]]:
    """Yield where in a file, from `place` on, a pattern of at most `_OVERLAP` bytes is found."""
    # Not mapped into memory, as which it would count.
    kept = b""
    while block := os.pread(descriptor, _BLOCK, place):
        text = kept + block
        for match in pattern.finditer(text):
            if match.end() > len(kept):
                yield place - len(kept) + match.start(), match
        place, kept = place + len(block), text[-_OVERLAP:]


def _ogg_starts(descriptor: int) -> list[int]:
    """Return where each further stream of a chained Ogg file begins: a first page behind one that is not."""
    starts, within = [], False
    for place, page in _found(_OGG_PAGE, descriptor):
        first = bool(page[1][0] & _OGG_FIRST_PAGE)
        if first and within:
            starts.append(place)
        within = not first
    return starts


def _mp3_parts(descriptor: int, size: int) -> Iterator[ByteRange]:
    start: int | None = 0
    while start is not None:
        stop = _end_of_frames(descriptor, size)
        part = ByteRange(descriptor, start, stop)
        yield part
        if stop - part.place > _GUESSED_FRAMES * part.frame and not _tells_its_length(descriptor, start):
            # libmpg123 took the bit rate of the first frame for that of all, and stopped there.
            part = ByteRange(descriptor, start, stop, endless=True, skip=part.decoded)
            yield part
        following = _next_mp3(descriptor, part.place, stop, int(_PADDED_FRAMES * part.frame))
        start = following if following is not None and following > start else None


def _tells_its_length(descriptor: int, start: int) -> bool:
    """Whether an MP3 has a header with its number of frames, as encoders write it into the first."""
    return re.search(b"Xing|Info", os.pread(descriptor, 64, _behind_id3(descriptor, start))) is not None


def _is_mp3(descriptor: int, place: int) -> bool:
    """Whether a frame of MPEG audio begins at `place`, or behind the tags there."""
    return _MPEG_FRAME.match(os.pread(descriptor, 4, _behind_id3(descriptor, place))) is not None


def _behind_id3(descriptor: int, place: int) -> int:
    while length := id3_length(os.pread(descriptor, 10, place)):
        place += length
    return place


def _end_of_frames(descriptor: int, size: int) -> int:
    """Return where the tags or zeros begin that end an MP3, if they are so long that libmpg123 calls them damage."""
    end = size
    while True:
        tag = os.pread(descriptor, 32, max(0, end - 32))
        if os.pread(descriptor, 3, max(0, end - _ID3V1)) == b"TAG":
            end -= _ID3V1
        elif len(tag) == 32 and tag.startswith(b"APETAGEX"):
            length, _, flags = struct.unpack("<III", tag[12:24])
            end -= max(32, length + (32 if flags >> 31 else 0))
        else:
            break
    while end > 0:
        block = os.pread(descriptor, min(end, _BLOCK), max(0, end - _BLOCK))
        if text := block.rstrip(b"\0"):
            # The last frame may end in zeros, too.
            end -= max(0, len(block) - len(text) - _RESYNC)
            break
        end -= len(block)
    return end if 0 < end < size - _RESYNC else size


def _next_mp3(descriptor: int, place: int, size: int, least: int) -> int | None:
    """Return where a joined MP3 begins behind the one that was read as far as `place`, or None.

    Args:
        descriptor: of the file.
        place: where reading has come to.
        size: where the frames end, at the latest.
        least: how many bytes must be left.

    Raises:
        DataError: there is one, but not there.
    """
    if size - place <= least:
        return None
    # Where the format changes, the first header has been read already; an old tag may stand between.
    for candidate in (place, place + _ID3V1, max(0, place - 4)):
        if _is_mp3(descriptor, candidate):
            return candidate
    if any(_found(_ENCODER, descriptor, place)):
        raise DataError("another MP3 follows behind its end, and cannot be told apart: convert it, as with ffmpeg")
    return None


def _false_length(descriptor: int, size: int, kind: str) -> int | None:
    """Return where the length of the data stands in a WAV or AU file that has more, or None.

    A recorder that was stopped leaves 0, or the length of some moment. More than a second must follow that is no chunk.
    """
    magic = os.pread(descriptor, 4, 0)
    if kind == "AU" and magic == b".snd" and size > 24:
        offset, length, _, rate, channels = struct.unpack(">5I", os.pread(descriptor, 20, 4))
        bytes_a_second = rate * channels if length else 0
        # libsndfile counts with 31 bits here.
        lies = offset + length > 0x7FFFFFFF or _goes_on(descriptor, offset + length, size, bytes_a_second)
        return 8 if lies else None
    if magic != b"RIFF":
        return None
    place, bytes_a_second = 12, 0
    while place + 8 <= size:
        name, length = struct.unpack("<4sI", os.pread(descriptor, 8, place))
        if name == b"fmt ":
            bytes_a_second = int.from_bytes(os.pread(descriptor, 4, place + 16), "little")
        if name == b"data":
            end = place + 8 + length
            lies = _goes_on(descriptor, end, size, bytes_a_second if length else 0)
            return place + 4 if lies and not _is_chunk(descriptor, end, size) else None
        place += 8 + length + length % 2
    return None


def _goes_on(descriptor: int, end: int, size: int, least: int) -> bool:
    """Whether more than `least` bytes follow the end of the data; zeros that fill a file up do not count."""
    return size - end > least and (not least or any(os.pread(descriptor, 64, end)))


def _is_chunk(descriptor: int, place: int, size: int) -> bool:
    """Whether a chunk of a RIFF file begins at `place`, or one byte behind it, where data of odd length are filled."""
    for start in (place, place + 1):
        header = os.pread(descriptor, 8, start)
        if re.match(rb"[ -~]{4}", header) and len(header) == 8:
            (length,) = struct.unpack("<I", header[4:])
            if start + 8 + length <= size:
                return True
    return False
