"""A trained model with all that it needs to classify music: decoding, features, crops, votes.

It is loaded from a bundle, a folder that needs no data set, store or workspace; `harness.inference.bundle` writes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from harness.datasets.decode import AUDIO_SUFFIXES, checked
from harness.datasets.signal import SAMPLE_RATE, Samples, quantised, resample
from harness.datasets.track_audio import Audio, read_audio
from harness.datasets.track_checks import MIN_SECONDS
from harness.errors import DataError, HarnessError, ModelError, first_line
from harness.features.crops import crop, crop_starts
from harness.features.embeddings.extractor import Extractor
from harness.features.extract import extract_blocks, n_frames
from harness.features.input_spec import InputSpec
from harness.inference.saved import load_network, read_json
from harness.records.base import format_complaint
from harness.scoring.metrics import vote

MODEL, LABELS, ABOUT, NETWORK = "model.keras", "labels.json", "model.json", "network"
"""The parts of a bundle: the network, the genres in the order of its answers, what preprocessing needs (with what the
model card is made of), and the folder of the frozen network that a model on embeddings was trained with."""

BATCH = 16
"""Crops that go through the model at once; every batch has this size, so that it is traced once."""


@dataclass(frozen=True, eq=False)
class TrackPrediction:
    """What a model answers for a track.

    Attributes:
        genres: the answers that there are, length C.
        spans: where each crop begins and ends, in seconds.
        crops: probabilities of each crop, float32 (crops, C), in the order of time.
    """

    genres: tuple[str, ...]
    spans: tuple[tuple[float, float], ...]
    crops: np.ndarray

    @property
    def probabilities(self) -> dict[str, float]:
        """Each genre's probability for the whole track: all crops vote with their mean."""
        (mean,) = vote(self.crops, np.zeros(len(self.crops), np.int64), 1).tolist()
        return dict(zip(self.genres, mean, strict=True))

    @property
    def genre(self) -> str:
        """The most probable genre of the whole track."""
        probabilities = self.probabilities
        return max(probabilities, key=probabilities.__getitem__)

    def record(self) -> dict[str, Any]:
        """Return everything as what JSON can hold."""
        return {
            "genre": self.genre,
            "probabilities": self.probabilities,
            "crops": [
                {
                    "start_seconds": start,
                    "end_seconds": end,
                    "genre": self.genres[int(np.argmax(crop))],
                    "probabilities": dict(zip(self.genres, crop.tolist(), strict=True)),
                }
                for (start, end), crop in zip(self.spans, self.crops, strict=True)
            ],
        }


