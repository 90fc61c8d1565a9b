"""The command line in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

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
