"""What a model is trained on, and how its training goes and ends."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from harness.features.crops import count_voting, crop, crop_starts, some_starts, voting_batches
from harness.features.fold import Fold, LabelledTrack
from harness.features.input_spec import WAVEFORM_INPUT, InputSpec
from harness.features.store import FeatureStore
from harness.records.predictions import Predictions
from harness.records.trial import BatchShape, EpochRecord, Outcome
from harness.testing.records import PREDICTIONS
from harness.trials.job import TrainingSpec
from harness.trials.report import TrialReport
from tests.helpers.models import FAMILY, GENRES, ToneStore, fold_of, noise, shapes, small, training_of

ROWS = InputSpec("rows", "features", 2, 5, 10)


@dataclass
class Arrays(FeatureStore):
    """A store of arrays in memory: digest, or digest.copy, to features (rows, frames)."""

    tracks: dict[str, np.ndarray]

    def features(self, digest: str, copy: int = 0) -> np.ndarray:
        return self.tracks[f"{digest}.{copy}" if copy else digest]

    def waveform(self, digest: str, copy: int = 0) -> np.ndarray:
        return self.features(digest, copy)


def ramp(rows: int, frames: int) -> np.ndarray:
    return np.arange(rows * frames, dtype=np.float32).reshape(rows, frames)


@pytest.mark.parametrize("length", [1, 9, 10, 11, 20, 21, 29, 137, 1293])
def test_crops_cover_the_whole_track_and_no_more(length: int) -> None:
    starts = crop_starts(length, 10)
    covered = np.zeros(max(length, 10), bool)
    for start in starts:
        assert 0 <= start <= max(0, length - 10)
        covered[start : start + 10] = True
    assert covered.all()
    assert len(starts) == max(1, -(-length // 10))


def test_a_crop_holds_the_rows_of_its_view() -> None:
    track = ramp(8, 40)[ROWS.start : ROWS.stop]
    np.testing.assert_array_equal(crop(track, ROWS, 7), ramp(8, 40)[2:5, 7:17, None])


def test_a_short_track_is_repeated_from_its_beginning() -> None:
    np.testing.assert_array_equal(crop(np.array([[1.0, 2.0, 3.0]]), ROWS, 0)[0, :, 0], [1, 2, 3, 1, 2, 3, 1, 2, 3, 1])
    samples = np.array([-32768, 16384], np.int16)
    cropped = crop(samples, replace(WAVEFORM_INPUT, length=5), 0)
    assert cropped.dtype == np.float32
    np.testing.assert_array_equal(cropped[:, 0], [-1, 0.5, -1, 0.5, -1])


def test_every_crop_of_every_track_votes_once_in_batches_of_one_size() -> None:
    store = Arrays({"a": ramp(8, 25), "b": ramp(8, 4), "c": ramp(8, 10)})
    batches = list(voting_batches(store, ROWS, [LabelledTrack(name, name, 0) for name in "abc"], 4))
    assert [inputs.shape for inputs, _ in batches] == [(4, 3, 10, 1)] * 2
    assert np.concatenate([owners for _, owners in batches]).tolist() == [0, 0, 0, 1, 2, -1, -1, -1]
    assert not batches[-1][0][1:].any()


@pytest.mark.parametrize(("crops", "chosen"), [(1, 1), (2, 2), (3, 2), (10, 2), (15, 3), (80, 16)])
def test_a_fifth_of_the_crops_come_from_all_parts_of_a_track(crops: int, chosen: int) -> None:
    places = some_starts(10 * np.arange(crops)) / 10
    parts = np.linspace(0, crops, chosen + 1)
    assert len(places) == chosen
    assert ((parts[:-1] <= places) & (places < parts[1:])).all()


def test_where_not_every_crop_votes_the_batches_hold_those_of_a_fifth() -> None:
    store = Arrays({"a": ramp(8, 100), "b": ramp(8, 20)})
    tracks = [LabelledTrack(name, name, 0) for name in "ab"]
    (batch,) = voting_batches(store, ROWS, tracks, 8, every_crop=False)
    inputs, owners = batch
    assert owners.tolist() == [0, 0, 1, 1, -1, -1, -1, -1]
    np.testing.assert_array_equal(inputs[:4, 0, 0, 0], [220, 270, 40, 50])


def test_what_votes_in_the_end_is_counted_in_votes_of_an_epoch(keras: ModuleType) -> None:
    from harness.trials.training.fold import final_votes

    store = Arrays({"a": ramp(8, 100), "b": ramp(8, 20)})
    tracks = tuple(LabelledTrack(name, name, 0) for name in "ab")
    spec: Any = SimpleNamespace(input_spec=ROWS, epochs=3, folds=[Fold((), tracks, {})])
    assert [count_voting(store, ROWS, tracks, every_crop=every) for every in (True, False)] == [12, 4]
    assert final_votes(spec, 0, store) == 3 * 12 / 4
    spec.epochs = 1
    assert final_votes(spec, 0, store) == 2 * 12 / 4


@pytest.mark.parametrize(("patience", "projected"), [(5, 4 * 4 + 10), (1, 2 * 4 + 10)])
def test_the_votes_of_the_end_count_in_the_projection(
    keras: ModuleType, monkeypatch: pytest.MonkeyPatch, patience: int, projected: float
) -> None:
    from harness.trials.training import callback as module

    now = 0.0

    def predict() -> Predictions:
        nonlocal now
        now += 1.0
        return PREDICTIONS

    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: now))
    schedule = module.Schedule(epochs=4, steps=1, patience=patience, final_votes=10.0, fold=None)
    later: list[float] = []
    limit = module.TimeLimit(0.0, 17.5, lambda whole: later.append(whole) or 0.0)
    callback = module.TrialCallback(predict, lambda record: True, schedule, limit)
    callback.set_model(SimpleNamespace(get_weights=list, stop_training=False))

    def train() -> None:
        nonlocal now
        for epoch in range(schedule.epochs):
            callback.on_epoch_begin(epoch)
            now += 3.0
            callback.on_epoch_end(epoch, {"loss": 1.0, "accuracy": 1.0})

    with pytest.raises(module.StopTraining) as stop:
        train()
    assert len(callback.records) == 2
    assert stop.value.projected_seconds == projected
    assert later == [0.0, 4 * 4 + 10]


Batches = Callable[..., Any]


@pytest.fixture
def batches(keras: ModuleType) -> Batches:
    """Make training batches of 11 tracks in three genres of 6, 3 and 2; keyword arguments change them."""
    from harness.trials.training.batches import CropSampling, TrainingCrops

    labels = [0, 0, 0, 1, 0, 2, 1, 0, 1, 0, 2]
    examples = [LabelledTrack(f"t{number}", f"t{number}", label) for number, label in enumerate(labels)]
    tracks = {example.digest: ramp(8, 30) + 1000 * number for number, example in enumerate(examples)}
    store = Arrays(tracks | {f"{digest}.{k}": rows + 100_000 * k for digest, rows in tracks.items() for k in (1, 2, 3)})

    def make(**changes: Any) -> TrainingCrops:
        options = {
            **{"micro_batch": 2, "accumulation": 2, "window": "random", "crops_per_track": 2, "mixup": 0.0},
            **{"weighted": True, "seed": 5},
        }
        return TrainingCrops(store, ROWS, examples, 3, CropSampling(**(options | changes)))

    return make


def epoch(crops: Any) -> list[tuple[np.ndarray, ...]]:
    return [crops[index] for index in range(len(crops))]


@pytest.mark.slow
def test_a_batch_depends_on_seed_epoch_and_index_alone(batches: Batches) -> None:
    """Imports Keras."""
    one, other = batches(mixup=0.3), batches(mixup=0.3)
    expected = epoch(one)
    for index in reversed(range(len(other))):
        for mine, theirs in zip(other[index], expected[index], strict=True):
            np.testing.assert_array_equal(mine, theirs)
    other.on_epoch_end()
    assert not np.array_equal(other[0][0], expected[0][0])
    assert not np.array_equal(batches(mixup=0.3, seed=6)[0][0], expected[0][0])


@pytest.mark.slow
@pytest.mark.parametrize(("accumulation", "steps"), [(1, 11), (2, 12), (4, 12)])
def test_an_epoch_is_a_whole_number_of_full_updates(batches: Batches, accumulation: int, steps: int) -> None:
    """Imports Keras."""
    crops = batches(accumulation=accumulation)
    assert len(crops) == steps
    for inputs, labels, weights in epoch(crops):
        assert (inputs.shape, labels.shape, weights.shape) == ((2, 3, 10, 1), (2, 3), (2,))
        assert inputs.dtype == labels.dtype == weights.dtype == np.float32


@pytest.mark.slow
def test_every_track_comes_as_often_as_the_next_one(batches: Batches) -> None:
    """Imports Keras."""
    crops = batches(accumulation=1)
    seen = np.concatenate([inputs[:, 0, 0, 0] // 1000 for inputs, _, _ in epoch(crops)])
    assert np.bincount(seen.astype(int)).tolist() == [2] * 11


@pytest.mark.slow
def test_a_fixed_window_is_the_middle_and_a_random_one_moves(batches: Batches) -> None:
    """Imports Keras."""

    def starts(window: str) -> set[float]:
        # Row 2 of a track begins with 60 at its first frame.
        return {
            float(start) % 1000 - 60 for inputs, _, _ in epoch(batches(window=window)) for start in inputs[:, 0, 0, 0]
        }

    assert starts("fixed") == {10.0}
    assert len(starts("random")) > 5


def copies_in(crops: Any) -> np.ndarray:
    """Which augmented copy each crop of an epoch was cut from."""
    return np.concatenate([inputs[:, 0, 0, 0] // 100_000 for inputs, _, _ in epoch(crops)]).astype(int)


@pytest.mark.slow
def test_augmented_copies_come_as_often_as_asked_for_and_all_of_them(batches: Batches) -> None:
    """Imports Keras."""
    many = {"crops_per_track": 100, "copies": 3}
    seen = copies_in(batches(augmented_share=0.3, **many))
    assert 0.25 < (seen > 0).mean() < 0.35
    assert set(seen) == {0, 1, 2, 3}
    assert set(copies_in(batches(augmented_share=1.0, **many))) == {1, 2, 3}


@pytest.mark.slow
def test_augmented_copies_depend_on_seed_epoch_and_index_alone(batches: Batches) -> None:
    """Imports Keras."""
    one, other = (batches(augmented_share=0.5, copies=3, mixup=0.3) for _ in range(2))
    expected = epoch(one)
    for index in reversed(range(len(other))):
        np.testing.assert_array_equal(other[index][0], expected[index][0])


@pytest.mark.slow
def test_without_variants_nothing_more_is_drawn(batches: Batches) -> None:
    """Imports Keras."""
    plain, asked = batches(mixup=0.3), batches(mixup=0.3, copies=3, augmented_share=0.0)
    for mine, theirs in zip(epoch(asked), epoch(plain), strict=True):
        np.testing.assert_array_equal(mine[0], theirs[0])


@pytest.mark.slow
def test_mixed_labels_still_sum_to_one(batches: Batches) -> None:
    """Imports Keras."""
    labels = np.concatenate([labels for _, labels, _ in epoch(batches(mixup=0.4))])
    np.testing.assert_allclose(labels.sum(axis=1), 1, rtol=1e-6)
    assert ((labels > 0) & (labels < 1)).any()
    assert set(np.concatenate([labels for _, labels, _ in epoch(batches())]).flat) == {0.0, 1.0}


@pytest.mark.slow
def test_a_rare_genre_weighs_what_scikit_learn_calls_balanced(batches: Batches) -> None:
    """Imports Keras."""
    tracks = [0] * 6 + [1] * 3 + [2] * 2
    balanced = compute_class_weight("balanced", classes=np.arange(3), y=tracks)
    for _, labels, weights in epoch(batches()):
        np.testing.assert_allclose(weights, balanced[labels.argmax(axis=1)], rtol=1e-6)
    for _, _, weights in epoch(batches(weighted=False)):
        np.testing.assert_array_equal(weights, 1)


@pytest.mark.slow
def test_the_mean_over_its_crops_is_a_tracks_vote(keras: ModuleType) -> None:
    """Imports Keras."""
    from harness.trials.training.predict import predict_tracks

    class Stub:
        """Answers with what the first value of a crop says."""

        def predict_on_batch(self, inputs: np.ndarray) -> np.ndarray:
            first = inputs[:, 0, 0, 0]
            return np.stack([first, 1 - first], axis=1)

    steps = np.repeat([0.0, 0.9, 0.3], 10)
    store = Arrays({"long": np.tile(steps, (8, 1)), "short": np.full((8, 10), 0.7)})
    examples = [LabelledTrack("long", "long", 1), LabelledTrack("short", "short", 0)]
    answer = predict_tracks(Stub(), store, ROWS, examples, ("blues", "rock"), size=3)
    np.testing.assert_allclose(answer.probabilities, [[0.4, 0.6], [0.7, 0.3]], rtol=1e-6)
    assert answer.predicted.tolist() == answer.labels.tolist() == [1, 0]
    assert answer.tracks == ("long", "short")


@pytest.mark.slow
def test_two_half_batches_update_as_the_whole_one_does(keras: ModuleType) -> None:
    """Trains: accumulation must give the weights of the large batch, with everything that counts steps switched on."""
    from harness.trials.training.optimizer import compile_model

    config = small(
        FAMILY,
        **{"optimizer": "adamw", "weight_decay": 1e-2, "schedule": "cosine", "warmup": 0.1, "clip_gradients": True},
        **{"batch_size": 16, "l2": True, "l2_weight": 1e-3, "dense_units": 0, "head": "average"},
    )
    updates = 20
    inputs, labels = noise(FAMILY, 16 * updates)
    weights = np.random.default_rng(1).uniform(0.5, 2, len(inputs)).astype(np.float32)

    def trained(accumulation: int) -> list[np.ndarray]:
        keras.utils.set_random_seed(0)
        model = FAMILY.build(config, shapes(FAMILY))
        compile_model(model, config, updates, accumulation)
        size = 16 // accumulation
        for start in range(0, len(inputs), size):
            part = slice(start, start + size)
            model.train_on_batch(inputs[part], labels[part], weights[part])
        return list(model.get_weights())

    start = FAMILY.build(config, shapes(FAMILY))
    whole, halves = trained(1), trained(2)
    for one, other in zip(whole, halves, strict=True):
        np.testing.assert_allclose(other, one, atol=1e-5)
    assert any(np.abs(a - b).max() > 1e-3 for a, b in zip(whole, start.get_weights(), strict=True))


Spec = Callable[..., TrainingSpec]


@dataclass
class Trainer:
    """Trains in this process, on one store, and saves models into one file."""

    store: Path
    model: Path

    def __call__(
        self,
        spec: TrainingSpec,
        listen: Callable[[EpochRecord | Predictions], bool] = lambda message: True,
        seconds: float | None = None,
    ) -> TrialReport:
        from harness.trials.training.train import train

        return train(spec, FAMILY, FeatureStore(self.store), listen, seconds, self.model)


@pytest.fixture
def spec(tone_store: ToneStore, keras: ModuleType) -> Spec:
    """Make a small training on tones; keyword arguments change its configuration."""
    keras.utils.set_random_seed(0)
    return partial(training_of, *tone_store)


@pytest.fixture
def run(tone_store: ToneStore, tmp_path: Path) -> Trainer:
    return Trainer(tone_store[0], tmp_path / "models" / "model.keras")


@pytest.mark.slow
def test_a_model_file_holds_the_weights_once_and_no_optimizer(spec: Spec, run: Trainer) -> None:
    """Trains."""
    report = run(replace(spec(), epochs=1))
    assert report.parameters is not None
    with zipfile.ZipFile(run.model) as archive, archive.open("model.weights.h5") as weights:
        with h5py.File(io.BytesIO(weights.read())) as stored:
            numbers = []
            stored.visititems(lambda name, part: numbers.append((name, getattr(part, "size", 0))))
        configured = json.loads(archive.read("config.json"))
    assert not [name for name, _ in numbers if "optimizer" in name]
    assert sum(size for _, size in numbers) == report.parameters
    assert not configured.get("compile_config")


@pytest.mark.slow
def test_training_ends_early_with_the_weights_of_its_best_epoch(spec: Spec, run: Trainer, keras: ModuleType) -> None:
    """Trains: validation labels that contradict the training ones make later epochs worse than early ones."""
    from harness.scoring.metrics import track_scores
    from harness.trials.training.predict import predict_tracks

    order = replace(spec(patience=2), epochs=12)
    fold = order.folds[0]
    wrong = tuple(replace(track, label=(track.label + 1) % GENRES) for track in fold.valid)
    order = replace(order, folds=(replace(fold, valid=wrong),))
    report = run(order)

    assert report.outcome is Outcome.COMPLETED
    assert report.best_epoch is not None
    best = max(report.epochs, key=lambda epoch: (epoch.val_macro_f1, -epoch.val_loss))
    assert report.best_epoch == best.epoch < len(report.epochs) == best.epoch + 2 < 12

    model = keras.models.load_model(run.model, compile=False)
    again = predict_tracks(model, FeatureStore(run.store), FAMILY.input_spec, order.folds[0].valid, order.genres, 8)
    assert report.predictions is not None
    np.testing.assert_allclose(again.probabilities, report.predictions.probabilities, atol=1e-6)
    assert (best.val_accuracy, best.val_macro_f1) == track_scores(report.predictions)
    assert (report.scores.valid_accuracy, report.scores.valid_macro_f1) == track_scores(report.predictions)
    assert report.inference_seconds is not None
    assert report.inference_seconds > 0
    assert [path.name for path in run.model.parent.iterdir()] == ["model.keras"]


@pytest.mark.slow
def test_all_crops_vote_for_the_two_best_epochs_in_the_end(
    spec: Spec, run: Trainer, keras: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trains, with scores that are made up: by some crops epochs 2 and 4 are best, by all of them 4."""
    from harness.trials.training import fold

    asked = []

    def answer(*arguments: Any, every_crop: bool) -> Predictions:
        labels = np.arange(4)
        asked.append(every_crop)
        right = {True: [2, 3, 4], False: [1, 3, 0, 2, 2]}[every_crop][asked.count(every_crop) - 1]
        said = np.where(labels < right, labels, (labels + 1) % 4)
        return Predictions(tuple("abcd"), tuple("wxyz"), labels, np.eye(4, dtype=np.float32)[said] * 0.5 + 0.125)

    monkeypatch.setattr(fold, "predict_tracks", answer)
    report = run(replace(spec(), epochs=5))
    # The last is for the training accuracy.
    assert asked == [False] * 5 + [True] * 3
    assert report.best_epoch == 4
    assert [epoch.val_accuracy for epoch in report.epochs] == [0.25, 0.75, 0, 0.5, 0.5]
    assert (report.scores.valid_accuracy, report.scores.train_accuracy) == (0.75, 1.0)


