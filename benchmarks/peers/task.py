"""The task that all peers get: the crops of one split, and the space, model and training of one family.

What a peer trains is what `model.fit` of arrays trains: mixup, random windows, class weights and early stopping of a
sampled configuration are left out.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.families import Family, Suggest
from harness.models import Config, ModelInputs

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Crops:
    """The crops of a split.

    Attributes:
        train, valid: float32, shape (crops, *shape of one crop).
        train_labels, valid_labels: indices of genres, int64, shape (crops,).
        mean, variance: of each row of the training crops, float32, shape (rows,).
        genres: number of classes.
    """

    train: np.ndarray
    train_labels: np.ndarray
    valid: np.ndarray
    valid_labels: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    genres: int

    def save(self, file: Path) -> None:
        """Write them to an `.npz` file."""
        with file.open("wb") as out:  # given a name, NumPy would add a suffix to it
            np.savez(out, **vars(self))


def load_crops(file: Path) -> Crops:
    """Return the crops that `Crops.save` wrote."""
    with np.load(file) as stored:
        arrays = dict(stored)
    return Crops(**{**arrays, "genres": int(arrays["genres"])})


def noise(shape: Sequence[int], crops: int = 100, genres: int = 10, seed: int = 0) -> Crops:
    """Return crops of noise, a fifth of them for validation."""
    generator = np.random.default_rng(seed)
    inputs = generator.normal(size=(crops, *shape)).astype(np.float32)
    labels = np.arange(crops) % genres
    cut = crops - crops // 5
    rows = 1 if len(shape) == 2 else shape[0]
    unit = np.zeros(rows, np.float32), np.ones(rows, np.float32)
    return Crops(inputs[:cut], labels[:cut], inputs[cut:], labels[cut:], *unit, genres)


@dataclass(frozen=True)
class Task:
    """What is searched: a configuration of the family's small space with the best accuracy on the validation crops."""

    family: Family
    crops: Crops
    epochs: int

    def space(self, trial: Suggest) -> Config:
        """Suggest a configuration."""
        return self.family.space(trial, True)

    def build(self, config: Config) -> keras.Model:
        """Return the configured model, compiled."""
        from harness.trials.training.optimizer import compile_model

        crops = self.crops
        model = self.family.build(config, ModelInputs(crops.train.shape[1:], crops.genres, crops.mean, crops.variance))
        updates = -(-len(crops.train) // config["batch_size"])
        compile_model(model, config, updates * self.epochs, accumulation=1)
        return model

    @property
    def arrays(self) -> dict[str, Any]:
        """What `model.fit` is given: `x`, `y` and `validation_data`."""
        crops, one_hot = self.crops, np.eye(self.crops.genres, dtype=np.float32)
        valid = (crops.valid, one_hot[crops.valid_labels])
        return {"x": crops.train, "y": one_hot[crops.train_labels], "validation_data": valid}


def find_family(name: str) -> Family:
    """Return a family that ships; entry points are not read, for `harness` is not installed among the peers."""
    family: Family = import_module(f"search_spaces.{name.replace('-', '_')}").FAMILY
    return family


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what the task is."""
    parser.add_argument("--family", default="cnn2d-mfcc")
    parser.add_argument("--crops", type=Path, help="an .npz that `Crops.save` wrote; noise unless given")
    parser.add_argument("--epochs", type=int, default=1)


def from_options(options: argparse.Namespace) -> Task:
    """Return the task that the options say."""
    family = find_family(options.family)
    crops = load_crops(options.crops) if options.crops else noise(family.input_spec.shape)
    return Task(family, crops, options.epochs)
