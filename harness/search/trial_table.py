"""The trials of a study in progress: each in one phase, which its entry is the proof of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from harness.records.trial import TrialRecord
from harness.search.attempt import Attempt, RunningAttempt
from harness.search.optuna_study import OpenTrial
from harness.trials.job import JobKey
from harness.vram.placement import Placed

Open = OpenTrial | Attempt | RunningAttempt
"""A trial that an earlier run was cut off in, that waits for a device, or that runs."""


class TrialTable:
    """All trials of the study of that name that are known, by number.

    Attributes:
        ended: the trials that ended; for reading.
    """

    def __init__(self, study: str, ended: Iterable[TrialRecord]) -> None:
        self._study = study
        # Apart from the others: there may be thousands, and what is open is looked through at every event.
        self.ended: dict[int, TrialRecord] = {trial.number: trial for trial in ended}
        self._open: dict[int, Open] = {}

    @property
    def running(self) -> dict[int, RunningAttempt]:
        return {number: entry for number, entry in self._open.items() if isinstance(entry, RunningAttempt)}

    @property
    def counted(self) -> int:
        """How many of those that ended count toward the total that is wanted."""
        return sum(trial.counted for trial in self.ended.values())

    @property
    def next_waiting(self) -> Attempt | None:
        """The attempt whose turn is next: one that was tried before goes first, then the oldest."""
        waiting = [entry for entry in self._open.values() if isinstance(entry, Attempt)]
        return min(waiting, key=lambda attempt: (attempt.number == 0, attempt.trial.number), default=None)

    @property
    def next_unfinished(self) -> OpenTrial | None:
        """The oldest trial that an earlier run was cut off in."""
        return next((entry for entry in self._open.values() if isinstance(entry, OpenTrial)), None)

    def add_unfinished(self, trials: Iterable[OpenTrial]) -> None:
        self._open.update({trial.number: trial for trial in trials})

    def wait(self, attempt: Attempt) -> None:
        """Let an attempt wait for a device."""
        self._open[attempt.trial.number] = attempt

    def start(self, attempt: Attempt, placed: Placed) -> RunningAttempt:
        """Let an attempt run, and return it; it and those that run on the same slot are co-located from now on."""
        neighbours = [number for number, running in self.running.items() if running.placed.slot == placed.slot]
        for number in neighbours:
            self._open[number] = replace(self.running[number], co_located=True)
        started = RunningAttempt(attempt, placed, co_located=bool(neighbours))
        self._open[attempt.trial.number] = started
        return started

    def end(self, record: TrialRecord) -> None:
        """Keep how a trial ended, for good."""
        # A trial that was refused was never open.
        self._open.pop(record.number, None)
        self.ended[record.number] = record

    def placed(self, in_use: Mapping[JobKey, int | None]) -> list[Placed]:
        """Return where trials run, with what each was seen to hold."""
        return [
            replace(running.placed, in_use_bytes=in_use.get(running.key(self._study)))
            for running in self.running.values()
        ]
