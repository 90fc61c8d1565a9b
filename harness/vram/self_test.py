"""The self-test that picks the best probe which works here.

A probe is trusted only after it has seen the memory of a child that holds a known amount: what a driver offers by
its documentation and what it answers in a container, under WSL or to this user are different things.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from itertools import pairwise
from typing import NamedTuple

from harness.errors import DeviceError
from harness.records.trial import ReadingSource
from harness.units import MIB, format_size
from harness.vram import nvml
from harness.vram.device import Device, is_wsl, memory_returned
from harness.vram.probes import (
    DEVICE_SECONDS,
    PROCESS_SECONDS,
    AccountingProbe,
    DeviceDeltaProbe,
    NoProbe,
    Probe,
    ProbeRejected,
    ProcessProbe,
    device_used,
    listed_pids,
)

ASSUMED_OVERHEAD_BYTES = 512 * MIB
"""What a process is taken to hold beside its allocator where nothing is measured: context, cuDNN, cuBLAS, kernels."""


class SelfTest(NamedTuple):
    """A child that has trained a small network on the device, and holds memory of known size there.

    Attributes:
        used_bytes: the array that it holds.
        pool_bytes: what its framework's allocator has taken; None where the framework does not tell.
    """

    pid: int
    used_bytes: int
    pool_bytes: int | None = None


class Choice(NamedTuple):
    """What measures the trials of a device.

    Attributes:
        probe: reads a trial's memory.
        sentences: for `harness doctor`: why each better source is not used, what the self-test saw, what measuring
            costs, and what to do about what is missing.
        overhead_bytes: what a process holds on the device beyond its framework's allocator (context, libraries), as
            the self-test showed it; assumed where nothing is measured; 0 on the CPU.
        idle_bytes: device use while no trial runs: drivers, screens, other people.
        exclusive: the driver lets one process at a time use the device.
    """

    probe: Probe
    sentences: list[str]
    overhead_bytes: int = 0
    idle_bytes: int = 0
    exclusive: bool = False


def self_test(probe: Probe, child: SelfTest, patience_seconds: float = 2.0) -> int:
    """Prove that the probe sees what a child holds.

    Args:
        patience_seconds: how long the driver may take to show it.

    Returns:
        The bytes that the probe sees; above what the child's allocator took by what driver and framework take.

    Raises:
        ProbeRejected: it sees less, or not the child's.
        nvml.NvmlError: the driver does not answer.
    """
    deadline = time.monotonic() + patience_seconds
    while (seen := probe.process_used_bytes([child.pid]) or 0) < child.used_bytes:
        if time.monotonic() >= deadline:
            raise ProbeRejected(
                f"it shows {format_size(seen)} where the self-test child, pid {child.pid}, holds "
                f"{format_size(child.used_bytes)}"
            )
        time.sleep(0.05)
    return seen


def choose_probe(
    device: Device,
    start: Callable[[], AbstractContextManager[SelfTest]],
    patience_seconds: float = 2.0,
) -> Choice:
    """Pick the first probe that passes the self-test: accounting, process, device_delta, none.

    Call it while the GPU is idle, before the first trial: device use at this moment is the baseline of `device_delta`.

    Args:
        start: starts the self-test's child, and ends it.
        patience_seconds: how long the driver may take to show the child's memory, and to show it returned.

    Raises:
        DeviceError: the GPU is gone, or `start` raised it.
    """
    if device.uuid is None:
        return Choice(NoProbe(), ["GPU memory is not measured, since trials run on the CPU."])
    try:
        others, baseline = listed_pids(device.uuid), device_used(device.uuid)
    except nvml.Lost as error:
        raise DeviceError(
            f"{device.name} ({device.uuid}): {error}. Restart the machine, or pass --device cpu."
        ) from None
    with start() as child:
        choice = _first_that_passes(device.uuid, child, baseline, others, patience_seconds)
    if isinstance(choice.probe, DeviceDeltaProbe):
        choice = _checked_again(choice, choice.probe, device, child.used_bytes, patience_seconds)
    if choice.probe.source is ReadingSource.NONE:
        said = "GPU memory is not measured: only the predicted footprint keeps trials within the budget."
        choice = Choice(choice.probe, [*choice.sentences, said], ASSUMED_OVERHEAD_BYTES)
    exclusive = False
    with suppress(nvml.NvmlError):
        exclusive = nvml.is_exclusive(device.uuid)
    return choice._replace(idle_bytes=baseline or 0, exclusive=exclusive)


def _first_that_passes(
    uuid: str, child: SelfTest, baseline: int | None, others: frozenset[int] | None, patience_seconds: float
) -> Choice:
    builders: dict[ReadingSource, Callable[[], Probe]] = {
        ReadingSource.ACCOUNTING: lambda: _accounting(uuid),
        ReadingSource.PROCESS: lambda: ProcessProbe(uuid),
        ReadingSource.DEVICE_DELTA: lambda: _device_delta(uuid, baseline, others, child.pid),
    }
    said: list[str] = []
    for source, build in builders.items():
        try:
            probe = build()
            seen = self_test(probe, child, patience_seconds)
            overhead = seen - _taken(child, seen)
            return Choice(probe, [*said, _seen(source, seen, overhead), _cost(probe, child.pid)], overhead)
        except (ProbeRejected, nvml.NvmlError) as error:
            said.append(f"{source}: not used, {error}.{_remedy(source, error)}")
    return Choice(NoProbe(), said)


def _checked_again(
    choice: Choice, probe: DeviceDeltaProbe, device: Device, used_bytes: int, patience_seconds: float
) -> Choice:
    """Return the choice of device use as a measure, with the self-test's child gone; of none if others use it."""
    if not memory_returned(device, probe.baseline_bytes, patience_seconds, used_bytes):
        said = (
            "device_delta: not used, device use did not come back after the self-test, so somebody else uses the "
            "GPU. End what else runs on it."
        )
        # In the place of what it showed, and of what it costs.
        return Choice(NoProbe(), [*choice.sentences[:-2], said])
    said = (
        "Keep the GPU free of everything else, its screen included, and run one trial at a time: what others "
        "take would count as the trial's."
    )
    unnamed = "The driver does not show whose memory it is, so another process may stay unnoticed."
    return choice._replace(sentences=[*choice.sentences, said, *([] if probe.lists_pids else [unnamed])])


