"""Where and with what a study runs."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

import harness
from harness import keras_backend
from harness.records.study import Provenance
from harness.vram.device import Device


def provenance(device: Device) -> Provenance:
    """Describe this machine, what is installed on it, and the device that trials run on."""
    return Provenance(
        commit=_commit(),
        versions=keras_backend.versions(),
        backend=keras_backend.backend(),
        device=device.name,
        driver=device.driver,
        platform=platform.platform(),
        cpu_count=os.cpu_count() or 1,
    )


def _commit() -> str:
    """Return the commit of the checkout that runs, `+` where it was changed since; empty outside of one."""
    root = Path(harness.__file__).parent.parent
    command = ["git", "-C", str(root), "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
