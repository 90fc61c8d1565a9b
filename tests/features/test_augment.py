"""Augmented copies of a track: other samples, the same music, and the same ones every time."""

from __future__ import annotations

import random

import numpy as np
import pytest

from harness.datasets.signal import SAMPLE_RATE
from harness.features import augment

SEEDS = range(6)


@pytest.fixture(scope="module")
def tone() -> np.ndarray:
    times = np.arange(4 * SAMPLE_RATE) / SAMPLE_RATE
    return (0.9 * np.sin(2 * np.pi * 440 * times)).astype(np.float32)


@pytest.fixture(scope="module")
def copies(tone: np.ndarray) -> list[np.ndarray]:
    return [augment.augmented_copy(tone, seed) for seed in SEEDS]


def pitch(samples: np.ndarray) -> float:
    """The strongest frequency, in Hz."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(spectrum.argmax() * SAMPLE_RATE / len(samples))


def test_a_seed_decides_whatever_was_drawn_before(tone: np.ndarray, copies: list[np.ndarray]) -> None:
    random.seed(7)
    np.random.seed(7)
    for seed, expected in zip(SEEDS, copies, strict=True):
        np.testing.assert_array_equal(augment.augmented_copy(tone, seed), expected)
    assert len({samples.tobytes() for samples in [tone, *copies]}) == 1 + len(SEEDS)


def test_whoever_else_draws_at_random_does_not_notice(tone: np.ndarray) -> None:
    random.seed(7)
    np.random.seed(7)
    expected = random.random(), np.random.random()
    random.seed(7)
    np.random.seed(7)
    augment.augmented_copy(tone, 3)
    assert (random.random(), np.random.random()) == expected


@pytest.mark.parametrize("seconds", [3.1, 4.0, 30.37])
def test_it_is_as_long_as_the_track(seconds: float) -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, round(seconds * SAMPLE_RATE)).astype(np.float32)
    changed = augment.augmented_copy(samples, 1)
    assert (changed.dtype, changed.shape) == (np.float32, samples.shape)
    assert np.isfinite(changed).all()


def test_pitch_and_level_stay_near_and_no_silence_is_left(tone: np.ndarray, copies: list[np.ndarray]) -> None:
    pitches = [pitch(samples) for samples in copies]
    assert all(440 * 2 ** (-2.1 / 12) < found < 440 * 2 ** (2.1 / 12) for found in pitches)
    assert len({round(found) for found in pitches}) > 3
    for samples in copies:
        loudness = np.sqrt(np.square(samples[: len(samples) // 40 * 40].reshape(40, -1)).mean(axis=1))
        assert np.sqrt(np.square(tone).mean()) * 1.1 > loudness.max()
        assert loudness.min() > 0.15


@pytest.mark.parametrize(("semitones", "tempo"), [(2.0, 0.85), (2.0, 1.2), (-2.0, 0.85), (-2.0, 1.2), (0.5, 1.0)])
def test_pitch_and_tempo_are_what_they_are_told_to_be(tone: np.ndarray, semitones: float, tempo: float) -> None:
    changed = augment.repitched(tone, semitones, tempo)
    assert pitch(changed) == pytest.approx(440 * 2 ** (semitones / 12), rel=1e-3)
    assert len(changed) == pytest.approx(min(len(tone), len(tone) / tempo), abs=2)

    clicks = np.zeros_like(tone)
    clicks[SAMPLE_RATE::SAMPLE_RATE] = 1
    power = augment.repitched(clicks, semitones, tempo) ** 2
    for second in (1, 2, 3):
        around = np.arange(round((second - 0.4) / tempo * SAMPLE_RATE), round((second + 0.4) / tempo * SAMPLE_RATE))
        around = around[around < len(power)]
        found = (power[around] * around).sum() / power[around].sum() / SAMPLE_RATE
        assert found == pytest.approx(second / tempo, abs=5e-3)
