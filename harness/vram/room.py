"""What a trial may take of a device: less than the card has, and less than its budget."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

UNMEASURED_SLACK_SHARE, MEASURED_SLACK_SHARE = 0.05, 0.02
"""Of the room, what stays free for libraries that load as a trial goes on, until trials have shown how much they take.

The self-test trains a small network, so that most of them are loaded by then; a larger one loads more.
"""

MIN_MEASURED_TRIALS = 3
"""As many trials must have shown what lies beside their allocators before the slack shrinks."""


@dataclass(frozen=True)
class Room:
    """What one trial may take of a device, in bytes.

    Attributes:
        total_bytes: the budget, or what the device has free for a trial, if that is less.
        beside_bytes: what its process holds beside the framework's allocator: context, libraries, compiled kernels.
        slack_bytes: left free, since what lies beside may grow.
    """

    total_bytes: int
    beside_bytes: int = 0
    slack_bytes: int = 0

    @property
    def cap_bytes(self) -> int:
        """The most that the allocator may take."""
        return max(self.total_bytes - self.beside_bytes - self.slack_bytes, 1)


def room(total_bytes: int, overhead_bytes: int, beside_bytes: Collection[int]) -> Room:
    """Return the room of the next trial.

    An allocator takes memory in regions that double, up to its cap, and never gives them back. So whatever its network
    needs beyond half of the cap, the process holds the whole cap: what lies beside must fit above it in any case.

    Args:
        total_bytes: the budget, or what the device has free for a trial, if that is less.
        overhead_bytes: what the self-test's process held beside its allocator.
        beside_bytes: what trials that ended held beside theirs.
    """
    share = MEASURED_SLACK_SHARE if len(beside_bytes) >= MIN_MEASURED_TRIALS else UNMEASURED_SLACK_SHARE
    return Room(total_bytes, max([overhead_bytes, *beside_bytes]), round(share * total_bytes))
