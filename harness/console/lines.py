"""Events as text: a line each for readers, and JSON for scripts."""

from __future__ import annotations

import json
import sys
from typing import Any

from rich.console import Console

from harness.events import Event, FinalFinished, Note, Progress, StudyFinished, StudyStarted, TrialFinished
from harness.paths import printable
from harness.records.trial import Outcome, TrialRecord
from harness.units import format_duration


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
            return printable(f"warning: {text}" if warning else text)
        case StudyStarted(study, trials, ended, _):
            kept = f", {ended} of them ended before" if ended else ""
            return f"{study.family}: study {study.name}, {trials} trials{kept}"
        case TrialFinished(trial):
            return f"{trial.family} · trial {trial.number} · {_ending(trial)}"
        case FinalFinished(family, run):
            score = run.message or run.outcome
            if run.test_accuracy is not None and run.test_macro_f1 is not None:
                score = f"accuracy {run.test_accuracy:.3f}, macro F1 {run.test_macro_f1:.3f} on {run.tracks} tracks"
            return f"{family} · {run.role} (trial {run.trial}), {run.label} · {score}"
        case StudyFinished(results):
            best = results.best
            if best is None or best.scores.valid_macro_f1 is None:
                return f"{results.study.family}: no trial completed"
            return f"{results.study.family}: best is trial {best.number}, macro F1 {best.scores.valid_macro_f1:.3f}"
    return ""


def json_line(event: Event) -> dict[str, Any] | None:
    """Return the object that `--json` prints for an event, or None."""
    match event:
        case TrialFinished(trial):
            return {
                "event": "trial",
                "family": trial.family,
                "study": trial.study,
                "trial": trial.number,
                "outcome": trial.outcome,
                "message": trial.message,
                "valid_accuracy": trial.scores.valid_accuracy,
                "valid_macro_f1": trial.scores.valid_macro_f1,
                "vram_peak_bytes": trial.memory.reading.peak_bytes,
                "vram_source": trial.memory.reading.source,
                "footprint_bytes": trial.memory.footprint_bytes,
                "micro_batch": trial.batch.micro_batch if trial.batch is not None else None,
                "train_seconds": trial.timing.train_seconds,
                "params": trial.params,
            }
        case FinalFinished(family, run):
            return {
                "event": "final",
                "family": family,
                **run.model_dump(mode="json", exclude={"memory", "timing"}),
                "reading": run.memory.reading.model_dump(mode="json"),
                "allocator_peak_bytes": run.memory.allocator_peak_bytes,
                "train_seconds": run.timing.train_seconds,
            }
        case StudyFinished(results):
            best = results.best
            return {
                "event": "study",
                "family": results.study.family,
                "study": results.study.name,
                "trials": len(results.trials),
                "best_trial": best.number if best else None,
                "valid_accuracy": best.scores.valid_accuracy if best else None,
                "valid_macro_f1": best.scores.valid_macro_f1 if best else None,
            }
    return None


def _ending(trial: TrialRecord) -> str:
    took = f" in {format_duration(trial.timing.train_seconds)}" if trial.timing.train_seconds is not None else ""
    if trial.outcome is Outcome.COMPLETED:
        return (
            f"completed{took} · accuracy {trial.scores.valid_accuracy:.3f} · macro F1 {trial.scores.valid_macro_f1:.3f}"
        )
    return f"{trial.outcome}{took} · {trial.message}"