class Classifier:
    """A bundle in use.

    Attributes:
        genres: its answers, in order.
        input_spec: what its network sees of a crop.
        about: the facts of its model card.
    """

    def __init__(
        self,
        model: Path,
        genres: tuple[str, ...],
        input_spec: InputSpec,
        about: Mapping[str, Any],
        extractor: Extractor | None = None,
    ) -> None:
        """Load nothing yet; the network of `model` is loaded when it is first needed.

        Args:
            model: the saved Keras model.
            genres: see the class.
            input_spec: see the class.
            about: see the class.
            extractor: the frozen network that embeds a track, where the input is an embedding.
        """
        self.genres, self.input_spec, self.about = genres, input_spec, about
        self._path = model
        self._network: Any = None
        self._extractor = extractor

    @classmethod
    def load(cls, bundle: Path) -> Classifier:
        """Return the classifier of a bundle.

        Raises:
            ModelError: the folder holds no bundle, or one that is damaged or of another format.
        """
        content, genres = read_json(bundle / ABOUT), read_json(bundle / LABELS)
        _check_format(content, bundle / ABOUT)
        if not isinstance(genres, list) or not all(isinstance(genre, str) for genre in genres):
            raise ModelError(f"{bundle / LABELS}: is no list of names. Export the model again.")
        extractor = None
        try:
            input_spec, about = InputSpec(**content["input_spec"]), content["about"]
            if input_spec.kind == "embedding":
                file = bundle / NETWORK / content["network"]
                extractor = Extractor(input_spec.name, file, input_spec.source, input_spec.rows, input_spec.length)
        except (ValueError, KeyError, TypeError) as error:
            raise ModelError(
                f"{bundle / ABOUT}: not of a model that this version can read ({error}). Export it again."
            ) from error
        if extractor is not None and not extractor.path.exists():
            raise ModelError(f"{extractor.path}: is not there, and the model embeds with it. Export the model again.")
        return cls(bundle / MODEL, tuple(genres), input_spec, about, extractor)

    def network(self) -> Any:
        """Return the `keras.Model`; the first call loads it, and imports the framework.

        Raises:
            ModelError: it cannot be read, or does not answer with these genres.
        """
        if self._network is None:
            self._network = load_network(self._path, len(self.genres))
        return self._network

    def file(self, path: Path) -> TrackPrediction:
        """Return what the model answers for an audio file.

        Raises:
            DataError: the file is not audio that can be read, is silent, or is too short; or anything else is wrong
                with it.
            ModelError: the network cannot be read.
        """
        advice = f"Name an audio file ({', '.join(AUDIO_SUFFIXES)}) of at least {MIN_SECONDS} s."
        with _of_its_own(path, advice), threadpool_limits(1, "blas"), read_audio(path) as (audio, _):
            return self._predict(audio)

    def samples(self, samples: Samples, rate: int) -> TrackPrediction:
        """Return what the model answers for a waveform.

        Args:
            samples: float32 (samples,), mono, in [-1, 1].
            rate: samples a second.

        Raises:
            DataError: they are not finite, silent or too short; or anything else is wrong with them.
            ModelError: the network cannot be read.
        """
        what = f"waveform of {len(samples)} samples at {rate} Hz"
        with _of_its_own(what, f"Give at least {MIN_SECONDS} s of music."):
            return self._predict(resample(checked(samples, rate), rate))

    def _predict(self, audio: Audio) -> TrackPrediction:
        network, spec = self.network(), self.input_spec
        embedded = self._embedded(audio) if spec.kind == "embedding" else None
        length = embedded.shape[1] if embedded is not None else self._length(audio)
        starts = crop_starts(length, spec.length).tolist()
        answers = []
        for first in range(0, len(starts), BATCH):
            at = starts[first : first + BATCH]
            # Of a long track, only what these crops show is made.
            part = self._part(audio, at[0], at[-1] + spec.length) if embedded is None else embedded[:, at[0] :]
            batch = np.stack([crop(part, spec, start - at[0]) for start in at])
            filled = np.concatenate([batch, np.zeros((BATCH - len(batch), *batch.shape[1:]), np.float32)])
            answers.append(np.asarray(network.predict_on_batch(filled))[: len(batch)])
        seconds = len(audio) / SAMPLE_RATE
        return TrackPrediction(self.genres, crop_spans(spec, length, seconds), np.concatenate(answers))

    def _length(self, audio: Audio) -> int:
        """Return the frames or samples of a track as the network sees it."""
        return n_frames(len(audio)) if self.input_spec.kind == "features" else len(audio)

    def _part(self, audio: Audio, start: int, stop: int) -> np.ndarray:
        """Return what training would have found in its store, in a part: (rows, frames), or int16 (samples,)."""
        if self.input_spec.kind == "waveform":
            return quantised(audio[start:stop])
        rows = slice(self.input_spec.start, self.input_spec.stop)
        return np.concatenate([block[rows] for block in extract_blocks(audio, start, stop)], axis=1)

    def _embedded(self, audio: Audio) -> np.ndarray:
        """Return the embedding of a track, (numbers, frames)."""
        assert self._extractor is not None
        try:
            return self._extractor.embed(audio)
        except HarnessError as error:
            raise DataError(f"the network {self._extractor.name} cannot embed it ({error})") from error


@contextmanager
def _of_its_own(what: object, advice: str) -> Iterator[None]:
    """Let whatever goes wrong with one file be an error of that file, which leaves others their answers.

    Raises:
        DataError: it says what is wrong with what, and what to do.
        ModelError: the model is to blame, for all files.
    """
    try:
        yield
    except ModelError:
        raise
    except DataError as error:
        raise DataError(f"{what}: {error}. {advice}") from None
    except MemoryError:
        raise DataError(f"{what}: too long for the memory that is free. Cut it into parts, or free some.") from None
    except Exception as error:
        raise DataError(
            f"{what}: cannot be classified ({type(error).__name__}: {first_line(error)}). {advice}"
        ) from error


def _check_format(content: Any, path: Path) -> None:
    found = content.get("format") if isinstance(content, dict) else None
    complaint = format_complaint(found)
    if complaint is not None:
        raise ModelError(f"{path}: {complaint}, or export the model again.")


def crop_spans(input_spec: InputSpec, length: int, seconds: float) -> tuple[tuple[float, float], ...]:
    """Return where each crop of a whole track begins and ends, in seconds, in the order of `crop_starts`.

    Args:
        input_spec: what the crops are of.
        length: of the track as the model sees it, in frames or samples.
        seconds: of the track.
    """
    # How far apart the frames of an embedding are, only its network knows: they are spread over the track.
    step = seconds / length if input_spec.kind == "embedding" else input_spec.seconds / input_spec.length
    return tuple(
        (start * step, min((start + input_spec.length) * step, seconds))
        for start in crop_starts(length, input_spec.length).tolist()
    )
