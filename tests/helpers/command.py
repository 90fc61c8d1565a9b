"""The command line, and programs of `tests.helpers`, in processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
"""The project's folder."""

Done = subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class Benchmark:
    """A workspace in which two families were searched, with what each of three runs said.

    Attributes:
        options: of every run, but for families, trials and workspace.
        first: two trials a family.
        again: the same command.
        more: three trials a family.
    """

    workspace: Path
    options: tuple[str, ...]
    first: Done
    again: Done
    more: Done


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "harness.cli", *map(str, arguments)]


def program(name: str, *arguments: object) -> list[str]:
    """A module of `tests.helpers` as a command, to be started in `ROOT`."""
    return [sys.executable, "-m", f"tests.helpers.{name}", *map(str, arguments)]


def search(data: Path, workspace: Path) -> Benchmark:
    options = ("--quick", "--epochs", "2", "--deterministic", "--json", "--data", str(data))

    def run(trials: int) -> Done:
        order = command("run", "cnn2d-mfcc", "cnn2d-fusion", *options, "--trials", trials, "--workspace", workspace)
        return subprocess.run(order, capture_output=True, text=True)

    return Benchmark(workspace, options, first=run(2), again=run(2), more=run(3))


def trial_numbers(done: Done) -> dict[str, list[int]]:
    """The trials that ended in a run, by family."""
    numbers: dict[str, list[int]] = {}
    for event in map(json.loads, done.stdout.splitlines()):
        if event["event"] == "trial":
            numbers.setdefault(event["family"], []).append(event["trial"])
    return numbers
