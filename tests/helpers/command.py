"""The command line, and programs of `tests.helpers`, in processes of their own."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pytest

from harness import cli
from tests.helpers.terminal import in_terminal

ROOT = Path(__file__).parents[2]
"""The project's folder."""

Done = subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class Benchmark:
    """A workspace in which two families were searched, with what each of three runs said.

    Attributes:
        options: of every run, but for families, trials, workspace and `--json`.
        first: two trials a family, as JSON.
        again: the same command, carried out in this process.
        more: three trials a family, on a terminal: its exit status, and what it wrote.
    """

    workspace: Path
    options: tuple[str, ...]
    first: Done
    again: Done
    more: tuple[int, str]


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "harness.cli", *map(str, arguments)]


def program(name: str, *arguments: object) -> list[str]:
    """A module of `tests.helpers` as a command, to be started in `ROOT`."""
    return [sys.executable, "-m", f"tests.helpers.{name}", *map(str, arguments)]


def search(data: Path, workspace: Path) -> Benchmark:
    options = ("--quick", "--epochs", "2", "--deterministic", "--data", str(data), "--protocol", "random")

    def order(*more: object) -> list[str]:
        return command("run", "cnn2d-mfcc", "cnn2d-fusion", *options, "--workspace", workspace, *more)

    two = order("--trials", 2, "--json")
    first = subprocess.run(two, capture_output=True, text=True)
    return Benchmark(workspace, options, first, in_this_process(two), in_terminal(order("--trials", 3), NO_COLOR="1"))


def in_this_process(order: list[str]) -> Done:
    """Carry out a command where its imports are there already; nothing of it stays in the environment."""
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.dict(os.environ),
        mock.patch.object(sys, "argv", ["harness", *order[order.index("harness.cli") + 1 :]]),
        redirect_stdout(out),
        redirect_stderr(err),
        pytest.raises(SystemExit) as ended,
    ):
        cli.main()
    return Done(order, int(ended.value.code or 0), out.getvalue(), err.getvalue())


def trial_numbers(stdout: str) -> dict[str, list[int]]:
    """The trials that ended in what a run printed, by family."""
    numbers: dict[str, list[int]] = {}
    for event in map(json.loads, stdout.splitlines()):
        if event["event"] == "trial":
            numbers.setdefault(event["family"], []).append(event["trial"])
    return numbers
