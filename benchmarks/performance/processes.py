"""A command is run, and the processor time of its whole tree of processes is read. Linux only."""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from benchmarks.performance.row import Command

PEERS = "peers-python"
"""The first word of a command of the peers."""

PEERS_PYTHON = "build/peers/bin/python"
"""What it stands for."""

_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of <linux/prctl.h>
_LEAVE_SECONDS = 30.0
_LIMIT_SECONDS = 1800.0


class CommandError(Exception):
    """A command failed; its message is the end of what it said."""


def resolved(command: Command) -> list[str]:
    """Return a command with its program: `python` and `harness` are those of this environment.

    Raises:
        CommandError: it is one of the peers', whose environment is not there.
    """
    program, *rest = command
    if program == "python":
        return [sys.executable, *rest]
    if program == "harness":
        return [str(Path(sys.executable).parent / "harness"), *rest]
    if program == PEERS:
        if not Path(PEERS_PYTHON).exists():
            raise CommandError(f"{PEERS_PYTHON} is not there; `make bench` makes it")
        return [PEERS_PYTHON, *rest]
    return list(command)


def run(command: Command, environment: Mapping[str, str], log: Path) -> tuple[dict[str, Any], str]:
    """Run a command to its end, and return what it took with the last line that it printed.

    Processes that outlive it, such as servers, are waited for and counted; what does not end soon is killed.

    Args:
        environment: variables beside those of this process.
        log: where its standard error goes.

    Returns:
        `cpu_seconds` (user and system, of all processes), `wall_seconds` until its own end, `first_line_seconds` and
        `peak_rss_bytes` (of the largest process); and the last line of its standard output.

    Raises:
        CommandError: it failed.
    """
    _adopt_orphans()
    started = time.perf_counter()
    first_line = None
    last_line = ""
    with log.open("w") as errors:
        process = subprocess.Popen(
            resolved(command),
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, **environment},
            text=True,
            start_new_session=True,
        )
        watch = threading.Timer(_LIMIT_SECONDS, os.killpg, (process.pid, signal.SIGKILL))
        watch.start()
        try:
            assert process.stdout is not None
            for line in process.stdout:
                first_line = first_line if first_line is not None else time.perf_counter() - started
                last_line = line
            _, status, used = os.wait4(process.pid, 0)
        except BaseException:
            # Its session is its own: Ctrl-C reaches this process alone.
            os.killpg(process.pid, signal.SIGKILL)
            raise
        finally:
            watch.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.perf_counter() - started
    ended = [used, *_orphans()]
    if process.returncode != 0:
        said = f"{last_line}\n{log.read_text(errors='replace')}".strip().splitlines()[-15:]
        raise CommandError(f"exit status {process.returncode}:\n" + "\n".join(said))
    return {
        "cpu_seconds": sum(each.ru_utime + each.ru_stime for each in ended),
        "wall_seconds": wall,
        "first_line_seconds": first_line,
        "peak_rss_bytes": 1024 * max(each.ru_maxrss for each in ended),
    }, last_line


def figures_of(line: str) -> dict[str, Any]:
    """Return the figures that a contender printed; those that stand in a part of their own are put beside the others.

    Raises:
        CommandError: the line is no JSON object.
    """
    with suppress(ValueError):
        found = json.loads(line)
        if isinstance(found, dict):
            parts = [each for each in found.values() if isinstance(each, dict)]
            return {**found, **{name: value for part in parts for name, value in part.items()}}
    raise CommandError(f"printed no figures, but {line!r}")


def _adopt_orphans() -> None:
    """Become the parent of all processes below this one whose own parent ends: else nobody learns what they took."""
    if ctypes.CDLL(None, use_errno=True).prctl(_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def _orphans() -> list[resource.struct_rusage]:
    """Wait until this process has no children left, and return what those took."""
    found: list[resource.struct_rusage] = []
    deadline = time.monotonic() + _LEAVE_SECONDS
    while True:
        try:
            pid, _, used = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid:
            found.append(used)
            continue
        if time.monotonic() > deadline:
            for child in psutil.Process().children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    child.kill()
        time.sleep(0.02)
