"""What `harness doctor` says on machines that are not here: a markdown table, for docs/gpu.md.

    python -m benchmarks.gpu.doctor_machines

A stand-in for the NVIDIA driver shows each machine's cards, and an empty one for CUDA fails where the machine's does.
Where the framework works on a machine, the CPU computes in the card's place, with TensorFlow's own allocator.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.keras_backend import STAND_IN
from harness.processes import child_environment
from harness.testing.nvml_stub.driver import build, environment
from harness.units import GIB, MIB

CONTEXT, GROWTH = 280 * MIB, 8 * MIB
"""What the stand-in reports beside a child's allocator."""

HELD = f"descendants pool:{CONTEXT}:{GROWTH}"
CUDA = """
int cuInit(unsigned flags) { return 803; }
int cuDriverGetVersion(int *version) { *version = 11040; return 0; }
int cuGetErrorName(int error, const char **text) { *text = "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"; return 0; }
int cuGetErrorString(int error, const char **text) {
    *text = "system has unsupported display driver / cuda driver combination";
    return 0;
}
"""


@dataclass(frozen=True)
class Machine:
    """A machine, as drivers show it.

    Attributes:
        cards: directives of the stand-in driver; none for a machine without a driver.
        defines: how the stand-in is compiled.
        works: whether the framework computes on the card.
        broken_cuda: whether CUDA is there, and does not start.
        wsl: whether it is Linux inside of Windows.
        environ: what its user has set.
    """

    name: str
    cards: Sequence[str] = ()
    defines: Sequence[str] = ()
    works: bool = True
    broken_cuda: bool = False
    wsl: bool = False
    environ: Mapping[str, str] = field(default_factory=dict)


def card(number: int, name: str, gib: float, *directives: str, cuda: int = 12060, driver: str = "560.35") -> list[str]:
    """Return the directives of a machine with one card, or of one more card."""
    uuid = f"GPU-0000000{number}"
    return [f"driver {driver}", f"cuda {cuda}", f"card {uuid} {round(gib * GIB)} {name}", *directives]


RTX = "capability 8 6"
SCREEN = f"base {700 * MIB}"
MACHINES = (
    Machine("no NVIDIA driver"),
    Machine("driver updated, machine not restarted", card(1, "GeForce RTX 3060", 12), defines=("INIT=18",)),
    Machine("RTX 3060, 12 GB, no screen", card(1, "GeForce RTX 3060", 12, RTX, f"base {60 * MIB}", HELD)),
    Machine("RTX 4060, 8 GB, with the screen", card(1, "GeForce RTX 4060", 8, "capability 8 9", SCREEN, HELD)),
    Machine(
        "RTX 4070 under WSL2",
        card(1, "GeForce RTX 4070", 12, "capability 8 9", f"base {1100 * MIB}", f"{HELD} unmeasured"),
        wsl=True,
    ),
    Machine(
        "container that hides process numbers",
        card(1, "Tesla T4", 15, "capability 7 5", f"{HELD} unlisted", driver="535.54"),
    ),
    Machine("container without --gpus all", card(1, "Tesla T4", 15, "capability 7 5"), works=False),
    Machine(
        "GTX 1060, driver of 2021",
        card(1, "GeForce GTX 1060", 6, "capability 6 1", cuda=11040, driver="470.82"),
        works=False,
        broken_cuda=True,
    ),
    Machine(
        "cluster node: exclusive, accounting without persistence",
        card(1, "A100", 40, "capability 8 0", "exclusive", "accounting", HELD),
    ),
    Machine(
        "old card for the screen beside a large one",
        [
            *card(1, "GeForce GT 1030", 2, "capability 6 1", SCREEN),
            *card(2, "GeForce RTX 3090", 24, RTX, HELD),
        ],
    ),
    Machine(
        "environment of a guide to less memory",
        card(1, "GeForce RTX 3060", 12, RTX, HELD),
        environ={"TF_GPU_ALLOCATOR": "cuda_malloc_async"},
    ),
    Machine("GB10, which shares the machine's memory", card(1, "GB10", 0, "capability 12 1", "fails memory 3", HELD)),
)

DOCTOR = """
import sys
from pathlib import Path
from harness.vram import device
if sys.argv.pop(1) == "wsl":
    device.WSL_DEVICE = Path("/dev/null")
from harness.cli import main
main()
"""


def diagnose(machine: Machine, folder: Path) -> list[dict[str, str]]:
    """Return what doctor finds on a machine."""
    library = folder / "driver"
    if machine.cards:
        build(library, *machine.defines)
        (library / "state").write_text("\n".join(machine.cards) + "\n")
    else:
        library.mkdir()
        (library / "libnvidia-ml.so.1").touch()
    if machine.broken_cuda:
        options = ["-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-x", "c", "-", "-o", str(library / "libcuda.so.1")]
        subprocess.run(["gcc", *options], input=CUDA, text=True, check=True)
    environ = {**child_environment(), **machine.environ, **environment(library)}
    if machine.works and machine.cards:
        environ[STAND_IN] = "1"
    command = [sys.executable, "-c", DOCTOR, "wsl" if machine.wsl else "", "doctor", "--json"]
    result = subprocess.run(command, env=environ, capture_output=True, text=True)
    if result.returncode:
        return [{"topic": "error", "status": "problem", "text": result.stderr.strip(), "advice": ""}]
    return [json.loads(line) for line in result.stdout.splitlines()]


def row(machine: Machine, findings: Sequence[Mapping[str, str]]) -> str:
    """Return a machine's row: what is well is left out, but for where trials run and what measures them."""
    told = [found for found in findings if found["status"] != "ok" or found["topic"] == "framework"]
    told += [found for found in findings if found["status"] == "ok" and ": used;" in found["text"]]
    cells = [
        f"**{found['topic']}** ({found['status']}): {found['text']}" + (f" → {found['advice']}" * bool(found["advice"]))
        for found in told
    ]
    text = "<br>".join(cells).replace(" (stand-in: the CPU computes)", "").replace("|", "\\|")
    return f"| {machine.name} | {text} |"


def main() -> None:
    """Print the table."""
    print("| machine | what doctor says |", "| --- | --- |", sep="\n")
    for machine in MACHINES:
        with tempfile.TemporaryDirectory() as folder:
            print(row(machine, diagnose(machine, Path(folder))), flush=True)


if __name__ == "__main__":
    main()
