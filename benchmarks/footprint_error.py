"""How far predicted footprints are from measured peaks: sampled configurations of all families, on the CPU allocator.

    python benchmarks/footprint_error.py measure PEAKS.jsonl     goes on where an interrupted run stopped
    python benchmarks/footprint_error.py report PEAKS.jsonl

Every configuration trains for one update in a process of its own, at the micro-batch that the budget leaves it. The
first configurations of the list teach each family's correction; the others are predicted with it.
"""

from __future__ import annotations

import argparse
import json
import os
from contextlib import closing
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from harness.families import families, select
from harness.models import Config
from harness.search.space import points
from harness.trials.pool import Pool
from harness.units import MIB, format_size, parse_size
from harness.vram.correction import Correction, Need
from harness.vram.fit import Fit, fit
from harness.vram.room import Room

GENRES = 10
MIN_MICRO_BATCH = 8
PER_FAMILY = 10
TAUGHT = 10
"""As many configurations teach the corrections, all families together."""


def peak(name: str, config: dict[str, Any], micro_batch: int, accumulation: int) -> int | None:
    """Return the most bytes that the framework's allocator held while the model trained for one update."""
    from harness.trials import framework

    framework.prepare(threads=os.cpu_count() or 1, deterministic=False, seed=0)
    one_update(name, config, micro_batch, accumulation)
    return framework.allocator_peak()


def one_update(name: str, config: dict[str, Any], micro_batch: int, accumulation: int) -> None:
    """Build and compile the model as a trial does, and train two micro-batches of noise, an update after the last."""
    from harness.trials import train, worker

    model = worker.untrained(name, families()[name].input_spec, config, GENRES)
    train.compile_model(model, config, updates=10, accumulation=accumulation)
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(micro_batch, *model.input_shape[1:])).astype(np.float32)
    labels = np.eye(GENRES, dtype=np.float32)[np.arange(micro_batch) % GENRES]
    weights = np.ones(micro_batch, np.float32)
    model.optimizer.build(model.trainable_variables)
    # The second step ends an update, as the last of `accumulation` steps does.
    model.optimizer._iterations.assign(max(0, accumulation - 2))
    for _ in range(2):
        model.train_on_batch(inputs, labels, sample_weight=weights)


def measure(file: Path, budget: int) -> None:
    """Append the peaks that `file` lacks to `PER_FAMILY` of each family, one JSON line a configuration."""
    known = [(row["family"], row["place"]) for row in read(file)]
    with closing(Pool()) as pool, file.open("a") as out:
        streams = {family.name: enumerate(points(family, quick=False)) for family in select(["all"])}
        for turn, name in product(range(PER_FAMILY), streams):
            if turn < sum(family == name for family, _ in known):
                continue
            for place, (config, _) in streams[name]:
                # Those that no trial would run under the budget are passed over.
                if (name, place) in known or not (found := _fit(pool, name, config, budget)).fits:
                    continue
                measured = pool.call(peak, name, dict(config), found.micro_batch, found.accumulation)
                row = {"family": name, "place": place, "config": config, "peak_bytes": measured}
                row |= {"micro_batch": found.micro_batch, "accumulation": found.accumulation}
                print(json.dumps(row), file=out, flush=True)
                print(f"{name} {place}: {format_size(measured)}", flush=True)
                break


def _fit(pool: Pool, name: str, config: Config, budget: int) -> Fit:
    footprint = pool.reckon(name, families()[name].input_spec, config, GENRES)
    return fit(footprint, config["batch_size"], Room(budget), MIN_MICRO_BATCH)


def report(file: Path) -> None:
    """Print the errors of the predictions, as they are now, of the peaks in `file`."""
    rows = read(file)
    with closing(Pool()) as pool:
        pairs = [
            (
                row["family"],
                pool.reckon(row["family"], families()[row["family"]].input_spec, row["config"], GENRES).peak(
                    row["micro_batch"], row["accumulation"]
                ),
                row["peak_bytes"],
            )
            for row in rows
        ]
    for family, predicted, measured in pairs:
        ratio = measured / predicted
        print(f"{family:16} predicted {predicted / MIB:6.0f}, measured {measured / MIB:6.0f} MiB: {ratio:.2f}")
    corrections = {
        name: Correction.learn([Need(*pair[1:]) for pair in pairs[:TAUGHT] if pair[0] == name]) for name, _, _ in pairs
    }
    plain = [predicted / measured - 1 for _, predicted, measured in pairs[TAUGHT:]]
    corrected = [corrections[name].estimate(predicted) / measured - 1 for name, predicted, measured in pairs[TAUGHT:]]
    within = [measured <= corrections[name].upper(predicted) for name, predicted, measured in pairs[TAUGHT:]]
    for label, errors in (("uncorrected", plain), ("corrected", corrected)):
        size = np.abs(errors)
        print(
            f"{label}: {len(size)} configurations, error median {np.median(size):.0%}, 95th percentile "
            f"{np.percentile(size, 95):.0%}, median with sign {np.median(errors):+.0%}"
        )
    print(f"measured within the upper bound: {sum(within)} of {len(within)}")


def read(file: Path) -> list[dict[str, Any]]:
    """Return the rows of `file`; none if there is no such file."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["measure", "report"])
    parser.add_argument("file", type=Path)
    parser.add_argument("--budget", type=parse_size, default=parse_size("3GiB"), help="default: 3GiB")
    arguments = parser.parse_args()
    if arguments.what == "measure":
        measure(arguments.file, arguments.budget)
    else:
        report(arguments.file)
