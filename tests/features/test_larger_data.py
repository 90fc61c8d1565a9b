"""A store of more tracks than memory could hold: a trial reads what it needs of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from harness.datasets.signal import SAMPLE_RATE
from harness.features.extract import N_ROWS, n_frames
from harness.features.store import FeatureStore
from tests.helpers.command import ROOT, program
from tests.helpers.store_walk import digest

TRACKS = 20_000
SECONDS = (30, 10)

# What a trial must know of a track: its id, the address of its audio, its genre and where its ten crops come in the
# order of an epoch, before and after shuffling. That is about 0.4 KiB; its features alone are 940 KiB.
PER_TRACK = 1024


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    """A store of 20,000 tracks, 30 s and 10 s long in turn: two tracks, and links to them under all other names."""
    store = FeatureStore(tmp_path / "store")
    generator = np.random.default_rng(0)
    for number, seconds in enumerate(SECONDS):
        samples = seconds * SAMPLE_RATE
        rows = generator.normal(size=(N_ROWS, n_frames(samples))).astype(np.float32)
        first = digest(number)
        store.put(first, rows, generator.integers(-9999, 9999, samples, np.int16))
        for path in (Path(store.features(first).filename), Path(store.waveform(first).filename)):
            folder, suffix = path.parents[1], path.name.removeprefix(first)
            for prefix in range(256):
                (folder / f"{prefix:02x}").mkdir(exist_ok=True)
            for name in map(digest, range(number + len(SECONDS), TRACKS, len(SECONDS))):
                os.link(path, f"{folder}/{name[:2]}/{name}{suffix}")
    yield store
    # pytest would keep all of it for three more runs.
    shutil.rmtree(store.root)


# Slow: 40,000 files, and a process that imports Keras, without a framework.
@pytest.mark.slow
@pytest.mark.apart
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the memory of a process as Linux tells it")
def test_a_trials_own_memory_does_not_grow_with_the_tracks(store: FeatureStore) -> None:
    walk, environment = program("store_walk", store.root, 200, TRACKS), {**os.environ, "KERAS_BACKEND": "numpy"}
    done = subprocess.run(walk, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for input_spec, (few, many) in json.loads(done.stdout.splitlines()[-1]).items():
        assert many - few < PER_TRACK * TRACKS, input_spec
