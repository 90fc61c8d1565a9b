"""`harness predict` and `harness export`: a trained model in use, and given away."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.datasets.decode import AUDIO_SUFFIXES
from harness.datasets.walk import Found, walk
from harness.errors import DataError
from harness.inference import bundle as bundles
from harness.inference.card import introduction
from harness.inference.pipeline import Classifier, TrackPrediction
from harness.inference.resolve import open_model
from harness.paths import path_state
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
        audio: files, and folders, of which everything at any depth is meant that is music, or may be.

    Raises:
        ModelError: the model cannot be read.
    """
    for each in audio:
        for path, reason in _files(each):
            answer: TrackPrediction | DataError
            try:
                if reason:
                    raise DataError(f"{path}: {reason}.")
                with redirected(2):  # of notes that decoders and the framework print
                    answer = classifier.file(path)
            except DataError as error:
                answer = error
            yield path, answer


def _files(path: Path) -> list[tuple[Path, str]]:
    """Return the files that are meant by a path, sorted, each with the reason why it cannot be read, or none."""
    if path_state(path).kind != "folder":
        return [(path, "")]  # whoever reads it says why it cannot
    try:
        meant = sorted(found for found in walk(path) if _is_meant(found))
    except OSError as error:
        return [(path, f"not readable ({error.strerror}): check its permissions")]
    nothing = f"a folder without audio. It may hold {', '.join(AUDIO_SUFFIXES)} files"
    return [(found.path, found.reason) for found in meant] or [(path, nothing)]


def _is_meant(found: Found) -> bool:
    """Whether a user is to hear of it; what a second link leads to, the walk finds by another name."""
    return found.kind in ("audio", "refused", "closed")


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
