"""Audio of any length: the same samples by slices, in memory or on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.datasets import track_audio
from harness.datasets.decode import content_address, decode
from harness.datasets.signal import SAMPLE_RATE, resample, resampled_blocks
from harness.datasets.track_audio import PIECE, TrackAudio, pieces, read_audio
from harness.errors import DataError
from tests.helpers.audio import noise, write_audio


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("block", [1_000, 1 << 18])
def test_blocks_are_resampled_to_the_same_bits(rate: int, block: int) -> None:
    samples = noise("song", 4.3, rate)
    blocks = (samples[at : at + block] for at in range(0, len(samples), block))
    np.testing.assert_array_equal(np.concatenate(list(resampled_blocks(blocks, rate))), resample(samples, rate))


@pytest.mark.parametrize("seconds", [0, 120], ids=["on disk", "in memory"])
def test_slices_are_those_of_an_array(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: int) -> None:
    monkeypatch.setattr(track_audio, "_IN_MEMORY_SECONDS", seconds or 1e-3)
    samples = noise("song", 3.3)
    with TrackAudio(tmp_path) as audio:
        for at in range(0, len(samples), 10_000):
            audio.append(samples[at : at + 10_000])
            assert len(audio[:5]) == 5
        assert len(audio) == len(samples)
        for part in (slice(None), slice(7, 9_999), slice(60_000, None), slice(len(samples) - 1, 10**9), slice(9, 3)):
            np.testing.assert_array_equal(audio[part], samples[part])
            assert audio[part].dtype == np.float32
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_what_decoding_all_of_it_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(track_audio, "_IN_MEMORY_SECONDS", 1)
    path = write_audio(tmp_path / "song.flac", noise("song", 20.0, 44_100), 44_100)
    samples, rate = decode(path)
    with read_audio(path, tmp_path) as (audio, digest):
        assert digest == content_address(samples, rate)
        np.testing.assert_array_equal(audio[:], resample(samples, rate))


def test_what_cannot_serve_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "short.wav", noise("song", 2.0))
    with pytest.raises(DataError, match="too short"), read_audio(path, tmp_path):
        pass
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("length", "count"), [(1, 1), (PIECE, 1), (PIECE + 1, 2), (12 * PIECE, 12), (3600 * SAMPLE_RATE + 5, 13)]
)
def test_pieces_cover_all_evenly(length: int, count: int) -> None:
    found = list(pieces(length))
    assert len(found) == count
    assert [start for start, _ in found] == [0, *(stop for _, stop in found[:-1])]
    assert found[-1][1] == length
    sizes = [stop - start for start, stop in found]
    assert max(sizes) <= PIECE
    assert max(sizes) - min(sizes) <= 1
