"""Where the audio of a file lies, which its header may not say: behind a false length, and in joined files.

libsndfile believes a header, and reads the first of several joined files only. What it is to read instead is handed to
it as ranges of bytes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from harness.datasets.byte_range import ByteRange, found
from harness.datasets.data_chunk import find_data, true_end
from harness.datasets.flac_length import total_samples
from harness.datasets.mp3_parts import first_frame, mp3_parts

_FLAC_START = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")
_OGG_PAGE = re.compile(rb"OggS\x00([\x00-\x07])")
_OGG_FIRST_PAGE = 2


class Coding(NamedTuple):
    """What libsndfile calls the format of a file and the coding of its samples, and how many of them a second has."""

    format: str = ""
    subtype: str = ""
    samples_a_second: int = 0


_BYTES = {"PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8}
"""Of a sample; of others it is one at most."""

UNKNOWN = Coding()
"""Of a file that libsndfile cannot open as it is."""


def parts(descriptor: int, coding: Coding) -> Iterator[ByteRange] | None:
    """Return the ranges of a file that hold its audio, in order, or None where libsndfile reads all of it by itself.

    Each range is to be read before the next is asked for.

    Args:
        descriptor: of the open file.
        coding: what libsndfile takes the file for.

    Raises:
        DataError: there is more audio than the header says, and it cannot be told where; or, while ranges are asked
            for, another MP3 follows that cannot be separated.
    """
    size = os.fstat(descriptor).st_size
    if coding.format == "MP3":
        return mp3_parts(descriptor, 0, size)
    if coding.format == "OGG":
        starts = _ogg_starts(descriptor, size)
        return (ByteRange(descriptor, *pair) for pair in pairwise([0, *starts, size])) if starts else None
    if coding.format == "FLAC":
        return _flac_parts(descriptor, size)
    return _samples(descriptor, size, coding)


def _samples(descriptor: int, size: int, coding: Coding) -> Iterator[ByteRange] | None:
    """Return the ranges of a file with a chunk of samples, or of one that is no audio by its first bytes."""
    data = find_data(descriptor)
    end = stop = None
    if data is not None:
        end = true_end(descriptor, size, data, coding.samples_a_second * _BYTES.get(coding.subtype, 1))
        stop = min(size, data.stop) if end is None else end
        if coding.subtype.startswith("MPEG"):
            return mp3_parts(descriptor, data.start, stop)
        if end is not None:
            return iter([ByteRange(descriptor, 0, end, patch=(data.field, data.length_until(end)))])
    start = first_frame(descriptor, stop or size) if coding is UNKNOWN else None
    return None if start is None else mp3_parts(descriptor, start, stop or size)


def _flac_parts(descriptor: int, size: int) -> Iterator[ByteRange] | None:
    starts = [place for place, _ in found(_FLAC_START, descriptor, 0, size)][1:]
    bounds = list(pairwise([0, *starts, size]))
    totals = [total_samples(descriptor, *pair) for pair in bounds]
    if not starts and totals == [None]:
        return None
    return (
        ByteRange(descriptor, start, stop, patch=(0, b"") if total is None else (total[0] - start, total[1]))
        for (start, stop), total in zip(bounds, totals, strict=True)
    )


def _ogg_starts(descriptor: int, size: int) -> list[int]:
    """Return where each further stream of a chained Ogg file begins: a first page behind one that is not."""
    starts, within = [], False
    for place, page in found(_OGG_PAGE, descriptor, 0, size):
        first = bool(page[1][0] & _OGG_FIRST_PAGE)
        if first and within:
            starts.append(place)
        within = not first
    return starts
