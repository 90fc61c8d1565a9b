"""A trained model with all that it needs to hear a file: decoding, features, crops, votes.

A bundle is a folder with `model.keras` and `model.json`; it needs no data set, store or workspace.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from harness.audio.crops import crop, crop_starts
from harness.audio.features import InputView, Samples, extract
from harness.audio.store import quantised
from harness.audio.tracks import load
from harness.errors import DataError

BATCH = 16
"""Crops that go through the model at once; every batch has this size, so that it is traced once."""


def write_bundle(folder: Path, model: Path, view: InputView, genres: Sequence[str], about: Mapping[str, Any]) -> None:
    """Write a bundle: the saved Keras model at `model`, its input view, its genres, and `about` for readers."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(model, folder / "model.keras")
    content = {"view": asdict(view), "genres": list(genres), "about": dict(about)}
    (folder / "model.json").write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


class Classifier:
    """A bundle, loaded; `genres` are its answers in order."""

    def __init__(self, bundle: Path) -> None:
        """Load the bundle; imports the framework.

        Raises:
            DataError: the folder holds no bundle.
        """
        try:
            content = json.loads((bundle / "model.json").read_text(encoding="utf-8"))
        except OSError as error:
            raise DataError(f"{bundle}: holds no model ({error.strerror}). Name a folder with model.json.") from error
        import keras

        # Registers the layers that a saved model may name.
        import harness.models.layers  # noqa: F401

        self.genres: tuple[str, ...] = tuple(content["genres"])
        self.view = InputView(**content["view"])
        self._model = keras.models.load_model(bundle / "model.keras", compile=False)

    def crops(self, waveform: Samples) -> np.ndarray:
        """Return the probabilities of each crop, float32 (crops, genres), in the order of time.

        Args:
            waveform: float32 (samples,), mono at 22,050 Hz, in [-1, 1].
        """
        if self.view.kind == "waveform":
            track: np.ndarray = quantised(waveform)  # as training saw it
        else:
            track = extract(waveform)[self.view.start : self.view.stop]
        inputs = np.stack(
            [crop(track, self.view, int(start)) for start in crop_starts(track.shape[-1], self.view.length)]
        )
        answers = []
        for start in range(0, len(inputs), BATCH):
            batch = inputs[start : start + BATCH]
            filled = np.concatenate([batch, np.zeros((BATCH - len(batch), *batch.shape[1:]), np.float32)])
            answers.append(np.asarray(self._model.predict_on_batch(filled))[: len(batch)])
        return np.concatenate(answers)

    def probabilities(self, waveform: Samples) -> dict[str, float]:
        """Return each genre's probability for a whole track: the mean over its crops."""
        return dict(zip(self.genres, self.crops(waveform).mean(axis=0).tolist(), strict=True))

    def file(self, path: Path) -> dict[str, float]:
        """Return each genre's probability for an audio file.

        Raises:
            DataError: the file is not audio that can be read.
        """
        return self.probabilities(load(path))
