"""Features of tracks: extracted on one core and on two, and found again in a store."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.performance.contenders import Contenders, spent
from benchmarks.performance.processes import PEERS
from benchmarks.performance.row import Aim, Contender, Row, Setting, median_of, ratio_of
from harness.keras_backend import ONE_THREAD

_HERE = ("python", "-m", "benchmarks.performance.features")
_OURS, _STORED, _FFT = "harness", "harness, hashed and stored", "the FFT alone"
_PLAIN, _SAME, _SHARED = (
    "librosa, four calls",
    "librosa, four calls with the same options",
    "librosa, the same from one spectrogram",
)
_WHY = (
    "About half of a track's time is decoding, which both do, and the transform, in double precision as librosa's: in "
    "single precision contrast would differ by more than 0.05 dB."
)
_ONE, _TWO = "one worker", "two workers"

contenders = Contenders()


def rows(setting: Setting) -> tuple[Row, ...]:
    tracks = ("--tracks", str(setting.size(50, 8)))
    saved = str(setting.folder / "features.npz")
    librosa = (PEERS, "-m", "benchmarks.peers.librosa_features", setting.music)
    many, made = setting.many_tracks, (setting.make_music, setting.make_many)
    one = Row(
        name="features",
        contenders=(
            Contender(_OURS, (*_HERE, "extract", setting.music, *tracks, "--save", saved), environment=ONE_THREAD),
            Contender(_STORED, (*_HERE, "store", setting.music, *tracks), environment=ONE_THREAD),
            Contender(_FFT, (*_HERE, "fft", setting.music, *tracks), environment=ONE_THREAD),
            Contender(_PLAIN, (*librosa, *tracks, "--way", "defaults")),
            Contender(_SAME, (*librosa, *tracks, "--way", "tuned")),
            Contender(_SHARED, (*librosa, *tracks, "--way", "shared", "--compare", saved)),
        ),
        columns={
            "track_cpu_seconds": "CPU a track",
            "mel_db": "mel differs by",
            "contrast_db": "contrast differs by",
            "mfcc": "MFCC by",
            "chroma": "chroma by",
        },
        compared=("track_cpu_seconds", _OURS),
        aims=(
            Aim(
                "four calls, in times ours",
                ratio_of("track_cpu_seconds", _PLAIN, _OURS),
                at_least=5,
                why_missed=_WHY,
            ),
            Aim(
                "four calls with the same options, in times ours",
                ratio_of("track_cpu_seconds", _SAME, _OURS),
                at_least=3.5,
                why_missed=_WHY,
            ),
            Aim(
                "largest difference of mel and contrast to librosa",
                lambda found: max(found.median(_SHARED, "mel_db"), found.median(_SHARED, "contrast_db")),
                at_most=0.05,
                unit="dB",
            ),
        ),
        rounds=3,
        prepare=(setting.make_music,),
    )
    two = Row(
        name="cores",
        contenders=(
            Contender(_ONE, (*_HERE, "prepare", many, "--workers", "1")),
            Contender(_TWO, (*_HERE, "prepare", many, "--workers", "2")),
        ),
        columns={"prepare_wall_seconds": "wall", "cpu_seconds": "CPU of all"},
        compared=("prepare_wall_seconds", _TWO),
        aims=(
            Aim(
                "wall of one worker, in times that of two",
                ratio_of("prepare_wall_seconds", _ONE, _TWO),
                at_least=1.8,
            ),
        ),
        rounds=3,
        prepare=made,
    )
    again = Row(
        name="reopen",
        contenders=(Contender("harness", (*_HERE, "reopen", many)),),
        columns={"reopen_cpu_seconds": "CPU", "reopen_wall_seconds": "wall"},
        aims=(Aim("wall", median_of("harness", "reopen_wall_seconds"), at_most=0.2, unit="s"),),
        prepare=(*made, (*_HERE, "reopen", many)),
    )
    return one, two, again


@contenders.command()
def extract(music: Path, tracks: int = 50, save: Path | None = None) -> dict[str, Any]:
    """Decode tracks and extract their features; they are saved by file name where that is asked for."""
    import numpy as np

    from harness.datasets.track_audio import read_audio
    from harness.features.extract import extract as features_of

    found = {}

    def one(path: Path) -> None:
        with read_audio(path) as (audio, _):
            found[path.name] = features_of(audio[:])

    seconds = _median(one, _files(music, tracks))
    if save is not None:
        np.savez(save, allow_pickle=False, **found)
    return {"track_cpu_seconds": seconds}


@contenders.command()
def store(music: Path, tracks: int = 50) -> dict[str, Any]:
    """Store the features of tracks one after another."""
    known = {track.path: track for track in _scanned(music)}
    from harness.features.store import FeatureStore

    with TemporaryDirectory(dir="build") as folder:
        place = FeatureStore(Path(folder))
        return {
            "track_cpu_seconds": _median(lambda path: place.prepare([known[path]], workers=1), list(known)[:tracks])
        }


@contenders.command()
def fft(music: Path, tracks: int = 50) -> dict[str, Any]:
    """Transform the frames of decoded tracks, in blocks, and take the magnitudes: what no extraction can go below."""
    import numpy as np
    import scipy.fft

    from harness.datasets.track_audio import read_audio
    from harness.features.extract import HOP_LENGTH, N_FFT

    decoded = {}
    files = _files(music, tracks)
    for path in files:
        with read_audio(path) as (audio, _):
            decoded[path] = np.lib.stride_tricks.sliding_window_view(audio[:], N_FFT)[::HOP_LENGTH]

    def one(path: Path) -> None:
        frames = decoded[path]
        for start in range(0, len(frames), 128):
            np.abs(scipy.fft.rfft(frames[start : start + 128]))

    return {"track_cpu_seconds": _median(one, files)}


@contenders.command()
def prepare(music: Path, workers: int = 1) -> dict[str, Any]:
    """Store the features of tracks, which were scanned before, in a new store."""
    from harness.features.store import FeatureStore

    known = _scanned(music)
    with TemporaryDirectory(dir="build") as folder, spent() as taken:
        FeatureStore(Path(folder)).prepare(known, workers=workers)
    return {"prepare_wall_seconds": taken.wall}


@contenders.command()
def reopen(music: Path) -> dict[str, Any]:
    """Look for the features of all tracks in a store that has them; the first call makes them."""
    from harness.features.store import FeatureStore

    known = _scanned(music)
    place = FeatureStore(music.parent / f"store-{music.name}")
    with spent() as taken:
        place.prepare(known)
    return {"reopen_wall_seconds": taken.wall, "reopen_cpu_seconds": taken.cpu}


def _scanned(music: Path) -> Any:
    """Return the tracks of a folder; what was found in its files is kept in the cache."""
    from harness.preparation import scan_dataset
    from harness.settings import DatasetSettings

    return scan_dataset(DatasetSettings(data=music, skip_bad=True), lambda event: None).tracks


def _files(music: Path, tracks: int) -> list[Path]:
    return [track.path for track in _scanned(music)][:tracks]


def _median(one: Any, files: list[Path]) -> float:
    """Return the median CPU seconds of a file; the first is done once before."""
    import statistics

    seconds = []
    for path in [files[0], *files]:
        with spent() as taken:
            one(path)
        seconds.append(taken.cpu)
    return statistics.median(seconds[1:])


if __name__ == "__main__":
    contenders.print_figures()
