"""What runs, on disk: one small record a trial from when it was sampled until its own record is there.

A run that was cut off takes the trial up by it, under its number and with its parameters. What the trial had reported
is not kept: it trains from its beginning again.
"""

from __future__ import annotations

import re
from collections.abc import Container
from pathlib import Path

from harness.errors import WorkspaceError
from harness.files import write_atomically
from harness.records.trial import RunningTrial
from harness.tracking.outbox import trial_name
from harness.tracking.serialization import dump_record, load_record

_NAME = re.compile(r"trial-(\d+)\.running\.json")


class RunningTrials:
    """The records `trial-00003.running.json` in the folders of studies."""

    def __init__(self, results: Path) -> None:
        """Name the ledger's folder; nothing is made yet."""
        self._results = results

    def write(self, trial: RunningTrial) -> None:
        """Store what was sampled of a trial, durably.

        Raises:
            WorkspaceError: it cannot be written.
        """
        write_atomically(self._path(trial.study, trial.number), dump_record(trial), durable=True)

    def remove(self, study: str, number: int) -> None:
        """Remove a record, if it is there; one that comes back after a power cut is removed by `take_up`."""
        self._path(study, number).unlink(missing_ok=True)

    def take_up(self, study: str, ended: Container[int]) -> tuple[dict[int, RunningTrial], list[Path]]:
        """Remove the records of trials that ended, and return those of the others; see `read`."""
        for number in self._paths(study):
            if number in ended:
                self.remove(study, number)
        return self.read(study, ended)

    def read(self, study: str, ended: Container[int]) -> tuple[dict[int, RunningTrial], list[Path]]:
        """Return the trials of a study that were sampled and have not ended, by number.

        Args:
            ended: the numbers of those that ended.

        Returns:
            The trials, and the files of those whose record cannot be read.
        """
        found, damaged = {}, []
        for number, path in self._paths(study).items():
            if number in ended:
                continue
            try:
                trial = load_record(RunningTrial, path)
            except WorkspaceError:
                damaged.append(path)
                continue
            if (trial.study, trial.number) == (study, number):
                found[number] = trial
            else:
                damaged.append(path)
        return found, damaged

    def _paths(self, study: str) -> dict[int, Path]:
        paths = sorted((self._results / study).glob("trial-*.running.json"))
        return {int(name[1]): path for path in paths if (name := _NAME.fullmatch(path.name))}

    def _path(self, study: str, number: int) -> Path:
        return self._results / study / f"{trial_name(number)}.running.json"
