"""Ways to read what a trial holds on the GPU, and the self-test that picks the best one which works here.

A probe is trusted only after it has seen the memory of a child that holds a known amount: what a driver offers by
its documentation and what it answers in a container, under WSL or to this user are different things.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

from harness.errors import DeviceError
from harness.records import Source
from harness.units import MIB, format_size
from harness.vram import nvml
from harness.vram.device import Device, is_back, is_wsl, memory_returned, memory_used

GLANCE_SECONDS = 0.2
LOOK_SECONDS = 1.0

ASSUMED_OVERHEAD_BYTES = 512 * MIB
"""What a process is taken to hold beside its allocator where nothing is measured: context, cuDNN, cuBLAS, kernels."""


class Unfit(Exception):
    """A probe's figure would not be the trial's memory; the message says why, without a full stop."""


class Probe(Protocol):
    """One way to read GPU memory."""

    @property
    def source(self) -> Source:
        """What a reading by this probe is called."""

    def glance(self) -> int | None:
        """Return the bytes in use on the whole device, cheaply; None where the driver does not tell.

        Raises:
            nvml.Lost: the GPU is gone.
        """

    def read(self, pids: Collection[int]) -> int | None:
        """Return the bytes that the processes hold together; None where nothing is measured.

        Args:
            pids: all processes that the trial ever had; ended ones may be among them.

        Raises:
            nvml.NvmlError: the driver does not answer; `nvml.Lost` when the GPU is gone.
            Unfit: the figure would not be theirs.
        """


@dataclass(frozen=True)
class AccountingProbe:
    """The driver's own record of the most that a process ever held; misses nothing, also between two looks."""

    uuid: str
    source: ClassVar[Source] = Source.ACCOUNTING

    def glance(self) -> int | None:
        return _device_use(self.uuid)

    def read(self, pids: Collection[int]) -> int | None:
        return sum(self._peak(pid) for pid in pids)

    def _peak(self, pid: int) -> int:
        try:
            peak = nvml.accounting_peak(self.uuid, pid)
        except nvml.NotFound:
            return 0
        if peak is None:
            raise nvml.NotSupported("the driver keeps no peaks of memory for this GPU")
        return peak


@dataclass(frozen=True)
class ProcessProbe:
    """The driver's list of processes and what each holds now."""

    uuid: str
    source: ClassVar[Source] = Source.PROCESS

    def glance(self) -> int | None:
        return _device_use(self.uuid)

    def read(self, pids: Collection[int]) -> int | None:
        total = 0
        for pid, held in nvml.process_memory(self.uuid).items():
            if pid in pids:
                if held is None:
                    raise nvml.NotSupported(
                        "the driver lists the process without its memory, as under WSL and on a GPU split by MIG"
                    )
                total += held
        return total


@dataclass(frozen=True)
class DeviceDeltaProbe:
    """Device use above what it was while idle: the trial's own only as long as nobody else uses the GPU.

    Attributes:
        baseline_bytes: device use while idle.
        lists_pids: the driver's process list shows our processes under the numbers that we know.
    """

    uuid: str
    baseline_bytes: int
    lists_pids: bool
    source: ClassVar[Source] = Source.DEVICE_DELTA

    def glance(self) -> int | None:
        return _device_use(self.uuid)

    def read(self, pids: Collection[int]) -> int | None:
        used = nvml.memory_used(self.uuid)
        # After the figure, so that whoever was counted in it and still holds memory is noticed.
        listed = _listed(self.uuid) or frozenset()
        strangers = sorted(listed.difference(pids))
        if self.lists_pids and strangers:
            raise Unfit(f"another process took memory on the GPU (pid {strangers[0]})")
        # With numbers that mean nothing here, more entries than processes of ours still prove a stranger.
        if len(listed) > len(pids):
            raise Unfit("another process took memory on the GPU")
        return max(0, used - self.baseline_bytes)


@dataclass(frozen=True)
class NoProbe:
    """Nothing is measured."""

    source: ClassVar[Source] = Source.NONE

    def glance(self) -> int | None:
        return None

    def read(self, pids: Collection[int]) -> int | None:
        return None


