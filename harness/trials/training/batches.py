"""Batches of crops are drawn for training, as a backend-neutral Keras data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Literal

import keras
import numpy as np

from harness.features.crops import crop
from harness.features.fold import LabelledTrack
from harness.features.input_spec import InputSpec
from harness.features.store import FeatureStore

Window = Literal["fixed", "random"]

_OPEN_TRACKS = 512
"""Tracks that stay mapped: each takes a file descriptor, of which a process often has no more than 1,024."""


def class_weights(labels: Sequence[int], genres: int) -> np.ndarray:
    """Return the weight of each class, float32 (genres,): tracks / (genres * tracks of the class).

    The rule is scikit-learn's `class_weight="balanced"`. A class without tracks weighs nothing.
    """
    counts = np.bincount(np.asarray(labels), minlength=genres)
    return np.where(counts, len(labels) / (genres * np.maximum(counts, 1)), 0).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class CropSampling:
    """How crops are drawn, and how a batch is made of them.

    Attributes:
        micro_batch: crops of a batch.
        accumulation: batches of an effective batch.
        window: whether a crop is always the middle of its track, or any part of it.
        crops_per_track: of every track in an epoch.
        mixup: the Beta distribution's parameter; 0 for none.
        weighted: whether crops weigh as `class_weights` says.
        seed: what a batch holds depends on it, the epoch and the batch's index alone.
        augmented_share: the probability with which a crop is cut from an augmented copy in the store instead
            of the track itself.
        copies: how many of them there are of every track, each as likely as the next.
    """

    micro_batch: int
    accumulation: int
    window: Window
    crops_per_track: int
    mixup: float
    weighted: bool
    seed: int
    augmented_share: float = 0.0
    copies: int = 0


class TrainingCrops(keras.utils.PyDataset):
    """Shuffled batches of crops: inputs, soft labels and sample weights.

    A batch is (micro_batch, *input_spec.shape) float32, (micro_batch, genres) float32 and (micro_batch,)
    float32. Every batch of an epoch is full, and an epoch is a whole number of effective batches, so
    gradient accumulation equals the large batch; the shuffled order wraps round to fill the last one.
    """

    def __init__(
        self,
        store: FeatureStore,
        input_spec: InputSpec,
        examples: Sequence[LabelledTrack],
        genres: int,
        sampling: CropSampling,
    ) -> None:
        super().__init__()
        self.store, self.input_spec, self.examples, self.genres, self.sampling = (
            store,
            input_spec,
            examples,
            genres,
            sampling,
        )
        labels = [example.label for example in examples]
        self.weights = class_weights(labels, genres) if sampling.weighted else np.ones(genres, np.float32)
        self.places = np.repeat(np.arange(len(examples)), sampling.crops_per_track)
        self.updates = max(1, round(len(self.places) / (sampling.micro_batch * sampling.accumulation)))
        self.steps = self.updates * sampling.accumulation
        self.epoch = 0
        self.order = self._shuffle()
        # To find and map a track's file takes longer than to cut a crop out of it.
        self._track = lru_cache(_OPEN_TRACKS)(partial(store.load, input_spec))

    def __len__(self) -> int:
        return self.steps

    def on_epoch_end(self) -> None:
        self.epoch += 1
        self.order = self._shuffle()

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        generator = np.random.default_rng((self.sampling.seed, self.epoch, index + 1))
        size = self.sampling.micro_batch
        places = self.order[np.arange(index * size, (index + 1) * size) % len(self.order)]
        chosen = [self.examples[place] for place in places]
        inputs = np.stack([self._crop(example, generator) for example in chosen])
        labels: np.ndarray = np.eye(self.genres, dtype=np.float32)[[example.label for example in chosen]]
        weights: np.ndarray = self.weights[[example.label for example in chosen]]
        if self.sampling.mixup > 0:
            # Zhang et al., "mixup: beyond empirical risk minimization", ICLR 2018; one share a batch.
            share = np.float32(generator.beta(self.sampling.mixup, self.sampling.mixup))
            partner = generator.permutation(len(chosen))
            inputs = share * inputs + (1 - share) * inputs[partner]
            own, others = share * weights, (1 - share) * weights[partner]
            # A loss is linear in its labels, so this is the mixture of the two weighted losses.
            weights = own + others
            labels = (own[:, None] * labels + others[:, None] * labels[partner]) / weights[:, None]
        return inputs, labels, weights

    def _shuffle(self) -> np.ndarray:
        return np.random.default_rng((self.sampling.seed, self.epoch, 0)).permutation(self.places)

    def _crop(self, example: LabelledTrack, generator: np.random.Generator) -> np.ndarray:
        sampling = self.sampling
        augmented = sampling.augmented_share > 0 and generator.random() < sampling.augmented_share
        number = int(generator.integers(1, sampling.copies, endpoint=True)) if augmented else 0
        track = self._track(example.digest, number)
        room = max(0, track.shape[-1] - self.input_spec.length)
        start = room // 2 if sampling.window == "fixed" else int(generator.integers(room + 1))
        return crop(track, self.input_spec, start)
