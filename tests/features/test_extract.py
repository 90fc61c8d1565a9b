"""One shared spectrum gives what four librosa calls give, and never a value that a network cannot take."""

from __future__ import annotations

import librosa
import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from harness.datasets.signal import SAMPLE_RATE
from harness.features.extract import CHROMA, CONTRAST, HOP_LENGTH, MEL, MFCC, N_ROWS, extract, extract_blocks
from harness.features.input_spec import FUSION_INPUT, MFCC_INPUT, WAVEFORM_INPUT


def music(seconds: float = 4.0) -> np.ndarray:
    """A rising chord with some noise, float32, shape (n,)."""
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    tones = sum(np.sin(2 * np.pi * f * time * (1 + 0.05 * time)) for f in (220.0, 277.2, 329.6, 1760.0))
    return (0.1 * tones + np.random.default_rng(0).normal(0, 0.01, len(time))).astype(np.float32)


def test_equal_to_four_separate_librosa_calls() -> None:
    # Loud, and of 16 bits as most music is: single precision would not do, as its errors would be above these steps.
    samples = (np.rint(music() * 2**16) / 2**15).astype(np.float32)
    samples[: len(samples) // 2] = np.rint(12_000 * np.sin(np.arange(len(samples) // 2) / 9)) / 2**15
    feature = librosa.feature
    mel = librosa.power_to_db(feature.melspectrogram(y=samples, sr=SAMPLE_RATE, n_mels=128), ref=1.0, top_db=None)

    features = extract(samples)

    assert features.dtype == np.float32
    assert features.shape == (N_ROWS, 1 + len(samples) // HOP_LENGTH) == (187, 173)
    np.testing.assert_allclose(features[MEL], mel, atol=1e-3)
    np.testing.assert_allclose(features[MFCC], feature.mfcc(S=mel, n_mfcc=40), atol=1e-2)
    np.testing.assert_allclose(features[CHROMA], feature.chroma_stft(y=samples, sr=SAMPLE_RATE, tuning=0.0), atol=1e-4)
    # The range of magnitudes is within the 80 dB that its defaults leave.
    np.testing.assert_allclose(features[CONTRAST], feature.spectral_contrast(y=samples, sr=SAMPLE_RATE), atol=1e-3)


def test_digital_silence_is_the_floor_whatever_is_beside_it() -> None:
    samples = music()
    samples[20_000:60_000] = 0
    silent = extract(samples)[:, 45:110]
    np.testing.assert_allclose(silent[MEL], -100, atol=1e-4)
    assert (silent[CHROMA] == 0).all()
    assert (silent[CONTRAST] == 0).all()


def test_a_crop_does_not_depend_on_what_else_the_track_holds() -> None:
    quiet = music() * 1e-3
    followed = np.concatenate([quiet, music() * 5])
    frames = len(quiet) // HOP_LENGTH - 4

    np.testing.assert_allclose(extract(followed)[:, :frames], extract(quiet)[:, :frames], atol=1e-2)


@pytest.mark.parametrize("level", [0.0, 1e-30, 1e-7, 1.0, 100.0])
def test_finite_at_any_level(level: float) -> None:
    samples = np.random.default_rng(1).normal(0, 1, 70_001).astype(np.float32) * np.float32(level)
    samples[30_000:50_000] = 0
    features = extract(samples)
    assert features.shape == (187, 137)
    assert np.isfinite(features).all()


def test_views() -> None:
    assert MFCC_INPUT.shape == (40, 130, 1)
    assert FUSION_INPUT.shape == (187, 130, 1)
    assert WAVEFORM_INPUT.shape == (110_250, 1)
    assert (MFCC_INPUT.start, MFCC_INPUT.stop) == (MFCC.start, MFCC.stop) == (128, 168)
    assert MFCC_INPUT.describe() == "mfcc: 40 rows x 130 frames (3.0 s)"
    assert WAVEFORM_INPUT.describe() == "waveform: 110,250 samples (5.0 s)"


def test_any_part_is_that_of_the_whole_to_the_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = music(6.0)
    with threadpool_limits(1, "blas"):  # with more threads, sums are rounded otherwise
        whole = extract(samples)
        monkeypatch.setattr("harness.features.extract._BLOCK", 50)
        blocks = list(extract_blocks(samples))
        assert [block.shape[1] for block in blocks] == [50] * 5 + [9]
        np.testing.assert_array_equal(np.concatenate(blocks, axis=1), whole)
        for first, end in ((33, 10**6), (0, 1), (63, 66), (64, 128), (100, 131), (258, 259)):
            part = np.concatenate(list(extract_blocks(samples, first, end)), axis=1)
            np.testing.assert_array_equal(part, whole[:, first:end])
