"""Workspaces that rows read: one that a small run made, and others with as many made-up trials as are asked for.

    python -m benchmarks.performance.workspaces run|fill|made-up|copy FOLDER ...

What is there is left as it is, but for what `copy` writes.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.performance.contenders import Contenders
from harness.families import Family, families
from harness.files import replacing
from harness.records.predictions import Predictions
from harness.records.study import StudyRecord
from harness.records.trial import EpochRecord, Outcome, TrialRecord, ValidationScores
from harness.settings import RunSettings, run_settings
from harness.testing.records import RECORD
from harness.tracking.ledger import Ledger
from harness.workspace import Workspace

MAKE = ("python", "-m", "benchmarks.performance.workspaces")
"""The command of this module."""

EPOCHS = 20
"""That a made-up trial has trained for."""

_TRACKS, _GENRES = 20, 10

contenders = Contenders()


def settings(workspace: Path, music: Path, names: list[str], trials: int) -> RunSettings:
    """Return the settings of the small runs: the small spaces, one epoch a trial."""
    options = {"families": tuple(names), "data": music, "protocol": "random", "skip_bad": True, "device": "cpu"}
    return run_settings({**options, "workspace": workspace, "trials": trials, "epochs": 1, "quick": True})


@contenders.command()
def run(folder: Path, music: Path, names: str) -> dict[str, int]:
    """Run a search of one trial for each of the families, which stand with commas between them."""
    from harness.workflows.run import run as run_benchmark

    if not folder.exists():
        with replacing(folder) as unfinished:
            chosen = settings(unfinished, music, names.split(","), trials=1)
            run_benchmark(chosen, [families()[name] for name in chosen.families], lambda event: None)
    return {}


@contenders.command()
def fill(folder: Path, source: Path, trials: int, names: str) -> dict[str, int]:
    """Copy a workspace of `run`, with so many trials of each of the families: all but the first are made up."""
    if folder.exists():
        return {}
    with replacing(folder) as unfinished:
        shutil.copytree(source, unfinished)
        ledger = Ledger(Workspace(unfinished))
        for record in ledger.studies():
            if record.family in names.split(","):
                _fill(ledger, record, families()[record.family], range(1, trials))
            else:
                ledger.delete_study(record.name)
    return {}


@contenders.command()
def made_up(folder: Path, trials: int, family: str = "cnn2d-mfcc") -> dict[str, int]:
    """Make a workspace whose one study has so many made-up trials of a family's full space."""
    if folder.exists():
        return {}
    name = f"{family}-0a1b2c3d"
    with replacing(folder) as unfinished:
        ledger = Ledger(Workspace(unfinished))
        record = RECORD.model_copy(update={"family": family, "name": name, "epochs": EPOCHS})
        _fill(ledger, ledger.open_study(record), families()[family], range(trials))
    return {}


@contenders.command()
def copy(source: Path, folder: Path) -> dict[str, int]:
    """Make a copy anew; results are linked, for they are replaced and never changed."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source, folder, copy_function=shutil.copy2, ignore=shutil.ignore_patterns("results"))
    shutil.copytree(source / "results", folder / "results", copy_function=os.link)
    return {}


def _fill(ledger: Ledger, study: StudyRecord, family: Family, numbers: range) -> None:
    """Write trials that ended, as if MLflow had got them."""
    # Nothing is lost with this machine that could not be made again.
    os.fsync = lambda descriptor: None  # type: ignore[assignment]
    predictions = made_up_predictions() if numbers.start == 0 else ledger.predictions(study.name, 0)
    for record in _trials(study, family, numbers):
        ledger.write_trial(record, predictions if record.completed else None)
    for entry in ledger.pending():
        ledger.delivered(entry)


def _trials(study: StudyRecord, family: Family, numbers: range) -> Iterator[TrialRecord]:
    """Yield trials with random configurations: of ten, seven completed, two were pruned, one was over its budget."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    asked = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    generator = np.random.default_rng(0)
    if numbers.start == 0:
        asked.enqueue_trial(dict(family.baseline))
    for number in numbers:
        trial = asked.ask()
        family.space(trial, study.quick)
        outcome = (*[Outcome.COMPLETED] * 7, *[Outcome.PRUNED] * 2, Outcome.OVER_BUDGET)[number % 10]
        score = float(generator.uniform(0.2, 0.8))
        is_over = outcome is Outcome.OVER_BUDGET
        epochs = _epochs(score, 0 if is_over else EPOCHS // 2 if outcome is Outcome.PRUNED else EPOCHS)
        has_score = outcome is Outcome.COMPLETED
        yield TrialRecord(
            family=study.family,
            study=study.name,
            number=number,
            outcome=outcome,
            params=trial.params,
            epochs=epochs,
            best_epoch=EPOCHS if has_score else None,
            scores=ValidationScores(valid_accuracy=score, valid_macro_f1=score, train_accuracy=score)
            if has_score
            else ValidationScores(),
            parameters=100_000,
            constraints={"vram": 0.1 if is_over else -0.5},
        )


def _epochs(score: float, count: int) -> tuple[EpochRecord, ...]:
    reached = [score * (number + 1) / EPOCHS for number in range(count)]
    return tuple(
        EpochRecord(epoch=number, loss=1.0, accuracy=at, val_loss=1.0, val_accuracy=at, val_macro_f1=at, seconds=1.0)
        for number, at in enumerate(reached, 1)
    )


def made_up_predictions() -> Predictions:
    generator = np.random.default_rng(0)
    probabilities = generator.dirichlet(np.ones(_GENRES), _TRACKS).astype(np.float32)
    names = tuple(f"track {number}" for number in range(_TRACKS))
    genres = tuple(f"genre {number}" for number in range(_GENRES))
    return Predictions(names, genres, np.arange(_TRACKS) % _GENRES, probabilities)


if __name__ == "__main__":
    contenders.print_figures()
