"""How far predicted footprints are from measured peaks: sampled configurations of all families, on the CPU allocator.

    python -m benchmarks.memory.footprint_error measure PEAKS.jsonl     goes on where an interrupted run stopped
    python -m benchmarks.memory.footprint_error report PEAKS.jsonl

Every configuration trains for one update in a process of its own, at the micro-batch that the budget leaves it. The
first configurations of the list teach each family's correction; the others are predicted with it.
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path

import numpy as np

from benchmarks.memory.measurements import read, write
from benchmarks.memory.one_update import GENRES, allocator_peak
from harness.families import families, select
from harness.models import Config
from harness.search.space import points
from harness.trials.local.fork_server import ForkServer
from harness.trials.model_probes import estimate_footprints
from harness.units import MIB, format_size, parse_size
from harness.vram.correction import Correction, Need
from harness.vram.fit import fit
from harness.vram.footprint import Footprint
from harness.vram.room import Room

MIN_MICRO_BATCH = 8
PER_FAMILY = 10
TAUGHT = 10
"""As many configurations teach the corrections, all families together."""


def measure(file: Path, budget: int) -> None:
    """Append the peaks that `file` lacks to `PER_FAMILY` of each family, one JSON line a configuration."""
    known, server = [(row["family"], row["place"]) for row in read(file)], ForkServer.start()
    with file.open("a") as out:
        streams = {family.name: enumerate(points(family, quick=False)) for family in select(["all"])}
        for turn, name in product(range(PER_FAMILY), streams):
            if turn < sum(family == name for family, _ in known):
                continue
            for place, (config, _) in streams[name]:
                found = fit(estimate(server, name, config), config["batch_size"], Room(budget), MIN_MICRO_BATCH)
                # Those that no trial would run under the budget are passed over.
                if (name, place) in known or not found.fits:
                    continue
                measured = server.call(allocator_peak, name, dict(config), found.micro_batch, found.accumulation)
                row = {"family": name, "place": place, "config": config, "peak_bytes": measured}
                row |= {"micro_batch": found.micro_batch, "accumulation": found.accumulation}
                write(row, out)
                print(f"{name} {place}: {format_size(measured)}", flush=True)
                break


def estimate(server: ForkServer, name: str, config: Config) -> Footprint:
    """Return the footprint of a configuration of a family."""
    found: Footprint = server.call(estimate_footprints, name, families()[name].input_spec, [dict(config)], GENRES)[0]
    return found


def report(file: Path) -> None:
    """Print the errors of the predictions, as they are now, of the peaks in `file`."""
    server = ForkServer.start()
    pairs = [
        (
            row["family"],
            estimate(server, row["family"], row["config"]).peak(row["micro_batch"], row["accumulation"]),
            row["peak_bytes"],
        )
        for row in read(file)
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