class SelfTest(NamedTuple):
    """A child that has trained a small network on the device, and holds memory of known size there.

    Attributes:
        held_bytes: the array that it holds.
        pool_bytes: what its framework's allocator has taken; None where the framework does not tell.
    """

    pid: int
    held_bytes: int
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
    """

    probe: Probe
    sentences: list[str]
    overhead_bytes: int = 0
    idle_bytes: int = 0


def self_test(probe: Probe, child: SelfTest, patience_seconds: float = 2.0) -> int:
    """Prove that the probe sees what a child holds.

    Args:
        patience_seconds: how long the driver may take to show it.

    Returns:
        The bytes that the probe sees; above what the child's allocator took by what driver and framework take.

    Raises:
        Unfit: it sees less, or not the child's.
        nvml.NvmlError: the driver does not answer.
    """
    deadline = time.monotonic() + patience_seconds
    while (seen := probe.read([child.pid]) or 0) < child.held_bytes:
        if time.monotonic() >= deadline:
            raise Unfit(
                f"it shows {format_size(seen)} where the self-test child, pid {child.pid}, holds "
                f"{format_size(child.held_bytes)}"
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
    uuid, overhead = device.uuid, 0
    said: list[str] = []
    try:
        strangers, baseline = _listed(uuid), _device_use(uuid)
    except nvml.Lost as error:
        raise DeviceError(f"{device.name} ({uuid}): {error}. Restart the machine, or pass --device cpu.") from None
    with start() as child:
        builders: dict[Source, Callable[[], Probe]] = {
            Source.ACCOUNTING: lambda: _accounting(uuid),
            Source.PROCESS: lambda: ProcessProbe(uuid),
            Source.DEVICE_DELTA: lambda: _device_delta(uuid, baseline, strangers, child.pid),
        }
        probe: Probe = NoProbe()
        for source, build in builders.items():
            try:
                candidate = build()
                seen = self_test(candidate, child, patience_seconds)
                overhead = seen - _taken(child, seen)
                proof = [_seen(source, seen, overhead), _cost(candidate, child.pid)]
            except (Unfit, nvml.NvmlError) as error:
                said.append(f"{source}: not used, {error}.{_remedy(source, error)}")
            else:
                probe = candidate
                said += proof
                break
    if isinstance(probe, DeviceDeltaProbe):
        if not memory_returned(device, probe.baseline_bytes, patience_seconds, child.held_bytes):
            probe = NoProbe()
            said[-2:] = [
                "device_delta: not used, device use did not come back after the self-test, so somebody else uses the "
                "GPU. End what else runs on it."
            ]
        else:
            said.append(
                "Keep the GPU free of everything else, its screen included, and run one trial at a time: what others "
                "take would count as the trial's."
            )
            if not probe.lists_pids:
                said.append("The driver does not show whose memory it is, so a stranger may stay unnoticed.")
    if probe.source is Source.NONE:
        said.append("GPU memory is not measured: only the predicted footprint keeps trials within the budget.")
        overhead = ASSUMED_OVERHEAD_BYTES
    return Choice(probe, said, overhead, baseline or 0)


def has_returned(
    probe: Probe, device: Device, pids: Collection[int], baseline_bytes: int | None, held_bytes: int
) -> bool | None:
    """Whether a trial's memory is free again; None where nobody can tell.

    Where the driver lists processes, it is asked for the trial's own, for a screen may take meanwhile what it likes.

    Args:
        pids: all processes that the trial ever had.
        baseline_bytes: device use before the trial; None where others ran beside it.
        held_bytes: the most that the trial was seen to hold.
    """
    if device.uuid is None:
        return None
    if probe.source in (Source.ACCOUNTING, Source.PROCESS):
        try:
            return nvml.process_memory(device.uuid).keys().isdisjoint(pids)
        except nvml.Lost:
            return None
        except nvml.NvmlError:
            pass
    if baseline_bytes is None or memory_used(device) is None:
        return None
    return is_back(device, baseline_bytes, held_bytes)


def is_lost(device: Device) -> bool:
    """Whether the GPU fell off the bus, or needs a reset."""
    if device.uuid is None:
        return False
    try:
        nvml.memory_used(device.uuid)
    except nvml.Lost:
        return True
    except nvml.NvmlError:
        pass
    return False


def _taken(child: SelfTest, seen: int) -> int:
    """Return what the child's allocator took; at least its array, where a stand-in counts touched memory alone."""
    return child.pool_bytes if child.pool_bytes is not None and child.pool_bytes <= seen else child.held_bytes


def _device_use(uuid: str) -> int | None:
    try:
        return nvml.memory_used(uuid)
    except nvml.Lost:
        raise
    except nvml.NvmlError:
        return None


def _listed(uuid: str) -> frozenset[int] | None:
    """The pids that the driver lists on the device; None where it lists nobody's."""
    try:
        return frozenset(nvml.process_memory(uuid))
    except nvml.Lost:
        raise
    except nvml.NvmlError:
        return None


def _accounting(uuid: str) -> Probe:
    if not nvml.accounting_is_on(uuid):
        raise Unfit(
            f"it is off; an administrator can turn it on with `nvidia-smi -i {uuid} -am 1`, and keep it on with "
            f"`nvidia-smi -i {uuid} -pm 1`"
        )
    return AccountingProbe(uuid)


def _device_delta(uuid: str, baseline: int | None, strangers: frozenset[int] | None, pid: int) -> Probe:
    if baseline is None:
        nvml.memory_used(uuid)
        raise Unfit("the driver did not tell device use before the self-test")
    if strangers:
        raise Unfit(f"other processes use the GPU (pids {', '.join(map(str, sorted(strangers)))}); end them")
    return DeviceDeltaProbe(uuid, baseline, lists_pids=pid in (_listed(uuid) or ()))


def _remedy(source: Source, error: Exception) -> str:
    if isinstance(error, nvml.NoPermission):
        return " On a GPU split by MIG, name one instance: CUDA_VISIBLE_DEVICES=MIG-..., as listed by `nvidia-smi -L`."
    if is_wsl():
        return " WSL shows no process's memory; that cannot be changed."
    if isinstance(error, Unfit) and source is Source.PROCESS:
        return (
            " In a container with process numbers of its own: update the driver to 570 or later, or start the "
            "container with `--pid=host`."
        )
    return ""


def _seen(source: Source, seen: int, overhead: int) -> str:
    return (
        f"{source}: used; it showed {format_size(seen)} for the self-test child, whose framework had taken "
        f"{format_size(seen - overhead)}: the other {format_size(overhead)} are the driver's and the libraries' own, "
        "and in every reading."
    )


def _cost(probe: Probe, pid: int, repeats: int = 3) -> str:
    started = time.perf_counter()
    for _ in range(repeats):
        probe.glance()
    glanced = time.perf_counter()
    for _ in range(repeats):
        probe.read([pid])
    looked = time.perf_counter()
    glance, look = (glanced - started) / repeats, (looked - glanced) / repeats
    share = glance / GLANCE_SECONDS + look / LOOK_SECONDS
    return (
        f"Measuring costs {share:.2%} of one core: {glance * 1e3:.2f} ms every {GLANCE_SECONDS * 1e3:.0f} ms for "
        f"device use, and {look * 1e3:.2f} ms every {LOOK_SECONDS:.0f} s for the trial's own memory."
    )
