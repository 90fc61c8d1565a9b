"""A tracker that keeps what it is told, and knows what a search should have told it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.records.base import Value
from harness.records.study import StudyRecord
from harness.records.trial import EpochRecord, TrialRecord
from harness.tracking.base import Tracker
from harness.tracking.ledger import Ledger


@dataclass(frozen=True)
class Call:
    """A call of a tracker: the method's name, and what it was about; `number` is None where that is a study."""

    method: str
    study: str
    number: int | None = None


class RecordingTracker(Tracker):
    """Keeps its calls in order, and how they broke the caller's side of the contract.

    Attributes:
        calls: all of them but `close`.
        breaches: one sentence for each call that came out of the order that `Tracker` promises to its implementations.
        closed: whether `close` was called.
    """

    def __init__(self, ledger: Ledger | None = None) -> None:
        """Keep nothing yet.

        Args:
            ledger: must hold each trial when it is told to have ended; None where nothing is kept.
        """
        self.calls: list[Call] = []
        self.breaches: list[str] = []
        self.closed = False
        self._ledger = ledger
        self._open: set[str] = set()
        self._running: set[tuple[str, int]] = set()
        self._ended: set[tuple[str, int]] = set()

    def study_started(self, study: StudyRecord) -> None:
        self._keep(Call("study_started", study.name), study.name not in self._open, "is open already")
        self._open.add(study.name)

    def trial_started(self, study: StudyRecord, number: int, params: Mapping[str, Value]) -> None:
        trial = (study.name, number)
        call = Call("trial_started", *trial)
        self._keep(call, trial not in self._running | self._ended, "was started or ended before", study.name)
        self._running.add(trial)

    def epoch_ended(self, study: str, number: int, epoch: EpochRecord) -> None:
        self._keep(Call("epoch_ended", study, number), (study, number) in self._running, "does not run", study)

    def trial_ended(self, trial: TrialRecord) -> None:
        key = (trial.study, trial.number)
        self._keep(Call("trial_ended", *key), key not in self._ended, "ended before", trial.study)
        if self._ledger is not None and self._ledger.trial(*key) != trial:
            self.breaches.append(f"trial_ended: trial {trial.number} of {trial.study} is not in the ledger")
        self._running.discard(key)
        self._ended.add(key)

    def study_ended(self, study: str) -> None:
        running = any(name == study for name, _ in self._running)
        self._keep(Call("study_ended", study), not running, "has trials that run", study)
        self._open.discard(study)

    def close(self, timeout_seconds: float = 60.0) -> None:
        self.closed = True

    def _keep(self, call: Call, allowed: bool, otherwise: str, study: str | None = None) -> None:
        """Keep a call; it is a breach unless it is `allowed`, and comes while `study` is open and before the end."""
        if self.closed:
            return
        self.calls.append(call)
        what = call.study if call.number is None else f"trial {call.number} of {call.study}"
        if not allowed:
            self.breaches.append(f"{call.method}: {what} {otherwise}")
        if study is not None and study not in self._open:
            self.breaches.append(f"{call.method}: {what}: the study is not open")
