"""The device that all trials run on, resolved once to a UUID that children inherit."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from harness.errors import DeviceError, UsageError
from harness.keras_backend import NO_GPU, STAND_IN
from harness.units import MIB
from harness.vram import nvml

WSL_DEVICE, NVIDIA_DEVICE = Path("/dev/dxg"), Path("/dev/nvidiactl")

# Idle drivers move by a few MiB; the smallest CUDA context takes far more.
_RETURN_TOLERANCE_BYTES = 16 * MIB


class DeviceKind(StrEnum):
    """What a trial computes on."""

    CPU = "cpu"
    GPU = "gpu"


@dataclass(frozen=True)
class Device:
    """Where trials run.

    Attributes:
        uuid: the GPU's or MIG instance's UUID; None for the CPU.
        total_bytes: memory of the GPU or instance; None for the CPU, and where the driver does not tell.
        driver: version of the NVIDIA driver; None where none answers.
        notes: sentences on how the choice came about.
        unexpected: the CPU stands there though the machine seems to have a GPU.
    """

    kind: DeviceKind
    uuid: str | None = None
    name: str = "CPU"
    total_bytes: int | None = None
    driver: str | None = None
    notes: tuple[str, ...] = ()
    unexpected: bool = False

    def environment(self) -> dict[str, str]:
        """Return the variables that make CUDA in a child see this device alone, or no GPU at all."""
        return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": self.uuid or NO_GPU}


def resolve_device(choice: str, environ: Mapping[str, str]) -> Device:
    """Find the device that `--device` names among the GPUs that `CUDA_VISIBLE_DEVICES` leaves visible.

    Args:
        choice: `auto` (the visible GPU with most memory, of equals the first; else the CPU), `cpu`, or `gpu:N` (the
            N-th visible GPU, from 0).
        environ: the environment of the command. Indices in `CUDA_VISIBLE_DEVICES` count GPUs by PCI bus; UUIDs may
            be shortened, as CUDA allows. A GPU split by MIG stands for its instances.

    Raises:
        UsageError: `choice` is none of the three.
        DeviceError: the GPU asked for is not visible, or there is no driver.
    """
    match = re.fullmatch(r"auto|cpu|gpu:(\d+)", choice)
    if match is None:
        raise UsageError(f"--device {choice!r} is no device. Write auto, cpu, or gpu:N with N counted from 0.")
    if choice == "cpu":
        return Device(DeviceKind.CPU)
    setting = environ.get("CUDA_VISIBLE_DEVICES")
    try:
        driver = nvml.driver_version()
        visible = _visible(nvml.gpus(), setting)
    except nvml.NvmlError as error:
        if choice == "auto":
            # A container may be given a card without the library that tells of it.
            there = is_wsl() or NVIDIA_DEVICE.exists()
            hint = " In a container, set NVIDIA_DRIVER_CAPABILITIES=compute,utility." if there else ""
            unexpected = there or not isinstance(error, nvml.NoLibrary)
            return Device(DeviceKind.CPU, notes=(f"The CPU is used: {error}.{hint}",), unexpected=unexpected)
        raise DeviceError(
            f"--device {choice}: {error}. Run `nvidia-smi` to see what the driver says, or pass --device cpu."
        ) from None
    if choice == "auto" and visible:
        return _device(max(visible, key=lambda gpu: gpu.total_bytes or 0), driver)
    number = int(match[1] or 0)
    if number < len(visible):
        return _device(visible[number], driver)
    where = "this machine" if setting is None else f"CUDA_VISIBLE_DEVICES={setting}"
    if choice == "auto":
        notes = (f"The CPU is used: {where} shows no GPU.",)
        return Device(DeviceKind.CPU, driver=driver, notes=notes, unexpected=setting is None)
    listed = ", ".join(f"gpu:{place} is {gpu.name}" for place, gpu in enumerate(visible)) or "no GPU"
    raise DeviceError(
        f"--device {choice}: not there, {where} shows {listed}. Name one that is shown, or pass --device cpu."
    )


def visible_gpus(environ: Mapping[str, str]) -> tuple[Device, ...]:
    """Return every GPU and MIG instance that `CUDA_VISIBLE_DEVICES` leaves visible, in its order.

    Raises:
        DeviceError: the driver does not answer.
    """
    try:
        driver = nvml.driver_version()
        visible = _visible(nvml.gpus(), environ.get("CUDA_VISIBLE_DEVICES"))
        return tuple(dict.fromkeys(_device(gpu, driver) for gpu in visible))
    except nvml.NvmlError as error:
        raise DeviceError(f"the GPUs cannot be listed: {error}. See what `nvidia-smi` says.") from None


def memory_used(device: Device) -> int | None:
    """Return the bytes in use on the device by everyone; None for the CPU, and where the driver does not tell."""
    if device.uuid is None:
        return None
    try:
        return nvml.memory_used(device.uuid)
    except nvml.NvmlError:
        return None


def is_back(device: Device, baseline_bytes: int, used_bytes: int = 0) -> bool:
    """Whether device use is back at its baseline; True where it cannot be seen: there is nothing to wait for.

    Args:
        baseline_bytes: device use before a child started; while others run beside it, use cannot come back.
        used_bytes: what the child held. Screens move, too, so a tenth of it may be missing.
    """
    used = memory_used(device)
    return used is None or used <= baseline_bytes + max(_RETURN_TOLERANCE_BYTES, used_bytes // 10)


def memory_returned(device: Device, baseline_bytes: int, timeout: float, used_bytes: int = 0) -> bool:
    """Wait until `is_back`, at most `timeout` seconds, and return whether it is."""
    deadline = time.monotonic() + timeout
    while not (back := is_back(device, baseline_bytes, used_bytes)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return back


def is_wsl() -> bool:
    """Whether this is Linux inside of Windows, which hides processes, and lends a GPU main memory without a word."""
    return WSL_DEVICE.exists()


def _visible(gpus: tuple[nvml.Gpu, ...], setting: str | None) -> list[nvml.Gpu]:
    """Read `CUDA_VISIBLE_DEVICES` as CUDA does: the first entry that names nothing ends the list."""
    if setting is None:
        return [part for gpu in gpus for part in gpu.instances or (gpu,)]
    visible: list[nvml.Gpu] = []
    for entry in setting.split(","):
        named = _named(gpus, entry.strip())
        if not named:
            break
        visible.extend(named)
    return visible


def _named(gpus: tuple[nvml.Gpu, ...], entry: str) -> tuple[nvml.Gpu, ...]:
    if entry.isdecimal():
        return next((gpu.instances or (gpu,) for gpu in gpus if gpu.index == int(entry)), ())
    if not entry.startswith(("GPU-", "MIG-")):
        return ()
    everything = [part for gpu in gpus for part in (gpu, *gpu.instances)]
    matches = [gpu for gpu in everything if gpu.uuid.lower().startswith(entry.lower())]
    if len(matches) == 1:
        return matches[0].instances or (matches[0],)
    try:
        return (nvml.gpu(entry),)
    except nvml.NvmlError:
        return ()


def _device(gpu: nvml.Gpu, driver: str) -> Device:
    notes: tuple[str, ...] = ()
    if gpu.partitioned:
        notes = (
            f"{gpu.uuid} is split into MIG instances, and the driver shows none of them to this user. Name one: "
            "CUDA_VISIBLE_DEVICES=MIG-..., as listed by `nvidia-smi -L`.",
        )
    name = f"{gpu.name} (stand-in: the CPU computes)" if os.environ.get(STAND_IN) else gpu.name
    return Device(DeviceKind.GPU, gpu.uuid, name, gpu.total_bytes, driver, notes)
