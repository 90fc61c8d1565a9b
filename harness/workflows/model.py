"""`harness predict` and `harness export`: a trained model in use, and given away."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

from harness.datasets.decode import AUDIO_SUFFIXES
from harness.errors import DataError
from harness.inference import bundle as bundles
from harness.inference.card import introduction
from harness.inference.pipeline import Classifier, TrackPrediction
from harness.inference.resolve import open_model
from harness.processes import redirected
from harness.settings import cache


@contextmanager
def open_classifier(workspace: Path, model: str | None, tracking_uri: str | None) -> Iterator[Classifier]:
    """Hold a trained model, ready to classify; see `open_model` for how it is named.

    Raises:
        HarnessError: there is no such model, or the workspace cannot be read.
    """
    with open_model(workspace, model, tracking_uri, cache()) as bundle:
        yield Classifier.load(bundle)


def classify(classifier: Classifier, audio: Iterable[Path]) -> Iterator[tuple[Path, TrackPrediction | DataError]]:
    """Yield the answer for each file, or why it has none: a file that cannot be read costs only itself.

    Args:
        audio: files, and folders whose audio files are meant, at any depth.

    Raises:
        ModelError: the model cannot be read.
    """
    for path in chain.from_iterable(map(_files, audio)):
        answer: TrackPrediction | DataError
        try:
            if path.is_dir():
                raise DataError(f"{path}: a folder without audio. It may hold {', '.join(AUDIO_SUFFIXES)} files.")
            with redirected(2):  # of notes that decoders and the framework print
                answer = classifier.file(path)
        except DataError as error:
            answer = error
        yield path, answer


def _files(path: Path) -> list[Path]:
    """Return the audio files below a folder, sorted; a file, or a folder that holds none, as it is.

    Hidden files are left out, for systems put their own beside audio under its suffix, and so are folders that are
    links.
    """
    found = [
        Path(folder, name)
        for folder, _, names in os.walk(path)
        for name in names
        if name.lower().endswith(AUDIO_SUFFIXES) and not name.startswith(".")
    ]
    return sorted(found) or [path]


def export_model(directory: Path, workspace: Path, model: str | None, tracking_uri: str | None) -> str:
    """Write a model to a new folder with all that it needs, and return what a user should read of it.

    Raises:
        UsageError: the folder is not empty, or cannot be written.
        HarnessError: there is no such model, it or the workspace cannot be read.
    """
    bundles.check_new(directory)
    with open_model(workspace, model, tracking_uri, cache()) as bundle:
        classifier = Classifier.load(bundle)
        with redirected(2):  # of notes that the framework prints
            classifier.network()
        bundles.export(bundle, directory)
    return introduction(classifier.about)
