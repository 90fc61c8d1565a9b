"""How many samples a FLAC stream holds, which its header may not say: its frames are numbered.

libsndfile reads as many as the header says, and nothing where it says none.
"""

from __future__ import annotations

import os
import re

from harness.datasets.byte_range import behind_id3

_FRAME = re.compile(rb"\xff[\xf8\xf9](?=[\x10-\xff])", re.DOTALL)
_HEADER = 16
"""Bytes that the longest header of a frame takes."""

_LAST = 1 << 20
"""How many bytes at the end are searched; two frames of any usual size take less."""

_TOTAL = 18
"""Where the header has its 8 bytes of rate, channels, width and total of samples."""

_BLOCK_SIZES = {1: 192, **{code: 576 << code - 2 for code in range(2, 6)}, **{c: 256 << c - 8 for c in range(8, 16)}}


def total_samples(descriptor: int, start: int, stop: int) -> tuple[int, bytes] | None:
    """Return what the header would have to say, with its place in the file, if the stream goes on behind its total.

    Args:
        descriptor: of the open file.
        start: where the stream begins.
        stop: where it ends.
    """
    start = behind_id3(descriptor, start)
    header = os.pread(descriptor, _TOTAL + 8, start)
    if len(header) < _TOTAL + 8 or not header.startswith(b"fLaC"):
        return None
    fields = int.from_bytes(header[_TOTAL:], "big")
    rate, told = fields >> 44, fields % (1 << 36)
    found = _last_sample(descriptor, max(start + _TOTAL, stop - _LAST), stop, int.from_bytes(header[10:12], "big"))
    if found is None or not (found > told + rate or not told):
        return None
    return start + _TOTAL, (fields - told + found).to_bytes(8, "big")


def _last_sample(descriptor: int, start: int, stop: int, block_size: int) -> int | None:
    """Return the number behind the last sample by the last two frames that follow each other."""
    content = os.pread(descriptor, stop - start, start)
    end, last = -1, None
    for match in _FRAME.finditer(content):
        header = content[match.start() : match.start() + _HEADER]
        if frame := _samples_of_frame(header, block_size):
            if frame[0] == end:
                last = frame[1]
            end = frame[1]
    return last


def _samples_of_frame(header: bytes, block_size: int) -> tuple[int, int] | None:
    """Return the numbers of a frame's first sample, and of that behind its last, or None if it is no frame."""
    # The number is coded as UTF-8 does, but up to 36 bits.
    ones = 8 - (~header[4] & 0xFF).bit_length() if len(header) == _HEADER else 1
    if ones in (1, 8):
        return None
    number, place = header[4] & (0x7F >> ones), 5
    for byte in header[5 : 4 + ones]:
        number, place = number << 6 | byte & 0x3F, place + 1
    size_code, rate_code = header[2] >> 4, header[2] & 15
    size = _BLOCK_SIZES.get(size_code, 0)
    if size_code in (6, 7):
        size = int.from_bytes(header[place : place + size_code - 5], "big") + 1
        place += size_code - 5
    place += {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    if not size or _crc8(header[:place]) != header[place]:
        return None
    first = number if header[1] & 1 else number * block_size
    return first, first + size


def _crc8(content: bytes) -> int:
    value = 0
    for byte in content:
        value ^= byte
        for _ in range(8):
            value = (value << 1 ^ (0x07 if value & 0x80 else 0)) & 0xFF
    return value
