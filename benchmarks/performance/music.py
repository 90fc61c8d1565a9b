"""The music that rows read: made where no one named any, cut into more tracks, and prepared as training sees it.

    python -m benchmarks.performance.music make|many|crops FOLDER ...

What is there is left as it is.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.performance.contenders import Contenders
from harness.datasets.signal import SAMPLE_RATE
from harness.features.fold import Fold, LabelledTrack
from harness.features.input_spec import InputSpec
from harness.features.store import FeatureStore
from harness.files import replacing
from harness.preparation import WITH_TEST, PreparedData, SplitDataset, extract_features, scan_dataset, split_dataset
from harness.settings import DatasetSettings

_GENRES = 10
_PIECE_SECONDS = 1

contenders = Contenders()


@contenders.command()
def make(folder: Path, artists: int = 5, seconds: float = 30.0) -> dict[str, int]:
    """Make a synthetic data set of a track an artist, ten genres, where nothing is."""
    from harness.synthetic import dataset

    if not folder.exists():
        with replacing(folder) as unfinished:
            dataset.make(unfinished, artists=artists, tracks=1, seconds=seconds)
    return {}


@contenders.command()
def many(folder: Path, source: Path, tracks: int = 1000, seconds: int = 30) -> dict[str, int]:
    """Make tracks out of pieces of a second of other music, in another order each, so that no two are one recording."""
    import soundfile

    from harness.datasets.track_audio import read_audio

    if folder.exists():
        return {}
    pieces = []
    for track in _scanned(source).dataset.tracks:
        with read_audio(track.path) as (audio, _):
            whole = audio[: len(audio) // SAMPLE_RATE * SAMPLE_RATE]
        pieces += np.split(whole, len(whole) // (_PIECE_SECONDS * SAMPLE_RATE))
    generator = np.random.default_rng(0)
    with replacing(folder) as unfinished:
        for number in range(tracks):
            genre = f"genre{number % _GENRES}"
            path = unfinished / genre / f"{genre}.{number // _GENRES:05d}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            chosen = generator.choice(len(pieces), seconds, replace=len(pieces) < seconds)
            soundfile.write(path, np.concatenate([pieces[place] for place in chosen]), SAMPLE_RATE, subtype="PCM_16")
    return {}


@contenders.command()
def crops(file: Path, music: Path, family: str = "cnn2d-mfcc") -> dict[str, int]:
    """Write the middle crop of each track for the peers, every fifth track for validation."""
    from benchmarks.peers.task import Crops
    from harness.families import families
    from harness.features.crops import crop

    spec = families()[family].input_spec
    if file.exists():
        return {}
    data = prepared(music)
    fold = four_fifths(data, spec)

    def middles(examples: tuple[LabelledTrack, ...]) -> tuple[np.ndarray, np.ndarray]:
        tracks = [data.store.load(spec, example.digest) for example in examples]
        cut = [crop(track, spec, max(0, track.shape[-1] - spec.length) // 2) for track in tracks]
        return np.stack(cut), np.array([example.label for example in examples])

    mean, variance = fold.normalization[spec]
    with replacing(file) as unfinished:
        Crops(*middles(fold.train), *middles(fold.valid), mean, variance, len(data.dataset.genres)).save(unfinished)
    return {}


def prepared(music: Path) -> PreparedData:
    """Return a folder of music with the features of all of its tracks, which are kept beside it."""
    store = FeatureStore(music.parent / f"store-{music.name}")
    return extract_features(_scanned(music), store, WITH_TEST, 0, lambda event: None)


def four_fifths(data: PreparedData, *specs: InputSpec) -> Fold:
    """Return a training on four tracks of five, which validates on the fifth."""
    ids = [track.id for track in data.dataset.tracks]
    return data.fold(specs, [name for place, name in enumerate(ids) if place % 5], ids[::5])


def _scanned(music: Path) -> SplitDataset:
    found = scan_dataset(DatasetSettings(data=music, skip_bad=True), lambda event: None)
    return split_dataset(found, "random", 0)


if __name__ == "__main__":
    contenders.print_figures()
