"""What the harness does on a real NVIDIA card: prints lines as it goes, and writes JSON.

    python benchmarks/gpu_check.py [FAMILY...] [--output FILE] [--quick] [--device gpu:N]

It trains on the back end that KERAS_BACKEND names; nothing that decodes audio, tracks or reports need be installed.
What fails is written down while the rest goes on, and the exit status is 1. Without a GPU it is 2, and nothing is
written.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gpu_trials import GENRES, Bench, Point, Watched, order, points_of, run, study

from harness.errors import HarnessError
from harness.families import GROUP, Family, families, select
from harness.records import Outcome, Source
from harness.trials import framework
from harness.trials.pool import RETURN_SECONDS, Pool
from harness.units import GIB, MIB, format_size
from harness.vram.admission import Lane
from harness.vram.device import Device, describe, memory_returned, memory_used, resolve_device
from harness.vram.footprint import Footprint
from harness.vram.probes import NoProbe, choose_probe

FULL, HALF, LEAST = 32, 16, 8
HELD_BYTES = 256 * MIB
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
    """

    bench: Bench
    points: list[Point]
    trials: int
    quick: bool
    deadline: float
    report: dict[str, Any]
    measured: dict[tuple[str, str, int], dict[str, Any]] = field(default_factory=dict)
    footprints: dict[tuple[str, str], Footprint] = field(default_factory=dict)

    def footprint(self, point: Point, micro_batch: int) -> int:
        """Return the raw footprint of a point in bytes, reckoned once."""
        key = point.family.name, point.name
        if key not in self.footprints:
            self.footprints[key] = self.bench.pool.reckon(
                point.family.name, point.family.view, point.config, len(GENRES)
            )
        return self.footprints[key].peak(micro_batch, accumulation=1)

    def heaviest(self) -> Point:
        """Return the point with the largest footprint that half of the card can hold: its trials break limits."""
        half = (self.bench.lane.device.total_bytes or sys.maxsize) // 2
        sizes = {self.footprint(point, FULL): point for point in self.points}
        return sizes[max((size for size in sizes if size <= half), default=min(sizes))]

    def lightest(self) -> Point:
        """Return the point with the smallest footprint: its trials are counted."""
        return min(self.points, key=lambda point: self.footprint(point, LEAST))


def check_source(check: Check) -> None:
    """What can be measured here, by the self-test; the sections that follow measure with it."""
    bench = check.bench
    device, pool = bench.lane.device, bench.pool
    before = memory_used(device)
    choice = choose_probe(device, partial(pool.hold, HELD_BYTES, device), HELD_BYTES)
    ended = time.monotonic()
    back = before is not None and memory_returned(device, before, RETURN_SECONDS)
    seconds = time.monotonic() - ended if back else None
    bench.lane = Lane(device, choice.probe, choice.overhead_bytes)
    bench.returned.append(
        {"what": "self-test", "before_bytes": before, "after_bytes": memory_used(device), "seconds": seconds}
    )
    check.report["source"] = {
        "source": choice.probe.source,
        "overhead_bytes": choice.overhead_bytes,
        "sentences": choice.sentences,
    }
    say(*choice.sentences, f"Overhead of a process: {format_size(choice.overhead_bytes)}.")
    sees_gpu = pool.call(framework.sees_gpu, environment=device.environment())
    check.report["environment"]["computes_on"] = "gpu" if sees_gpu else "cpu"
    expect(
        sees_gpu, f"{framework.backend()} computes on the CPU, so no figure here is a GPU's. Install its CUDA parts."
    )


