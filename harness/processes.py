"""Ending processes for good."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

import psutil

_POLL_SECONDS = 0.02


def kill_group(pgid: int, grace_seconds: float = 5.0, kill_seconds: float = 10.0) -> bool:
    """End every process of a group: SIGTERM, then SIGKILL for those that are still there.

    Zombies count as gone; reaping them is their parent's business, so `Popen.wait` and `Process.join` still work.

    Args:
        pgid: the group; never the caller's own.
        grace_seconds: how long members may take to end by themselves.
        kill_seconds: how long to wait for the kernel after SIGKILL; a process inside a hung driver outlives it.

    Returns:
        Whether all members are gone.

    Raises:
        ValueError: `pgid` is the caller's own group, or no group.
    """
    if pgid <= 1 or pgid == os.getpgrp():
        raise ValueError(f"process group {pgid} is not one to kill")
    for number, seconds in ((signal.SIGTERM, grace_seconds), (signal.SIGKILL, kill_seconds)):
        with suppress(ProcessLookupError):
            os.killpg(pgid, number)
        deadline = time.monotonic() + seconds
        while (alive := _has_members(pgid)) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        if not alive:
            return True
    return False


def _has_members(pgid: int) -> bool:
    for pid in psutil.pids():
        with suppress(ProcessLookupError, PermissionError, psutil.NoSuchProcess):
            if os.getpgid(pid) == pgid and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                return True
    return False
