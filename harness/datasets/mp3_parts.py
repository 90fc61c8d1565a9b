"""Where the MP3 of a file lie: behind bytes that are none, one behind the other, without a header with their length."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from harness.datasets.byte_range import ID3V1, ByteRange, behind_id3, end_of_content, found, tags_begin
from harness.errors import DataError

_GUESSED_FRAMES, _PADDED_FRAMES = 2, 10
"""How many frames may be left of an MP3 behind its last sample: where libmpg123 guessed how many there are, with a cut
one at the end; and where its header says so, as encoders pad."""

_RESYNC = 1000
"""How many bytes that are no frames libmpg123 passes over."""

_CERTAIN, _CERTAIN_LAST = 16, 3
"""Frames, one behind the other, that are no chance: at the beginning, where a file may be a video, which has fewer of
them in a packet; and at the end of an MP3."""

_SEARCHED = 1 << 20
"""How far frames are looked for behind other bytes, and how many bytes at once in front of others."""

_MPEG_FRAME = re.compile(rb"\xff[\xe2-\xe7\xf2-\xf7\xfa-\xff][\x10-\xef]")
_ENCODER = re.compile(rb"Xing|Info\0|LAME3")

_RATES = (44_100, 48_000, 32_000)
_KBITS = {
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""Bit rates by version, 1 or 2 (2.5 is as 2), and layer."""


def mp3_parts(descriptor: int, start: int, size: int) -> Iterator[ByteRange]:
    """Yield the ranges that hold the MP3 of a file, in order. Each is to be read before the next is asked for.

    Args:
        descriptor: of the open file.
        start: where the first begins, or the tags in front of it.
        size: where they end, or the tags behind them.

    Raises:
        DataError: another MP3 follows that cannot be separated.
    """
    following: int | None = start
    while following is not None:
        start, stop = following, _end_of_frames(descriptor, following, size)
        part = ByteRange(descriptor, start, stop)
        yield part
        if stop - part.place > _GUESSED_FRAMES * part.frame and not _tells_its_length(descriptor, start):
            # libmpg123 took the bit rate of the first frame for that of all, and stopped there.
            part = ByteRange(descriptor, start, stop, endless=True, skip=part.decoded)
            yield part
        following = _next_mp3(descriptor, part.place, stop, int(_PADDED_FRAMES * part.frame))
        following = following if following is not None and following > start else None


def first_frame(descriptor: int, size: int) -> int | None:
    """Return where MPEG audio begins behind tags and bytes that are none, or None."""
    start = behind_id3(descriptor, 0)
    for place, _ in found(_MPEG_FRAME, descriptor, start, min(size, start + _SEARCHED)):
        _, frames = _follow(descriptor, place, size, _CERTAIN)
        if frames == _CERTAIN:
            return place
    return None


def _tells_its_length(descriptor: int, start: int) -> bool:
    """Whether an MP3 has a header with its number of frames, as encoders write it into the first."""
    return re.search(b"Xing|Info", os.pread(descriptor, 64, behind_id3(descriptor, start))) is not None


def _is_mp3(descriptor: int, place: int) -> bool:
    """Whether a frame of MPEG audio begins at `place`, or behind the tags there."""
    return _MPEG_FRAME.match(os.pread(descriptor, 4, behind_id3(descriptor, place))) is not None


def _end_of_frames(descriptor: int, start: int, size: int) -> int:
    """Return where the last frame ends, if so much follows that libmpg123 would call it damage: tags, zeros, text."""
    end = end_of_content(descriptor, start, tags_begin(descriptor, size))
    # The last frame may end in zeros, too.
    end = min(size, end + _RESYNC) if end > start else size
    last, first = None, end
    while last is None and first > start:
        first = max(start, first - _SEARCHED)
        last = _end_of_last(descriptor, first, end)
    if last is not None and last < end - _RESYNC:
        end = last
    return end if end < size - _RESYNC else size


def _end_of_last(descriptor: int, start: int, end: int) -> int | None:
    """Return where the last frames end that begin from `start` on, or None if there are none."""
    last: int | None = None
    for place, _ in found(_MPEG_FRAME, descriptor, start, min(end, start + _SEARCHED)):
        if last is None or place >= last:
            stop, frames = _follow(descriptor, place, end)
            if frames >= _CERTAIN_LAST:
                last = stop
    return last


def _follow(descriptor: int, place: int, size: int, most: int | None = None) -> tuple[int, int]:
    """Return where the frames end that follow each other from `place` on, the last of them maybe cut, and how many."""
    frames, kind = 0, None
    while place < size and frames != most:
        header = os.pread(descriptor, 4, place)
        length = _frame_length(header)
        # Version, layer and rate stay.
        alike = header[1:2], header[2:3] and header[2] & 0x0C
        if not length or (kind is not None and alike != kind):
            break
        place, frames, kind = place + length, frames + 1, alike
    return min(place, size), frames


def _frame_length(header: bytes) -> int:
    """Return how many bytes the frame takes that begins with four of them; 0 if none does, or it does not say."""
    if len(header) < 4 or not _MPEG_FRAME.match(header):
        return 0
    version, layer, rate_code = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3), header[2] >> 2 & 3
    if version == 1 or layer == 4 or rate_code == 3:
        return 0
    rate = _RATES[rate_code] // {3: 1, 2: 2, 0: 4}[version]
    bits = 1000 * _KBITS[1 if version == 3 else 2, layer][(header[2] >> 4) - 1]
    padding = header[2] >> 1 & 1
    if layer == 1:
        return (12 * bits // rate + padding) * 4
    return (72 if layer == 3 and version != 3 else 144) * bits // rate + padding


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
    for candidate in (place, place + ID3V1, max(0, place - 4)):
        if _is_mp3(descriptor, candidate):
            return candidate
    if any(found(_ENCODER, descriptor, place, size)):
        raise DataError("another MP3 follows behind its end, and cannot be told apart: convert it, as with ffmpeg")
    return None
