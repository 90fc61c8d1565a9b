"""Batches of crops for training, as a backend-neutral Keras data set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import keras
import numpy as np

from harness.audio.crops import Example, crop
from harness.audio.features import InputView
from harness.audio.store import Store

Window = Literal["fixed", "random"]


def class_weights(labels: Sequence[int], genres: int) -> np.ndarray:
    """Return the weight of each class, float32 (genres,): tracks / (genres * tracks of the class).

    The rule is scikit-learn's `class_weight="balanced"`. A class without tracks weighs nothing.
    """
    counts = np.bincount(np.asarray(labels), minlength=genres)
    return np.where(counts, len(labels) / (genres * np.maximum(counts, 1)), 0).astype(np.float32)


class TrainingCrops(keras.utils.PyDataset):
    """Shuffled batches of crops: inputs, soft labels and sample weights.

    A batch is (micro_batch, *view.shape) float32, (micro_batch, genres) float32 and (micro_batch,)
    float32. Every batch of an epoch is full, and an epoch is a whole number of effective batches, so
    gradient accumulation equals the large batch; the shuffled order wraps round to fill the last one.
    What a batch holds depends on the seed, the epoch and its index alone.

    With the probability `variant_share`, a crop is cut from one of the track's `variants` in the store instead of the
    track itself, each as likely as the next.
    """

    def __init__(
        self,
        store: Store,
        view: InputView,
        examples: Sequence[Example],
        genres: int,
        *,
        micro_batch: int,
        accumulation: int,
        window: Window,
        crops_per_track: int,
        mixup: float,
        weighted: bool,
        seed: int,
        variant_share: float = 0.0,
        variants: int = 0,
    ) -> None:
        super().__init__()
        self.store, self.view, self.examples, self.genres = store, view, examples, genres
        self.micro_batch, self.window, self.mixup, self.seed = micro_batch, window, mixup, seed
        self.variant_share, self.variants = variant_share, variants
        labels = [example.label for example in examples]
        self.weights = class_weights(labels, genres) if weighted else np.ones(genres, np.float32)
        self.places = np.repeat(np.arange(len(examples)), crops_per_track)
        self.updates = max(1, round(len(self.places) / (micro_batch * accumulation)))
        self.steps = self.updates * accumulation
        self.epoch = 0
        self.order = self._shuffle()

    def __len__(self) -> int:
        return self.steps

    def on_epoch_end(self) -> None:
        self.epoch += 1
        self.order = self._shuffle()

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        generator = np.random.default_rng((self.seed, self.epoch, index + 1))
        places = self.order[np.arange(index * self.micro_batch, (index + 1) * self.micro_batch) % len(self.order)]
        chosen = [self.examples[place] for place in places]
        inputs = np.stack([self._crop(example, generator) for example in chosen])
        labels: np.ndarray = np.eye(self.genres, dtype=np.float32)[[example.label for example in chosen]]
        weights: np.ndarray = self.weights[[example.label for example in chosen]]
        if self.mixup > 0:
            # Zhang et al., "mixup: beyond empirical risk minimization", ICLR 2018; one share a batch.
            share = np.float32(generator.beta(self.mixup, self.mixup))
            partner = generator.permutation(len(chosen))
            inputs = share * inputs + (1 - share) * inputs[partner]
            own, others = share * weights, (1 - share) * weights[partner]
            # A loss is linear in its labels, so this is the mixture of the two weighted losses.
            weights = own + others
            labels = (own[:, None] * labels + others[:, None] * labels[partner]) / weights[:, None]
        return inputs, labels, weights

    def _shuffle(self) -> np.ndarray:
        return np.random.default_rng((self.seed, self.epoch, 0)).permutation(self.places)

    def _crop(self, example: Example, generator: np.random.Generator) -> np.ndarray:
        varied = self.variant_share > 0 and generator.random() < self.variant_share
        number = int(generator.integers(1, self.variants, endpoint=True)) if varied else 0
        track = self.store.seen(self.view, example.digest, number)
        room = max(0, track.shape[-1] - self.view.length)
        start = room // 2 if self.window == "fixed" else int(generator.integers(room + 1))
        return crop(track, self.view, start)
