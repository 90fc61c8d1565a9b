"""Frozen networks embed waveforms: a vector for each frame, made once a track and stored.

What a network is shows by its path: YAMNet is a TensorFlow Lite file, MusiCNN the `.npz` that `musicnn.convert` makes,
and any other a TensorFlow SavedModel. A network is loaded, and its framework imported, by `Extractor.embed` alone; all
else that needs one happens in child processes, for this one will fork the trials' server.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import numpy as np

from harness.datasets.signal import SAMPLE_RATE, Samples, Waveform, as_samples, quantised
from harness.datasets.track_audio import Audio, pieces
from harness.errors import UsageError, WorkspaceError
from harness.features.embeddings import musicnn, saved_model, yamnet
from harness.features.extract import Features
from harness.features.input_spec import EMBEDDING_SECONDS, InputSpec
from harness.features.store import FeatureStore
from harness.files import replacing, write_atomically
from harness.keras_backend import CHILD_CPU
from harness.parallel import ITEMS_WORTH_A_WORKER, Progress, map_items
from harness.paths import path_state
from harness.processes import redirect
from harness.settings import MUSICNN

Item = TypeVar("Item")
Result = TypeVar("Result")

NETWORK_RATE = 16_000
"""Samples a second that all of these networks take, in Hz."""

VERSION = 1
"""Rises whenever `Extractor.embed` would give other numbers for the same samples; stored ones are then made again."""

Network = Callable[[Samples], Features]
"""Float32 samples at 16 kHz, shape (n,), in, at least a second of them; float32 (frames, D) out, at least one frame."""


@dataclass(frozen=True)
class Extractor:
    """A frozen network.

    Attributes:
        name: that of the file or the SavedModel's folder, without suffix; MusiCNN's is `musicnn`.
        path: its file or folder.
        fingerprint: SHA-256 of that and of `VERSION`: the address of its embeddings in a store.
        size: numbers a frame, D.
        frames: of `EMBEDDING_SECONDS` of audio.
    """

    name: str
    path: Path
    fingerprint: str
    size: int
    frames: int

    @property
    def input_spec(self) -> InputSpec:
        """What a model sees of a track through this network."""
        return InputSpec(self.name, "embedding", 0, self.size, self.frames, self.fingerprint)

    def embed(self, waveform: Audio | Waveform) -> Features:
        """Return the embedding of a waveform as it is stored, in 16 bits; of a long one, piece by piece.

        The first call in a process loads the network, and its framework with it. What is shorter than a second is
        repeated from its beginning, and so is, by some networks, what is shorter than all that they take at once.

        Args:
            waveform: shape (n,), mono at 22,050 Hz: float32 in [-1, 1], finite, or int16 as it is stored.

        Returns:
            float32, shape (D, frames), finite, with at least one frame.

        Raises:
            UsageError: the network gave something else.
        """
        whole = [_embed(self.path, _stored(waveform[start:stop])) for start, stop in pieces(len(waveform))]
        return np.concatenate(whole, axis=1)


def extractors(named: Sequence[str], folder: Path) -> dict[str, Extractor]:
    """Return networks by name, in the order in which they were named.

    Args:
        named: files of YAMNet (`.tflite`), folders of SavedModels, or `MUSICNN`, which is downloaded once.
        folder: for what can be made anew: MusiCNN's weights, and the shapes of embeddings.

    Raises:
        UsageError: a file is no network that can serve, two have one name, or MusiCNN cannot be downloaded.
    """
    found: dict[str, Extractor] = {}
    for network in named:
        path = _musicnn(folder) if network == MUSICNN else Path(network)
        extractor = _described(path.resolve(), folder)
        if extractor.name in found:
            raise UsageError(
                f"{path}: a second embedding called {extractor.name!r}, after {found[extractor.name].path}. Name one "
                "of the two, or rename the file or folder."
            )
        found[extractor.name] = extractor
    return found


def known_extractors(known: Mapping[str, str], named: Sequence[str], folder: Path) -> dict[str, Extractor]:
    """Do what `extractors` does, and make sure that they are those with the `known` fingerprints, by name.

    Raises:
        UsageError: as `extractors`, or a network is another than it was.
    """
    found = extractors(named, folder)
    for name, fingerprint in known.items():
        if name not in found or found[name].fingerprint != fingerprint:
            where = found[name].path if name in found else ", ".join(named)
            raise UsageError(
                f"{where}: not the network {name} that the study embedded tracks with, whose weights were others. Put "
                "that one back, or start a new study with `harness run`."
            )
    return found


def extract_missing(
    store: FeatureStore, digests: Iterable[str], extractor: Extractor, progress: Progress | None = None
) -> None:
    """Make the embeddings that a store lacks, in child processes. Safe to kill, and to run again.

    Args:
        store: holds the waveforms.
        digests: of tracks.
        progress: told after every embedding how many are made, and of how many; not called if none is.

    Raises:
        UsageError: the network gave something that is no embedding.
        WorkspaceError: a waveform is not in the store, or the store cannot be written.
    """
    missing = [digest for digest in dict.fromkeys(digests) if not _is_whole(store, extractor, digest)]
    _in_children(partial(_make, store, extractor), missing, progress)


def _described(path: Path, folder: Path) -> Extractor:
    name, _ = _kind(path)
    fingerprint = _fingerprint(path)
    file = folder / "embeddings" / f"{fingerprint}.json"
    with suppress(FileNotFoundError):
        return Extractor(name, path, fingerprint, **json.loads(file.read_text(encoding="utf-8")))
    ((size, frames),) = _in_children(_shape, [path])
    write_atomically(file, json.dumps({"size": size, "frames": frames}))
    return Extractor(name, path, fingerprint, size, frames)


def _musicnn(folder: Path) -> Path:
    """Return the file with MusiCNN's weights; the first call downloads them."""
    file = folder / "embeddings" / f"{musicnn.PACKAGE.replace('==', '-')}.npz"
    if not file.exists():
        with TemporaryDirectory() as scratch, replacing(file) as unfinished:
            (weights,) = _in_children(musicnn.convert, [musicnn.download(Path(scratch))])
            shutil.copyfile(weights, unfinished)
    return file


