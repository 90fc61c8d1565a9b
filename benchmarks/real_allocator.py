"""How trials are kept within a budget under TensorFlow's real allocator, on the CPU: what is killed, and what is not.

    python benchmarks/real_allocator.py measure RESULTS.jsonl     goes on where an interrupted run stopped
    python benchmarks/real_allocator.py report RESULTS.jsonl...

TensorFlow's allocator on the CPU is that of a GPU: it doubles what it holds, stops at its limit and raises a real
out-of-memory error there. A stand-in for the NVIDIA driver reports what each child's allocator holds by TensorFlow's
own log, with a context beside it that grows while a trial goes on. Ten configurations of each family, of the half of
its full space that asks for least, are studied as `harness run` would, for a few steps each.

The truth about a trial comes from a run of the same configuration without a cap, at the smallest micro-batch: it is
healthy if what its allocator needed fits the budget less what lay beside the allocator.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from itertools import chain, repeat
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parent.parent / "tests"
sys.path.insert(0, str(TESTS))

import gpu_trials  # noqa: E402
from gpu_trials import GENRES, Bench, Point, Watched, order, run, study  # noqa: E402
from nvml_stub import STATE, build, describe  # noqa: E402

from harness.families import Family, select  # noqa: E402
from harness.keras_backend import STAND_IN  # noqa: E402
from harness.models import Config  # noqa: E402
from harness.records.trial import Outcome  # noqa: E402
from harness.search.space import points  # noqa: E402
from harness.trials.pool import Pool  # noqa: E402
from harness.units import GIB, MIB, format_size  # noqa: E402
from harness.vram.admission import Lane  # noqa: E402
from harness.vram.device import resolve_device  # noqa: E402
from harness.vram.probes import ProcessProbe  # noqa: E402
from harness.workflows.devices import prove  # noqa: E402

BUDGET = 768 * MIB
TRIALS, DRAWN = 10, 40
FLOOR, LARGEST = 8, 64
CONTEXT, GROWTH = 24 * MIB, 3 * MIB
"""What the stand-in reports beside a child's allocator: at its start, and more each time that the allocator grows."""

UUID = "GPU-5e1f7e57-0000-0000-0000-000000000000"


def smaller_half(pool: Pool, family: Family) -> list[Config]:
    """Return the first random configurations of the full space whose footprints lie in its smaller half."""
    drawn = [{**config, "variants": False} for config, _ in points(family, quick=False, count=DRAWN)]
    sizes = [found.peak(FLOOR, 1) for found in pool.reckon_all(family.name, family.input_spec, drawn, len(GENRES))]
    middle = statistics.median(sizes)
    small = [config for config, size in zip(drawn, sizes, strict=True) if size <= middle]
    left_out = {"crops_per_track", "variant_share"}
    return [{name: value for name, value in config.items() if name not in left_out} for config in small[:TRIALS]]


def floor_of(batch: int) -> int:
    """Return the smallest micro-batch that the harness may choose for a batch."""
    return batch if batch % 2 or batch // 2 < FLOOR else floor_of(batch // 2)


def measure_family(bench: Bench, lane: Lane, family: Family) -> Iterator[dict[str, Any]]:
    """Yield the trials of a family's study beside the truth about them."""
    configs = smaller_half(bench.pool, family)
    references = [reference(bench, Point(family, f"reference {n}", config)) for n, config in enumerate(configs)]
    pool = Watched(bench)
    # The first is asked for by `order`, not by a trial; a study goes on for each that it refuses, with the baseline.
    sequence = chain([configs[0], *configs], repeat(family.baseline))
    point = _Sequence(family, "smaller half", family.baseline, sequence)
    results = study(pool, lane, point, LARGEST, BUDGET, len(configs), jobs=1)
    for trial in sorted(results.trials, key=lambda trial: trial.number)[: len(configs)]:
        attempts = [end for end in pool.ends if end.spec.number == trial.number]
        yield {
            "family": family.name,
            "number": trial.number,
            **references[trial.number],
            "outcome": trial.outcome,
            "message": trial.message,
            "micro_batch": trial.micro_batch,
            "reckoned_bytes": trial.reckoned_bytes,
            "footprint_bytes": trial.footprint_bytes,
            "attempts": [
                {
                    "outcome": end.ended.outcome,
                    "micro_batch": end.spec.micro_batch,
                    "cap_bytes": end.spec.cap_bytes,
                    "held_bytes": end.reading.peak_bytes,
                    "needed_bytes": end.ended.allocator_peak_bytes,
                }
                for end in attempts
            ],
        }


class _Sequence(Point):
    """A point of a study that is another configuration for each trial."""

    def __init__(self, family: Family, name: str, config: Config, configs: Iterator[Config]) -> None:
        super().__init__(family, name, config)
        object.__setattr__(self, "_configs", configs)

    def at(self, micro_batch: int) -> dict[str, Any]:
        return {**next(self._configs), "patience": 10**6}  # type: ignore[attr-defined]


