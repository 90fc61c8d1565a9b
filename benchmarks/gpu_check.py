"""What the harness does on a real NVIDIA card: prints lines as it goes, and writes JSON.

    python benchmarks/gpu_check.py [FAMILY...] [--output FILE] [--quick] [--device gpu:N]

It trains on the back end that KERAS_BACKEND names; nothing that decodes audio, tracks or reports need be installed.
What fails is written down while the rest goes on, and the exit status is 1. Where the back end does not compute on a
GPU it is 2, at once, and nothing is written.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gpu_trials import GENRES, Bench, Point, Watched, order, points_of, run, study

from harness import keras_backend
from harness.errors import HarnessError, UnusableGpuError
from harness.families import GROUP, Family, families, select
from harness.records.trial import Outcome, ReadingSource
from harness.search.fitting import room_of
from harness.trials import worker
from harness.trials.pool import RETURN_SECONDS, Pool
from harness.trials.spec import TrialSpec
from harness.units import GIB, MIB, format_size
from harness.vram.admission import Lane
from harness.vram.device import Device, memory_returned, memory_used, resolve_device
from harness.vram.footprint import Footprint
from harness.vram.probes import NoProbe
from harness.vram.room import UNTAUGHT_SHARE
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
                point.family.name, point.family.input_spec, point.config, len(GENRES)
            )
        return self.footprints[key].peak(micro_batch, accumulation=1)

    def heaviest(self, share: float = 0.5) -> Point:
        """Return the point with the largest footprint that a share of what is free holds: its trials break limits."""
        most = share * (self.bench.lane.free_bytes or sys.maxsize)
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
    device, pool = bench.lane.device, bench.pool
    before = memory_used(device)
    bench.lane, choice = prove(device, pool)
    ended = time.monotonic()
    back = before is not None and memory_returned(device, before, RETURN_SECONDS)
    seconds = time.monotonic() - ended if back else None
    bench.returned.append(
        {"what": "self-test", "before_bytes": before, "after_bytes": memory_used(device), "seconds": seconds}
    )
    maps_driver = pool.call(worker.server_maps, "libcuda.so")
    check.report["source"] = {
        "source": choice.probe.source,
        "overhead_bytes": choice.overhead_bytes,
        "idle_bytes": choice.idle_bytes,
        "exclusive": bench.lane.exclusive,
        "server_maps_libcuda": maps_driver,
        "sentences": choice.sentences,
    }
    say(*choice.sentences, f"Beside the allocator of a process: {format_size(choice.overhead_bytes)}.")
    say(f"Children are forked from a server that has {'' if maps_driver else 'not '}loaded libcuda.")


def check_over_budget(check: Check) -> None:
    """A trial without a cap, under a quarter of what it needs."""
    bench, point = check.bench, check.heaviest()
    expect(
        bench.lane.probe.source is not ReadingSource.NONE,
        "nothing measures GPU memory here, so no trial is seen over it.",
    )
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
    budget = math.ceil((cap + beside) / (1 - UNTAUGHT_SHARE))
    (record,) = study(pool, lane, point, FULL, budget, trials=1, jobs=1).trials
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


def check_staircase(check: Check) -> None:
    """A trial that needs little more than half of its cap: its allocator's doubling takes the whole."""
    # Its cap is nearly twice its need, and must be free.
    bench, point = check.bench, check.heaviest(share=0.4)
    needed = measure(check, point, FULL)["allocator_peak_bytes"]
    expect(needed is not None, "the framework's allocator does not tell its peak here, so no cap can be chosen.")
    cap = int(needed / 0.55)
    beside = bench.lane.overhead_bytes + SLACK_BYTES
    row = tried(check, point, FULL, order(bench, point, FULL, cap + beside, cap=cap))
    check.report["staircase"] = row
    expect(row["outcome"] is Outcome.COMPLETED, "a trial that needs a little more than half of its cap was stopped.")


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
    """Train a point for a handful of steps, once, capped as a trial with the whole card would be."""
    key = point.family.name, point.name, micro_batch
    if key not in check.measured:
        whole = check.bench.lane.device.total_bytes
        cap = None if whole is None else room_of(check.bench.lane, whole, ()).cap_bytes
        spec = order(check.bench, point, micro_batch, whole or sys.maxsize, cap=cap)
        check.measured[key] = tried(check, point, micro_batch, spec)
        check.report["footprints"].append(check.measured[key])
    return check.measured[key]


def tried(check: Check, point: Point, micro_batch: int, spec: TrialSpec) -> dict[str, Any]:
    """Run a trial and return what was predicted and measured."""
    end = run(check.bench, spec)
    held, needed, pool = end.reading.peak_bytes, end.ended.allocator_peak_bytes, end.pool_bytes
    footprint = check.footprint(point, micro_batch)
    row: dict[str, Any] = {
        "family": point.family.name,
        "point": point.name,
        "micro_batch": micro_batch,
        "outcome": end.ended.outcome,
        "message": end.ended.message,
        "source": end.reading.source,
        "cap_bytes": spec.cap_bytes,
        "peak_bytes": held,
        "pool_bytes": pool,
        "allocator_peak_bytes": needed,
        "footprint_bytes": footprint,
        "beside_bytes": held and pool and held - pool,
        "peak_less_cap_bytes": held and spec.cap_bytes and held - spec.cap_bytes,
        "allocator_peak_to_footprint": needed and needed / footprint,
        "pool_to_allocator_peak": needed and pool and pool / needed,
        "seconds": end.gone_seconds,
    }
    sizes = {"needed": needed, "pool": pool, "held": held, "cap": spec.cap_bytes, "footprint": footprint}
    told = ", ".join(f"{name} {_told(size)}" for name, size in sizes.items())
    where = f"{point.family.name}, {point.name}, {micro_batch}"
    say(f"{where}: {row['outcome']}{row['message'] and ', ' + row['message']}; {told}.")
    return row