@pytest.mark.slow
def test_a_fifth_of_the_crops_score_an_epoch_and_all_of_them_the_trial(
    spec: Spec, run: Trainer, tone_store: ToneStore, keras: ModuleType
) -> None:
    """Trains an epoch, on crops that are so short that a track has seven."""
    from harness.scoring.metrics import log_likelihoods
    from harness.trials.training.predict import predict_tracks

    short, (store, tracks) = replace(FAMILY.input_spec, length=26), tone_store
    normalization = {short: FeatureStore(store).normalization(short, [track.digest for track in tracks])}
    fold = Fold(tracks[::2], tracks[1::2], normalization)
    report = run(replace(spec(head="average"), input_spec=short, folds=(fold,), epochs=1))

    model = keras.models.load_model(run.model, compile=False)
    every, some = (
        predict_tracks(model, FeatureStore(store), short, fold.valid, ("a", "b", "c", "d"), 8, every_crop=every)
        for every in (True, False)
    )
    assert report.predictions is not None
    np.testing.assert_allclose(report.predictions.probabilities, every.probabilities, atol=1e-6)
    assert report.epochs[0].val_loss == pytest.approx(-log_likelihoods(some).mean(), abs=1e-6)
    assert abs(log_likelihoods(some).mean() - log_likelihoods(every).mean()) > 1e-5


