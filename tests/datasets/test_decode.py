"""Decoding: the same music from any file, or the reason why it cannot serve."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.datasets.decode import decode
from harness.datasets.signal import FULL_SCALE, SAMPLE_RATE, as_samples, quantised, resample
from harness.errors import DataError
from tests.helpers.audio import noise, write_audio


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_decoding_and_resampling_gives_the_same_music_at_any_rate(tmp_path: Path, rate: int) -> None:
    def tone(rate: int) -> np.ndarray:
        return (0.5 * np.sin(2 * np.pi * 440 * np.arange(4 * rate) / rate)).astype(np.float32)

    path = write_audio(tmp_path / "tone.wav", np.stack([tone(rate), np.zeros(4 * rate)], axis=1), rate, subtype="FLOAT")

    samples = resample(*decode(path))

    assert samples.dtype == np.float32
    assert samples.shape == (4 * SAMPLE_RATE,)
    middle = slice(SAMPLE_RATE, 3 * SAMPLE_RATE)
    np.testing.assert_allclose(samples[middle], tone(SAMPLE_RATE)[middle] / 2, atol=1e-3)


def test_what_cannot_serve_is_refused_with_the_reason_alone(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "silence.wav", np.zeros(16_000))
    with pytest.raises(DataError, match=r"^silent: its samples are all the same$"):
        decode(path)


def test_quantised_samples_come_back_within_half_a_step() -> None:
    samples = noise("any")
    assert quantised(samples).dtype == np.int16
    np.testing.assert_allclose(as_samples(quantised(samples)), samples, atol=0.51 / FULL_SCALE)
