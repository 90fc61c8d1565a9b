"""The sections of the check: each measures one thing on the card and writes it down.

A section fails by a `HarnessError` that says why.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import repeat
from typing import Any

from benchmarks.gpu.trials import GENRES, Bench, FixedStudy, Point, run, run_study, short_job
from harness.errors import HarnessError
from harness.records.trial import Outcome, ReadingSource
from harness.search.memory_limits import room_of
from harness.trials.job import TrialSpec
from harness.trials.local.child import server_maps
from harness.trials.local.running import RETURN_SECONDS
from harness.units import GIB, MIB, format_size
from harness.vram.device import memory_returned, memory_used
from harness.vram.footprint import Footprint
from harness.vram.probes import NoProbe, Probe
from harness.vram.room import UNMEASURED_SLACK_SHARE
from harness.workflows.devices import prove

FULL, HALF, LEAST = 32, 16, 8
BUDGET_BYTES = 8 * GIB
SLACK_BYTES = 256 * MIB
"""What the watchdog allows beside a cap that is meant to be hit: libraries load more as a trial goes on."""


@dataclass
class Check:
    """What the sections share.

    Attributes:
        points: what to measure.
        trials: of each search whose trials are counted.
        deadline: no further point is measured after it.
        report: what becomes the JSON.
        measured: the rows of points that were trained, by family, point and micro-batch.
        footprints: by family and point.
        probe: reads the memory of trials.
    """

    bench: Bench
    points: list[Point]
    trials: int
    quick: bool
    deadline: float
    report: dict[str, Any]
    measured: dict[tuple[str, str, int], dict[str, Any]] = field(default_factory=dict)
    footprints: dict[tuple[str, str], Footprint] = field(default_factory=dict)
    probe: Probe = field(default_factory=NoProbe)

    def footprint(self, point: Point, micro_batch: int) -> int:
        """Return the raw footprint of a point in bytes, estimated once."""
        family, key = point.family, (point.family.name, point.name)
        if key not in self.footprints:
            estimate = self.bench.backend.estimate_footprints
            self.footprints[key] = estimate(family.name, family.input_spec, [point.config], len(GENRES))[0]
        return self.footprints[key].peak(micro_batch, accumulation=1)

    def heaviest(self, share: float = 0.5) -> Point:
        """Return the point with the largest footprint that a share of what is free holds: its trials break limits."""
        most = share * (self.bench.slot.free_bytes or sys.maxsize)
        sizes = {self.footprint(point, FULL): point for point in self.points}
        return sizes[max((size for size in sizes if size <= most), default=min(sizes))]

    def lightest(self) -> Point:
        """Return the point with the smallest footprint: its trials are counted."""
        return min(self.points, key=lambda point: self.footprint(point, LEAST))


def check_source(check: Check) -> None:
    """What can be measured here, by the self-test; the sections that follow measure with it.

    Raises:
        UnusableGpuError: the framework does not compute on the GPU, so that no figure would be one of it.
    """
    bench = check.bench
    device, before = bench.slot.device, memory_used(bench.slot.device)
    bench.slot, choice = prove(device, bench.backend.server)
    bench.backend.add_slot(bench.slot, choice.probe)
    check.probe = choice.probe
    ended = time.monotonic()
    back = before is not None and memory_returned(device, before, RETURN_SECONDS)
    seconds = time.monotonic() - ended if back else None
    bench.returned.append(
        {"what": "self-test", "before_bytes": before, "after_bytes": memory_used(device), "seconds": seconds}
    )
    maps_driver = bench.backend.server.call(server_maps, "libcuda.so")
    check.report["source"] = {
        "source": choice.probe.source,
        "overhead_bytes": choice.overhead_bytes,
        "idle_bytes": choice.idle_bytes,
        "exclusive": bench.slot.exclusive,
        "server_maps_libcuda": maps_driver,
        "sentences": choice.sentences,
    }
    say(*choice.sentences, f"Beside the allocator of a process: {format_size(choice.overhead_bytes)}.")
    say(f"Children are forked from a server that has {'' if maps_driver else 'not '}loaded libcuda.")


def check_over_budget(check: Check) -> None:
    """A trial without a cap, under a quarter of what it needs."""
    bench, point = check.bench, check.heaviest()
    expect(
        bench.slot.source is not ReadingSource.NONE, "nothing measures GPU memory here, so no trial is seen over it."
    )
    budget = bench.slot.overhead_bytes + check.footprint(point, FULL) // 4
    spec = short_job(bench, point, FULL, budget, epochs=10**6)
    end = run(bench, replace(spec, limits=replace(spec.limits, seconds=None)))
    above = next((seconds for seconds, held in end.series if held > budget), None)
    ended = None if above is None or end.gone_seconds is None else end.gone_seconds - above
    check.report["over_budget"] = {
        "budget_bytes": budget,
        "outcome": end.report.outcome,
        "message": end.report.message,
        "held_bytes": end.reading.peak_bytes,
        "first_reading_above_seconds": above,
        "from_there_to_the_end_seconds": ended,
    }
    say(f"{end.report.outcome}: {end.report.message}.")
    expect(end.report.outcome is Outcome.OVER_BUDGET, "the trial was not killed over its budget.")
    say(f"Its process group was gone {ended:.2f} s after its first reading above the budget.")


def check_out_of_memory(check: Check) -> None:
    """A study of one trial, its allocator capped between what a micro-batch needs and what half of it does.

    Its footprint is understated: by the true one, the study would begin with less.
    """
    bench, point = check.bench, check.heaviest()
    whole = measure(check, point, FULL)
    full = whole["allocator_peak_bytes"]
    expect(full is not None, "the framework's allocator does not tell its peak here, so no cap can be chosen.")
    less = measure(check, point, HALF)["allocator_peak_bytes"]
    beside = SLACK_BYTES + max(bench.slot.overhead_bytes, (whole["peak_bytes"] or 0) - full)
    cap, backend = (full + less) // 2, bench.recorded(understate=100)
    slot = replace(bench.slot, overhead_bytes=beside)
    bench.backend.add_slot(slot, check.probe)
    budget = math.ceil((cap + beside) / (1 - UNMEASURED_SLACK_SHARE))
    study = FixedStudy(point.name, point.family, repeat(point.at(FULL)), FULL, budget, trials=1, jobs=1)
    (record,) = run_study(bench, backend, slot, study).trials
    attempts = [
        {
            "micro_batch": backend.jobs[end.key].spec.training.batch.micro_batch,
            "outcome": end.report.outcome,
            "message": end.report.message,
        }
        for end in backend.ends
    ]
    check.report["out_of_memory"] = {
        "cap_bytes": cap,
        "allocator_peak_bytes": {FULL: full, HALF: less},
        "attempts": attempts,
        "outcome": record.outcome,
        "message": record.message,
    }
    said = ", then ".join(f"{each['outcome']} at micro-batch {each['micro_batch']}" for each in attempts)
    say(f"Under a cap of {format_size(cap)}: {said}.")
    expect(attempts[0]["outcome"] is Outcome.OOM, "the first attempt did not run out of memory.")
    expect(record.completed, f"the trial was not recovered: {record.message}.")


def check_staircase(check: Check) -> None:
    """A trial that needs little more than half of its cap: its allocator's doubling takes the whole."""
    # Its cap is nearly twice its need, and must be free.
    bench, point = check.bench, check.heaviest(share=0.4)
    needed = measure(check, point, FULL)["allocator_peak_bytes"]
    expect(needed is not None, "the framework's allocator does not tell its peak here, so no cap can be chosen.")
    cap = int(needed / 0.55)
    beside = bench.slot.overhead_bytes + SLACK_BYTES
    row = tried(check, point, short_job(bench, point, FULL, cap + beside, cap_bytes=cap))
    check.report["staircase"] = row
    expect(row["outcome"] is Outcome.COMPLETED, "a trial that needs a little more than half of its cap was stopped.")


