"""What was measured, as JSON lines, and the stand-in driver that it is measured under."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from harness.testing.nvml_stub.driver import build, environment


def read(file: Path) -> list[dict[str, Any]]:
    """Return the rows of a file; none if there is no such file."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def write(row: Mapping[str, Any], out: TextIO) -> None:
    """Append a row to an open file, at once."""
    print(json.dumps(row), file=out, flush=True)


def run_again_with_driver(**variables: str) -> int:
    """Run this command again where the loader finds the stand-in for the driver, and return its exit status."""
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "driver"
        build(library)
        command = [sys.executable, *sys.orig_argv[1:]]
        return os.spawnve(os.P_WAIT, sys.executable, command, {**os.environ, **environment(library), **variables})
