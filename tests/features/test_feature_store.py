"""The store: made once, whole or not at all, the same numbers as without it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from threadpoolctl import threadpool_limits

import harness.features.normalization as normalization
import harness.features.store as store_module
from harness.datasets.dataset import Dataset
from harness.datasets.decode import decode
from harness.datasets.scan import scan
from harness.datasets.signal import SAMPLE_RATE, resample
from harness.errors import DataError, WorkspaceError
from harness.features import augment
from harness.features.extract import extract
from harness.features.input_spec import FUSION_INPUT, MFCC_INPUT, WAVEFORM_INPUT
from harness.features.store import FeatureStore
from tests.helpers.audio import noise, write_audio, write_genres

NAMES = ("blues/a", "blues/b", "rock/c", "rock/d")


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    return scan(write_genres(tmp_path / "set", NAMES))


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(tmp_path / "work/store")


def files(store: FeatureStore) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in store.root.rglob("*") if path.is_file()}


def test_it_holds_what_extraction_gives(data: Dataset, store: FeatureStore) -> None:
    seen: list[tuple[int, int]] = []
    store.prepare(data.tracks, progress=lambda done, total: seen.append((done, total)))

    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    for track in data.tracks:
        samples = resample(*decode(track.path))
        features, waveform = store.features(track.digest), store.waveform(track.digest)
        assert isinstance(features, np.memmap)
        assert isinstance(waveform, np.memmap)
        with threadpool_limits(1, "blas"):  # with more threads, sums are rounded otherwise
            np.testing.assert_array_equal(features, extract(samples))
        assert waveform.dtype == np.int16
        np.testing.assert_allclose(waveform / 32768, samples, atol=0.51 / 32768)


def test_a_long_track_is_made_piece_by_piece(
    store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for genre in ("blues", "rock"):
        write_audio(tmp_path / f"set/{genre}/{genre}.wav", noise(genre, 3.2, SAMPLE_RATE), SAMPLE_RATE)
    track = scan(tmp_path / "set").tracks[0]
    store.prepare([track], augmented=[track], copies=1)
    features, waveform = store.features(track.digest), store.waveform(track.digest)
    copy = store.waveform(track.digest, 1)
    monkeypatch.setattr("harness.datasets.track_audio.PIECE", 30_000)
    monkeypatch.setattr("harness.datasets.track_audio._IN_MEMORY_SECONDS", 1)
    monkeypatch.setattr("harness.features.extract._BLOCK", 40)
    again = FeatureStore(tmp_path / "again")
    again.prepare([track], augmented=[track], copies=1)
    np.testing.assert_array_equal(again.waveform(track.digest), waveform)
    np.testing.assert_allclose(again.features(track.digest), features, atol=1e-4)
    pieces = again.waveform(track.digest, 1)
    assert len(pieces) == len(copy) > 2 * 30_000
    loudness = [np.abs(piece.astype(float)).mean() for piece in np.array_split(pieces, 3)]
    assert max(loudness) < 1.1 * min(loudness)  # one change for all pieces
    assert not list(again.root.rglob("tmp*"))


def test_beyond_full_scale_is_clipped_not_wrapped(tmp_path: Path, store: FeatureStore) -> None:
    write_audio(tmp_path / "loud/x.wav", 5 * noise(1, rate=SAMPLE_RATE) / 0.1, SAMPLE_RATE, subtype="FLOAT")
    write_audio(tmp_path / "soft/y.wav")
    loud = scan(tmp_path).tracks[0]
    store.prepare([loud])
    waveform = store.waveform(loud.digest)
    assert (waveform.min(), waveform.max()) == (-32768, 32767)
    assert (np.sign(waveform) == np.sign(np.rint(resample(*decode(loud.path))))).mean() > 0.8


def test_what_is_there_is_not_made_again(data: Dataset, store: FeatureStore) -> None:
    store.prepare(data.tracks[:3])
    before = files(store)
    made: list[int] = []

    store.prepare(data.tracks, progress=lambda done, total: made.append(total))
    store.prepare(data.tracks, progress=lambda done, total: made.append(total))

    assert made == [1]
    assert before.items() <= files(store).items()


@pytest.mark.parametrize("part", ["features", "waveform"])
@pytest.mark.parametrize("damage", ["cut", "header", "empty", "gone", "other shape"])
def test_a_damaged_file_is_refused_and_made_again(data: Dataset, store: FeatureStore, part: str, damage: str) -> None:
    track = data.tracks[0]
    store.prepare([track])
    read = getattr(store, part)
    whole = np.array(read(track.digest))
    path = Path(read(track.digest).filename)
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    elif damage == "other shape":
        np.save(path, whole[..., :-600])
    else:
        path.write_bytes({"cut": content[:-1], "header": b"\0" * 64 + content[64:], "empty": b""}[damage])

    if damage != "other shape":
        with pytest.raises(WorkspaceError, match=r"Run again"):
            read(track.digest)
    store.prepare([track])
    np.testing.assert_array_equal(read(track.digest), whole)


def test_content_decides_not_the_place(data: Dataset, store: FeatureStore, tmp_path: Path) -> None:
    store.prepare(data.tracks)
    os.rename(tmp_path / "set", tmp_path / "moved")
    made: list[int] = []
    store.prepare(scan(tmp_path / "moved").tracks, progress=lambda done, total: made.append(done))
    assert not made


def test_other_settings_do_not_meet(data: Dataset, store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    track = data.tracks[0]
    store.prepare([track])
    monkeypatch.setitem(store_module._FEATURE_SETTINGS, "version", 0)
    with pytest.raises(WorkspaceError, match="not in the store"):
        store.features(track.digest)


def test_a_file_that_changed_since_the_scan_is_not_stored(data: Dataset, store: FeatureStore) -> None:
    first, second = data.tracks[:2]
    write_audio(first.path, noise("another take"))
    with pytest.raises(DataError, match=r"a\.wav: its audio changed since it was scanned"):
        store.prepare([first])
    second.path.unlink()
    with pytest.raises(DataError, match=r"b\.wav: not readable \(No such file or directory\), since it was scanned"):
        store.prepare([second])
    assert not files(store)


def test_what_killed_runs_left_is_swept(data: Dataset, store: FeatureStore) -> None:
    store.root.mkdir(parents=True)
    old, young = store.root / ".old.1.tmp.npy", store.root / ".young.2.tmp.npy"
    old.write_bytes(b"half")
    young.write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    store.prepare([])
    assert not old.exists()
    assert young.exists()


def test_a_place_that_cannot_be_written_is_said(data: Dataset, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(WorkspaceError, match="cannot be written"):
        FeatureStore(tmp_path / "file/store").prepare(data.tracks)


@pytest.mark.parametrize("block", [1 << 20, 100])
def test_moments_are_those_of_all_frames_together(
    data: Dataset, store: FeatureStore, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(normalization, "_BLOCK", block)
    store.prepare(data.tracks)
    digests = [track.digest for track in data.tracks[:3]]
    for input_spec in (MFCC_INPUT, FUSION_INPUT):
        joined = np.concatenate(
            [store.features(digest)[input_spec.start : input_spec.stop] for digest in digests], axis=1
        )
        mean, variance = store.normalization(input_spec, digests)
        assert (mean.dtype, variance.dtype, mean.shape) == (
            np.float32,
            np.float32,
            (input_spec.stop - input_spec.start,),
        )
        np.testing.assert_allclose(mean, joined.mean(axis=1, dtype=np.float64), rtol=1e-5)
        np.testing.assert_allclose(variance, joined.var(axis=1, dtype=np.float64), rtol=1e-5)
    if block > 100:
        joined = np.concatenate([store.waveform(digest) for digest in digests]) / 32768
        mean, variance = store.normalization(WAVEFORM_INPUT, digests)
        np.testing.assert_allclose(mean, [joined.mean()], atol=1e-8)
        np.testing.assert_allclose(variance, [joined.var()], rtol=1e-5)


def held(store: FeatureStore, digest: str, copy: int) -> tuple[bytes, bytes]:
    return store.features(digest, copy).tobytes(), store.waveform(digest, copy).tobytes()


def test_augmented_copies_lie_beside_the_tracks_that_are_trained_on(data: Dataset, store: FeatureStore) -> None:
    trained, other = data.tracks[0], data.tracks[1]
    made: list[int] = []
    store.prepare(data.tracks, augmented=[trained], copies=2, progress=lambda done, total: made.append(total))

    assert made == [4] * 4
    assert len({held(store, trained.digest, number) for number in range(3)}) == 3
    np.testing.assert_array_equal(store.features(trained.digest, 0), store.features(trained.digest))
    for number in (1, 2):
        features, waveform = store.features(trained.digest, number), store.waveform(trained.digest, number)
        assert features.shape == store.features(trained.digest).shape
        assert waveform.shape == store.waveform(trained.digest).shape
        # Both are of the same augmented copy: the one is computed in floats, the other is stored as 16-bit integers.
        again = extract((waveform / 32768).astype(np.float32))
        assert (
            np.corrcoef(
                features[MFCC_INPUT.start : MFCC_INPUT.stop].ravel(), again[MFCC_INPUT.start : MFCC_INPUT.stop].ravel()
            )[0, 1]
            > 0.99
        )
    with pytest.raises(WorkspaceError, match="not in the store"):
        store.features(other.digest, 1)


def test_augmented_copies_are_made_once_and_are_the_same_anywhere(
    data: Dataset, store: FeatureStore, tmp_path: Path
) -> None:
    trained = data.tracks[:2]
    store.prepare(data.tracks)
    store.prepare(data.tracks, augmented=trained, copies=1)
    before, made = files(store), []
    store.prepare(data.tracks, augmented=trained, copies=1, progress=lambda done, total: made.append(total))
    assert not made
    assert files(store) == before
    store.prepare(data.tracks, augmented=trained, copies=2, progress=lambda done, total: made.append(total))
    assert made == [2, 2]
    assert before.items() <= files(store).items()

    other = FeatureStore(tmp_path / "other")
    other.prepare(reversed(data.tracks), augmented=trained, copies=2)
    for track in trained:
        for number in (1, 2):
            assert held(other, track.digest, number) == held(store, track.digest, number)


def test_a_damaged_variant_is_made_again_alone(data: Dataset, store: FeatureStore) -> None:
    track = data.tracks[0]
    store.prepare([track], augmented=[track], copies=2)
    whole, kept = held(store, track.digest, 2), files(store)
    damaged = Path(store.waveform(track.digest, 2).filename)
    damaged.write_bytes(damaged.read_bytes()[:-1])
    store.prepare([track], augmented=[track], copies=2)
    assert held(store, track.digest, 2) == whole
    assert {path.name for path, when in files(store).items() if kept[path] != when} == {
        damaged.name,
        Path(store.features(track.digest, 2).filename).name,
    }


def test_another_way_of_varying_leaves_the_tracks_alone(
    data: Dataset, store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    track = data.tracks[0]
    store.prepare([track], augmented=[track], copies=1)
    original = held(store, track.digest, 0)
    monkeypatch.setattr(augment, "VERSION", augment.VERSION + 1)
    assert held(store, track.digest, 0) == original
    for read in (store.features, store.waveform):
        with pytest.raises(WorkspaceError, match="not in the store"):
            read(track.digest, 1)


def test_normalization_does_not_see_augmented_copies(data: Dataset, store: FeatureStore) -> None:
    digests = [track.digest for track in data.tracks]
    store.prepare(data.tracks)
    input_specs = (FUSION_INPUT, WAVEFORM_INPUT)
    before = [store.normalization(input_spec, digests) for input_spec in input_specs]
    store.prepare(data.tracks, augmented=data.tracks, copies=1)
    for input_spec, (mean, variance) in zip(input_specs, before, strict=True):
        np.testing.assert_array_equal(store.normalization(input_spec, digests), (mean, variance))


KILLED = """
import sys
from pathlib import Path
from harness.datasets.scan import scan
from harness.features.store import FeatureStore

data = scan(Path(sys.argv[1]), workers=1)
store = FeatureStore(Path(sys.argv[2]))
store.prepare(data.tracks, workers=2, progress=lambda done, total: print(done, flush=True))
"""


# Slow: three processes import librosa.
@pytest.mark.slow
def test_killed_workers_go_with_their_parent_and_the_next_run_goes_on(tmp_path: Path, store: FeatureStore) -> None:
    root = write_genres(tmp_path / "set", [f"{genre}/{genre}{number}" for genre in "ab" for number in range(30)])
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    command = [sys.executable, script, root, store.root]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "1\n"
        children = psutil.Process(parent.pid).children(recursive=True)
        parent.send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive

    data, made = scan(root), []
    store.prepare(data.tracks, workers=1, progress=lambda done, total: made.append(total))
    assert made[0] < 60
    for track in data.tracks:
        assert store.features(track.digest).shape == (187, 138)
