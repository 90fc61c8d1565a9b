"""Small audio files and data sets for the tests."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from harness.datasets.dataset import Dataset, Track

RATE = 4_000
MP3_RATE = 16_000


def noise(seed: int | str, seconds: float = 3.2, rate: int = RATE) -> np.ndarray:
    """Quiet noise, float32, shape (n,): other seeds, other samples."""
    rng = np.random.default_rng(zlib.crc32(str(seed).encode()))
    return rng.normal(0, 0.1, round(seconds * rate)).astype(np.float32)


def song(seed: int, seconds: float = 8.0, rate: int = 22_050) -> np.ndarray:
    """Three voices that play notes by chance over quiet noise, float32, shape (n,): other seeds, other songs."""
    rng = np.random.default_rng(seed)
    times = np.arange(round(seconds * rate)) / rate
    samples = 0.005 * rng.normal(size=len(times))
    for _ in range(3):
        start = 0.0
        while start < seconds:
            pitch = 110 * 2 ** (rng.integers(36) / 12)
            # A second of a note is all that sounds of it.
            at = times[round(start * rate) : round((start + 1) * rate)] - start
            overtones = sum(np.sin(2 * np.pi * pitch * n * at) / n for n in range(1, 7))
            samples[round(start * rate) :][: len(at)] += 0.05 * np.exp(-at / 0.2) * overtones
            start += rng.choice([0.15, 0.3, 0.45])
    return samples.astype(np.float32)


def write_audio(path: Path, samples: np.ndarray | None = None, rate: int = RATE, **options: Any) -> Path:
    """Write samples, by default noise of the file's own name, and return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, noise(path.as_posix(), rate=rate) if samples is None else samples, rate, **options)
    return path


def write_mp3(path: Path, seconds: float = 8.0, rate: int = MP3_RATE, channels: int = 1) -> bytes:
    """Write an MP3 of variable bit rate, which begins with noise and goes on with a tone, and return its bytes."""
    times = np.arange(round(seconds * rate)) / rate
    samples = 0.3 * np.sin(2 * np.pi * 300 * times) + np.where(times < 0.5, noise("start", seconds, rate), 0)
    with soundfile.SoundFile(path, "w", rate, channels, format="MP3", bitrate_mode="VARIABLE") as file:
        file.write(np.stack([samples] * channels, axis=1))
    return path.read_bytes()


def without_length(mp3: bytes) -> bytes:
    """Return an MP3 without its first frame, which holds no sound and tells how many follow."""
    assert b"Xing" in mp3[:64]
    return mp3[mp3.index(mp3[:2], 64) :]


def write_genres(base: Path, names: Iterable[str], suffix: str = ".wav") -> Path:
    """Write a track for every `genre/stem`, and return the folder."""
    for name in names:
        write_audio(base / f"{name}{suffix}", noise(name))
    return base


def write_tones(base: Path, tracks: int = 5, seconds: float = 4.0) -> Path:
    """Write four genres of tracks, each genre with a pitch of its own under a little noise, and return the folder."""
    times = np.arange(round(seconds * RATE)) / RATE
    for number, genre in enumerate(("high", "low", "middle", "top")):
        for track in range(tracks):
            tone = 0.3 * np.sin(2 * np.pi * (220 * 1.6**number + 5 * track) * times)
            samples = tone + 0.1 * noise(f"{genre}{track}", seconds)
            write_audio(base / genre / f"{genre}.{track:05d}.wav", samples.astype(np.float32))
    return base


def dataset(
    genre_of: Mapping[str, str],
    groups: Mapping[str, str] | None = None,
    replicas: Iterable[tuple[str, ...]] = (),
    quarantined: Mapping[str, str] | None = None,
) -> Dataset:
    """A data set without files."""
    return Dataset(
        name="made",
        root=Path("made"),
        genres=tuple(sorted(set(genre_of.values()))),
        tracks=tuple(Track(id, genre_of[id], Path(f"{id}.wav"), id, 30.0) for id in sorted(genre_of)),
        quarantined=dict(quarantined or {}),
        replicas=tuple(replicas),
        fingerprint="fingerprint",
        synthetic=False,
        groups=groups or {},
    )
