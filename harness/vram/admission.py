"""Which trial may run where, and beside which others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from harness.records import Source
from harness.units import MIB
from harness.vram.device import Device, DeviceKind, is_wsl, memory_used
from harness.vram.probes import NoProbe, Probe

RESERVE_BYTES = 128 * MIB
"""Left free on every GPU beside what was in use while it was idle: drivers and screens move by about this much."""

WSL_RESERVE_BYTES = 1024 * MIB
"""The same under WSL, where Windows draws on the card, and what does not fit spills into main memory unseen."""

SHARED_RESERVE_BYTES = 256 * MIB
"""Left free for each trial on a GPU that trials share: libraries that load as it goes on."""


@dataclass(frozen=True)
class Lane:
    """One device with what measures it. Trials on different lanes share no memory.

    Attributes:
        overhead_bytes: what a process holds on the device beside its framework's allocator.
        idle_bytes: device use while no trial ran.
        exclusive: the driver lets one process at a time use the device.
    """

    device: Device
    probe: Probe
    overhead_bytes: int = 0
    idle_bytes: int = 0
    exclusive: bool = False

    @property
    def reserve_bytes(self) -> int:
        """What is left free of the device beside all that uses it."""
        return WSL_RESERVE_BYTES if is_wsl() else RESERVE_BYTES

    @property
    def free_bytes(self) -> int | None:
        """What a trial alone may take of the device, in bytes; None where its size is not known."""
        if self.device.total_bytes is None:
            return None
        return max(self.device.total_bytes - self.idle_bytes - self.reserve_bytes, 1)

    def room_bytes(self, budget_bytes: int) -> int:
        """Return the budget, or what the device has free, if that is less."""
        return min(budget_bytes, budget_bytes if self.free_bytes is None else self.free_bytes)


CPU_LANE = Lane(Device(DeviceKind.CPU), NoProbe())


def widest(lanes: Sequence[Lane], budget_bytes: int) -> Lane:
    """Return the lane on which a trial's allocator may take most."""
    return max(lanes, key=lambda lane: lane.room_bytes(budget_bytes) - lane.overhead_bytes)


class Admission:
    """Hands out lanes to trials, by number, as long as there is room."""

    def __init__(
        self,
        lanes: Sequence[Lane],
        jobs: int | None,
        use: Callable[[Device], int | None] = memory_used,
    ) -> None:
        """Set the rules.

        Args:
            lanes: at least one.
            jobs: trials at once, all lanes together; None for as many as predicted memory allows, which is one where
                no memory is measured.
            use: tells the bytes in use on a device, by everyone.
        """
        self._lanes = tuple(lanes)
        self._jobs = jobs
        self._use = use
        self._placed: dict[int, tuple[Lane, int]] = {}
        self._alone: set[int] = set()

    @property
    def has_slot(self) -> bool:
        """Whether one more trial might be placed now; asked before the next trial is sampled, so that none is early."""
        if self._jobs is not None and len(self._placed) >= self._jobs:
            return False
        return any(not self._on(lane) or self._may_share(lane) for lane in self._lanes)

    def shares(self, lane: Lane) -> bool:
        """Whether trials on the lane may get company, so that each must keep to what it is predicted to need."""
        if lane.exclusive or lane.device.uuid is None:
            return False
        return _is_measured_alone(lane) if self._jobs is None else self._jobs > len(self._lanes)

    def place(
        self, number: int, upper: Callable[[Lane], int | None], held: Mapping[int, int], *, alone: bool = False
    ) -> Lane | None:
        """Give trial `number` a lane, or None while there is no room for it.

        An empty lane that the trial fits always has room: one that fits no better alone would wait for ever.

        Args:
            upper: tells what the trial will hardly pass on a lane, in bytes; None where it does not fit at all.
            held: what each running trial is known to hold, by number; the rest of a device's use is other people's.
            alone: whether it must have a lane to itself, as after it ran out of memory in company.
        """
        if not self.has_slot:
            return None
        for lane in sorted(self._lanes, key=lambda lane: len(self._on(lane))):
            here, upper_bytes = self._on(lane), upper(lane)
            if upper_bytes is None:
                continue
            shared = not alone and self._may_share(lane)
            if not here or (shared and self._has_room(lane, upper_bytes, held)):
                self._placed[number] = lane, upper_bytes
                self._alone |= {number} if alone else set()
                return lane
        return None

    def release(self, number: int) -> None:
        """Take back the lane of trial `number`."""
        del self._placed[number]
        self._alone.discard(number)

    def company(self, number: int) -> frozenset[int]:
        """Return the other trials on the lane of trial `number`."""
        lane, _ = self._placed[number]
        return frozenset(self._on(lane)) - {number}

    def _on(self, lane: Lane) -> dict[int, int]:
        return {number: upper for number, (where, upper) in self._placed.items() if where is lane}

    def _may_share(self, lane: Lane) -> bool:
        """Whether a trial may join those that run on the lane, memory apart."""
        if not self._alone.isdisjoint(self._on(lane)):
            return False
        return self._jobs is not None if lane.device.uuid is None else self.shares(lane)

    def _has_room(self, lane: Lane, upper_bytes: int, held: Mapping[int, int]) -> bool:
        if lane.device.uuid is None:
            return True
        used, total = self._use(lane.device), lane.device.total_bytes
        if used is None or total is None:
            # With a number of jobs that the user chose, their caps are all that there is.
            return self._jobs is not None
        here = self._on(lane)
        others = max(0, used - sum(held.get(number, 0) for number in here))
        taken = sum(max(upper, held.get(number, 0)) for number, upper in here.items())
        reserve = lane.reserve_bytes + SHARED_RESERVE_BYTES * (len(here) + 1)
        return others + taken + upper_bytes + reserve <= total


def _is_measured_alone(lane: Lane) -> bool:
    """Whether what measures the lane tells one process's memory from another's."""
    return lane.probe.source in (Source.ACCOUNTING, Source.PROCESS)