def reference(bench: Bench, point: Point) -> dict[str, Any]:
    """Return what a configuration needs without a cap, at the smallest micro-batch it may have."""
    batch = int(point.config["batch_size"])
    micro_batch = floor_of(batch)
    spec = order(bench, point, batch, 64 * GIB)
    spec = replace(spec, micro_batch=micro_batch, accumulation=batch // micro_batch)
    end = run(bench, spec)
    if end.ended.outcome is not Outcome.COMPLETED:
        raise RuntimeError(f"{point.name} of {point.family.name}: {end.ended.message}")
    held, needed = end.reading.peak_bytes, end.ended.allocator_peak_bytes
    log = spec.log.read_text(errors="replace")
    extensions = log.count("Total allocated bytes")
    return {
        "batch": batch,
        "least_micro_batch": micro_batch,
        "least_needed_bytes": needed,
        "least_held_bytes": held,
        "least_beside_bytes": CONTEXT + GROWTH * extensions,
    }


def measure(file: Path) -> None:
    """Append the families that `file` lacks."""
    done = {row["family"] for row in read(file)}
    # One update of the largest batch an epoch, however long it takes here.
    gpu_trials.TRACKS, gpu_trials.VALID, gpu_trials.STEPS = LARGEST + 8, 8, 1
    gpu_trials.TRIAL_SECONDS = 3600.0
    describe(f"card {UUID} {64 * GIB} Stand-in", f"descendants pool:{CONTEXT}:{GROWTH}")
    device = resolve_device("gpu:0", {})
    with closing(Pool()) as pool, tempfile.TemporaryDirectory() as folder, file.open("a") as out:
        bench = Bench(pool, Lane(device, ProcessProbe(UUID)), Path(folder))
        bench.fill()
        lane, _ = prove(device, pool)
        for family in select(["all"]):
            if family.name in done:
                continue
            for row in list(measure_family(bench, lane, family)):
                print(json.dumps(row), file=out, flush=True)
                print(json.dumps(row), flush=True)


def read(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def healthy(row: dict[str, Any]) -> bool:
    """Whether a trial fits its budget, by the run without a cap."""
    return bool(row["least_needed_bytes"] <= BUDGET - row["least_beside_bytes"])


def report(file: Path) -> None:
    """Print what became of healthy trials, and of the others."""
    rows = read(file)
    well = [row for row in rows if healthy(row)]
    attempts = [attempt for row in rows for attempt in row["attempts"]]
    caps = [attempt["cap_bytes"] / BUDGET for attempt in attempts]
    over = [attempt for attempt in attempts if (attempt["held_bytes"] or 0) > BUDGET]
    ended = sum(attempt["outcome"] in (Outcome.OVER_BUDGET, Outcome.OOM) for attempt in over)
    recovered = [row for row in well if row["outcome"] == Outcome.COMPLETED and len(row["attempts"]) > 1]
    by_oom = sum(row["attempts"][0]["outcome"] == Outcome.OOM for row in recovered)
    lost = [row for row in well if row["outcome"] != Outcome.COMPLETED]
    said = {
        "trials": len(rows),
        "healthy": len(well),
        "healthy, completed": len(well) - len(lost),
        "healthy, killed over the budget": sum(row["outcome"] == Outcome.OVER_BUDGET for row in lost),
        "healthy, out of memory to the end": sum(row["outcome"] == Outcome.OOM for row in lost),
        "healthy, refused": sum(row["outcome"] == Outcome.REFUSED for row in lost),
        "not healthy, completed": sum(row["outcome"] == Outcome.COMPLETED for row in rows if row not in well),
        "not healthy, refused or stopped": sum(row["outcome"] != Outcome.COMPLETED for row in rows if row not in well),
        "attempts above the budget, ended": f"{ended} of {len(over)}",
        "out of memory, recovered with less": by_oom,
        "median cap, share of the room": f"{statistics.median(caps):.1%}",
        "median micro-batch of the completed": statistics.median(
            row["micro_batch"] for row in rows if row["outcome"] == Outcome.COMPLETED
        ),
    }
    print(f"{file.name}: budget {format_size(BUDGET)}")
    for name, figure in said.items():
        print(f"  {name:36} {figure}")


def with_driver(file: Path) -> None:
    """Run this script again where the loader finds the stand-in for the driver."""
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "driver"
        build(library)
        environment = {**os.environ, "LD_LIBRARY_PATH": str(library), STATE: str(library / "state"), STAND_IN: "1"}
        status = os.spawnve(os.P_WAIT, sys.executable, [sys.executable, __file__, "measure", str(file)], environment)
    sys.exit(status)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["measure", "report"])
    parser.add_argument("files", type=Path, nargs="+")
    arguments = parser.parse_args()
    if arguments.what == "report":
        for each in arguments.files:
            report(each)
    elif STATE in os.environ:
        measure(arguments.files[0])
    else:
        with_driver(arguments.files[0])
