"""Peak memory of reading tracks of any length: looked at, extracted, augmented and classified, each in its own process.

    python -m benchmarks.memory.long_tracks

Tracks of 1, 10 and 60 minutes, stereo MP3 at 44.1 kHz, are made in a temporary folder. Peaks are those of the whole
process (ru_maxrss), libraries and framework with it; what a step takes with the shortest track is its floor.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile

from harness.datasets.scan import scan
from harness.features.input_spec import FUSION_INPUT
from harness.features.store import FeatureStore
from harness.inference.pipeline import Classifier
from harness.markdown import table
from harness.processes import child_environment
from harness.records.base import FORMAT

MINUTES = (1, 10, 60)
STEPS = ("scan", "extract", "augment", "predict")
RATE = 44_100


def write_music(path: Path, minutes: int) -> None:
    """Write a track of chords that change every half second, with noise; a minute at a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(minutes)
    times = np.arange(RATE // 2) / RATE
    with soundfile.SoundFile(path, "w", RATE, 2, format="MP3") as file:
        for _ in range(120 * minutes):
            pitches = 110 * 2 ** (rng.integers(36, size=4) / 12)
            chord = sum(np.sin(2 * np.pi * pitch * times) for pitch in pitches)
            file.write(0.1 * chord[:, None] + rng.normal(0, 0.01, (len(times), 2)))


def write_bundle(folder: Path) -> None:
    """Write a model that was not trained, which sees what `cnn2d-fusion` does."""
    import keras

    inputs = keras.Input(FUSION_INPUT.shape)
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(16, 3)(inputs))
    folder.mkdir()
    keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(pooled)).save(folder / "model.keras")
    about = {"format": FORMAT, "input_spec": asdict(FUSION_INPUT), "about": {}}
    (folder / "model.json").write_text(json.dumps(about))
    (folder / "labels.json").write_text('["a", "b"]')


def step(name: str, folder: Path, minutes: int) -> None:
    """Carry out a step on one track, and print the peak of this process in bytes, and its CPU seconds."""
    music = folder / f"music-{minutes}"
    if name == "bundle":
        write_bundle(folder / "model")
        return
    if name == "predict":
        Classifier.load(folder / "model").file(music / "a" / "track.mp3")
    else:
        tracks = scan(music, workers=1).tracks[:1]
        if name != "scan":
            copies = int(name == "augment")
            FeatureStore(folder / f"{name}-{minutes}").prepare(tracks, augmented=tracks, copies=copies, workers=1)
    print(json.dumps([1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()]))


def main() -> None:
    if sys.argv[1:]:
        step(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
        return
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)

        def measured(name: str, minutes: int) -> str:
            order = [sys.executable, "-m", "benchmarks.memory.long_tracks", name, str(folder), str(minutes)]
            done = subprocess.run(order, env=child_environment(), check=True, capture_output=True, text=True)
            if name == "bundle":
                return ""
            peak, seconds = json.loads(done.stdout.splitlines()[-1])
            return f"{peak / 2**20:.0f} MiB ({seconds:.0f} s)"

        measured("bundle", 0)
        for minutes in MINUTES:
            write_music(folder / f"music-{minutes}" / "a" / "track.mp3", minutes)
            write_music(folder / f"music-{minutes}" / "b" / "track.mp3", 1)
        rows = [[name, *(measured(name, minutes) for minutes in MINUTES)] for name in STEPS]
        print(table(["step", *(f"{minutes} min" for minutes in MINUTES)], rows))


if __name__ == "__main__":
    main()
