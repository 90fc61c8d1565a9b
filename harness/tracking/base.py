"""What a search tells a tracking server while it runs: the contract, and a tracker that tells nobody."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from harness.records.base import Value
from harness.records.study import StudyRecord
from harness.records.trial import EpochRecord, TrialRecord


class Tracker(ABC):
    """Shows a search, while it runs, wherever runs are tracked.

    A tracker is a window, never the store: the ledger has every result before a tracker is told of it, and the search
    never asks a tracker for anything. `harness.testing.tracker_contract` holds every implementation to this.

    **Threads.** All methods are called from one thread, that of the driver. An implementation that talks to a server
    does so in a thread or process of its own, which may read the ledger meanwhile and take what was delivered out of
    its outbox.

    **Failures.** No method but `close` waits for a server, and none at all raises because of one: what is slow, away,
    full or refuses costs the search nothing, and is said once, to whoever the implementation was told to warn.

    **Order.** The caller keeps to this order, and an implementation may rely on it:

    - `study_started` is the first call for a study, and comes before any of its trials; a study that goes on in a later
      run is started again there. `study_ended` is the last; it is missing where the search was interrupted.
    - `trial_started` comes before the epochs of a trial, and at most once in a run, however often the trial is tried
      again. It is missing where a trial never trained: one that was refused, or whose model could not be built. A trial
      that was cut off by the end of an earlier run is started again under its number.
    - `trial_ended` comes exactly once for a trial that ended in this run, and after the ledger has its record and its
      predictions. None of the trial's epochs comes later.
    - Trials of one study run side by side, so calls for different trials may alternate. Studies follow one another.
    - `close` is the last call. A second one does nothing, and so does any other call after it.

    **Crashes.** The process may be killed between any two calls. What the ledger holds is then in its outbox, and is
    delivered by the next run or by `harness sync`. Of what the ledger does not hold (the epochs of a trial in training)
    a tracker may lose everything; what it has shown of such a trial is replaced once the trial starts again.

    **Delivery.** A result leaves the outbox only after the server has all of it. So a delivery may be repeated, and is
    idempotent: a study and a trial are shown once, and equal their records, whatever a killed delivery left.
    """

    @abstractmethod
    def study_started(self, study: StudyRecord) -> None:
        """Show `study`, which the ledger holds, as running."""

    @abstractmethod
    def trial_started(self, study: StudyRecord, number: int, params: Mapping[str, Value]) -> None:
        """Show trial `number` of `study` as running.

        Args:
            study: was started.
            number: the trial's.
            params: the sampled hyperparameters by their names in the space.
        """

    @abstractmethod
    def epoch_ended(self, study: str, number: int, epoch: EpochRecord) -> None:
        """Add an epoch to the curves of trial `number` of the study with the name `study`."""

    @abstractmethod
    def trial_ended(self, trial: TrialRecord) -> None:
        """Show how `trial`, which the ledger holds, ended."""

    @abstractmethod
    def study_ended(self, study: str) -> None:
        """Show the study with the name `study`, whose files the ledger holds, as finished for this run."""

    @abstractmethod
    def close(self, timeout_seconds: float = 60.0) -> None:
        """Show what has not been shown yet, and trials and studies that did not end as interrupted; let go of all.

        Args:
            timeout_seconds: in which it returns; what is left by then stays in the outbox.
        """


class NullTracker(Tracker):
    """Shows nothing: for a search that is a means to an end, and no study of its own."""

    def study_started(self, study: StudyRecord) -> None:
        pass

    def trial_started(self, study: StudyRecord, number: int, params: Mapping[str, Value]) -> None:
        pass

    def epoch_ended(self, study: str, number: int, epoch: EpochRecord) -> None:
        pass

    def trial_ended(self, trial: TrialRecord) -> None:
        pass

    def study_ended(self, study: str) -> None:
        pass

    def close(self, timeout_seconds: float = 60.0) -> None:
        pass
