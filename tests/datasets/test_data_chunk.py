"""A header that says less than the file holds: the samples are read to their real end, and nothing else is."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from harness.datasets.decode import decode
from harness.errors import DataError
from tests.helpers.audio import RATE, noise, write_audio

KINDS = {
    "WAV": ({"format": "WAV"}, b"data", 4, "<I"),
    "RIFX": ({"format": "WAV", "endian": "BIG"}, b"data", 4, ">I"),
    "RF64": ({"format": "RF64"}, b"ds64", 16, "<Q"),
    "W64": ({"format": "W64"}, b"data", 16, "<Q"),
    "AIFF": ({"format": "AIFF"}, b"SSND", 4, ">I"),
    "CAF": ({"format": "CAF"}, b"data", 4, ">Q"),
    "AU": ({"format": "AU"}, b".snd", 8, ">I"),
}
"""How to write a file, and where its header has the bytes of its samples, behind what, and how."""

BIG = np.random.default_rng(0).bytes(3_000_001)
ID3 = b"ID3\x04\0\0" + bytes(len(BIG) >> shift & 0x7F for shift in (21, 14, 7, 0)) + BIG
APE = struct.pack("<8s4I8x", b"APETAGEX", 2_000, len(BIG) + 32, 1, 0)


def written(folder: Path, kind: str, seconds: float = 8.0) -> tuple[np.ndarray, bytes]:
    """Write a file, and return its samples and its bytes."""
    path = write_audio(folder / f"right.{kind.lower()}", noise("one", seconds), subtype="PCM_16", **KINDS[kind][0])
    return decode(path)[0], path.read_bytes()


def with_length(content: bytes, kind: str, length: int) -> bytes:
    _, name, offset, form = KINDS[kind]
    place = content.index(name) + offset
    return content[:place] + struct.pack(form, length) + content[place + struct.calcsize(form) :]


@pytest.mark.parametrize("length", [0, 100, 4 * RATE * 2])
@pytest.mark.parametrize("kind", KINDS)
def test_a_header_that_says_less_than_there_is_hides_nothing(tmp_path: Path, kind: str, length: int) -> None:
    right, content = written(tmp_path, kind)
    path = tmp_path / "false.wav"
    path.write_bytes(with_length(content, kind, length))
    np.testing.assert_array_equal(decode(path)[0], right)


def test_an_aiff_whose_frames_are_halved_too_is_read_whole(tmp_path: Path) -> None:
    right, content = written(tmp_path, "AIFF")
    place = content.index(b"COMM") + 10
    assert struct.unpack(">I", content[place : place + 4]) == (8 * RATE,)
    path = tmp_path / "false.aiff"
    path.write_bytes(with_length(content[:place] + struct.pack(">I", 4 * RATE) + content[place + 4 :], "AIFF", 100))
    np.testing.assert_array_equal(decode(path)[0], right)


@pytest.mark.parametrize("kind", ["WAV", "RIFX", "RF64", "AIFF", "CAF", "AU"])
@pytest.mark.parametrize("behind", ["chunk", "two chunks", "ID3", "APE", "zeros"])
def test_pictures_and_tags_of_megabytes_behind_the_samples_are_no_music(tmp_path: Path, kind: str, behind: str) -> None:
    right, content = written(tmp_path, kind)
    form = {"<I": "<4sI", ">I": ">4sI", "<Q": "<4sI", ">Q": ">4sQ"}[KINDS[kind][3]]
    chunk = struct.pack(form, b"id3 ", len(BIG)) + BIG + (b"" if kind == "CAF" else b"\0")
    tails = {
        "chunk": chunk,
        "two chunks": struct.pack(form, b"bext", 8) + bytes(8) + chunk,
        "ID3": ID3,
        "APE": BIG + APE + b"TAG" + b"x" * 125,
        "zeros": bytes(len(BIG)),
    }
    if kind == "AU" and "chunk" in behind:
        pytest.skip("AU files have no chunks")
    path = tmp_path / "tagged.wav"
    path.write_bytes(content + tails[behind])
    np.testing.assert_array_equal(decode(path)[0], right)
    if behind == "APE":
        # The tag tells where the samples end, though the header does not.
        path.write_bytes(with_length(content, kind, 100) + tails[behind])
        np.testing.assert_array_equal(decode(path)[0], right)


def test_samples_behind_another_chunk_are_not_called_none(tmp_path: Path) -> None:
    _, content = written(tmp_path, "WAV")
    place = content.index(b"data") + 8
    path = tmp_path / "late.wav"
    path.write_bytes(with_length(content, "WAV", 0)[:place] + b"LIST\4\0\0\0INFO" + content[place:])
    with pytest.raises(DataError, match=r"^its header says that it holds no samples, and there are 64,000 bytes "):
        decode(path)


def test_a_file_without_samples_is_called_empty(tmp_path: Path) -> None:
    _, content = written(tmp_path, "WAV")
    path = tmp_path / "none.wav"
    path.write_bytes(with_length(content, "WAV", 0)[: content.index(b"data") + 8] + b"LIST\4\0\0\0INFO" + bytes(999))
    with pytest.raises(DataError, match=r"^empty: it holds no samples$"):
        decode(path)


@pytest.mark.parametrize("kind", ["WAV", "RIFX", "AIFF"])
def test_a_second_recording_behind_the_first_is_not_left_out(tmp_path: Path, kind: str) -> None:
    _, content = written(tmp_path, kind)
    path = tmp_path / "joined.wav"
    path.write_bytes(content + content)
    with pytest.raises(DataError, match=r"^another recording follows behind its end: part them"):
        decode(path)
