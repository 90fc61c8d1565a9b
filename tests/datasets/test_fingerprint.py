"""Fingerprints: one recording is known in another coding, other music is not, and steady sounds are no evidence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from harness.datasets import fingerprint as module
from harness.datasets.decode import decode
from harness.datasets.fingerprint import MAX_ERROR, MAX_SECONDS, error_rate, fingerprint, linked
from tests.helpers.audio import noise, song

RATE = 22_050
SECONDS = 8.0
SONG, OTHER = song(1, SECONDS, RATE), song(2, SECONDS, RATE)

Coded = tuple[np.ndarray, int]


def resampled(samples: np.ndarray, rate: int) -> np.ndarray:
    return soxr.resample(samples, RATE, rate)


def coded(path: Path, samples: np.ndarray, rate: int, **options: object) -> Coded:
    soundfile.write(path, samples, rate, **options)
    return decode(path)


def later(samples: np.ndarray, seconds: float) -> np.ndarray:
    return np.concatenate([np.zeros(round(seconds * RATE), np.float32), samples])


def low_mp3(path: Path, samples: np.ndarray, rate: int) -> Coded:
    """8 kbit/s at 16 and 22.05 kHz, the lowest that LAME offers."""
    return coded(path.with_suffix(".mp3"), samples, rate, compression_level=0.99, bitrate_mode="CONSTANT")


VERSIONS: dict[str, Callable[[Path], Coded]] = {
    "flac": lambda path: coded(path.with_suffix(".flac"), SONG, RATE),
    "mp3": lambda path: coded(path.with_suffix(".mp3"), SONG, RATE),
    "mp3 at 8 kbit/s": lambda path: low_mp3(path, SONG, RATE),
    "ogg of low quality": lambda path: coded(path.with_suffix(".ogg"), SONG, RATE, compression_level=1.0),
    "stereo": lambda path: coded(path.with_suffix(".ogg"), np.stack([SONG, 0.6 * SONG], axis=1), RATE),
    "44.1 kHz": lambda path: (resampled(SONG, 44_100), 44_100),
    "16 kHz": lambda path: (resampled(SONG, 16_000), 16_000),
    "half as loud": lambda path: (0.5 * SONG, RATE),
    "34 dB lower, 16 bits": lambda path: coded(path.with_suffix(".wav"), 0.02 * SONG, RATE, subtype="PCM_16"),
    "clipped": lambda path: (np.clip(4 * SONG, -1, 1), RATE),
    "0.05 s later": lambda path: (later(SONG, 0.05), RATE),
    "0.1 s later": lambda path: (later(SONG, 0.1), RATE),
    "0.1 s earlier": lambda path: (SONG[RATE // 10 :], RATE),
    "all at once": lambda path: low_mp3(path, 0.5 * resampled(later(SONG, 0.1), 16_000), 16_000),
}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_recording_is_known_in_another_coding(tmp_path: Path, version: str) -> None:
    found = fingerprint(*VERSIONS[version](tmp_path / "song"))
    original, other = fingerprint(SONG, RATE), fingerprint(OTHER, RATE)

    assert found is not None
    assert original is not None
    assert other is not None
    assert error_rate(original, found) <= MAX_ERROR
    assert error_rate(found, original) == error_rate(original, found)
    assert error_rate(other, found) > 2 * MAX_ERROR


def test_groups_are_found_among_many_and_tracks_without_evidence_are_in_none(tmp_path: Path) -> None:
    tracks = [
        (SONG, RATE),
        (OTHER, RATE),
        (np.zeros(8 * RATE, np.float32), RATE),
        VERSIONS["mp3"](tmp_path / "song"),
        (song(3, SECONDS, RATE), RATE),
        (resampled(OTHER, 16_000), 16_000),
        VERSIONS["all at once"](tmp_path / "again"),
        (SONG, RATE),
        (noise(1, SECONDS, RATE), RATE),
        (noise(2, SECONDS, RATE), RATE),
    ]
    made = [fingerprint(*track) for track in tracks]

    assert linked(made, [len(samples) / rate for samples, rate in tracks]) == [(0, 3, 6, 7), (1, 5)]
    assert made[8] is not None
    assert linked([], []) == linked([None, made[0]], [8.0, 8.0]) == []


TIMES = np.arange(round(SECONDS * RATE)) / RATE
STEADY = {
    "silence": 0 * TIMES,
    "tone": np.sin(2 * np.pi * 440 * TIMES),
    "tone in 16 bits": np.rint(9_000 * np.sin(2 * np.pi * 440 * TIMES)) / 32_768,
    "square wave": np.sign(np.sin(2 * np.pi * 110 * TIMES)),
    "tone that swells": np.sin(2 * np.pi * 440 * TIMES) * (1 + np.sin(2 * np.pi * 2 * TIMES)),
    "chord": sum(np.sin(2 * np.pi * pitch * TIMES) for pitch in (440, 550, 660)),
    "clicks": (np.arange(len(TIMES)) % (RATE // 2) == 0).astype(float),
    "four notes over and over": np.sin(2 * np.pi * TIMES * 440 * 2 ** ((TIMES * 4 // 1 % 4) / 4)),
    "a second of noise over and over": np.tile(noise(0, 1.0, RATE), round(SECONDS)),
}


@pytest.mark.parametrize("kind", STEADY)
def test_sounds_that_only_repeat_themselves_are_no_evidence(kind: str) -> None:
    assert fingerprint(STEADY[kind].astype(np.float32), RATE) is None


@pytest.mark.parametrize("scale", [1e-30, 1e18])
def test_samples_of_any_size_are_compared(scale: float) -> None:
    assert fingerprint(SONG * np.float32(scale), RATE) == fingerprint(SONG, RATE)


def test_too_little_is_no_evidence() -> None:
    assert fingerprint(SONG[:0], RATE) is None
    assert fingerprint(SONG[: RATE // 4], RATE) is None
    assert fingerprint(SONG[:RATE], RATE) is None
    assert fingerprint(resampled(SONG, 3_900), 3_900) is None


def test_the_first_two_minutes_count() -> None:
    samples = noise(0, MAX_SECONDS + 5, 4_000)
    found = fingerprint(samples, 4_000)

    assert found is not None
    assert found == fingerprint(samples[: MAX_SECONDS * 4_000], 4_000)
    assert len(found) < 90 * MAX_SECONDS


@pytest.mark.parametrize(
    ("one", "other", "same"), [(8.0, 7.6, True), (8.0, 7.3, False), (200, 203, True), (200, 205, False)]
)
def test_recordings_of_other_lengths_are_other_recordings(one: float, other: float, same: bool) -> None:
    made = fingerprint(SONG, RATE)
    # Of a long track, the end is not in its fingerprint.
    close = fingerprint(0.5 * resampled(SONG[: round(min(other, SECONDS) * RATE)], 16_000), 16_000)

    assert linked([made, close], [one, other]) == ([(0, 1)] if same else [])


@pytest.mark.parametrize("coded_as", ["as it is", "mp3", "8 kbit/s"])
@pytest.mark.parametrize("faded", [False, True])
@pytest.mark.parametrize(("before", "behind"), [(0.3, 0.0), (1.0, 0.0), (0.0, 1.0), (2.0, 3.0)])
def test_silence_at_the_ends_makes_no_other_recording(
    tmp_path: Path, before: float, behind: float, faded: bool, coded_as: str
) -> None:
    times = np.arange(len(SONG)) / RATE
    # From 60 dB below to full level within a second, and back.
    sound = SONG * 10 ** (-3 * np.clip(1 - np.minimum(times, times[-1] - times), 0, 1)) if faded else SONG
    padded = np.pad(sound.astype(np.float32), (round(before * RATE), round(behind * RATE)))
    if coded_as == "mp3":
        padded, _ = coded(tmp_path / "padded.mp3", padded, RATE)
    if coded_as == "8 kbit/s":
        padded, _ = low_mp3(tmp_path / "padded", padded, RATE)
    made = [fingerprint(sound.astype(np.float32), RATE), fingerprint(padded, RATE), fingerprint(OTHER, RATE)]

    assert linked(made, [SECONDS, len(padded) / RATE, SECONDS]) == [(0, 1)]


def made_up(frames: int = 40, seed: int = 0) -> np.ndarray:
    """Bits of a made-up track, all of them certain, shape (frames, 32)."""
    return np.random.default_rng(seed).random((frames, 32)) < 0.5


def flipped(bits: np.ndarray, start: float, end: float) -> np.ndarray:
    """The same with some of the bits turned around, from a share of them to another; no two shares overlap."""
    order = np.random.default_rng(99).permutation(bits.size)[round(start * bits.size) : round(end * bits.size)]
    turned = bits.copy()
    turned.flat[order] ^= True
    return turned


def packed(bits: np.ndarray) -> bytes:
    return np.packbits(np.concatenate([np.ones_like(bits), bits], axis=1), axis=1).tobytes()


def test_weak_links_make_no_chain() -> None:
    first = made_up()
    second, third, far = flipped(first, 0, 0.15), flipped(first, 0, 0.3), flipped(first, 0, 0.42)

    assert error_rate(packed(first), packed(third)) == pytest.approx(0.3, abs=0.001)
    # Neither 0.3 nor 0.42 would link; a common neighbour may bring up to 0.35 together.
    assert linked([packed(first), packed(third)], [30, 30]) == []
    assert linked([packed(first), packed(second), packed(third)], [30, 30, 30]) == [(0, 1, 2)]
    assert linked([packed(far), packed(third), packed(second), packed(first)], [30] * 4) == [(0, 1, 2)]


def test_few_common_bits_are_no_link() -> None:
    few = made_up(frames=4)
    assert linked([packed(few), packed(flipped(few, 0, 0.05))], [3.2, 3.2]) == []


def test_blocks_of_tracks_find_what_one_block_does(monkeypatch: pytest.MonkeyPatch) -> None:
    # From 3 s to 100 s: a short track's few frames must be compared however long others are.
    lengths = [35 + 40 * step for step in range(26)]
    songs = [made_up(frames, seed=frames) for frames in lengths]
    made = [packed(bits) for bits in (*songs, *(flipped(bits, 0, 0.1) for bits in songs))]
    seconds = [0.093 * frames for frames in lengths] * 2
    expected = [(index, index + len(songs)) for index in range(len(songs))]

    assert linked(made, seconds) == expected
    monkeypatch.setattr(module, "_BLOCK", 3)
    assert linked(made, seconds) == expected
    assert linked(made, [30.0] * len(made)) == expected


def test_a_frame_has_the_same_energies_wherever_it_lies() -> None:
    low = np.random.default_rng(0).normal(size=120_000).astype(np.float32)
    energies, skipped = module._energies(low), 3 * module._AT_ONCE // 2
    assert len(energies) > 3 * module._AT_ONCE
    np.testing.assert_array_equal(module._energies(low[skipped * module._HOP :]), energies[skipped:])
