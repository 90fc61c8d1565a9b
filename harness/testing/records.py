"""A made-up study, for what trains nothing: a family, its tracks and folds, predictions and how it is searched."""

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
from harness.search.config import StudyConfig
from harness.units import GIB

EPOCHS = 6


def space(trial: Suggest, quick: bool) -> Config:
    """Suggest a configuration; `strength` only where `augment` is on."""
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


def study_config(record: StudyRecord = RECORD, **changes: Any) -> StudyConfig:
    """Return how the trials of the made-up study run: three of them, one at a time, on the CPU, but for `changes`."""
    config = StudyConfig(
        family=FAMILY,
        record=record,
        trials=3,
        folds=FOLDS,
        min_micro_batch=8,
        jobs=1,
        threads=1,
        deterministic=False,
    )
    return replace(config, **changes)
