"""Configurations that misbehave when a child reads them; and, run as a script, a parent that waits to be killed.

    python -m tests.helpers.misbehaving STORE FOLDER TRACK:DIGEST:LABEL...

starts a trial that trains for hours, and prints the process id of its child after the first epoch.
"""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any


class Breeding(dict[str, Any]):
    """Starts a process of its own in the child that reads it, and writes the process id to the file `pid`."""

    def __getitem__(self, key: str) -> Any:
        if key == "mixup":
            script = "import threading; threading.Event().wait()"
            Path(self["pid"]).write_text(str(subprocess.Popen([sys.executable, "-c", script]).pid))
        return super().__getitem__(key)


class Stuck(dict[str, Any]):
    """Never answers."""

    def __getitem__(self, key: str) -> Any:
        return threading.Event().wait()


def trial_child() -> int:
    """The process id of the only child that trains now."""
    (child,) = multiprocessing.active_children()
    assert child.pid is not None
    return child.pid


def main(store: str, folder: str, *tracks: str) -> None:
    from harness.features.fold import LabelledTrack
    from harness.trials.backend import EpochReported, FoldReported, run_to_end
    from harness.trials.local.backend import LocalBackend
    from harness.trials.local.fork_server import ForkServer
    from harness.vram.slots import CPU_SLOT
    from tests.helpers.models import changed, files_in, job_of

    examples = [
        LabelledTrack(track, digest, int(label)) for track, digest, label in (text.split(":") for text in tracks)
    ]
    backend = LocalBackend(ForkServer.start(), files_in(Path(folder), Path(store)))
    spec = changed(job_of(Path(store), tuple(examples), patience=10**6), epochs=10**6)

    def proceed(event: EpochReported | FoldReported) -> bool:
        assert isinstance(event, EpochReported)
        if event.record.epoch == 1:
            print(trial_child(), flush=True)
        return True

    run_to_end(backend, spec, CPU_SLOT, proceed)


if __name__ == "__main__":
    main(*sys.argv[1:])