def _kind(path: Path) -> tuple[str, Callable[[Path], Network]]:
    """Return what a network at `path` is called, and what loads it."""
    state = path_state(path)
    if path.suffix == ".tflite" and state.kind == "file":
        return path.stem, yamnet.load
    if path.suffix == ".npz" and state.kind == "file":
        return "musicnn", musicnn.load
    if path_state(path / "saved_model.pb").kind == "file":
        return path.stem, saved_model.load
    other = "neither a .tflite file nor a folder with saved_model.pb"
    why = other if state.exists else state.said("no such file or folder")
    raise UsageError(f"{path}: {why}. Name YAMNet as a .tflite file, or the folder of a TensorFlow SavedModel.")


def _fingerprint(path: Path) -> str:
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    # Where the files lie is no matter, what they are called within a folder is.
    digests = [(file.relative_to(path).as_posix(), hashlib.sha256(file.read_bytes()).hexdigest()) for file in files]
    return hashlib.sha256(json.dumps([VERSION, digests]).encode()).hexdigest()


def _in_children(
    function: Callable[[Item], Result], items: Sequence[Item], progress: Progress | None = None
) -> list[Result]:
    """Return `function` of every item, in order; none of it in this process."""
    workers = max(2, min(os.cpu_count() or 1, len(items) // ITEMS_WORTH_A_WORKER))
    return map_items(partial(_as_child, function), items, progress=progress, workers=workers)


def _as_child(function: Callable[[Item], Result], item: Item) -> Result:
    # One of several processes, beside trials whose GPU memory is measured.
    os.environ.update(CHILD_CPU)
    # A framework without a GPU complains there whatever its log level is; errors come back by themselves.
    redirect(2)
    return function(item)


def _shape(path: Path) -> tuple[int, ...]:
    """Return D and the number of frames of `EMBEDDING_SECONDS` of audio."""
    return _embed(path, np.zeros(round(EMBEDDING_SECONDS * SAMPLE_RATE), np.float32)).shape


def _make(store: FeatureStore, extractor: Extractor, digest: str) -> None:
    """Write the embedding of a track."""
    store.put_embedding(extractor.fingerprint, digest, extractor.embed(store.waveform(digest)))


def _stored(samples: np.ndarray) -> Samples:
    """Return samples as a store gives them back."""
    return as_samples(samples if samples.dtype == np.int16 else quantised(samples))


def _embed(path: Path, waveform: Samples) -> Features:
    # It takes its time to import.
    import soxr

    samples = soxr.resample(waveform, SAMPLE_RATE, NETWORK_RATE, quality="HQ")
    frames = _loaded(path)(np.resize(samples, max(len(samples), NETWORK_RATE)))
    if frames.ndim != 2 or not frames.size or not np.isfinite(frames).all():
        raise UsageError(
            f"{path}: gave an array of shape {frames.shape} for {len(waveform)} samples, or numbers that are not "
            f"finite; an embedding is (frames, numbers). Export a network that gives that, or leave this one out."
        )
    return np.ascontiguousarray(frames.T, np.float32)


@cache
def _loaded(path: Path) -> Network:
    _, load = _kind(path)
    return load(path)


def _is_whole(store: FeatureStore, extractor: Extractor, digest: str) -> bool:
    try:
        return len(store.embedding(extractor.fingerprint, digest)) == extractor.size
    except WorkspaceError:
        return False
