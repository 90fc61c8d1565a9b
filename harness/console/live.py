"""The live view of a run: a line for each running trial, and a panel with what came of the run so far."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from harness.console.lines import plain
from harness.events import (
    EpochFinished,
    Event,
    Note,
    Progress,
    StudyFinished,
    StudyStarted,
    TrialFinished,
    TrialStarted,
)
from harness.records.trial import Outcome, ReadingSource
from harness.units import format_duration, format_size
from harness.workspace import Workspace

_BAR = 14
_PANEL_WIDTH = 76


@dataclass
class _Running:
    """A trial in training; `used` is the GPU memory that it was measured to hold, in bytes, None before that."""

    epochs: int
    budget: int
    footprint: int
    epoch: str = ""
    score: float | None = None
    used: int | None = None


@dataclass
class _Study:
    trials: int
    ended: int
    epochs: int
    budget: int
    best: float | None


@dataclass
class LiveView:
    """What the terminal shows of a run.

    Attributes:
        studies: how many the run will go through.
        workspace: where the results go.
        time_limit: seconds that the search may take; None for no limit.
        measured: whether GPU memory is measured; None as long as nothing tells.
        tracking_uri: of the MLflow store that shows the results; None for the workspace's own.
    """

    studies: int
    workspace: Path
    time_limit: float | None = None
    measured: bool | None = None
    tracking_uri: str | None = None
    _seen: dict[str, _Study] = field(default_factory=dict)
    _running: dict[tuple[str, int], _Running] = field(default_factory=dict)
    _outcomes: Counter[Outcome] = field(default_factory=Counter)
    _progress: Progress | None = None
    _since: float | None = None

    def see(self, event: Event) -> str:
        """Take in an event; return a line to print above the view, or an empty text."""
        match event:
            case Progress():
                self._progress = event
                return ""
            case StudyStarted(study, trials, ended, best):
                self._progress = None
                self._since = self._since or time.monotonic()
                self._seen[study.family] = _Study(trials, ended, study.epochs, study.budget_bytes, best)
            case TrialStarted(family, number, _, _, _, footprint):
                within = self._seen[family]
                self._running[family, number] = _Running(within.epochs, within.budget, footprint)
            case EpochFinished(family, number, epoch, used):
                trial = self._running[family, number]
                fold = "" if epoch.fold is None else f"fold {epoch.fold + 1} · "
                trial.epoch, trial.score, trial.used = f"{fold}{epoch.epoch}", epoch.val_macro_f1, used
                self.measured = self.measured or used is not None
            case TrialFinished(record):
                self._running.pop((record.family, record.number), None)
                self._outcomes[record.outcome] += 1
                within = self._seen[record.family]
                within.ended += record.outcome is not Outcome.REFUSED
                if record.scores.valid_macro_f1 is not None and record.completed:
                    within.best = max(within.best or 0.0, record.scores.valid_macro_f1)
                if record.epochs:
                    self.measured = self.measured or record.memory.reading.source is not ReadingSource.NONE
            case StudyFinished() | Note():
                pass
        return plain(event)

    def render(self) -> Group:
        """Return what the terminal shows now."""
        parts: list[RenderableType] = []
        if self._running:
            parts.append(self._trials())
        if self._progress is not None:
            parts.append(_work(self._progress))
        if self._seen:
            parts.append(self._panel())
        return Group(*parts or [Text("starting", style="dim")])

    def _trials(self) -> Table:
        budget = format_size(next(iter(self._running.values())).budget)
        memory = "VRAM not measured" if self.measured is False else "VRAM"
        table = Table(box=None, pad_edge=False, header_style="dim")
        table.add_column("trial", no_wrap=True)
        table.add_column("epoch", justify="right", no_wrap=True)
        table.add_column("macro F1", justify="right", no_wrap=True)
        table.add_column(f"{memory}, of {budget}", no_wrap=True)
        for (family, number), trial in self._running.items():
            used = trial.footprint if trial.used is None else trial.used
            size = format_size(used) if trial.used is not None else f"{format_size(used)} predicted"
            bar = Table.grid(padding=(0, 2, 0, 0))
            bar.add_row(ProgressBar(total=trial.budget, completed=used, width=_BAR), size)
            table.add_row(
                f"{family} {number}",
                f"{trial.epoch or 0}/{trial.epochs}",
                "–" if trial.score is None else f"{trial.score:.3f}",
                bar,
            )
        return table

    def _panel(self) -> Panel:
        best = Table.grid(padding=(0, 2, 0, 0))
        for family, study in self._seen.items():
            score = "–" if study.best is None else f"{study.best:.3f}"
            best.add_row(family, score, f"{study.ended} of {study.trials} trials")
        outcomes = " · ".join(f"{self._outcomes[outcome]} {outcome}" for outcome in Outcome if self._outcomes[outcome])
        left = self._seconds_left()
        going = f" · about {format_duration(left)} left" if left else ""
        lines = [
            f"this run: {outcomes or 'no trial ended yet'}{going}",
            f"report, after each family: {Workspace(self.workspace).report}",
            f"browse: {Workspace(self.workspace).browsing(self.tracking_uri)}",
        ]
        hint = Text("Ctrl-C stops; the same command goes on", style="dim")
        # A width of its own, so that nothing jumps when a line grows.
        return Panel(
            Group(best, *map(Text, lines), hint), title="best macro F1 so far", title_align="left", width=_PANEL_WIDTH
        )

    def _seconds_left(self) -> float | None:
        """Estimate by the mean time of the trials so far, and as many trials in the studies to come."""
        ended = sum(self._outcomes.values()) - self._outcomes[Outcome.REFUSED]
        if self._since is None or not ended:
            return None
        studies = list(self._seen.values())
        to_come = sum(study.trials - study.ended for study in studies)
        to_come += (self.studies - len(studies)) * studies[-1].trials
        spent = time.monotonic() - self._since
        left = to_come * spent / ended
        return max(0.0, left if self.time_limit is None else min(left, self.time_limit - spent))


def _work(progress: Progress) -> Table:
    """Return a bar of work that is no trial."""
    bar = Table.grid(padding=(0, 2, 0, 0))
    bar.add_row(
        progress.task,
        ProgressBar(total=max(progress.total, 1), completed=progress.done, width=_BAR),
        f"{progress.done:,} of {progress.total:,}",
    )
    return bar
