"""Where the samples lie in WAV, AIFF, CAF and AU files, and whether there are more than the header says.

A recorder that was stopped leaves a length of 0, or that of some moment; libsndfile believes it.
"""

from __future__ import annotations

import os
import re
import struct
from dataclasses import dataclass

from harness.datasets.byte_range import behind_id3, end_of_content, tags_begin
from harness.datasets.file_kinds import id3_length
from harness.errors import DataError

_FIRST_CHUNK = {
    b"RIFF": (12, "<4sI"),
    b"RIFX": (12, ">4sI"),
    b"RF64": (12, "<4sI"),
    b"FORM": (12, ">4sI"),
    b"caff": (8, ">4sQ"),
}
"""First bytes of a file -> where its chunks begin, and how the name and the length of one stand there. W64 is not
among them: of that libsndfile reads all that there is."""

_SAMPLES = (b"data", b"SSND")
_NAME = re.compile(rb"[ -~]{4}")

_AU_COUNT = 0x7FFFFFFF
"""libsndfile counts the bytes of an AU file with 31 bits."""


@dataclass(frozen=True)
class DataChunk:
    """The chunk of a file that holds its samples.

    Attributes:
        start, stop: the first byte, and the one behind the last, as the header says.
        field: where the header says it.
        form: how, for `struct`.
        chunk: how other chunks begin, for `struct`; empty where there are none.
    """

    start: int
    stop: int
    field: int
    form: str
    chunk: str = ""

    def length_until(self, stop: int) -> bytes:
        """Return what the header would have to say for samples until `stop`."""
        length = struct.calcsize(self.form)
        # An AU file may say so; RIFF cannot say more.
        most = 256**length - 1
        return struct.pack(self.form, min(stop - self.start, most) if self.chunk else most)


def find_data(descriptor: int) -> DataChunk | None:
    """Return where the samples lie by what the header says, or None if the file is of another kind."""
    base = behind_id3(descriptor, 0)
    magic = os.pread(descriptor, 4, base)
    if magic == b".snd":
        header = os.pread(descriptor, 8, base + 4)
        if len(header) < 8:
            return None
        offset, length = struct.unpack(">2I", header)
        return DataChunk(base + offset, base + offset + length, base + 8, ">I")
    if magic not in _FIRST_CHUNK:
        return None
    first, chunk = _FIRST_CHUNK[magic]
    place, size = base + first, struct.calcsize(chunk)
    # RF64 has its length in a chunk of its own.
    long: int | None = None
    while len(header := os.pread(descriptor, size, place)) == size:
        name, length = struct.unpack(chunk, header)
        if not _NAME.match(name):
            return None
        start = place + size
        if name == b"ds64":
            long = start + 8
        if name in _SAMPLES:
            if long is not None and magic == b"RF64":
                (length,) = struct.unpack("<Q", os.pread(descriptor, 8, long))
                return DataChunk(start, start + length, long, "<Q", chunk)
            return DataChunk(start, start + length, start - size + 4, chunk[0] + chunk[-1], chunk)
        place = start + length + (length % 2 if magic != b"caff" else 0)
    return None


def true_end(descriptor: int, size: int, data: DataChunk, bytes_a_second: int) -> int | None:
    """Return where the samples end if there is clearly more of them than the header says, or None.

    More than a second must follow that is neither a chunk nor a tag nor zeros; behind a length of 0, anything.

    Args:
        descriptor: of the open file.
        size: its bytes.
        data: what its header says.
        bytes_a_second: of the samples.

    Raises:
        DataError: there is more, but it cannot be told where.
    """
    if not data.chunk and data.stop > _AU_COUNT:
        return size
    told_none = data.stop == data.start
    tags = tags_begin(descriptor, size)
    end = tags if told_none else min(end_of_content(descriptor, data.stop, tags), tags)
    behind = _behind_chunks(descriptor, data, end)
    if behind == data.stop:
        return tags if end - behind > (0 if told_none else bytes_a_second) else None
    if not told_none or end_of_content(descriptor, behind, end) - behind <= bytes_a_second:
        return None
    raise DataError(
        f"its header says that it holds no samples, and there are {end - behind:,} bytes behind its last chunk: repair "
        "the header, or convert it, as with ffmpeg"
    )


def _behind_chunks(descriptor: int, data: DataChunk, end: int) -> int:
    """Return the place behind the chunks and ID3 tags that follow the samples; that of the first if none does."""
    place = data.stop
    while length := _length_of_chunk(descriptor, data.chunk, place, end):
        place += length
    return place


def _length_of_chunk(descriptor: int, form: str, place: int, end: int) -> int:
    """Return how many bytes the chunk or ID3 tag takes that begins at `place`, or one byte behind; 0 if none does."""
    size = struct.calcsize(form)
    # Data of odd length are filled up, or are not.
    for start in (place, place + 1):
        header = os.pread(descriptor, max(size, 10), start)
        if tag := id3_length(header):
            return start - place + tag
        if not form or len(header) < size or not _NAME.match(header):
            continue
        name, length = struct.unpack(form, header[:size])
        if name in _FIRST_CHUNK and name != b"caff":
            raise DataError("another recording follows behind its end: part them, or convert it, as with ffmpeg")
        if start + size + length <= end:
            return start - place + size + int(length)
    return 0
