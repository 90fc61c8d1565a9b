"""librosa: mel, MFCC, chroma and contrast of each track by four calls, one processor thread, decoding included.

https://librosa.org/doc/latest/feature.html
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import librosa
import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.peers.figures import Figures, later_median, report

RATE = 22_050
SUFFIXES = (".au", ".flac", ".mp3", ".ogg", ".wav")
Rows = tuple[np.ndarray, ...]
"""Mel bands, MFCCs, chroma and contrast: each float32, shape (rows, frames)."""


def main() -> None:
    """Extract the features of a folder of audio files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="audio files at any depth")
    parser.add_argument("--way", choices=sorted(WAYS), default="defaults")
    parser.add_argument("--tracks", type=int, help="at most so many")
    parser.add_argument(
        "--compare", type=Path, help="an .npz of features by file name, compared with those of `shared`"
    )
    options = parser.parse_args()
    files = sorted(file for file in options.folder.rglob("*") if file.suffix in SUFFIXES)[: options.tracks]

    def contender() -> Figures:
        with threadpool_limits(1):
            figures = extract_all(files, WAYS[options.way])
            return {**figures, **compare(files, options.compare)} if options.compare else figures

    report(contender)


def defaults(samples: np.ndarray) -> Rows:
    """Call librosa's four functions with what they do unless told otherwise, but for the number of MFCCs."""
    return (
        librosa.power_to_db(librosa.feature.melspectrogram(y=samples, sr=RATE)),
        librosa.feature.mfcc(y=samples, sr=RATE, n_mfcc=40),
        librosa.feature.chroma_stft(y=samples, sr=RATE),
        librosa.feature.spectral_contrast(y=samples, sr=RATE),
    )


def tuned(samples: np.ndarray) -> Rows:
    """Call the four functions with the options of `harness`, as far as each takes them: standard tuning, no floor."""
    return (
        librosa.power_to_db(librosa.feature.melspectrogram(y=samples, sr=RATE), top_db=None),
        librosa.feature.mfcc(y=samples, sr=RATE, n_mfcc=40),
        librosa.feature.chroma_stft(y=samples, sr=RATE, tuning=0.0),
        librosa.feature.spectral_contrast(y=samples, sr=RATE),
    )


def shared(samples: np.ndarray) -> Rows:
    """Give the four functions one spectrogram, with the options of `harness`: what a careful user writes."""
    magnitude = np.abs(librosa.stft(samples))
    mel = librosa.power_to_db(librosa.feature.melspectrogram(S=magnitude**2, sr=RATE), top_db=None)
    return (
        mel,
        librosa.feature.mfcc(S=mel, n_mfcc=40),
        librosa.feature.chroma_stft(S=magnitude**2, sr=RATE, tuning=0.0),
        librosa.feature.spectral_contrast(S=magnitude, sr=RATE),
    )


WAYS: dict[str, Callable[[np.ndarray], Rows]] = {"defaults": defaults, "tuned": tuned, "shared": shared}


def extract_all(files: list[Path], way: Callable[[np.ndarray], Rows]) -> Figures:
    """Return the median CPU and wall seconds of a track, decoding included; the first, which compiles, is left out."""
    cpu, wall = [], []
    for file in files[:1] + files:
        before, started = time.process_time(), time.perf_counter()
        way(load(file))
        cpu.append(time.process_time() - before)
        wall.append(time.perf_counter() - started)
    return {"tracks": len(files), "track_cpu_seconds": later_median(cpu), "track_wall_seconds": later_median(wall)}


def compare(files: list[Path], features: Path) -> dict[str, float]:
    """Return how far `shared` is at most from stored features: float32, shape (187, frames), by file name."""
    largest: dict[str, float] = {}
    with np.load(features) as stored:
        for file in files:
            start = 0
            for name, rows in zip(("mel_db", "mfcc", "chroma", "contrast_db"), shared(load(file)), strict=True):
                other = stored[file.name][start : start + len(rows)]
                largest[name] = max(largest.get(name, 0.0), float(np.abs(rows - other).max()))
                start += len(rows)
    return largest


def load(file: Path) -> np.ndarray:
    """Return the samples of a file, float32, mono at 22,050 Hz."""
    samples: np.ndarray = librosa.load(file, sr=RATE)[0]
    return samples


if __name__ == "__main__":
    main()
