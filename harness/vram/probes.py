"""Ways to read what a trial holds on the GPU; `harness.vram.self_test` picks the best one that works here."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar, Protocol

from harness.records.trial import ReadingSource
from harness.vram import nvml
from harness.vram.device import Device, is_back, memory_used

DEVICE_SECONDS, PROCESS_SECONDS = 0.2, 1.0
"""How often a meter asks for the device's use, and for its trial's own memory, while nothing changes."""


class ProbeRejected(Exception):
    """A probe's figure would not be the trial's memory; the message says why, without a full stop."""


class Probe(Protocol):
    """One way to read GPU memory."""

    @property
    def source(self) -> ReadingSource:
        """What a reading by this probe is called."""

    def device_used_bytes(self) -> int | None:
        """Return the bytes in use on the whole device, cheaply; None where the driver does not tell.

        Raises:
            nvml.Lost: the GPU is gone.
        """

    def process_used_bytes(self, pids: Collection[int]) -> int | None:
        """Return the bytes that the processes hold together; None where nothing is measured.

        Args:
            pids: all processes that the trial ever had; ended ones may be among them.

        Raises:
            nvml.NvmlError: the driver does not answer; `nvml.Lost` when the GPU is gone.
            ProbeRejected: the figure would not be theirs.
        """


@dataclass(frozen=True)
class AccountingProbe:
    """The driver's own record of the most that a process ever held; misses nothing, also between two samples."""

    uuid: str
    source: ClassVar[ReadingSource] = ReadingSource.ACCOUNTING

    def device_used_bytes(self) -> int | None:
        return device_used(self.uuid)

    def process_used_bytes(self, pids: Collection[int]) -> int | None:
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
    source: ClassVar[ReadingSource] = ReadingSource.PROCESS

    def device_used_bytes(self) -> int | None:
        return device_used(self.uuid)

    def process_used_bytes(self, pids: Collection[int]) -> int | None:
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
    source: ClassVar[ReadingSource] = ReadingSource.DEVICE_DELTA

    def device_used_bytes(self) -> int | None:
        return device_used(self.uuid)

    def process_used_bytes(self, pids: Collection[int]) -> int | None:
        used = nvml.memory_used(self.uuid)
        # After the figure, so that whoever was counted in it and still holds memory is noticed.
        listed = listed_pids(self.uuid) or frozenset()
        others = sorted(listed.difference(pids))
        if self.lists_pids and others:
            raise ProbeRejected(f"another process took memory on the GPU (pid {others[0]})")
        # With numbers that mean nothing here, more entries than processes of ours still prove another.
        if len(listed) > len(pids):
            raise ProbeRejected("another process took memory on the GPU")
        return max(0, used - self.baseline_bytes)


@dataclass(frozen=True)
class NoProbe:
    """Nothing is measured."""

    source: ClassVar[ReadingSource] = ReadingSource.NONE

    def device_used_bytes(self) -> int | None:
        return None

    def process_used_bytes(self, pids: Collection[int]) -> int | None:
        return None


def has_returned(
    probe: Probe, device: Device, pids: Collection[int], baseline_bytes: int | None, used_bytes: int
) -> bool | None:
    """Whether a trial's memory is free again; None where nobody can tell.

    Where the driver lists processes, it is asked for the trial's own, for a screen may take meanwhile what it likes.

    Args:
        pids: all processes that the trial ever had.
        baseline_bytes: device use before the trial; None where others ran beside it.
        used_bytes: the most that the trial was seen to hold.
    """
    if device.uuid is None:
        return None
    if probe.source in (ReadingSource.ACCOUNTING, ReadingSource.PROCESS):
        try:
            return nvml.process_memory(device.uuid).keys().isdisjoint(pids)
        except nvml.Lost:
            return None
        except nvml.NvmlError:
            pass
    if baseline_bytes is None or memory_used(device) is None:
        return None
    return is_back(device, baseline_bytes, used_bytes)


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


def device_used(uuid: str) -> int | None:
    try:
        return nvml.memory_used(uuid)
    except nvml.Lost:
        raise
    except nvml.NvmlError:
        return None


def listed_pids(uuid: str) -> frozenset[int] | None:
    """The pids that the driver lists on the device; None where it lists nobody's."""
    try:
        return frozenset(nvml.process_memory(uuid))
    except nvml.Lost:
        raise
    except nvml.NvmlError:
        return None
