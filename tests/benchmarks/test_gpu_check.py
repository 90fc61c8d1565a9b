"""`make gpu-check` without a GPU: what it needs, what it says, and the whole of it on the stand-in driver."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FixedTrial

from benchmarks.gpu import check as gpu_check
from benchmarks.gpu import sections
from benchmarks.gpu.trials import WIDE, Bench, Size, points_of
from harness.errors import HarnessError
from harness.families import families
from harness.keras_backend import STAND_IN
from harness.records.trial import EpochRecord, Outcome, Reading, ReadingSource, ValidationScores
from harness.search.memory_limits import room_of
from harness.testing.backends import FakeBackend
from harness.testing.nvml_stub.driver import build, environment
from harness.trials.job import TrialSpec
from harness.trials.report import TrialReport
from harness.units import GIB, MIB
from harness.vram.device import Device, DeviceKind
from harness.vram.footprint import Footprint
from harness.vram.probes import Probe
from harness.vram.slots import DeviceSlot
from tests.helpers.command import ROOT
from tests.helpers.search import completed

UUID = "GPU-0a1b2c3d-0000"
DEVICE = Device(DeviceKind.GPU, UUID, "Stub GPU", 8 * GIB, "550.54.14")

# What a bare machine has is what docs/gpu.md names.
BARE = """
import sys

ABSENT = {
    *("tensorflow", "librosa", "soundfile", "soxr", "midirenderer", "mido", "pretty_midi"),
    *("mlflow", "matplotlib", "typer", "jinja2", "pandas", "sqlalchemy", "alembic", "yaml"),
}

class Bare:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r} on a bare machine", name=name)

