"""A run as its user sees it: a live table on a terminal, plain lines elsewhere, JSON lines for scripts."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from harness.records import Outcome, Source, TrialRecord
from harness.search.events import (
    EpochEnded,
    Event,
    FinalEnded,
    Note,
    Notify,
    Progress,
    StudyEnded,
    StudyStarted,
    TrialEnded,
    TrialStarted,
)
from harness.units import format_duration, format_size


@contextmanager
def watching(as_json: bool, families: int, *, table: bool = True) -> Iterator[Notify]:
    """Give the function that shows events, in the way that suits standard output, for as long as the block runs.

    Args:
        as_json: print one JSON object a line and nothing else on standard output.
        families: how many studies the run will go through, for the time left.
        table: show the running trials, on a terminal.
    """
    console = Console(stderr=as_json, highlight=False)
    if as_json or not table or not console.is_terminal:
        yield Lines(console, as_json)
        return
    view = LiveView(families)
    with Live(view.render(), console=console, refresh_per_second=4) as live:

        def notify(event: Event) -> None:
            line = view.see(event)
            if line:
                live.console.print(line, markup=False)
            live.update(view.render())

        yield notify


@contextmanager
def counting(task: str) -> Iterator[Callable[[str, int, int], None]]:
    """Give a function that shows on standard error how far `task` is: of what, done, and total. Nothing in a pipe."""
    console = Console(stderr=True)
    with Bars(console=console, transient=True, disable=not console.is_terminal) as bars:
        bar = bars.add_task(task)
        yield lambda name, done, total: bars.update(bar, description=f"{task}: {name}", completed=done, total=total)


class Lines:
    """Prints events as lines: what began, every trial's end, every study's end; of other work, its begin and end."""

    def __init__(self, console: Console, as_json: bool) -> None:
        self._console, self._as_json = console, as_json
        self._begun: set[str] = set()

    def __call__(self, event: Event) -> None:
        if self._as_json and (line := json_line(event)) is not None:
            sys.stdout.write(json.dumps(line) + "\n")
            sys.stdout.flush()
        elif not self._as_json or isinstance(event, Note):
            text = self._text(event)
            if text:
                self._console.print(text, markup=False, soft_wrap=True)

    def _text(self, event: Event) -> str:
        if isinstance(event, Progress):
            if event.task in self._begun and event.done < event.total:
                return ""
            self._begun.add(event.task)
            return f"{event.task}: {event.done} of {event.total}"
        return plain(event)


def plain(event: Event) -> str:
    """Return one line for an event that deserves one, else an empty text."""
    match event:
        case Note(text, warning):
            return f"warning: {text}" if warning else text
        case StudyStarted(study, trials, ended, _):
            kept = f", {ended} of them ended before" if ended else ""
            return f"{study.family}: study {study.study}, {trials} trials{kept}"
        case TrialEnded(trial):
            return f"{trial.family} · trial {trial.number} · {_ending(trial)}"
        case FinalEnded(family, run):
            where = "" if run.fold is None else f", outer fold {run.fold + 1}"
            score = run.message or run.outcome
            if run.test_accuracy is not None and run.test_macro_f1 is not None:
                score = f"accuracy {run.test_accuracy:.3f}, macro F1 {run.test_macro_f1:.3f} on {run.tracks} tracks"
            return f"{family} · {run.role} (trial {run.trial}), seed {run.seed + 1}{where} · {score}"
        case StudyEnded(results):
            best = results.best
            if best is None or best.valid_macro_f1 is None:
                return f"{results.study.family}: no trial completed"
            return f"{results.study.family}: best is trial {best.number}, macro F1 {best.valid_macro_f1:.3f}"
    return ""


def json_line(event: Event) -> dict[str, Any] | None:
    """Return the object that `--json` prints for an event, or None."""
    match event:
        case TrialEnded(trial):
            return {
                "event": "trial",
                "family": trial.family,
                "study": trial.study,
                "trial": trial.number,
                "outcome": trial.outcome,
                "message": trial.message,
                "valid_accuracy": trial.valid_accuracy,
                "valid_macro_f1": trial.valid_macro_f1,
                "vram_peak_bytes": trial.reading.peak_bytes,
                "vram_source": trial.reading.source,
                "footprint_bytes": trial.footprint_bytes,
                "micro_batch": trial.micro_batch,
                "train_seconds": trial.train_seconds,
                "params": trial.params,
            }
        case FinalEnded(family, run):
            return {"event": "final", "family": family, **run.model_dump(mode="json")}
        case StudyEnded(results):
            best = results.best
            return {
                "event": "study",
                "family": results.study.family,
                "study": results.study.study,
                "trials": len(results.trials),
                "best_trial": best.number if best else None,
                "valid_accuracy": best.valid_accuracy if best else None,
                "valid_macro_f1": best.valid_macro_f1 if best else None,
            }
    return None


def _ending(trial: TrialRecord) -> str:
    took = f" in {format_duration(trial.train_seconds)}" if trial.train_seconds is not None else ""
    if trial.outcome is Outcome.COMPLETED:
        return f"completed{took} · accuracy {trial.valid_accuracy:.3f} · macro F1 {trial.valid_macro_f1:.3f}"
    return f"{trial.outcome}{took} · {trial.message}"


@dataclass
class LiveView:
    """The table of a run: one row a study, the current trial in it, and the time left."""

    families: int
    rows: dict[str, _Row] = field(default_factory=dict)
    progress: Progress | None = None
    searching_since: float | None = None
    ended: int = 0

    def see(self, event: Event) -> str:
        """Take in an event; return a line to print above the table, or an empty text."""
        match event:
            case Progress():
                self.progress = event
            case StudyStarted(study, trials, ended, best):
                self.progress = None
                self.searching_since = self.searching_since or time.monotonic()
                self.rows[study.family] = _Row(trials, ended, study.epochs, study.budget_bytes, best=best)
                return plain(event)
            case TrialStarted(family, number, _, _, _, footprint):
                row = self.rows[family]
                row.trial, row.epoch, row.score, row.held = number, 0, None, f"~{format_size(footprint)}"
            case EpochEnded(family, number, epoch):
                row = self.rows[family]
                row.trial, row.epoch, row.score = number, epoch.epoch, epoch.val_macro_f1
            case TrialEnded(trial):
                row = self.rows[trial.family]
                self.ended += 1
                row.ended += trial.outcome is not Outcome.REFUSED
                if trial.valid_macro_f1 is not None:
                    row.best = max(row.best or 0.0, trial.valid_macro_f1)
                if trial.reading.source is not Source.NONE:
                    row.held = format_size(trial.reading.peak_bytes or 0)
                return plain(event)
            case StudyEnded(results):
                self.rows[results.study.family].trial = None
                leader = results.best
                self.rows[results.study.family].best = leader.valid_macro_f1 if leader else None
            case Note():
                return plain(event)
        return ""

    def render(self) -> Group:
        """Return what the terminal shows now."""
        table = Table(box=None, pad_edge=False)
        for name in ("family", "ended", "trial", "epoch", "macro F1", "best so far", "VRAM of budget"):
            table.add_column(name, justify="left" if name == "family" else "right")
        for family, row in self.rows.items():
            table.add_row(
                family,
                f"{row.ended}/{row.trials}",
                "–" if row.trial is None else str(row.trial),
                "–" if row.trial is None else f"{row.epoch}/{row.epochs}",
                "–" if row.trial is None or row.score is None else f"{row.score:.3f}",
                "–" if row.best is None else f"{row.best:.3f}",
                f"{row.held} of {format_size(row.budget)}" if row.held else f"of {format_size(row.budget)}",
            )
        return Group(*([table] if self.rows else []), Text(self._foot(), style="dim"))

    def _foot(self) -> str:
        if self.progress is not None:
            return f"{self.progress.task}: {self.progress.done} of {self.progress.total}"
        if self.searching_since is None or not self.rows:
            return "starting"
        left = "" if not self.ended else f"about {format_duration(self._seconds_left())} left · "
        return f"{left}~ predicted, not measured · Ctrl-C stops; the same command goes on"

    def _seconds_left(self) -> float:
        """Reckon with the mean time of the trials so far, and as many trials in the families to come."""
        last = list(self.rows.values())[-1]
        to_come = sum(row.trials - row.ended for row in self.rows.values())
        to_come += (self.families - len(self.rows)) * last.trials
        assert self.searching_since is not None
        return max(0.0, to_come * (time.monotonic() - self.searching_since) / self.ended)


@dataclass
class _Row:
    trials: int
    ended: int
    epochs: int
    budget: int
    trial: int | None = None
    epoch: int = 0
    score: float | None = None
    best: float | None = None
    held: str = ""
