"""Run by test_larger_data.py in a process of its own: reads a store as a trial does. Prints one JSON line.

Arguments: the root of the store, and numbers of tracks. Each number is answered with the most anonymous memory, in
bytes, that the process held while it read a store of so many tracks.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path

from harness.datasets.signal import SAMPLE_RATE
from harness.features.crops import voting_batches
from harness.features.fold import LabelledTrack
from harness.features.input_spec import FUSION_INPUT, WAVEFORM_INPUT, InputSpec
from harness.features.store import FeatureStore

BATCHES = 300
"""Of 8 crops each, so that nearly all of them come from other tracks where there are enough."""

GENRES = 10

VIEWS = (FUSION_INPUT, replace(WAVEFORM_INPUT, length=SAMPLE_RATE))
"""Waveforms one second at a time, to be quick."""


def digest(number: int) -> str:
    """An address for each number, spread over the folders of a store as hashes are."""
    return f"{number * 2654435761 % 2**32:08x}".ljust(64, "0")


def anonymous() -> int:
    found = re.search(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) * 1024


def walk(store: FeatureStore, input_spec: InputSpec, tracks: int) -> int:
    """Return the most that was held over some hundred batches, votes, and statistics of a part of the tracks."""
    # It imports Keras, and the test imports this module.
    from harness.trials.training.batches import CropSampling, TrainingCrops

    examples = tuple(LabelledTrack(f"genre.{number:05d}", digest(number), number % GENRES) for number in range(tracks))
    sampling = CropSampling(
        micro_batch=8, accumulation=1, window="random", crops_per_track=10, mixup=0.2, weighted=True, seed=0
    )
    crops = TrainingCrops(store, input_spec, examples, GENRES, sampling)
    held = [anonymous()]
    for index in range(BATCHES):
        crops[index]
        held.append(anonymous())
    crops.on_epoch_end()
    held.append(anonymous())
    part = examples[:: tracks // 100]
    for _ in islice(voting_batches(store, input_spec, part, 8), 100):
        held.append(anonymous())
    store.normalization(input_spec, [example.digest for example in part[:20]])
    return max(*held, anonymous())


if __name__ == "__main__":
    store = FeatureStore(Path(sys.argv[1]))
    print(
        json.dumps(
            {input_spec.name: [walk(store, input_spec, int(count)) for count in sys.argv[2:]] for input_spec in VIEWS}
        )
    )