sys.meta_path.insert(0, Bare())
"""


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """The environment of a process, and of all that it starts, on a machine with little installed."""
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "sitecustomize.py").write_text(BARE)
    return {**os.environ, "PYTHONPATH": str(tmp_path / "bare"), "KERAS_BACKEND": "jax"}


def run_check(*arguments: str, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.gpu.check", *arguments]
    return subprocess.run(command, env=variables, cwd=ROOT, capture_output=True, text=True)


def test_it_needs_little_installed(bare: dict[str, str]) -> None:
    chosen = "print(*(family.name for family in check.select(['all'])))"
    script = f"import harness.trials.training.train; from benchmarks.gpu import check; {chosen}"
    result = subprocess.run([sys.executable, "-c", script], env=bare, cwd=ROOT, capture_output=True, text=True)
    assert result.stdout.split() == sorted(WIDE), result.stderr


def test_without_a_gpu_it_says_so_and_writes_nothing(bare: dict[str, str], tmp_path: Path) -> None:
    result = run_check("--device", "cpu", "--output", str(tmp_path / "out.json"), variables=bare)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "This check needs an NVIDIA GPU and finds none to use; see what `nvidia-smi` says."
    ]
    assert not (tmp_path / "out.json").exists()


def test_without_metadata_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_check, "resolve_device", lambda choice, environ: DEVICE)
    monkeypatch.setattr(gpu_check, "families", dict)
    with pytest.raises(HarnessError, match=r"No family is installed: .* `pip install --no-deps \.`"):
        gpu_check.prepare("auto", ["all"])


def test_wide_points_lie_in_their_spaces() -> None:
    wide = [point for point in points_of(tuple(families().values()), wide=True) if point.name == "wide"]
    assert len(wide) == 4
    for point in wide:
        assert point.family.space(FixedTrial(dict(point.config)), False) == point.config


NEED = 100 * MIB
"""What a crop of a micro-batch needs."""


@dataclass
class FakeCard(FakeBackend):
    """A back end whose card is real enough: beyond its cap a trial is out of memory."""

    def add_slot(self, slot: DeviceSlot, probe: Probe) -> None: ...


def ending(spec: TrialSpec, epochs: tuple[EpochRecord, ...]) -> TrialReport:
    need = NEED * spec.training.batch.micro_batch
    if spec.limits.cap_bytes is not None and need > spec.limits.cap_bytes:
        return TrialReport(Outcome.OOM, "RESOURCE_EXHAUSTED")
    # Any score will do.
    scores = ValidationScores(valid_accuracy=0.5, valid_macro_f1=0.5)
    return completed(spec, epochs, scores=scores, allocator_peak_bytes=need, pool_bytes=need)


def seen(spec: TrialSpec) -> Reading:
    return Reading(peak_bytes=NEED * spec.training.batch.micro_batch + GIB, source=ReadingSource.PROCESS)


def fake_card(*ignored: Any) -> Any:
    footprint = Footprint(weights=0, trainable=0, activations=NEED, workspace=0, parameters=1)
    return FakeCard(end=ending, reading=seen, footprint=lambda config: footprint)


@pytest.fixture
def check(tmp_path: Path) -> sections.Check:
    slot = DeviceSlot(DEVICE, ReadingSource.PROCESS, 500 * MIB)
    bench = Bench(fake_card(), slot, tmp_path, Size(tracks=24))
    bench.fill()
    points = points_of([families()["cnn2d-mfcc"]], wide=False)
    report: dict[str, Any] = {"jobs": {}, "footprints": [], "errors": {}}
    return sections.Check(bench, points, trials=2, quick=True, deadline=float("inf"), report=report)


def test_the_cap_lies_between_a_micro_batch_and_its_half(check: sections.Check) -> None:
    sections.check_out_of_memory(check)
    found = check.report["out_of_memory"]
    assert found["cap_bytes"] == 2400 * MIB
    assert [(each["micro_batch"], each["outcome"]) for each in found["attempts"]] == [
        (32, Outcome.OOM),
        (16, Outcome.COMPLETED),
    ]
    assert found["message"] == "out of memory at micro-batch 32; tried again with 16"


def test_a_point_is_measured_once(check: sections.Check) -> None:
    first = sections.measure(check, check.points[0], 8)
    assert sections.measure(check, check.points[0], 8) is first
    assert check.report["footprints"] == [first]
    assert first["beside_bytes"] == 1024 * MIB
    assert first["pool_to_allocator_peak"] == first["allocator_peak_to_footprint"] == 1
    room = room_of(check.bench.slot, 8 * GIB, ())
    assert first["cap_bytes"] == room.cap_bytes == room.total_bytes - room.beside_bytes - room.slack_bytes
    assert first["peak_less_cap_bytes"] == 1824 * MIB - room.cap_bytes


def test_a_trial_that_needs_a_little_more_than_half_of_its_cap_is_tried(check: sections.Check) -> None:
    sections.check_staircase(check)
    found = check.report["staircase"]
    assert 0.5 < found["allocator_peak_bytes"] / found["cap_bytes"] < 0.6
    assert found["outcome"] is Outcome.COMPLETED


def test_figures_are_told_as_a_table_to_paste(check: sections.Check) -> None:
    sections.measure(check, check.points[0], 8)
    about = {"card": "Stub GPU", "memory_bytes": 8 * GIB, "driver": "550", "backend": "jax"}
    check.report["environment"] = about | {"versions": {"keras": "3.15.1", "jax": "0.10"}}
    check.report["errors"] = {"jobs": "not every trial completed"}
    said = gpu_check.table(check.report)
    assert "- card: Stub GPU, 8.00 GiB" in said
    assert "- framework: Keras 3.15.1 on jax 0.10" in said
    assert "- failed: jobs: not every trial completed" in said
    assert "| cnn2d-mfcc | baseline | 8 | 800 MiB | 800 MiB | 1.78 GiB |" in said


def test_a_section_that_fails_loses_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "new" / "out.json"

    def breaks(check: sections.Check) -> None:
        """It breaks."""
        raise ZeroDivisionError("by nought")

    def works(check: sections.Check) -> None:
        """It works."""
        assert output.exists()
        check.report["jobs"] = {"1": {"trials_an_hour": 7.0}}

    monkeypatch.setattr(gpu_check, "SIZE", Size(tracks=1))
    monkeypatch.setattr(gpu_check, "open_backend", fake_card)
    monkeypatch.setattr(gpu_check, "SECTIONS", {"first": breaks, "second": works})
    monkeypatch.setattr(gpu_check, "prepare", lambda choice, names: (DEVICE, (families()["cnn2d-mfcc"],)))
    monkeypatch.setattr(sys, "argv", ["check.py", "--output", str(output)])
    assert gpu_check.main() == 1
    report = json.loads(output.read_text())
    assert report["errors"] == {"first": "ZeroDivisionError('by nought')"}
    assert report["jobs"] == {"1": {"trials_an_hour": 7.0}}
    assert report["environment"]["card"] == "Stub GPU"
    assert "1 of 2 sections failed" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.apart
def test_it_stops_at_once_where_the_framework_computes_on_the_cpu(bare: dict[str, str], tmp_path: Path) -> None:
    """Starts a server of its own."""
    build(tmp_path / "driver")
    state = tmp_path / "driver" / "state"
    state.write_text(f"driver 550.54.14\ncard {UUID} {8 * GIB} Stub GPU\ndescendants\n")
    output = tmp_path / "out.json"
    result = run_check("cnn2d-mfcc", "--output", str(output), variables=bare | environment(tmp_path / "driver"))
    assert result.returncode == 2
    assert f"Stub GPU ({UUID}): jax computes on the CPU: its CUDA plugin is not installed. Install it" in result.stderr
    assert not output.exists()


@pytest.mark.slow
@pytest.mark.apart
def test_it_measures_on_jax_with_little_else_installed(bare: dict[str, str], tmp_path: Path) -> None:
    """Trains once; the memory is what the child really holds."""
    build(tmp_path / "driver")
    state = tmp_path / "driver" / "state"
    state.write_text(f"driver 550.54.14\ncard {UUID} {8 * GIB} Stub GPU\nbase {300 * MIB}\ndescendants\n")
    output = tmp_path / "out.json"
    arguments = ("cnn2d-mfcc", "--quick", "--only", "staircase", "footprints", "--output", str(output))
    result = run_check(*arguments, variables=bare | environment(tmp_path / "driver") | {STAND_IN: "1"})
    assert result.returncode == 1, result.stderr
    report = json.loads(output.read_text())
    # JAX tells no peak of its own on a CPU.
    assert report["errors"] == {
        "staircase": "the framework's allocator does not tell its peak here, so no cap can be chosen."
    }
    assert report["environment"]["card"] == "Stub GPU (stand-in: the CPU computes)"
    assert report["environment"]["backend"] == "jax"
    assert not report["source"]["server_maps_libcuda"]
    assert report["source"]["source"] == "process"
    assert report["source"]["overhead_bytes"] > 0
    found = [(row["micro_batch"], row["outcome"]) for row in report["footprints"]]
    assert found == [(32, "completed"), (8, "completed")]
    for row in report["footprints"]:
        assert row["peak_bytes"] > report["source"]["overhead_bytes"]
        assert row["allocator_peak_bytes"] is None
    returned = report["returned"]
    assert [row["what"].partition(",")[0] for row in returned] == ["self-test", *["cnn2d-mfcc"] * 2]
    assert all(row["after_bytes"] == row["before_bytes"] for row in returned)
    assert all(row["seconds"] is not None for row in returned)


@pytest.mark.slow
@pytest.mark.apart
def test_the_whole_check_runs_on_tensorflows_real_allocator(tmp_path: Path) -> None:
    """Trains on the CPU, whose allocator doubles, stops at its cap and runs out of memory as a GPU's does."""
    context, growth = 24 * MIB, 3 * MIB
    build(tmp_path / "driver")
    state = tmp_path / "driver" / "state"
    card = f"driver 550.54.14\ncard {UUID} {8 * GIB} Stub GPU\nbase {300 * MIB}\n"
    state.write_text(f"{card}descendants pool:{context}:{growth}\n")
    output = tmp_path / "out.json"
    variables = {**os.environ, **environment(tmp_path / "driver"), STAND_IN: "1"}
    result = run_check("cnn2d-mfcc", "--quick", "--trials", "1", "--output", str(output), variables=variables)
    report = json.loads(output.read_text())
    assert report["errors"] == {}, result.stdout
    assert result.returncode == 0, result.stderr
    source = report["source"]
    assert source["source"] == "process"
    assert source["idle_bytes"] == 300 * MIB
    assert context < source["overhead_bytes"] < context + 10 * growth
    over = report["over_budget"]
    assert over["outcome"] == "over_budget"
    assert over["held_bytes"] > over["budget_bytes"]
    assert over["from_there_to_the_end_seconds"] > 0
    assert {name: found["completed"] for name, found in report["jobs"].items()} == {"1": 1, "auto": 1}
    # A real out-of-memory at the full micro-batch, recovered with less.
    tried = report["out_of_memory"]["attempts"]
    assert (tried[0]["micro_batch"], tried[0]["outcome"]) == (32, "oom")
    assert tried[-1]["outcome"] == "completed"
    assert tried[-1]["micro_batch"] < 32
    for row in (*report["footprints"], report["staircase"]):
        assert row["outcome"] == "completed"
        assert row["allocator_peak_bytes"] <= row["pool_bytes"] <= row["cap_bytes"]
        assert context < row["beside_bytes"] < context + 15 * growth
    assert "| cnn2d-mfcc | baseline | 32 |" in result.stdout
