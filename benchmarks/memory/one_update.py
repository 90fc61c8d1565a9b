"""One update of a network as a trial makes it; children of the fork server call these functions."""

from __future__ import annotations

import os
import threading
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from harness.families import families
from harness.files import write_atomically
from harness.keras_backend import HIDDEN_GPU
from harness.trials import framework, model_probes
from harness.trials.local.child import isolate

GENRES = 10
FIGURE_SECONDS = 0.02
"""How often a child writes what its allocator has taken."""


def allocator_peak(name: str, config: dict[str, Any], micro_batch: int, accumulation: int) -> int | None:
    """Return the most bytes that the framework's allocator held while the model trained for one update."""
    framework.prepare(threads=os.cpu_count() or 1, deterministic=False, seed=0)
    train_one_update(name, config, micro_batch, accumulation)
    return framework.allocator_peak()


def hold_one_update(
    name: str, config: dict[str, Any], micro_batch: int, accumulation: int, figure: Path, connection: Connection
) -> None:
    """Train one update and send the allocator's peak; wait to be let go.

    Args:
        figure: the file into which the peak so far is written meanwhile.
    """
    isolate(HIDDEN_GPU, Path(os.devnull))
    framework.prepare(threads=1, deterministic=False, seed=0)
    ended = threading.Event()
    writer = threading.Thread(target=_write_figure, args=(figure, ended), daemon=True)
    writer.start()
    train_one_update(name, config, micro_batch, accumulation)
    ended.set()
    writer.join()
    connection.send(framework.allocator_peak())
    connection.recv()


def train_one_update(name: str, config: dict[str, Any], micro_batch: int, accumulation: int) -> None:
    """Build and compile the model as a trial does, and train two micro-batches of noise, an update after the last."""
    from harness.trials.training.optimizer import compile_model

    model = model_probes.untrained(name, families()[name].input_spec, config, GENRES)
    compile_model(model, config, updates=10, accumulation=accumulation)
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(micro_batch, *model.input_shape[1:])).astype(np.float32)
    labels = np.eye(GENRES, dtype=np.float32)[np.arange(micro_batch) % GENRES]
    weights = np.ones(micro_batch, np.float32)
    model.optimizer.build(model.trainable_variables)
    # The second step ends an update, as the last of `accumulation` steps does.
    model.optimizer._iterations.assign(max(0, accumulation - 2))
    for _ in range(2):
        model.train_on_batch(inputs, labels, sample_weight=weights)


def _write_figure(figure: Path, ended: threading.Event) -> None:
    """Write the allocator's peak again and again, once more at the end: allocators on a GPU keep what they took."""
    is_last = False
    while True:
        write_atomically(figure, str(framework.allocator_peak()))
        if is_last:
            return
        is_last = ended.wait(FIGURE_SECONDS)
