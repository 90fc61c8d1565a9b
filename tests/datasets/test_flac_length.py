"""The length of a FLAC stream is that of its frames, whatever its header says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.datasets.decode import decode
from tests.helpers.audio import noise, write_audio


def with_total(flac: bytes, total: int) -> bytes:
    place = flac.index(b"fLaC") + 18
    fields = int.from_bytes(flac[place : place + 8], "big") >> 36 << 36 | total
    return flac[:place] + fields.to_bytes(8, "big") + flac[place + 8 :]


@pytest.mark.parametrize("rate", [8_000, 22_050, 37_123, 96_000])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("before", [b"", b"ID3\x04\0\0\0\0\0\x05hello"])
def test_a_false_total_hides_nothing(tmp_path: Path, rate: int, channels: int, before: bytes) -> None:
    sound = np.stack([noise(channel, 8.0, rate) for channel in range(channels)], axis=1)
    path = write_audio(tmp_path / "right.flac", sound, rate)
    right, content = decode(path)[0], path.read_bytes()
    for total in (0, 1_000, len(sound) // 2):
        path.write_bytes(before + with_total(content, total))
        np.testing.assert_array_equal(decode(path)[0], right)


def test_a_false_total_in_a_chain_hides_nothing(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "one.flac", noise(1, 8.0))
    right, content = decode(path)[0], path.read_bytes()
    path.write_bytes(with_total(content, 4_000) + content + with_total(content, 0))
    np.testing.assert_array_equal(decode(path)[0], np.tile(right, 3))
