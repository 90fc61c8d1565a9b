"""A part of a file is read as a file by itself, and patterns of bytes are found in files of any length."""

from __future__ import annotations

import io
import os
import re
import struct
from collections.abc import Iterator

from harness.datasets.file_kinds import id3_length

_ENDLESS = 1 << 40
"""A length in bytes that no file has."""

ID3V1 = 128
"""Bytes of an ID3 tag of the first version, which stands at the end of a file."""

_FRAME = 1152
"""Samples in a frame of an MP3, or twice as many as there are."""

_BLOCK, _OVERLAP = 1 << 16, 8


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
        if self._endless and (found or self._position >= _ENDLESS - ID3V1):
            found.extend(bytes(len(view) - len(found)))
        view[: len(found)] = found
        self._position += len(found)
        return len(found)


def found(pattern: re.Pattern[bytes], descriptor: int, place: int, stop: int) -> Iterator[tuple[int, re.Match[bytes]]]:
    """Yield where in a file, from `place` to `stop`, a pattern of at most 8 bytes is found."""
    # Not mapped into memory, as which it would count.
    kept = b""
    while block := os.pread(descriptor, max(0, min(_BLOCK, stop - place)), place):
        text = kept + block
        for match in pattern.finditer(text):
            if match.end() > len(kept):
                yield place - len(kept) + match.start(), match
        place, kept = place + len(block), text[-_OVERLAP:]


def behind_id3(descriptor: int, place: int) -> int:
    """Return the place behind the ID3 tags that begin at one."""
    while length := id3_length(os.pread(descriptor, 10, place)):
        place += length
    return place


def end_of_content(descriptor: int, start: int, stop: int) -> int:
    """Return where the zeros begin with which a part of a file ends; `start` if it holds nothing else."""
    while stop > start:
        first = max(start, stop - _BLOCK)
        text = os.pread(descriptor, stop - first, first).rstrip(b"\0")
        if text:
            return first + len(text)
        stop = first
    return start


def tags_begin(descriptor: int, size: int) -> int:
    """Return where the tags begin with which a file ends: ID3 of the first version and APE."""
    end = size
    while end > 0:
        tag = os.pread(descriptor, 32, max(0, end - 32))
        if os.pread(descriptor, 3, max(0, end - ID3V1)) == b"TAG":
            end -= ID3V1
        elif len(tag) == 32 and tag.startswith(b"APETAGEX"):
            length, _, flags = struct.unpack("<III", tag[12:24])
            end -= max(32, length + (32 if flags >> 31 else 0))
        else:
            break
    return max(0, end)
