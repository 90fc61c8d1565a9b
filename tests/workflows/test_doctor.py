"""`harness doctor`: what it says of cards and drivers, and of whole machines that a stand-in driver shows."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.gpu.doctor_machines import MACHINES, diagnose
from harness.testing.nvml_stub.driver import Driver, describe
from harness.vram.device import Device, DeviceKind
from harness.workflows import doctor
from harness.workflows.doctor import Finding, Status

UUID = "GPU-0a1b2c3d"
DEVICE = Device(DeviceKind.GPU, UUID, "Stub GPU", 2**33, "550.54.14")


def look(works: bool, *card: str) -> list[Finding]:
    describe(*card[:1], f"card {UUID} {2**33} Stub GPU", *card[1:])
    return [*doctor._driver(), *doctor._card(DEVICE, works), *doctor._sharing(DEVICE)]


@pytest.mark.parametrize(
    ("capability", "status", "advice"),
    [
        ("12 0", Status.PROBLEM, "KERAS_BACKEND=jax may run on it (not tried)"),
        ("8 9", Status.OK, ""),
        ("6 1", Status.PROBLEM, "pip install 'nvidia-cudnn-cu12==9.3.0.75'"),
        ("5 2", Status.PROBLEM, "pass --device cpu"),
    ],
)
def test_a_card_too_new_or_too_old_is_named_with_what_helps(
    driver: Driver, capability: str, status: Status, advice: str
) -> None:
    _, card = driver.run(look, False, "cuda 12040", f"capability {capability}")
    assert card.status is status
    assert advice in card.advice
    _, card = driver.run(look, True, "cuda 12040", f"capability {capability}")
    assert card.status is Status.OK, "a network was trained on it"


@pytest.mark.parametrize(("cuda", "status"), [("11040", Status.PROBLEM), ("12000", Status.OK), ("13010", Status.OK)])
def test_a_driver_too_old_is_told_from_others(driver: Driver, cuda: str, status: Status) -> None:
    (found,) = driver.run(look, True, f"cuda {cuda}")
    assert found.status is status
    assert found.text == f"The driver supports CUDA {cuda[:2]}.{int(cuda[2:]) // 10}."
    assert ("525" in found.advice) is (status is Status.PROBLEM)


def test_ways_of_sharing_are_told(driver: Driver) -> None:
    topics = [found.topic for found in driver.run(look, True, "cuda 12040", "exclusive", "accounting")]
    assert topics == ["driver", "compute mode", "persistence"]
    topics = [found.topic for found in driver.run(look, True, "cuda 12040", "accounting", "persistent")]
    assert topics == ["driver"]


def test_the_first_line_waits_for_nothing_heavy() -> None:
    code = "import sys; from harness.workflows.doctor import diagnose; next(diagnose('cpu')); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"tensorflow", "keras", "mlflow", "optuna", "librosa", "matplotlib", "sklearn", "scipy", "requests"}
    assert heavy.isdisjoint(done.stdout.split())


def test_a_finding_reads_as_a_line_with_what_to_do_below() -> None:
    assert str(Finding("memory", Status.OK, "8 GiB.")) == "ok       memory       8 GiB."
    line, advice = str(Finding("memory", Status.NOTE, "8 GiB.", "Close it.")).splitlines()
    assert line == "note     memory       8 GiB."
    assert advice == f"{'-> Close it.':>34}"


def test_what_a_run_imports_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "NEEDED", ("soundfile",))
    assert doctor._packages().status is Status.OK
    monkeypatch.setattr(doctor, "NEEDED", ("soundfile", "not_installed"))
    found = doctor._packages()
    assert found.status is Status.PROBLEM
    assert "No module named 'not_installed'" in found.text


@pytest.mark.slow
@pytest.mark.apart
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "RTX 4070 under WSL2",
            {
                "framework": "computes on the GPU",
                "memory": "1.07 GiB are in use by others and 1.00 GiB stay free",
                "WSL": "the allocator's cap is the only guard",
                "measured": "device_delta: used",
                "variables": "TF_GPU_ALLOCATOR: set here, and set anew",
            },
        ),
        ("GTX 1060, driver of 2021", {"framework": "CUDA does not start", "driver": "CUDA 11.4", "card": "6.1"}),
    ],
)
def test_a_machine_is_told_of(name: str, expected: dict[str, str], tmp_path: Path) -> None:
    """Starts a server, and trains a small network in it."""
    machine = next(machine for machine in MACHINES if machine.name == name)
    machine = replace(machine, environ={"TF_GPU_ALLOCATOR": "cuda_malloc_async"})
    findings = diagnose(machine, tmp_path)
    for topic, text in expected.items():
        assert any(found["topic"] == topic and text in found["text"] for found in findings), json.dumps(findings)
    assert [found["topic"] for found in findings][:2] == ["device", "framework"]
