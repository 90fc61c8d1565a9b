"""The outbox of a ledger: an empty marker on disk for each result that no tracking server has got yet."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import NamedTuple

from harness.files import remove, touch


class Entry(NamedTuple):
    """What waits for delivery: trial `number` of `study`, or the study itself where `number` is None."""

    study: str
    number: int | None

    @property
    def order(self) -> tuple[str, int]:
        """Where it comes: each study before its trials."""
        return self.study, -1 if self.number is None else self.number

    @property
    def record(self) -> str:
        """The name of the record, without suffix."""
        return "study" if self.number is None else trial_name(self.number)


class Outbox:
    """Markers in the folder `outbox` beside the studies' folders. One thread may deliver while another writes."""

    def __init__(self, results: Path) -> None:
        """Name the ledger's folder; nothing is made yet."""
        self._results = results
        self.folder = results / "outbox"
        self._lock = threading.Lock()
        self._changed: set[Entry] = set()

    def mark(self, entry: Entry) -> None:
        """Note that `entry` is to be delivered, durably; the folder must exist."""
        with self._lock:
            self._changed.add(entry)
            touch(self._marker(entry))

    def changed(self, entry: Entry) -> None:
        """Note that a marked entry was written, so that what `pending` listed before is not all of it."""
        with self._lock:
            self._changed.add(entry)

    def pending(self) -> list[Entry]:
        """Return what waits, each study before its trials. A marker without a record is left out until it has one."""
        entries = []
        with self._lock:
            self._changed.clear()
        for path in self.folder.glob("*"):
            study, _, name = path.name.rpartition(".")
            if study and (self._results / study / f"{name}.json").exists():
                entries.append(Entry(study, None if name == "study" else int(name.removeprefix("trial-"))))
        return sorted(entries, key=lambda entry: entry.order)

    def delivered(self, entry: Entry) -> None:
        """Take `entry` out, unless it was written again since `pending` listed it."""
        with self._lock:
            if entry not in self._changed:
                self._marker(entry).unlink(missing_ok=True)

    def drop(self, entry: Entry) -> None:
        """Take `entry` out, for it is no more."""
        self._marker(entry).unlink(missing_ok=True)

    def drop_study(self, study: str) -> None:
        """Take out all of a study, for it is no more."""
        for marker in self.folder.glob("*"):
            if marker.name.rpartition(".")[0] == study:
                remove(marker)

    def _marker(self, entry: Entry) -> Path:
        return self.folder / f"{entry.study}.{entry.record}"


def trial_name(number: int) -> str:
    """Return what the files of a trial are called, without suffix."""
    return f"trial-{number:05d}"