def check_jobs(check: Check) -> None:
    """The same short trials one after another, and as many at once as fit."""
    bench, point = check.bench, check.lightest()
    configs = repeat(point.at(LEAST))
    for name, jobs in (("1", 1), ("auto", None)):
        backend, started = bench.recorded(), time.monotonic()
        study = FixedStudy(point.name, point.family, configs, LEAST, BUDGET_BYTES, check.trials, jobs)
        results = run_study(bench, backend, bench.slot, study)
        seconds = time.monotonic() - started
        completed = sum(trial.completed for trial in results.trials)
        check.report["jobs"][name] = {
            "family": point.family.name,
            "trials": check.trials,
            "completed": completed,
            "at_once": backend.most_at_once,
            "seconds": seconds,
            "trials_an_hour": 3600 * completed / seconds,
        }
        say(
            f"--jobs {name}: {completed} of {check.trials} trials completed in {seconds:.1f} s, "
            f"{3600 * completed / seconds:.0f} an hour; {backend.most_at_once} at once."
        )
        expect(completed == check.trials, f"not every trial completed: {results.trials[-1].message}.")


def check_footprints(check: Check) -> None:
    """Every point at every micro-batch, the ends first, for time may run out."""
    sizes = (LEAST,) if check.quick else (LEAST, FULL, HALF)
    wanted = [(point, size) for size in sizes for point in check.points]
    for done, (point, size) in enumerate(wanted):
        expect(time.monotonic() < check.deadline, f"time was up with {len(wanted) - done} points to go.")
        measure(check, point, size)
    failed = [row for row in check.measured.values() if row["outcome"] is not Outcome.COMPLETED]
    expect(not failed, f"{len(failed)} trials did not complete.")


