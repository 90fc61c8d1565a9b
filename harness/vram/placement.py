"""Which trial may run on which device slot, and beside which others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.units import MIB
from harness.vram.slots import DeviceSlot

SHARED_RESERVE_BYTES = 256 * MIB
"""Left free for each trial on a GPU that trials share: libraries that load as it goes on."""


@dataclass(frozen=True)
class Placed:
    """A trial that runs.

    Attributes:
        upper_bytes: what it will hardly pass on its slot.
        in_use_bytes: what it was seen to hold there; None where that is not known.
        exclusive: nothing may run beside it.
    """

    slot: DeviceSlot
    upper_bytes: int
    in_use_bytes: int | None = None
    exclusive: bool = False


@dataclass(frozen=True)
class Placement:
    """The rules by which trials get device slots; what runs is told at each question.

    Attributes:
        slots: at least one.
        jobs: trials at once, all slots together; None for as many as predicted memory allows, which is one where no
            memory is measured.
        device_used_bytes: tells the bytes in use on a slot's device, by everyone; None where nobody can tell.
    """

    slots: tuple[DeviceSlot, ...]
    jobs: int | None
    device_used_bytes: Callable[[DeviceSlot], int | None]

    def may_place(self, placed: Sequence[Placed]) -> bool:
        """Whether one more trial might be placed; asked before the next is sampled, so that none is early."""
        if self.jobs is not None and len(placed) >= self.jobs:
            return False
        return any(self._may_join(slot, on(slot, placed)) for slot in self.slots)

    def shares(self, slot: DeviceSlot) -> bool:
        """Whether trials on the slot may be co-located, so that each must keep to what it is predicted to need."""
        if slot.exclusive or not slot.on_gpu:
            return False
        return slot.tells_trials_apart if self.jobs is None else self.jobs > len(self.slots)

    def choose(
        self,
        placed: Sequence[Placed],
        upper_bytes: Callable[[DeviceSlot], int | None],
        *,
        exclusive: bool = False,
    ) -> Placed | None:
        """Return where the next trial runs; None while there is no room for it.

        An empty slot that the trial fits always has room: one that fits no better by itself would wait for ever.

        Args:
            placed: the trials that run.
            upper_bytes: tells what the trial will hardly pass on a slot; None where it does not fit at all.
            exclusive: whether it must have a slot to itself, as after it ran out of memory beside others.
        """
        if not self.may_place(placed):
            return None
        for slot in sorted(self.slots, key=lambda slot: len(on(slot, placed))):
            here, upper = on(slot, placed), upper_bytes(slot)
            if upper is None:
                continue
            joins = not exclusive and self._may_join(slot, here) and self._has_room(slot, upper, here)
            if not here or joins:
                return Placed(slot, upper, exclusive=exclusive)
        return None

    def _may_join(self, slot: DeviceSlot, here: Sequence[Placed]) -> bool:
        """Whether a trial may join those that run on the slot, memory apart."""
        if not here:
            return True
        if any(trial.exclusive for trial in here):
            return False
        return self.shares(slot) if slot.on_gpu else self.jobs is not None

    def _has_room(self, slot: DeviceSlot, upper_bytes: int, here: Sequence[Placed]) -> bool:
        if not slot.on_gpu:
            return True
        used, total = self.device_used_bytes(slot), slot.device.total_bytes
        if used is None or total is None:
            # With a number of jobs that the user chose, their caps are all that there is.
            return self.jobs is not None
        others = max(0, used - sum(trial.in_use_bytes or 0 for trial in here))
        taken = sum(max(trial.upper_bytes, trial.in_use_bytes or 0) for trial in here)
        reserve = slot.reserve_bytes + SHARED_RESERVE_BYTES * (len(here) + 1)
        return others + taken + upper_bytes + reserve <= total


def on(slot: DeviceSlot, placed: Sequence[Placed]) -> list[Placed]:
    """Return the trials that run on a slot."""
    return [trial for trial in placed if trial.slot == slot]
