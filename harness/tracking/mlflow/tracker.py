"""A search as MLflow shows it while it runs."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from harness.errors import first_line
from harness.passwords import without_passwords
from harness.records.base import Value
from harness.records.study import StudyRecord
from harness.records.trial import EpochRecord, TrialRecord
from harness.tracking.base import Tracker
from harness.tracking.ledger import Ledger
from harness.tracking.mlflow.delivery import Artifacts, Describe, deliver, lacks, renew_pages
from harness.tracking.mlflow.points import epoch_points, now
from harness.tracking.mlflow.runs import RunStore
from harness.tracking.outbox import Entry

logger = logging.getLogger(__name__)

_RETRY_SECONDS = 30.0
_PAGE_SECONDS = 30.0
"""So often at most the page of a study is renewed while trials end: it tells of all of them."""


@dataclass
class _Live:
    """A trial in training: its run, once there is one, and the epochs that MLflow has not got yet."""

    study: StudyRecord
    number: int
    params: Mapping[str, Value]
    started: int
    run_id: str | None = None
    epochs: list[tuple[int, EpochRecord]] = field(default_factory=list)


class MLflowTracker(Tracker):
    """Shows a search in MLflow, from one background thread, which the first call starts.

    What MLflow has not got is delivered with the next trial that ends, at `close`, or by `sync`.
    """

    def __init__(
        self,
        tracking_uri: str,
        ledger: Ledger,
        *,
        artifact_root: Path | None = None,
        artifacts: Artifacts | None = None,
        describe: Describe | None = None,
        warn: Callable[[str], None] = logger.warning,
        interval_seconds: float = 3.0,
    ) -> None:
        """Connect to nothing yet.

        Args:
            tracking_uri: an MLflow server, or `sqlite:///FILE`.
            ledger: holds each trial before `trial_ended` is called for it.
            artifact_root: where a new experiment keeps its artifacts; None leaves it to the server.
            artifacts: makes the files that show the predictions of a completed trial.
            describe: tells of a study on the page of its run; None for the study's own description.
            warn: told once, when MLflow cannot be reached or refuses something.
            interval_seconds: how often curves are sent.
        """
        self._tracking_uri = tracking_uri
        self._connect = partial(RunStore.open, tracking_uri, artifact_root)
        self._ledger = ledger
        self._artifacts = artifacts
        self._describe = describe
        self._warn = warn
        self._interval = interval_seconds
        self._store: RunStore | None = None
        self._running: set[Entry] = set()
        self._live: dict[Entry, _Live] = {}
        self._open: dict[str, StudyRecord] = {}
        self._behind: set[str] = set()
        self._renew_at = 0.0
        self._retry_at = 0.0
        self._warned = False
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False

    def study_started(self, study: StudyRecord) -> None:
        """Show `study` as running, and deliver all that waits, with all that this store lacks of the study."""

        def job() -> None:
            self._open[study.name] = study
            self._attempt(lambda store: store.set_status(store.parent(study), "RUNNING"))
            self._attempt(lambda store: self._deliver(store, study))

        self._put(job)

    def trial_started(self, study: StudyRecord, number: int, params: Mapping[str, Value]) -> None:
        """Show trial `number` of `study` as running; what an interrupted attempt at it left is dropped."""
        entry = Entry(study.name, number)
        live = _Live(study, number, dict(params), now())
        self._running.add(entry)

        def job() -> None:
            self._live[entry] = live
            self._attempt(self._flush)

        self._put(job)

    def epoch_ended(self, study: str, number: int, epoch: EpochRecord) -> None:
        """Add a point to the curves of a trial in training; it is sent within `interval_seconds`."""
        moment = now()

        def job() -> None:
            live = self._live.get(Entry(study, number))
            if live is not None:
                live.epochs.append((moment, epoch))

        self._put(job)

    def trial_ended(self, trial: TrialRecord) -> None:
        """Deliver `trial`, which the ledger holds, and all that waits."""
        entry = Entry(trial.study, trial.number)

        def job() -> None:
            self._live.pop(entry, None)
            self._running.discard(entry)
            self._attempt(self._deliver)

        self._put(job)

    def study_ended(self, study: str) -> None:
        """Deliver what `Ledger.write_study_files` stored, and show the study as finished."""

        def job() -> None:
            record = self._open.pop(study, None)
            self._attempt(self._deliver)
            if record is not None:
                self._attempt(lambda store: store.set_status(store.parent(record), "FINISHED"))

        self._put(job)

    def close(self, timeout_seconds: float = 60.0) -> None:
        """Deliver all that waits unless MLflow failed a moment ago, show what was cut off as killed, end the thread."""
        if self._closed:
            return
        self._put(None)
        self._closed = True
        if self._thread is not None:
            self._thread.join(timeout_seconds)
        if waiting := len(self._ledger.pending()):
            self._warn(
                f"MLflow has not got {waiting} results yet; they are kept. Deliver them with: "
                f"{self._ledger.workspace.sync_command(self._tracking_uri)}"
            )

    def _put(self, job: Callable[[], None] | None) -> None:
        """Hand a job to the thread; None ends it."""
        if self._closed:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="mlflow-writer", daemon=True)
            self._thread.start()
        self._jobs.put(job)

    def _work(self) -> None:
        due = time.monotonic() + self._interval
        while True:
            try:
                job = self._jobs.get(timeout=max(0.0, due - time.monotonic()))
            except queue.Empty:
                self._attempt(self._flush)
                self._attempt(self._renew_pages)
                due = time.monotonic() + self._interval
                continue
            if job is None:
                break
            job()
        self._attempt(self._finish)

    def _attempt(self, action: Callable[[RunStore], None]) -> None:
        """Do `action`, unless MLflow failed a moment ago. Whatever fails here, the search must not suffer."""
        if time.monotonic() < self._retry_at:
            return
        try:
            if self._store is None:
                self._store = self._connect()
            action(self._store)
        except Exception as error:
            self._retry_at = time.monotonic() + _RETRY_SECONDS
            self._warn_once(first_line(error))

    def _warn_once(self, reason: str) -> None:
        if not self._warned:
            self._warned = True
            reason = without_passwords(reason, self._tracking_uri)
            self._warn(f"MLflow: {reason} The search goes on, and its results are kept for later delivery.")

    def _flush(self, store: RunStore) -> None:
        for live in self._live.values():
            if live.run_id is None:
                live.run_id = store.restart_trial(live.study, live.number, live.params, live.started)
            store.log(live.run_id, {point: moment for moment, epoch in live.epochs for point in epoch_points(epoch)})
            live.epochs.clear()

    def _deliver(self, store: RunStore, study: StudyRecord | None = None) -> None:
        """Deliver what waits, and all that the store lacks of `study`."""
        entries = self._ledger.pending()
        if study is not None:
            entries += [entry for entry in lacks(store, self._ledger, study) if entry not in entries]
        # The ledger may be ahead of this thread: a trial whose start has not been shown must wait for its turn.
        delivery = deliver(store, self._ledger, entries, self._artifacts, self._describe, self._open, self._running)
        for reason in delivery.refused:
            self._warn_once(reason)
        self._behind |= delivery.behind
        self._renew_pages(store)

    def _renew_pages(self, store: RunStore) -> None:
        """Renew the pages that are behind, unless some were a moment ago."""
        if self._behind and time.monotonic() >= self._renew_at:
            for reason in renew_pages(store, self._ledger, self._behind, self._describe):
                self._warn_once(reason)
            self._behind.clear()
            self._renew_at = time.monotonic() + _PAGE_SECONDS

    def _finish(self, store: RunStore) -> None:
        self._flush(store)
        self._renew_at = 0.0
        self._deliver(store)
        for live in self._live.values():
            if live.run_id is not None:
                store.set_status(live.run_id, "KILLED")
        for study in self._open.values():
            store.set_status(store.parent(study), "KILLED")
