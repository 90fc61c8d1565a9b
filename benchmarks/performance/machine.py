"""What figures depend on: the machine, what is installed on it, the commit, and the music."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from harness.units import GIB
from harness.vram.slots import CPU_SLOT
from harness.workflows.provenance import provenance

_MUSIC = re.compile(r"\.(wav|au|mp3|flac)$", re.IGNORECASE)


def machine(music: str) -> dict[str, str]:
    """Describe all that the figures depend on, for a reader, by what it is."""
    about = provenance(CPU_SLOT.device)
    versions = {**about.versions, **{name: found for name in ("mlflow",) if (found := _version(name))}}
    return {
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "memory": f"{psutil.virtual_memory().total / GIB:.0f} GiB",
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "versions": ", ".join(f"{name} {number}" for name, number in versions.items() if name != "harness"),
        "commit": about.commit,
        "music": _music(Path(music)),
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _music(folder: Path) -> str:
    """Return what music the rows read; a folder that is no link was made here."""
    tracks = sum(1 for path in folder.rglob("*") if _MUSIC.search(path.name))
    return f"{tracks} tracks of a user's" if folder.is_symlink() else "synthetic tracks of `harness data make`"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
