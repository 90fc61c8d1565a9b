"""Row: what it does to scores that a fifth of the crops vote after each epoch of a trial, and not all of them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.performance.contenders import Contenders, use_one_thread
from benchmarks.performance.row import Contender, Row, Setting
from harness.datasets.scan import scan
from harness.families import Family, family
from harness.features.fold import Fold
from harness.features.store import FeatureStore
from harness.preparation import IN_SEARCH, PreparedData, extract_features, split_dataset
from harness.records.predictions import Predictions
from harness.records.trial import BatchShape, EpochRecord
from harness.scoring.metrics import joined, log_likelihoods, track_scores
from harness.trials.job import TrainingSpec

FOLDS = 5
CHOICES = ("all", "trial", "fifth")
"""By all crops in every epoch; by a fifth, with all in the end for the two best, as trials do; by a fifth alone."""

contenders = Contenders()


def rows(setting: Setting) -> tuple[Row, ...]:
    command = ("python", "-m", "benchmarks.performance.voting", "baseline", "cnn2d-mfcc", setting.music)
    size = ("--epochs", str(setting.size(20, 1)))
    seeds = range(setting.size(3, 1))
    return (
        Row(
            name="voting",
            contenders=tuple(Contender(f"seed {seed}", (*command, *size, "--seed", str(seed))) for seed in seeds),
            columns={
                "valid_all": "choosing tracks, by all crops",
                "valid_trial": "as trials do",
                "valid_fifth": "by a fifth",
                "unseen_all": "unseen tracks, by all crops",
                "unseen_trial": "as trials do",
                "unseen_fifth": "by a fifth",
            },
            rounds=1,
            prepare=(setting.make_music,),
            in_quick=False,
        ),
    )


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


@contenders.command()
def baseline(name: str, music: Path, epochs: int = 20, seed: int = 0) -> dict[str, float]:
    """Train a family's baseline on all folds: macro F1 of the choosing tracks and of unseen ones, by each choice."""
    use_one_thread()
    from harness.trials import framework

    framework.prepare(threads=1, deterministic=False, seed=0)
    chosen, taken = family(name), []
    with TemporaryDirectory() as folder:
        found = split_dataset(scan(music), f"kfold:{FOLDS}", seed)
        data = extract_features(found, FeatureStore(Path(folder)), IN_SEARCH, 0, lambda event: None)
        parts = [valid for _, valid in data.split.folds]
        for number, valid in enumerate(parts):
            unseen = parts[(number + 1) % FOLDS]
            training = sorted({track for part in parts for track in part} - {*valid, *unseen})
            fold = data.fold((chosen.input_spec,), training, valid, unseen)
            taken.append(train(chosen, data, fold, epochs, FOLDS * seed + number))
    return {
        f"{side}_{choice}": track_scores(joined([getattr(epoch, side) for epoch in epochs_taken])).macro_f1
        for side in ("valid", "unseen")
        for choice, epochs_taken in zip(CHOICES, zip(*taken, strict=True), strict=True)
    }


if __name__ == "__main__":
    contenders.print_figures()
