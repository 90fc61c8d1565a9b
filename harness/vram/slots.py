"""What trials run on: a device of a node, and what is known of its memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.records.trial import ReadingSource
from harness.units import MIB
from harness.vram.device import Device, DeviceKind, is_wsl

RESERVE_BYTES = 128 * MIB
"""Left free on every GPU beside what was in use while it was idle: drivers and screens move by about this much."""

WSL_RESERVE_BYTES = 1024 * MIB
"""The same under WSL, where Windows draws on the card, and what does not fit spills into main memory unseen."""

THIS_NODE = ""
"""Names the machine that the program runs on."""


@dataclass(frozen=True)
class DeviceSlot:
    """A device of a node. Trials on different slots share no memory.

    Attributes:
        source: what readings of a trial's memory are called there; `none` where nothing is measured.
        overhead_bytes: what a process holds on the device beside its framework's allocator.
        idle_bytes: device use while no trial ran.
        exclusive: the driver lets one process at a time use the device.
        node: names the machine that has the device.
    """

    device: Device
    source: ReadingSource = ReadingSource.NONE
    overhead_bytes: int = 0
    idle_bytes: int = 0
    exclusive: bool = False
    node: str = THIS_NODE

    @property
    def on_gpu(self) -> bool:
        return self.device.uuid is not None

    @property
    def tells_trials_apart(self) -> bool:
        """Whether one trial's memory is measured apart from another's."""
        return self.source in (ReadingSource.ACCOUNTING, ReadingSource.PROCESS)

    @property
    def reserve_bytes(self) -> int:
        """What is left free of the device beside all that uses it."""
        return WSL_RESERVE_BYTES if is_wsl() else RESERVE_BYTES

    @property
    def free_bytes(self) -> int | None:
        """What a trial by itself may take of the device, in bytes; None where its size is not known."""
        if self.device.total_bytes is None:
            return None
        return max(self.device.total_bytes - self.idle_bytes - self.reserve_bytes, 1)

    def room_bytes(self, budget_bytes: int) -> int:
        """Return the budget, or what the device has free, if that is less."""
        return min(budget_bytes, budget_bytes if self.free_bytes is None else self.free_bytes)


CPU_SLOT = DeviceSlot(Device(DeviceKind.CPU))


def roomiest(slots: Sequence[DeviceSlot], budget_bytes: int) -> DeviceSlot:
    """Return the slot on which a trial's allocator may take most."""
    return max(slots, key=lambda slot: slot.room_bytes(budget_bytes) - slot.overhead_bytes)
