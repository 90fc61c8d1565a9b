"""What it does to scores that a fifth of the crops vote after each epoch of a trial, and not all of them.

    python -m benchmarks.training.voting DATA [--family NAME]... [--epochs 20] [--seeds 3]

Baselines train on all folds of `kfold:5` but two: one chooses the epoch, the other is seen by no choice. Three choices
watch the same trainings: by all crops in every epoch; by a fifth, with all in the end for the two best, as trials do;
by a fifth alone. Macro F1 is of all crops, the five folds together. Prints a markdown table. A seed of
`cnn2d-mfcc` on 50 tracks of 30 s takes about two minutes of a core.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from harness.datasets.scan import scan
from harness.families import Family, family
from harness.features.fold import Fold
from harness.features.store import FeatureStore
from harness.markdown import table
from harness.preparation import IN_SEARCH, PreparedData, extract_features, split_dataset
from harness.records.predictions import Predictions
from harness.records.trial import BatchShape, EpochRecord
from harness.scoring.metrics import joined, log_likelihoods, track_scores
from harness.trials import framework
from harness.trials.job import TrainingSpec

FOLDS = 5
CHOICES = ("all", "a fifth, then all", "a fifth")


@dataclass(frozen=True)
class Epoch:
    """An epoch's record, by a fifth of the crops, and what all crops say of the choosing tracks and of unseen ones."""

    record: EpochRecord
    valid: Predictions
    unseen: Predictions

    @property
    def by_all(self) -> tuple[float, float]:
        """Macro F1 and, of equals, the log likelihood."""
        return track_scores(self.valid).macro_f1, float(log_likelihoods(self.valid).mean())

    @property
    def by_some(self) -> tuple[float, float]:
        """The same of a fifth of the crops."""
        return self.record.val_macro_f1, -self.record.val_loss


def train(chosen: Family, data: PreparedData, fold: Fold, epochs: int, seed: int) -> tuple[Epoch, ...]:
    """Train the baseline of a family for all its epochs, and return what each of `CHOICES` takes."""
    import keras

    from harness.models import ModelInputs
    from harness.trials.training.callback import TimeLimit
    from harness.trials.training.fold import train_fold
    from harness.trials.training.predict import predict_tracks

    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    config = {**chosen.baseline, "patience": epochs}
    batch, genres = BatchShape(micro_batch=config["batch_size"], accumulation=1), data.dataset.genres
    spec = TrainingSpec(chosen.name, config, chosen.input_spec, genres, (fold,), epochs, seed, batch, False, 1)
    normalization = fold.normalization[chosen.input_spec]
    model = chosen.build(config, ModelInputs(chosen.input_spec.shape, len(genres), *normalization))
    seen: list[Epoch] = []

    def vote_fully(record: EpochRecord) -> bool:
        valid, unseen = (
            predict_tracks(model, data.store, chosen.input_spec, tracks, genres, batch.micro_batch)
            for tracks in (fold.valid, fold.test)
        )
        seen.append(Epoch(record, valid, unseen))
        return True

    trained = train_fold(model, spec, 0, data.store, vote_fully, TimeLimit(time.perf_counter(), None, lambda own: 0))
    return (
        max(seen, key=lambda epoch: epoch.by_all),
        seen[trained.best_epoch - 1],
        max(seen, key=lambda epoch: epoch.by_some),
    )


def row(chosen: Family, data: PreparedData, epochs: int, seed: int) -> list[str]:
    """Train on all folds: macro F1 of the choosing tracks, then of unseen ones, by each of `CHOICES`."""
    parts = [valid for _, valid in data.split.folds]
    taken = []
    for number, valid in enumerate(parts):
        unseen = parts[(number + 1) % FOLDS]
        training = sorted({track for part in parts for track in part} - {*valid, *unseen})
        fold = data.fold((chosen.input_spec,), training, valid, unseen)
        taken.append(train(chosen, data, fold, epochs, FOLDS * seed + number))
    scores = [
        track_scores(joined([getattr(epoch, side) for epoch in epochs_taken])).macro_f1
        for side in ("valid", "unseen")
        for epochs_taken in zip(*taken, strict=True)
    ]
    return [chosen.name, str(seed), *(f"{score:.3f}" for score in scores)]


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--family", action="append")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    framework.prepare(threads=1, deterministic=False, seed=0)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(options.seeds):
            found = split_dataset(scan(options.data), f"kfold:{FOLDS}", seed)
            data = extract_features(found, FeatureStore(Path(folder)), IN_SEARCH, 0, lambda event: None)
            for name in options.family or ["cnn2d-mfcc"]:
                rows.append(row(family(name), data, options.epochs, seed))
                print(*rows[-1], flush=True)
    head = ["family", "seed", *(f"{tracks}, {choice}" for tracks in ("valid", "unseen") for choice in CHOICES)]
    print(table(head, rows, numeric=head[1:]))


if __name__ == "__main__":
    main()
