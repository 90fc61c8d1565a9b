"""How trials are kept within a budget under TensorFlow's real allocator, on the CPU: what is killed, and what is not.

    python -m benchmarks.memory.real_allocator measure RESULTS.jsonl     goes on where an interrupted run stopped
    python -m benchmarks.memory.real_allocator report RESULTS.jsonl...

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
from itertools import chain, repeat
from pathlib import Path
from typing import Any

from benchmarks.gpu.recording import RecordingBackend
from benchmarks.gpu.trials import (
    GENRES,
    PATIENCE,
    Bench,
    FixedStudy,
    Point,
    Size,
    open_backend,
    run,
    run_study,
    short_job,
)
from benchmarks.memory.measurements import read, run_again_with_driver, write
from harness.families import Family, select
from harness.keras_backend import STAND_IN
from harness.models import Config
from harness.records.trial import Outcome, TrialRecord
from harness.search.space import points
from harness.testing.nvml_stub.driver import STATE, describe
from harness.trials.backend import TrialBackend
from harness.units import GIB, MIB, format_size
from harness.vram.device import resolve_device
from harness.workflows.devices import prove

BUDGET = 768 * MIB
TRIALS, DRAWN = 10, 40
FLOOR, LARGEST = 8, 64
CONTEXT, GROWTH = 24 * MIB, 3 * MIB
"""What the stand-in reports beside a child's allocator: at its start, and more each time that the allocator grows."""

SIZE = Size(tracks=LARGEST + 8, valid=8, steps=1, seconds=3600.0)
"""One update of the largest batch an epoch, however long it takes here."""

UUID = "GPU-5e1f7e57-0000-0000-0000-000000000000"


def smaller_half(backend: TrialBackend, family: Family) -> list[Config]:
    """Return the first random configurations of the full space whose footprints lie in its smaller half."""
    drawn: list[Config] = [{**config, "variants": False} for config, _ in points(family, quick=False, count=DRAWN)]
    footprints = backend.estimate_footprints(family.name, family.input_spec, drawn, len(GENRES))
    sizes = [found.peak(FLOOR, 1) for found in footprints]
    middle = statistics.median(sizes)
    small = [config for config, size in zip(drawn, sizes, strict=True) if size <= middle]
    left_out = {"crops_per_track", "variant_share"}
    return [{name: value for name, value in config.items() if name not in left_out} for config in small[:TRIALS]]


def floor_of(batch: int) -> int:
    """Return the smallest micro-batch that the harness may choose for a batch."""
    return batch if batch % 2 or batch // 2 < FLOOR else floor_of(batch // 2)


def measure_family(bench: Bench, family: Family) -> Iterator[dict[str, Any]]:
    """Yield the trials of a family's study beside the truth about them."""
    configs = smaller_half(bench.backend, family)
    references = [reference(bench, Point(family, f"reference {n}", config)) for n, config in enumerate(configs)]
    # A study goes on for each that it refuses, with the baseline.
    tried = ({**config, "patience": PATIENCE} for config in chain(configs, repeat(family.baseline)))
    study = FixedStudy("smaller half", family, tried, LARGEST, BUDGET, len(configs), jobs=1)
    backend = bench.recorded()
    results = run_study(bench, backend, bench.slot, study)
    for trial in sorted(results.trials, key=lambda trial: trial.number)[: len(configs)]:
        yield {
            "family": family.name,
            "number": trial.number,
            **references[trial.number],
            "outcome": trial.outcome,
            "message": trial.message,
            "micro_batch": trial.batch.micro_batch if trial.batch else None,
            "reckoned_bytes": trial.memory.model_footprint_bytes,
            "footprint_bytes": trial.memory.footprint_bytes,
            "attempts": attempts_at(trial, backend),
        }


def attempts_at(trial: TrialRecord, backend: RecordingBackend) -> list[dict[str, Any]]:
    """Return how each attempt at a trial ended."""
    ended = ((end, backend.jobs[end.key].spec) for end in backend.ends if end.key.number == trial.number)
    return [
        {
            "outcome": end.report.outcome,
            "micro_batch": spec.training.batch.micro_batch,
            "cap_bytes": spec.limits.cap_bytes,
            "held_bytes": end.reading.peak_bytes,
            "needed_bytes": end.report.allocator_peak_bytes,
        }
        for end, spec in ended
    ]


def reference(bench: Bench, point: Point) -> dict[str, Any]:
    """Return what a configuration needs without a cap, at the smallest micro-batch it may have.

    Raises:
        RuntimeError: it does not complete even so.
    """
    batch = int(point.config["batch_size"])
    micro_batch = floor_of(batch)
    spec = short_job(bench, point, batch, 64 * GIB, accumulation=batch // micro_batch)
    end = run(bench, spec)
    if end.report.outcome is not Outcome.COMPLETED:
        raise RuntimeError(f"{point.name} of {point.family.name}: {end.report.message}")
    extensions = bench.backend.files.log(spec.key).read_text(errors="replace").count("Total allocated bytes")
    return {
        "batch": batch,
        "least_micro_batch": micro_batch,
        "least_needed_bytes": end.report.allocator_peak_bytes,
        "least_held_bytes": end.reading.peak_bytes,
        "least_beside_bytes": CONTEXT + GROWTH * extensions,
    }


def measure(file: Path) -> None:
    """Append the families that `file` lacks."""
    done = {row["family"] for row in read(file)}
    describe(f"card {UUID} {64 * GIB} Stand-in", f"descendants pool:{CONTEXT}:{GROWTH}")
    device = resolve_device("gpu:0", {})
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(open_backend(Path(folder))) as backend,
        file.open("a") as out,
    ):
        slot, choice = prove(device, backend.server)
        backend.add_slot(slot, choice.probe)
        bench = Bench(backend, slot, Path(folder), SIZE)
        bench.fill()
        for family in select(["all"]):
            if family.name in done:
                continue
            for row in list(measure_family(bench, family)):
                write(row, out)
                print(json.dumps(row), flush=True)


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
        sys.exit(run_again_with_driver(**{STAND_IN: "1"}))
