"""Tracks that are one recording by their audio or their names, and those that only look so."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.datasets.dataset import Track
from harness.datasets.replicas import replicas
from harness.datasets.scan import scan
from tests.helpers.audio import noise, write_audio, write_genres


def named(*names: str, same: tuple[str, ...] = ()) -> list[Track]:
    """Tracks of these files, all in genre folders; those of `same` have the same audio."""
    return [Track(name, name.split("/")[0], Path(name), "same" if name in same else name, 30.0) for name in names]


def test_a_converted_copy_beside_its_original_is_one_recording(tmp_path: Path) -> None:
    write_genres(tmp_path, ["rock/one", "rock/two", "blues/three"])
    write_audio(tmp_path / "rock/one.mp3", noise("other samples", rate=16_000), rate=16_000)
    found = scan(tmp_path)
    assert found.replicas == (("rock/one.mp3", "rock/one.wav"),)
    assert found.replica_reasons[found.replicas[0]] == "same name, other format"


def test_equal_names_in_other_folders_are_other_tracks() -> None:
    assert replicas(named("rock/a/01.mp3", "rock/b/01.wav", "blues/01.flac")) == {}


@pytest.mark.parametrize(
    "pieces",
    [
        [f"blues/blues.00000.{number}.wav" for number in range(10)],
        [f"blues/blues_00012-{number}.mp3" for number in range(1, 31)],
        ["blues/000190_0.mp3", "blues/000190_2.mp3"],
        ["blues/song_part1.wav", "blues/song_part2.wav"],
        ["blues/Song (Part 1).mp3", "blues/Song (Part 2).mp3"],
        ["blues/take.00000_seg0.wav", "blues/take.00000_seg1.wav"],
    ],
)
def test_numbered_pieces_are_one_recording(pieces: list[str]) -> None:
    others = ["blues/other.wav", "rock/blues.00001.0.wav"]
    assert replicas(named(*pieces, *others)) == {tuple(sorted(pieces)): "numbered pieces of one track"}


@pytest.mark.parametrize(
    "names",
    [
        [f"blues/blues.{number:05d}.wav" for number in range(100)],
        [f"blues/blues_{number:05d}.wav" for number in range(12)],
        ["blues/01 - Song.mp3", "blues/02 - Song.mp3"],
        ["blues/track01.wav", "blues/track02.wav"],
        ["blues/1-01.mp3", "blues/1-02.mp3", "blues/2-01.mp3", "blues/2-02.mp3"],
        ["blues/CD1.1.mp3", "blues/CD1.2.mp3"],
        ["blues/2012.1.mp3", "blues/2012.2.mp3"],
        ["blues/Live 1999-1.mp3", "blues/Live 1999-2.mp3"],
        ["blues/op 100.01.mp3", "blues/op 100.02.mp3"],
        ["blues/000190_5.mp3", "blues/000190_6.mp3"],
        ["blues/100 1.mp3", "blues/100 9.mp3"],
        ["blues/Part 1.mp3", "blues/Part 2.mp3"],
        ["blues/Jazz Part 1.mp3", "blues/Jazz Part 2.mp3", "blues/Jazz Part 3.mp3"],
        ["blues/Apart 1.mp3", "blues/Apart 2.mp3", "blues/other.mp3"],
        ["blues/123.1.mp3"],
    ],
)
def test_numbers_of_different_tracks_link_nothing(names: list[str]) -> None:
    assert replicas(named(*names)) == {}


def test_groups_that_share_a_track_are_one_with_all_reasons() -> None:
    tracks = named("blues/x.0001.0.wav", "blues/x.0001.1.wav", "blues/x.0001.1.mp3", "rock/y.wav", "rock/z.wav")
    tracks += named("blues/copy.wav", "blues/x.0001.0.flac", same=("blues/copy.wav", "blues/x.0001.0.flac"))
    assert replicas(tracks) == {
        (
            "blues/copy.wav",
            "blues/x.0001.0.flac",
            "blues/x.0001.0.wav",
            "blues/x.0001.1.mp3",
            "blues/x.0001.1.wav",
        ): "the same audio; same name, other format; numbered pieces of one track"
    }
