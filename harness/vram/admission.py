"""Which trial may run where, and beside which others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from harness.records import Source
from harness.units import MIB
from harness.vram.device import Device, DeviceKind, memory_used
from harness.vram.probes import NoProbe, Probe

RESERVE_BYTES = 512 * MIB
"""Left free on a GPU that trials share: drivers, screens and allocators move by about this much."""


@dataclass(frozen=True)
class Lane:
    """One device with what measures it. Trials on different lanes share no memory.

    Attributes:
        overhead_bytes: what a process holds on the device beside its framework's allocator.
    """

    device: Device
    probe: Probe
    overhead_bytes: int = 0


CPU_LANE = Lane(Device(DeviceKind.CPU), NoProbe())


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
        if self._jobs is not None:
            if len(self._placed) >= self._jobs:
                return False
            return any(self._alone.isdisjoint(self._on(lane)) for lane in self._lanes)
        return any(
            not (here := self._on(lane)) or (_is_shareable(lane) and self._alone.isdisjoint(here))
            for lane in self._lanes
        )

    def place(self, number: int, upper_bytes: int, held: Mapping[int, int], *, alone: bool = False) -> Lane | None:
        """Give trial `number` a lane, or None while there is no room for it.

        An empty lane always has room: a trial that fits no better alone would wait for ever.

        Args:
            upper_bytes: what the trial will hardly pass.
            held: what each running trial is known to hold, by number; the rest of a device's use is other people's.
            alone: whether it must have a lane to itself, as after it ran out of memory in company.
        """
        if not self.has_slot:
            return None
        for lane in sorted(self._lanes, key=lambda lane: len(self._on(lane))):
            here = self._on(lane)
            shared = not alone and self._alone.isdisjoint(here)
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

    def _has_room(self, lane: Lane, upper_bytes: int, held: Mapping[int, int]) -> bool:
        if self._jobs is not None:
            return True
        used, total = self._use(lane.device), lane.device.total_bytes
        if used is None or total is None or not _is_shareable(lane):
            return False
        here = self._on(lane)
        others = max(0, used - sum(held.get(number, 0) for number in here))
        taken = sum(max(upper, held.get(number, 0)) for number, upper in here.items())
        return others + taken + upper_bytes + RESERVE_BYTES <= total


def _is_shareable(lane: Lane) -> bool:
    """Whether what measures the lane tells one process's memory from another's."""
    return lane.probe.source in (Source.ACCOUNTING, Source.PROCESS)