def table(report: dict[str, Any]) -> str:
    """Return what a reader needs of a report, as markdown to paste into an issue."""
    about, source, versions = report["environment"], report.get("source", {}), report["environment"]["versions"]
    trains = f"Keras {versions.get('keras')} on {about['backend']} {versions.get(about['backend'], '')}"
    facts = {
        "card": f"{about['card']}, {_told(about['memory_bytes'])}",
        "driver": about["driver"],
        "framework": trains,
        "source": source.get("source", "-"),
        "beside the allocator": _told(source.get("overhead_bytes")),
        "over budget": report.get("over_budget", {}).get("outcome", "-"),
        "out of memory": report.get("out_of_memory", {}).get("outcome", "-"),
        "jobs": "; ".join(
            f"{name}: {row['trials_an_hour']:.0f} trials an hour" for name, row in report["jobs"].items()
        ),
        "failed": "; ".join(f"{name}: {message}" for name, message in report["errors"].items()) or "nothing",
    }
    columns = ("family", "point", "micro-batch", "needed", "pool", "held", "cap", "held - cap", "needed / footprint")
    rows = [*report["footprints"], *([report["staircase"]] if "staircase" in report else [])]
    cells = [
        (
            *(row["family"], row["point"], row["micro_batch"]),
            *(_told(row[name]) for name in ("allocator_peak_bytes", "pool_bytes", "peak_bytes", "cap_bytes")),
            "-" if row["peak_less_cap_bytes"] is None else f"{row['peak_less_cap_bytes'] / MIB:+.0f} MiB",
            "-" if not row["allocator_peak_to_footprint"] else f"{row['allocator_peak_to_footprint']:.2f}",
        )
        for row in rows
    ]
    lines = [f"- {name}: {fact}" for name, fact in facts.items()]
    ruled = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    return "\n".join([*lines, "", *ruled, *("| " + " | ".join(map(str, row)) + " |" for row in cells)])


def _told(size: int | None) -> str:
    return "not told" if size is None else format_size(size)


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


def prepare(choice: str, names: Sequence[str]) -> tuple[Device, tuple[Family, ...]]:
    """Return the GPU and the families to check.

    Raises:
        HarnessError: there is no GPU or no such family, or the harness cannot train here.
    """
    device = resolve_device(choice, os.environ)
    expect(device.uuid is not None, "This check needs an NVIDIA GPU and finds none to use; see what `nvidia-smi` says.")
    keras_backend.check_backend()
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
        "backend": keras_backend.backend(),
        "versions": keras_backend.versions(),
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
    parser.add_argument(
        "--only",
        nargs="+",
        choices=SECTIONS,
        default=list(SECTIONS),
        help="sections to run, after source; default: all",
    )
    parser.add_argument("--quick", action="store_true", help="baselines at micro-batch 8 only")
    arguments = parser.parse_args()
    try:
        device, chosen = prepare(arguments.device, arguments.families)
    except HarnessError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    started = time.monotonic()
    report: dict[str, Any] = {"environment": environment(device), "jobs": {}, "footprints": [], "errors": {}}
    versions = ", ".join(f"{name} {number}" for name, number in keras_backend.versions().items())
    say(
        f"{device.name} ({device.uuid}), driver {device.driver}.",
        f"Keras trains on {keras_backend.backend()}: {versions}.",
    )
    with closing(Pool()) as pool, TemporaryDirectory() as folder:
        bench = Bench(pool, Lane(device, NoProbe()), Path(folder))
        bench.fill()
        report["returned"] = bench.returned
        deadline, points = started + arguments.seconds, points_of(chosen, wide=not arguments.quick)
        check = Check(bench, points, arguments.trials, arguments.quick, deadline, report)
        wanted = [name for name in SECTIONS if name in (*arguments.only, "source")]
        for name in wanted:
            section = SECTIONS[name]
            say("", f"{name}: {section.__doc__}".partition("\n")[0])
            try:
                section(check)
            except UnusableGpuError as error:
                print(error, file=sys.stderr)
                return error.exit_code
            except Exception as error:
                pool.close()
                report["errors"][name] = str(error) if isinstance(error, HarnessError) else repr(error)
                say(f"FAILED: {report['errors'][name]}")
            report["seconds"] = time.monotonic() - started
            arguments.output.parent.mkdir(parents=True, exist_ok=True)
            arguments.output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    say("", "To paste into an issue:", "", table(report))
    say("", f"{arguments.output} holds all figures; {len(report['errors'])} of {len(wanted)} sections failed.")
    return 1 if report["errors"] else 0


if __name__ == "__main__":
    sys.exit(main())
