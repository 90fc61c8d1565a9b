"""A row is measured: its contenders take turns, and what came of them is kept."""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.performance.machine import machine
from benchmarks.performance.processes import PEERS, CommandError, figures_of, run
from benchmarks.performance.row import Contender, Row, Setting
from harness.files import write_atomically

Result = dict[str, Any]
"""What is kept of a row: `rounds` (figures by contender), `failed` (a text by contender), and where and when."""


def stored(row: Row, setting: Setting) -> Result | None:
    """Return what was measured of a row; None where it was not, or where a contender failed."""
    file = _file(row, setting)
    result: Result | None = json.loads(file.read_text()) if file.exists() else None
    return None if result is None or has_failed(result) else result


def has_failed(result: Result) -> bool:
    """Whether a contender failed that could have run."""
    return bool(result["failed"])


def measure(row: Row, setting: Setting) -> Result:
    """Measure a row, and keep what came of it."""
    folder = setting.folder
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    result: Result = {
        "date": datetime.now(UTC).date().isoformat(),
        "load": os.getloadavg()[0],
        "machine": machine(setting.music),
        "rounds": {},
        "failed": {},
    }
    contenders = [each for each in row.contenders if not (setting.quick and each.command[0] == PEERS)]
    try:
        for command in row.prepare:
            _say(f"{row.name}: {' '.join(command)}")
            run(command, _environment(setting), folder / "logs" / f"{row.name}-prepare.log")
    except CommandError as error:
        result["failed"]["preparation"] = str(error)
        contenders = []
    for number in range(1 if setting.quick else row.rounds):
        for contender in contenders:
            if contender.name not in result["failed"]:
                _say(f"{row.name}, round {number + 1}: {contender.name}")
                _run_contender(contender, setting, result)
    write_atomically(_file(row, setting), json.dumps(result, indent=1) + "\n")
    return result


def _run_contender(contender: Contender, setting: Setting, result: Result) -> None:
    log = setting.folder / "logs" / "contender.log"
    environment = {**_environment(setting), **contender.environment}
    try:
        for command in contender.before:
            run(command, environment, log)
        figures, last_line = run(contender.command, environment, log)
        if contender.prints:
            figures = {**figures_of(last_line), **figures}
    except CommandError as error:
        _say(f"{contender.name} FAILED: {error}")
        result["failed"][contender.name] = str(error).replace(str(Path.cwd()), ".")
        return
    result["rounds"].setdefault(contender.name, []).append(figures)


def _environment(setting: Setting) -> dict[str, str]:
    """Return what every command is run with: nothing of a user's cache is read or written."""
    cache = setting.folder.resolve() / "cache"
    return {"XDG_CACHE_HOME": str(cache), "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "2"}


def _file(row: Row, setting: Setting) -> Path:
    return setting.folder / f"{row.name}.json"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
