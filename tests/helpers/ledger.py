"""A study and its trials, to be kept in a ledger."""

from __future__ import annotations

import numpy as np

from harness.records.predictions import Predictions
from harness.records.study import DatasetRecord, ProtocolRecord, Provenance, StudyRecord
from harness.records.trial import (
    EpochRecord,
    MemoryRecord,
    Outcome,
    Reading,
    ReadingSource,
    TrialRecord,
    ValidationScores,
)

STUDY = StudyRecord(
    family="cnn",
    name="cnn-ab12cd34",
    description="A small network.",
    input="mfcc",
    space="v1",
    dataset=DatasetRecord(name="demo", fingerprint="f", genres=("blues", "rock"), tracks=4, synthetic=True),
    protocol=ProtocolRecord(name="group", fingerprint="p", sizes={"train": 2, "valid": 2}, grouped=True),
    budget_bytes=2**33,
    epochs=2,
    seed=1,
    quick=True,
    trial_time_limit_seconds=None,
    published=None,
    provenance=Provenance(
        commit="c0ffee", versions={}, backend="tensorflow", device="cpu", driver=None, platform="Linux", cpu_count=2
    ),
)
PREDICTIONS = Predictions(
    tracks=("blues.00000", "röck.00001"),
    genres=("blues", "rock"),
    labels=np.array([0, 1]),
    probabilities=np.array([[0.75, 0.25], [0.5, 0.5]], dtype=np.float32),
)


def completed(number: int, loss: float = 0.5) -> TrialRecord:
    epoch = EpochRecord(
        epoch=0, loss=loss, accuracy=0.5, val_loss=1 / 3, val_accuracy=0.5, val_macro_f1=0.4, seconds=0.1
    )
    return TrialRecord(
        family=STUDY.family,
        study=STUDY.name,
        number=number,
        outcome=Outcome.COMPLETED,
        params={"rate": 1e-5, "dropout": 1.0, "layers": 3, "residual": True, "pooling": "max", "warmup": None},
        epochs=(epoch,),
        scores=ValidationScores(valid_macro_f1=0.4),
        memory=MemoryRecord(reading=Reading(peak_bytes=123, source=ReadingSource.PROCESS)),
        constraints={"vram": -1.5},
    )