@pytest.mark.slow
def test_tones_are_told_apart(spec: Spec, run: Trainer) -> None:
    """Trains: the whole way from stored features to a vote must be able to learn something easy."""
    seen: list[EpochRecord] = []

    def listen(record: EpochRecord | Predictions) -> bool:
        assert isinstance(record, EpochRecord)
        seen.append(record)
        return True

    report = run(replace(spec(), epochs=10), listen)
    assert report.epochs == tuple(seen)
    assert report.scores.valid_accuracy == report.scores.train_accuracy == report.scores.valid_macro_f1 == 1.0
    assert report.parameters


@pytest.mark.slow
def test_a_trial_in_half_batches_is_the_trial_in_whole_ones(spec: Spec, run: Trainer, keras: ModuleType) -> None:
    """Trains twice: the halves of a batch must come one after the other."""
    answers = []
    for micro_batch, accumulation in ((4, 1), (2, 2)):
        keras.utils.set_random_seed(0)
        report = run(
            replace(
                spec(schedule="cosine", warmup=0.1),
                batch=BatchShape(micro_batch=micro_batch, accumulation=accumulation),
            )
        )
        assert report.predictions is not None
        answers.append(([epoch.loss for epoch in report.epochs], report.predictions.probabilities))
    for one, other in zip(*answers, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_a_learning_rate_out_of_this_world_ends_as_diverged_in_its_first_epoch(spec: Spec, run: Trainer) -> None:
    """Trains a few steps."""
    order = spec(learning_rate=1e38)
    report = run(order)
    assert report.outcome is Outcome.DIVERGED
    assert "in epoch 1" in report.message
    assert report.predictions is None
    assert not run.model.exists()


@pytest.mark.slow
def test_a_trial_that_would_take_too_long_says_how_long_and_stops(spec: Spec, run: Trainer) -> None:
    """Trains a few steps."""
    report = run(replace(spec(), epochs=1000, batch=BatchShape(micro_batch=1, accumulation=1)), seconds=0.5)
    assert report.outcome is Outcome.TIMEOUT
    assert report.projected_seconds is not None
    assert report.projected_seconds > 0.5
    assert not report.epochs
    assert "over the limit of" in report.message


@pytest.mark.slow
def test_the_parent_may_prune_after_any_epoch(spec: Spec, run: Trainer) -> None:
    """Trains two epochs."""
    report = run(spec(), lambda record: isinstance(record, EpochRecord) and record.epoch < 2)
    assert report.outcome is Outcome.PRUNED
    assert [record.epoch for record in report.epochs] == [1, 2]
    assert report.predictions is None


@pytest.mark.slow
def test_a_trial_with_folds_scores_every_track_once(spec: Spec, run: Trainer, tone_store: ToneStore) -> None:
    """Trains twice: once to the end, once told to stop after the first fold."""
    order, (store, tracks) = spec(), tone_store
    order = replace(
        order, epochs=2, folds=(fold_of(store, tracks[::2], tracks[1::2]), fold_of(store, tracks[1::2], tracks[::2]))
    )
    halves: list[Predictions] = []
    report = run(order, lambda message: not isinstance(message, Predictions) or halves.append(message) is None)
    assert report.outcome is Outcome.COMPLETED
    assert [(epoch.fold, epoch.epoch) for epoch in report.epochs] == [(0, 1), (0, 2), (1, 1), (1, 2)]
    assert report.predictions is not None
    assert report.predictions.tracks == tuple(sorted(track.track for track in tracks))
    assert [half.tracks for half in halves] == [tuple(track.track for track in tracks[1::2])]
    labels = {track.track: track.label for track in tracks}
    assert report.predictions.labels.tolist() == [labels[track] for track in report.predictions.tracks]

    stopped = run(order, lambda message: not isinstance(message, Predictions))
    assert stopped.outcome is Outcome.PRUNED
    assert {epoch.fold for epoch in stopped.epochs} == {0}


@pytest.mark.slow
def test_folds_to_come_count_in_the_projection(spec: Spec, run: Trainer, tone_store: ToneStore) -> None:
    """Trains a few steps."""
    order, (store, tracks) = spec(), tone_store
    fold = fold_of(store, tracks[::2], tracks[1::2])
    one = run(replace(order, epochs=400), seconds=0.5)
    many = run(replace(order, epochs=400, folds=(fold,) * 10), seconds=0.5)
    assert one.outcome is many.outcome is Outcome.TIMEOUT
    assert one.projected_seconds is not None
    assert many.projected_seconds is not None
    assert many.projected_seconds > 3 * one.projected_seconds