def measure(check: Check, point: Point, micro_batch: int) -> dict[str, Any]:
    """Train a point for a handful of steps, once, capped as a trial with the whole card would be."""
    key = point.family.name, point.name, micro_batch
    if key not in check.measured:
        slot = check.bench.slot
        whole = slot.device.total_bytes
        cap = None if whole is None else room_of(slot, whole, ()).cap_bytes
        spec = short_job(check.bench, point, micro_batch, whole or sys.maxsize, cap_bytes=cap)
        check.measured[key] = tried(check, point, spec)
        check.report["footprints"].append(check.measured[key])
    return check.measured[key]


def tried(check: Check, point: Point, spec: TrialSpec) -> dict[str, Any]:
    """Run a trial and return what was predicted and measured."""
    end = run(check.bench, spec)
    micro_batch, cap = spec.training.batch.micro_batch, spec.limits.cap_bytes
    held, needed, pool = end.reading.peak_bytes, end.report.allocator_peak_bytes, end.report.pool_bytes
    footprint = check.footprint(point, micro_batch)
    row: dict[str, Any] = {
        "family": point.family.name,
        "point": point.name,
        "micro_batch": micro_batch,
        "outcome": end.report.outcome,
        "message": end.report.message,
        "source": end.reading.source,
        "cap_bytes": cap,
        "peak_bytes": held,
        "pool_bytes": pool,
        "allocator_peak_bytes": needed,
        "footprint_bytes": footprint,
        "beside_bytes": held and pool and held - pool,
        "peak_less_cap_bytes": held and cap and held - cap,
        "allocator_peak_to_footprint": needed and needed / footprint,
        "pool_to_allocator_peak": needed and pool and pool / needed,
        "seconds": end.gone_seconds,
    }
    sizes = {"needed": needed, "pool": pool, "held": held, "cap": cap, "footprint": footprint}
    figures = ", ".join(f"{name} {told(size)}" for name, size in sizes.items())
    where = f"{point.family.name}, {point.name}, {micro_batch}"
    say(f"{where}: {row['outcome']}{row['message'] and ', ' + row['message']}; {figures}.")
    return row


SECTIONS: dict[str, Callable[[Check], None]] = {
    "source": check_source,
    "over_budget": check_over_budget,
    "out_of_memory": check_out_of_memory,
    "staircase": check_staircase,
    "jobs": check_jobs,
    "footprints": check_footprints,
}


def expect(condition: bool, otherwise: str) -> None:
    """Raise a `HarnessError` that says `otherwise`, unless the condition holds."""
    if not condition:
        raise HarnessError(otherwise)


def say(*sentences: str) -> None:
    """Print lines at once, for whoever watches."""
    print(*sentences, sep="\n", flush=True)


def told(size: int | None) -> str:
    """Return a size as the check prints it."""
    return "not told" if size is None else format_size(size)
