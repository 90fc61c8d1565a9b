"""What the harness does on a real NVIDIA card: prints lines as it goes, and writes JSON.

    python -m benchmarks.gpu.check [FAMILY...] [--output FILE] [--quick] [--device gpu:N]

It trains on the back end that KERAS_BACKEND names; nothing that decodes audio, tracks or reports need be installed.
What fails is written down while the rest goes on, and the exit status is 1. Where the back end does not compute on a
GPU it is 2, at once, and nothing is written.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.gpu.sections import SECTIONS, Check, expect, say, told
from benchmarks.gpu.trials import Bench, Size, open_backend, points_of
from harness import keras_backend
from harness.errors import HarnessError, UnusableGpuError
from harness.families import GROUP, Family, families, select
from harness.units import MIB
from harness.vram.device import Device, resolve_device
from harness.vram.slots import DeviceSlot

SIZE = Size()


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
        f"{on_embeddings}: its embedding networks are no part of this check, and its head takes hardly any memory. "
        "Leave it out.",
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


def table(report: dict[str, Any]) -> str:
    """Return what a reader needs of a report, as markdown to paste into an issue."""
    about, source, versions = report["environment"], report.get("source", {}), report["environment"]["versions"]
    trains = f"Keras {versions.get('keras')} on {about['backend']} {versions.get(about['backend'], '')}"
    facts = {
        "card": f"{about['card']}, {told(about['memory_bytes'])}",
        "driver": about["driver"],
        "framework": trains,
        "source": source.get("source", "-"),
        "beside the allocator": told(source.get("overhead_bytes")),
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
            *(told(row[name]) for name in ("allocator_peak_bytes", "pool_bytes", "peak_bytes", "cap_bytes")),
            "-" if row["peak_less_cap_bytes"] is None else f"{row['peak_less_cap_bytes'] / MIB:+.0f} MiB",
            "-" if not row["allocator_peak_to_footprint"] else f"{row['allocator_peak_to_footprint']:.2f}",
        )
        for row in rows
    ]
    lines = [f"- {name}: {fact}" for name, fact in facts.items()]
    ruled = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    return "\n".join([*lines, "", *ruled, *("| " + " | ".join(map(str, row)) + " |" for row in cells)])


def main() -> int:
    """Run all sections, and return the exit status."""
    arguments = _parser().parse_args()
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
    wanted = [name for name in SECTIONS if name in (*arguments.only, "source")]
    with TemporaryDirectory() as folder, closing(open_backend(Path(folder))) as backend:
        bench = Bench(backend, DeviceSlot(device), Path(folder), SIZE)
        bench.fill()
        report["returned"] = bench.returned
        deadline, points = started + arguments.seconds, points_of(chosen, wide=not arguments.quick)
        check = Check(bench, points, arguments.trials, arguments.quick, deadline, report)
        for name in wanted:
            try:
                run_section(name, check)
            except UnusableGpuError as error:
                print(error, file=sys.stderr)
                return error.exit_code
            report["seconds"] = time.monotonic() - started
            arguments.output.parent.mkdir(parents=True, exist_ok=True)
            arguments.output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    say("", "To paste into an issue:", "", table(report))
    say("", f"{arguments.output} holds all figures; {len(report['errors'])} of {len(wanted)} sections failed.")
    return 1 if report["errors"] else 0


def run_section(name: str, check: Check) -> None:
    """Run a section; that it failed is written down, and its trials are ended.

    Raises:
        UnusableGpuError: the framework does not compute on the GPU.
    """
    section = SECTIONS[name]
    say("", f"{name}: {section.__doc__}".partition("\n")[0])
    try:
        section(check)
    except UnusableGpuError:
        raise
    except Exception as error:
        check.bench.backend.close()
        check.report["errors"][name] = str(error) if isinstance(error, HarnessError) else repr(error)
        say(f"FAILED: {check.report['errors'][name]}")


def _parser() -> argparse.ArgumentParser:
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
    return parser


if __name__ == "__main__":
    sys.exit(main())
