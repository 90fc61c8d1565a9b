"""Small configurations of the families, and inputs that can only be learnt by heart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from optuna.trial import FixedTrial

from harness.families import Family, families
from harness.features.fold import Fold, LabelledTrack
from harness.features.store import FeatureStore
from harness.models import ModelInputs
from harness.records.trial import BatchShape
from harness.trials.job import JobKey, JobKind, TrainingSpec, TrialLimits, TrialSpec
from harness.trials.local.backend import JobFiles

GENRES = 4
FAMILY = families()["cnn2d-mfcc"]
"""The quickest."""

ToneStore = tuple[Path, tuple[LabelledTrack, ...]]
"""The root folder of a store, and the tracks in it."""

# What every family has: nothing that keeps a network from learning by heart.
_CALM = {
    **{"dropout": 0.0, "l2": False, "batch_norm": False, "label_smoothing": 0.0, "mixup": 0.0, "window": "fixed"},
    **{"batch_size": 8, "learning_rate": 1e-3, "optimizer": "adam", "schedule": "constant", "class_weights": False},
}
_SMALL: dict[str, dict[str, Any]] = {
    "cnn2d-mfcc": {"width": 16},
    "cnn2d-fusion": {"blocks": 3, "width": 16, "dense_units": 64},
    "cnn1d-raw": {"width": 16, "first_kernel": 160, "first_stride": 16},
    "cnn-transformer": {"stem_width": 16, "width": 64, "heads": 2, "layers": 1, "norm": "pre"},
}


def small(family: Family, **changes: Any) -> dict[str, Any]:
    """A small point of the family's quick space: its baseline without regularisation, then narrowed, then changed."""
    return dict(family.space(FixedTrial({**family.baseline, **_CALM, **_SMALL.get(family.name, {}), **changes}), True))


def shapes(family: Family) -> ModelInputs:
    rows = family.input_spec.rows
    return ModelInputs(family.input_spec.shape, GENRES, np.zeros(rows, np.float32), np.ones(rows, np.float32))


def noise(family: Family, crops: int) -> tuple[np.ndarray, np.ndarray]:
    """Crops of noise with labels that have nothing to do with them: float32 (crops, *view), (crops, GENRES)."""
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(crops, *family.input_spec.shape)).astype(np.float32)
    return inputs, np.eye(GENRES, dtype=np.float32)[np.arange(crops) % GENRES]


def fold_of(store: Path, train: tuple[LabelledTrack, ...], valid: tuple[LabelledTrack, ...]) -> Fold:
    return Fold(
        train,
        valid,
        {FAMILY.input_spec: FeatureStore(store).normalization(FAMILY.input_spec, [track.digest for track in train])},
    )


def training_of(store: Path, tracks: tuple[LabelledTrack, ...], **config: Any) -> TrainingSpec:
    """A small training of three epochs on every other track; keyword arguments change its configuration."""
    return TrainingSpec(
        family=FAMILY.name,
        config=small(FAMILY, patience=5) | config,
        input_spec=FAMILY.input_spec,
        genres=("high", "low", "middle", "top"),
        folds=(fold_of(store, tracks[::2], tracks[1::2]),),
        epochs=3,
        seed=1,
        batch=BatchShape(micro_batch=2, accumulation=1),
        deterministic=False,
        threads=1,
    )


def job_of(store: Path, tracks: tuple[LabelledTrack, ...], number: int = 3, **config: Any) -> TrialSpec:
    """The job of such a training."""
    key = JobKey("study", JobKind.TRIAL, number)
    return TrialSpec(key, training_of(store, tracks, **config), TrialLimits(budget_bytes=2**30))


def files_in(folder: Path, store: Path) -> JobFiles:
    """Put models and logs of jobs into a folder."""
    return JobFiles(store, lambda key: folder / "models" / f"{key}.keras", lambda key: folder / f"{key}.log")


def changed(spec: TrialSpec, **training: Any) -> TrialSpec:
    """The same job of a training that differs in some fields."""
    return replace(spec, training=replace(spec.training, **training))
