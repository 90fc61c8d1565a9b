"""The demo set: the same bytes for the same arguments, in the GTZAN layout, marked as synthetic."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pretty_midi
import pytest
import soundfile

from harness.errors import DataError, UsageError, WorkspaceError
from harness.synthetic import composer, dataset, recording
from harness.synthetic.styles import load_styles

GTZAN_GENRES = ["blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock"]
TINY = {"artists": 1, "tracks": 1, "seconds": 5.0, "seed": 3}


def contents(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dataset.make(tmp_path_factory.mktemp("demo") / "set", workers=2, **TINY)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """`make` in this process, with an empty file for every track."""
    monkeypatch.setattr(
        dataset, "_make_track", lambda track: (track.path.parent.mkdir(parents=True, exist_ok=True), track.path.touch())
    )
    return lambda directory, **arguments: dataset.make(directory, workers=1, **{**TINY, **arguments})


def test_one_worker_makes_the_same_bytes_as_two(tiny: Path, tmp_path: Path) -> None:
    # Spawned workers also have hash seeds of their own.
    assert contents(dataset.make(tmp_path / "again", workers=1, **TINY)) == contents(tiny)


def test_the_set_is_in_the_gtzan_layout_and_says_synthetic(tiny: Path) -> None:
    tracks = {f"genres/{genre}/{genre}.00000.wav" for genre in GTZAN_GENRES}
    assert set(contents(tiny)) == tracks | {"artists.csv", "SYNTHETIC.txt"}
    notice = (tiny / "SYNTHETIC.txt").read_text()
    assert "synthetic" in notice
    assert "seed: 3" in notice
    assert "say nothing about real music" in notice


@pytest.mark.parametrize("genre", GTZAN_GENRES)
def test_audio_is_music_in_the_format_of_gtzan(tiny: Path, genre: str) -> None:
    path = tiny / "genres" / genre / f"{genre}.00000.wav"
    info = soundfile.info(path)
    assert (info.samplerate, info.channels, info.subtype, info.frames) == (22_050, 1, "PCM_16", 5 * 22_050)
    audio, _ = soundfile.read(path)
    assert 0.01 < np.sqrt(np.mean(audio**2)) < 0.9
    assert np.abs(audio).max() > 0.5


def test_every_seed_artist_and_track_makes_other_music() -> None:
    songs = {
        composer.compose("jazz", artist, track, seed=seed, seconds=5)
        for seed in (0, 1)
        for artist in (0, 1)
        for track in (0, 1)
    }
    assert len(songs) == 8


def test_tracks_are_numbered_by_artist_then_track(quick: Callable[..., Path], tmp_path: Path) -> None:
    made = quick(tmp_path / "set", artists=2, tracks=3)
    with (made / "artists.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["track", "artist"]
    assert rows[1:7] == [[f"blues.{n:05d}", f"blues-artist-{n // 3:02d}"] for n in range(6)]
    assert [track for track, _ in rows[1:]] == sorted(path.stem for path in made.glob("genres/*/*.wav"))


def test_a_complete_set_is_left_alone(quick: Callable[..., Path], tmp_path: Path) -> None:
    made = quick(tmp_path / "set")
    before = {path: path.stat().st_mtime_ns for path in made.rglob("*")}
    calls: list[tuple[int, int]] = []
    quick(made, progress=lambda *call: calls.append(call))
    assert calls == []
    assert {path: path.stat().st_mtime_ns for path in made.rglob("*")} == before


def test_an_interrupted_making_goes_on(quick: Callable[..., Path], tmp_path: Path) -> None:
    def interrupt(finished: int, _: int) -> None:
        if finished == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quick(tmp_path / "set", progress=interrupt)
    assert not (tmp_path / "set" / "artists.csv").exists()
    calls: list[tuple[int, int]] = []
    made = quick(tmp_path / "set", progress=lambda *call: calls.append(call))
    assert calls == [(n, 10) for n in range(5, 11)]
    assert (made / "artists.csv").exists()


def test_nothing_of_the_users_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match=r"not a demo set.*[Cc]hoose"):
        dataset.make(tmp_path, **TINY)
    with pytest.raises(DataError, match="needs a folder"):
        dataset.make(tmp_path / "thesis.txt", **TINY)
    assert contents(tmp_path) == {"thesis.txt": b"mine"}


def test_another_set_in_the_folder_is_an_error(quick: Callable[..., Path], tmp_path: Path) -> None:
    made = quick(tmp_path / "set")
    with pytest.raises(DataError, match="other arguments"):
        quick(made, seed=4)


@pytest.mark.parametrize(
    "wrong", [{"artists": 0}, {"tracks": -1}, {"seconds": 4.9}, {"seconds": float("nan")}, {"workers": 0}]
)
def test_bad_arguments_are_refused_before_anything_is_written(tmp_path: Path, wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="at least"):
        dataset.make(tmp_path / "set", **{**TINY, **wrong})
    assert not (tmp_path / "set").exists()


def test_a_failed_write_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(WorkspaceError, match="No space left on device"):
        dataset.make(tmp_path / "set", **TINY)
    assert contents(tmp_path) == {}


def test_the_styles_name_only_what_exists() -> None:
    styles = load_styles()
    assert list(styles.genres) == GTZAN_GENRES
    for figure, bars in styles.figures.items():
        assert all(len(bar) == 16 and set(bar) <= set(".-1345678vwCcHhPpS") for bar in bars), figure
    for name, genre in styles.genres.items():
        assert set(genre.neighbours) <= set(GTZAN_GENRES) - {name}
        assert set(genre.bass_figures + genre.comping_figures) <= set(styles.figures)
        assert set(genre.scales) <= set(styles.scales)
        assert set(genre.mix) == set(composer.PARTS)
        for chord in " ".join(genre.progressions).split():
            degree, quality = chord.split(":")
            assert degree in styles.degrees
            assert quality in styles.qualities
        for groove in genre.grooves:
            assert set(groove) <= set(styles.drums)
            assert all(len(strokes) == 16 for strokes in groove.values())
        for instrument in genre.bass + genre.comping + genre.lead + genre.backing:
            pretty_midi.instrument_name_to_program(instrument)


def test_a_figure_is_played_in_the_register_with_its_notes_held() -> None:
    dominant = composer.Chord(root=7, intervals=(0, 4, 7, 10))
    events = list(composer._figure("1---3-......v-7.", dominant, composer.BASS_REGISTER, composer.Random(0)))
    assert [(event.step, event.length, event.pitch) for event in events] == [
        (0, 3.9, 31),
        (4, 1.9, 35),
        (12, 1.9, 26),
        (14, 0.9, 41),
    ]


def test_full_swing_puts_the_off_beat_on_the_third_triplet() -> None:
    clock = composer.Clock(tempo=60, swing=1, bar_steps=16)
    assert clock.seconds(1, 2) == pytest.approx(4 + 2 / 3)
    assert composer.Clock(tempo=60, swing=0, bar_steps=12).seconds(1, 2) == pytest.approx(3.5)


def test_an_artist_has_one_sound_and_artists_differ() -> None:
    sounds = [recording.artist_sound("rock", artist, seed=0) for artist in (0, 1, 0)]
    assert sounds[0] == sounds[2] != sounds[1]