def check_over_budget(check: Check) -> None:
    """A trial without a cap, under a quarter of what it needs."""
    bench, point = check.bench, check.heaviest()
    expect(bench.lane.probe.source is not Source.NONE, "nothing measures GPU memory here, so no trial is seen over it.")
    budget = bench.lane.overhead_bytes + check.footprint(point, FULL) // 4
    end = run(bench, replace(order(bench, point, FULL, budget, epochs=10**6), time_limit_seconds=None))
    above = next((seconds for seconds, held in end.series if held > budget), None)
    ended = None if above is None or end.gone_seconds is None else end.gone_seconds - above
    check.report["over_budget"] = {
        "budget_bytes": budget,
        "outcome": end.ended.outcome,
        "message": end.ended.message,
        "held_bytes": end.reading.peak_bytes,
        "first_reading_above_seconds": above,
        "from_there_to_the_end_seconds": ended,
    }
    say(f"{end.ended.outcome}: {end.ended.message}.")
    expect(end.ended.outcome is Outcome.OVER_BUDGET, "the trial was not killed over its budget.")
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
    beside = SLACK_BYTES + max(bench.lane.overhead_bytes, (whole["peak_bytes"] or 0) - full)
    cap, pool = (full + less) // 2, Watched(bench, understate=100)
    lane = replace(bench.lane, overhead_bytes=beside)
    (record,) = study(pool, lane, point, FULL, cap + beside, trials=1, jobs=1).trials
    attempts = [
        {"micro_batch": end.spec.micro_batch, "outcome": end.ended.outcome, "message": end.ended.message}
        for end in pool.ends
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


def check_jobs(check: Check) -> None:
    """The same short trials one after another, and as many at once as fit."""
    point = check.lightest()
    for name, jobs in (("1", 1), ("auto", None)):
        pool, started = Watched(check.bench), time.monotonic()
        results = study(pool, check.bench.lane, point, LEAST, BUDGET_BYTES, check.trials, jobs)
        seconds = time.monotonic() - started
        completed = sum(trial.completed for trial in results.trials)
        check.report["jobs"][name] = {
            "family": point.family.name,
            "trials": check.trials,
            "completed": completed,
            "at_once": pool.at_once,
            "seconds": seconds,
            "trials_an_hour": 3600 * completed / seconds,
        }
        say(
            f"--jobs {name}: {completed} of {check.trials} trials completed in {seconds:.1f} s, "
            f"{3600 * completed / seconds:.0f} an hour; {pool.at_once} at once."
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
    """Train a point for a handful of steps, once, and return what was predicted and measured."""
    key = point.family.name, point.name, micro_batch
    if key in check.measured:
        return check.measured[key]
    bench = check.bench
    end = run(bench, order(bench, point, micro_batch, bench.lane.device.total_bytes or sys.maxsize))
    peak, allocator = end.reading.peak_bytes, end.ended.allocator_peak_bytes
    footprint = check.footprint(point, micro_batch)
    row: dict[str, Any] = {
        "family": point.family.name,
        "point": point.name,
        "micro_batch": micro_batch,
        "outcome": end.ended.outcome,
        "message": end.ended.message,
        "source": end.reading.source,
        "peak_bytes": peak,
        "allocator_peak_bytes": allocator,
        "footprint_bytes": footprint,
        "peak_less_overhead_to_footprint": peak and (peak - bench.lane.overhead_bytes) / footprint,
        "allocator_peak_to_footprint": allocator and allocator / footprint,
        "peak_to_allocator_peak": peak and allocator and peak / allocator,
        "seconds": end.gone_seconds,
    }
    check.measured[key] = row
    check.report["footprints"].append(row)
    sizes = {"NVML": peak, "allocator": allocator, "footprint": footprint}
    told = ", ".join(f"{name} {format_size(size) if size else 'not told'}" for name, size in sizes.items())
    say(f"{', '.join(map(str, key))}: {row['outcome']}{row['message'] and ', ' + row['message']}; {told}.")
    return row


SECTIONS: dict[str, Callable[[Check], None]] = {
    "source": check_source,
    "over_budget": check_over_budget,
    "out_of_memory": check_out_of_memory,
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


def prepare(choice: str, names: Sequence[str]) -> tuple[Device, tuple[Family, ...]]:
    """Return the GPU and the families to check.

    Raises:
        HarnessError: there is no GPU or no such family, or the harness cannot train here.
    """
    device = resolve_device(choice, os.environ)
    expect(device.uuid is not None, "This check needs an NVIDIA GPU and finds none to use; see what `nvidia-smi` says.")
    framework.check_backend()
    expect(
        bool(families()),
        f"No family is installed: entry points of the group {GROUP} are missing, so install the package with "
        "`pip install --no-deps .`",
    )
    chosen = select(names)
    on_embeddings = ", ".join(family.name for family in chosen if family.on_embeddings)
    expect(
        not on_embeddings,
        f"{on_embeddings}: what it hears with is no part of this check, and its head takes hardly any memory. Leave it "
        "out.",
    )
    return device, chosen


def environment(device: Device) -> dict[str, Any]:
    """Return what the figures depend on."""
    return {
        "card": device.name,
        "memory_bytes": device.total_bytes,
        "driver": device.driver,
        "backend": framework.backend(),
        "versions": framework.versions(),
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
    }


def main() -> int:
    """Run all sections, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "families", nargs="*", metavar="FAMILY", help="families to check; default: all", default=["all"]
    )
    parser.add_argument("--output", type=Path, default=Path("build/gpu-check.json"), help="default: %(default)s")
    parser.add_argument("--device", default="auto", help="auto or gpu:N; default: auto")
    parser.add_argument("--trials", type=int, default=8, help="of each counted search; default: %(default)s")
    parser.add_argument("--seconds", type=float, default=450, help="no point is begun after them; default: %(default)s")
    parser.add_argument("--quick", action="store_true", help="baselines at micro-batch 8 only")
    arguments = parser.parse_args()
    try:
        device, chosen = prepare(arguments.device, arguments.families)
    except HarnessError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    started = time.monotonic()
    report: dict[str, Any] = {"environment": environment(device), "jobs": {}, "footprints": [], "errors": {}}
    versions = ", ".join(f"{name} {number}" for name, number in framework.versions().items())
    say(*describe(device), f"Keras trains on {framework.backend()}: {versions}.")
    with closing(Pool()) as pool, TemporaryDirectory() as folder:
        bench = Bench(pool, Lane(device, NoProbe()), Path(folder))
        bench.fill()
        report["returned"] = bench.returned
        deadline, points = started + arguments.seconds, points_of(chosen, wide=not arguments.quick)
        check = Check(bench, points, arguments.trials, arguments.quick, deadline, report)
        for name, section in SECTIONS.items():
            say("", f"{name}: {section.__doc__}".partition("\n")[0])
            try:
                section(check)
            except Exception as error:
                pool.close()
                report["errors"][name] = str(error) if isinstance(error, HarnessError) else repr(error)
                say(f"FAILED: {report['errors'][name]}")
            report["seconds"] = time.monotonic() - started
            arguments.output.parent.mkdir(parents=True, exist_ok=True)
            arguments.output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    say("", f"{arguments.output} holds all figures; {len(report['errors'])} of {len(SECTIONS)} sections failed.")
    return 1 if report["errors"] else 0


if __name__ == "__main__":
    sys.exit(main())
