"""A study that trains nothing: a made-up family, its record, and how its trials end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from harness.families import Family, Suggest
from harness.features.fold import Fold, LabelledTrack
from harness.features.input_spec import MFCC_INPUT
from harness.models import Config
from harness.records.predictions import Predictions
from harness.records.study import DatasetRecord, ProtocolRecord, Provenance, StudyRecord
from harness.records.trial import EpochRecord, Outcome, ValidationScores
from harness.trials.job import TrialSpec
from harness.trials.report import TrialReport
from harness.units import GIB

EPOCHS = 6


def space(trial: Suggest, quick: bool) -> Config:
    config: dict[str, Any] = {
        "learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True),
        "width": trial.suggest_int("width", 16, 64, step=8),
        "batch_size": trial.suggest_categorical("batch_size", [8, 16, 32]),
        "augment": trial.suggest_categorical("augment", [False, True]),
    }
    if config["augment"]:
        config["strength"] = trial.suggest_float("strength", 0.0, 1.0)
    return config


FAMILY = Family(
    name="made-up",
    description="no network",
    input_spec=MFCC_INPUT,
    space=space,
    baseline={"learning_rate": 3e-3, "width": 32, "batch_size": 8, "augment": False},
    build=lambda config, shapes: None,
)
TRACKS = tuple(LabelledTrack(f"t{number}", f"digest{number}", number % 2) for number in range(4))
FOLDS = (Fold(TRACKS[:2], TRACKS[2:], {MFCC_INPUT: (np.zeros(40), np.ones(40))}),)
PREDICTIONS = Predictions(
    tracks=tuple(track.track for track in TRACKS),
    genres=("blues", "rock"),
    labels=np.array([0, 1, 0, 1]),
    probabilities=np.full((4, 2), 0.5, np.float32),
)
RECORD = StudyRecord(
    family=FAMILY.name,
    name="made-up-0a1b2c3d",
    description=FAMILY.description,
    input="rows",
    space="0a1b2c3d",
    dataset=DatasetRecord(name="made", fingerprint="f", genres=("blues", "rock"), tracks=4, synthetic=True),
    protocol=ProtocolRecord(name="random", fingerprint="p", sizes={"train": 2, "valid": 2}, grouped=False),
    budget_bytes=8 * GIB,
    epochs=EPOCHS,
    seed=7,
    quick=False,
    trial_time_limit_seconds=None,
    published=None,
    provenance=Provenance(commit="", versions={}, backend="", device="", driver=None, platform="", cpu_count=2),
)


def score(config: Config) -> float:
    """What a trial of this configuration ends at: a smooth function with an optimum inside of the space."""
    distance = abs(np.log10(config["learning_rate"]) + 3) + abs(config["width"] - 40) / 16 + config.get("strength", 0)
    return round(float(np.exp(-distance)), 6)


def completed(spec: TrialSpec, epochs: tuple[EpochRecord, ...] = (), **changes: Any) -> TrialReport:
    reached = score(spec.training.config)
    report = TrialReport(
        Outcome.COMPLETED,
        epochs=epochs,
        best_epoch=EPOCHS,
        scores=ValidationScores(valid_accuracy=reached, valid_macro_f1=reached, train_accuracy=1.0),
        train_seconds=2.0,
        predictions=PREDICTIONS,
    )
    return replace(report, **changes)
