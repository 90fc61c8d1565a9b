"""MP3 behind bytes that are none, in a WAV file, and in front of text: all of it is read, and nothing else."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from harness.datasets.decode import decode
from harness.errors import DataError
from tests.helpers.audio import MP3_RATE, noise, without_length, write_audio, write_mp3

JUNK = {
    "zeros": bytes(100),
    "many zeros": bytes(300_000),
    "text": b"artist - title\n" * 50,
    "chance": np.random.default_rng(0).bytes(5_000),
    "a tag that is longer than it says": b"ID3\x03\0\0\0\0\0\x05hello" + b"x" * 3_000,
}
LYRICS = b"LYRICSBEGIN" + b"la " * 1_000 + b"003011LYRICS200"


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("junk", JUNK)
def test_bytes_in_front_cost_no_music(tmp_path: Path, junk: str, told: bool) -> None:
    mp3 = write_mp3(tmp_path / "1.mp3") if told else without_length(write_mp3(tmp_path / "1.mp3"))
    plain, path = tmp_path / "plain.mp3", tmp_path / "late.mp3"
    plain.write_bytes(mp3 + mp3)
    path.write_bytes(JUNK[junk] + mp3 + mp3)
    right = decode(plain)[0]
    assert 16.0 <= len(right) / MP3_RATE < 16.4
    np.testing.assert_array_equal(decode(path)[0], right)


def test_layers_and_rates_are_found(tmp_path: Path) -> None:
    for rate in (8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000):
        for options in ({}, {"bitrate_mode": "CONSTANT", "compression_level": 0.0}):
            path = write_audio(tmp_path / "one.mp3", noise(rate, 4.0, rate), rate, **options)
            right, content = decode(path)[0], path.read_bytes()
            path.write_bytes(b"x" * 1_500 + content)
            np.testing.assert_array_equal(decode(path)[0], right)


@pytest.mark.parametrize("behind", [b"hello world " * 300, LYRICS, LYRICS + b"TAG" + b"x" * 125, b"free" * 500_000])
@pytest.mark.parametrize("told", [True, False])
def test_text_behind_costs_no_music(tmp_path: Path, behind: bytes, told: bool) -> None:
    mp3 = write_mp3(tmp_path / "1.mp3") if told else without_length(write_mp3(tmp_path / "1.mp3"))
    (tmp_path / "plain.mp3").write_bytes(mp3)
    (tmp_path / "tagged.mp3").write_bytes(mp3 + behind)
    np.testing.assert_array_equal(decode(tmp_path / "tagged.mp3")[0], decode(tmp_path / "plain.mp3")[0])


def in_wav(mp3: bytes, *, length: int | None = None, magic: bytes = b"WAVE") -> bytes:
    header = struct.pack("<HHIIHHH10x", 0x55, 1, MP3_RATE, 8_000, 1, 0, 12)
    chunks = b"fmt " + struct.pack("<I", len(header)) + header + b"data"
    chunks += struct.pack("<I", len(mp3) if length is None else length) + mp3
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + magic + chunks


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("length", [None, 0])
def test_mp3_in_a_wav_file_is_read_to_its_end(tmp_path: Path, told: bool, length: int | None) -> None:
    mp3 = write_mp3(tmp_path / "1.mp3") if told else without_length(write_mp3(tmp_path / "1.mp3"))
    (tmp_path / "plain.mp3").write_bytes(mp3)
    path = tmp_path / "mp3.wav"
    right = decode(tmp_path / "plain.mp3")[0]
    path.write_bytes(in_wav(mp3, length=length))
    assert soundfile.info(path).subtype == "MPEG_LAYER_III" or length == 0
    np.testing.assert_array_equal(decode(path)[0], right)
    path.write_bytes(in_wav(mp3) + b"LIST\x10\0\0\0INFO" + b"x" * 12)
    np.testing.assert_array_equal(decode(path)[0], right)
    path.write_bytes(in_wav(mp3, magic=b"RMP3"))
    np.testing.assert_array_equal(decode(path)[0], right)


def test_a_few_frames_among_other_bytes_are_no_music(tmp_path: Path) -> None:
    mp3 = write_audio(tmp_path / "1.mp3", noise("one", 8.0, 44_100), 44_100).read_bytes()
    packets = [mp3[place : place + 2_000] + b"\0\0\1\xc0" * 8 for place in range(0, len(mp3), 2_000)]
    path = tmp_path / "video.wav"
    path.write_bytes(b"\0\0\1\xba" * 8 + b"".join(packets))
    with pytest.raises(DataError, match="not audio"):
        decode(path)