def _taken(child: SelfTest, seen: int) -> int:
    """Return what the child's allocator took; at least its array, where a stand-in counts touched memory alone."""
    return child.pool_bytes if child.pool_bytes is not None and child.pool_bytes <= seen else child.used_bytes


def _accounting(uuid: str) -> Probe:
    if not nvml.accounting_is_on(uuid):
        raise ProbeRejected(
            f"it is off; an administrator can turn it on with `nvidia-smi -i {uuid} -am 1`, and keep it on with "
            f"`nvidia-smi -i {uuid} -pm 1`"
        )
    return AccountingProbe(uuid)


def _device_delta(uuid: str, baseline: int | None, others: frozenset[int] | None, pid: int) -> Probe:
    if baseline is None:
        nvml.memory_used(uuid)
        raise ProbeRejected("the driver did not tell device use before the self-test")
    if others:
        raise ProbeRejected(f"other processes use the GPU (pids {', '.join(map(str, sorted(others)))}); end them")
    return DeviceDeltaProbe(uuid, baseline, lists_pids=pid in (listed_pids(uuid) or ()))


def _remedy(source: ReadingSource, error: Exception) -> str:
    if isinstance(error, nvml.NoPermission):
        return " On a GPU split by MIG, name one instance: CUDA_VISIBLE_DEVICES=MIG-..., as listed by `nvidia-smi -L`."
    if is_wsl():
        return " WSL shows no process's memory; that cannot be changed."
    if isinstance(error, ProbeRejected) and source is ReadingSource.PROCESS:
        return (
            " In a container with process numbers of its own: update the driver to 570 or later, or start the "
            "container with `--pid=host`."
        )
    return ""


def _seen(source: ReadingSource, seen: int, overhead: int) -> str:
    return (
        f"{source}: used; it showed {format_size(seen)} for the self-test child, whose framework had taken "
        f"{format_size(seen - overhead)}: the other {format_size(overhead)} are the driver's and the libraries' own, "
        "and in every reading."
    )


def _cost(probe: Probe, pid: int, repeats: int = 3) -> str:
    times = [time.perf_counter()]
    for ask in (probe.device_used_bytes, lambda: probe.process_used_bytes([pid])):
        for _ in range(repeats):
            ask()
        times.append(time.perf_counter())
    of_device, of_process = ((after - before) / repeats for before, after in pairwise(times))
    share = of_device / DEVICE_SECONDS + of_process / PROCESS_SECONDS
    return (
        f"Measuring costs {share:.2%} of one core: {of_device * 1e3:.2f} ms every {DEVICE_SECONDS * 1e3:.0f} ms for "
        f"device use, and {of_process * 1e3:.2f} ms every {PROCESS_SECONDS:.0f} s for the trial's own memory."
    )
