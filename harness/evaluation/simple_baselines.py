"""Simple baselines: classifiers that need no network, which any family must beat to be worth its memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.features.extract import MFCC
from harness.features.fold import Fold, LabelledTrack
from harness.features.store import FeatureStore
from harness.records.predictions import Predictions
from harness.records.study import ReferenceRecord, StudyRecord
from harness.scoring.metrics import joined, track_scores
from harness.tracking.ledger import Ledger
from harness.tracking.serialization import REFERENCES, dump_references


def keep_simple_baselines(ledger: Ledger, study: StudyRecord, store: FeatureStore, folds: Sequence[Fold]) -> None:
    """Score the simple baselines on what the folds hold out, and keep that beside what is known of other partitions.

    Raises:
        WorkspaceError: the store lacks features, or the ledger cannot be written to.
    """
    scored = simple_baselines(store, folds, study.dataset.genres, study.seed)
    others = (each for each in ledger.results(study.name).references if each.partition != scored[0].partition)
    ledger.write_study_files(study.name, {REFERENCES: dump_references((*others, *scored))})


def simple_baselines(
    store: FeatureStore, folds: Sequence[Fold], genres: tuple[str, ...], seed: int
) -> tuple[ReferenceRecord, ...]:
    """Score simple baselines on the tracks that the folds hold out: those of the test, where there are any.

    - The majority class: every track gets the genre that most training tracks have; of equals, the first.
    - MFCC statistics with logistic regression: mean and standard deviation of 40 MFCCs over a track, standardised
      by the training tracks, L2 with scikit-learn's default strength.

    Args:
        folds: trained in turn.
        seed: of the logistic regression's solver.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    majority, regression = [], []
    for fold in folds:
        tested = fold.test or fold.valid
        labels = np.array([example.label for example in fold.train])
        most = np.eye(len(genres), dtype=np.float32)[np.bincount(labels).argmax()]
        majority.append(_predictions(tested, genres, np.tile(most, (len(tested), 1))))
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, random_state=seed))
        model.fit(_statistics(store, fold.train), labels)
        probabilities = np.zeros((len(tested), len(genres)), np.float32)
        probabilities[:, model.classes_] = model.predict_proba(_statistics(store, tested))
        regression.append(_predictions(tested, genres, probabilities))
    partition = "test" if folds[0].test else "valid"
    return tuple(
        _record(name, partition, joined(parts))
        for name, parts in (("majority class", majority), ("MFCC statistics + logistic regression", regression))
    )


def _statistics(store: FeatureStore, examples: Sequence[LabelledTrack]) -> np.ndarray:
    """Return mean and standard deviation of every MFCC over each track, shape (tracks, 80)."""
    rows = (store.features(example.digest)[MFCC] for example in examples)
    return np.stack([np.concatenate([track.mean(axis=1), track.std(axis=1)]) for track in rows])


def _predictions(examples: Sequence[LabelledTrack], genres: tuple[str, ...], probabilities: np.ndarray) -> Predictions:
    labels = np.array([example.label for example in examples], np.int64)
    return Predictions(tuple(example.track for example in examples), genres, labels, probabilities)


def _record(name: str, partition: str, predictions: Predictions) -> ReferenceRecord:
    accuracy, macro_f1 = track_scores(predictions)
    return ReferenceRecord(
        name=name, partition=partition, tracks=len(predictions.tracks), accuracy=accuracy, macro_f1=macro_f1
    )
