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
        # As a program pads its numbers.
        [f"blues/blues.00000.{number:03d}.wav" for number in range(4)],
        [f"blues/blues.00001_{number:02d}.wav" for number in range(12)],
        [f"blues/blues.00001-{number:05d}.wav" for number in (7, 30_000)],
        [f"blues/000190_{number:02d}.mp3" for number in range(1, 12)],
        [f"blues/take 100_{number:02d}.wav" for number in range(12)],
        [f"blues/take 100_{number:03d}.wav" for number in range(1, 12)],
        # The first ones cannot serve.
        [f"blues/blues.00000.{number}.wav" for number in range(2, 6)],
        [f"blues/take.00000.{number}.wav" for number in range(2, 6)],
        ["blues/blues.00000.17.wav", "blues/blues.00000.29.wav"],
        # The whole beside its pieces.
        ["blues/blues.00000.wav", *(f"blues/blues.00000.{number}.wav" for number in range(4))],
        ["blues/blues.00000.mp3", "blues/blues.00000.3.wav"],
        ["blues/000190.mp3", "blues/000190_0.mp3", "blues/000190_1.mp3"],
        ["blues/Tune.wav", *(f"blues/Tune_part{number}.wav" for number in range(1, 5))],
        # A folder for each track, or one for each partition.
        [f"blues/blues.00007/{number}.wav" for number in range(4)],
        [f"blues/train/blues_00007/{number:02d}.wav" for number in range(4)],
        ["blues/blues.00007/part_1.wav", "blues/blues.00007/part_2.wav", "blues/blues.00007.wav"],
        ["blues/train/blues.00003.0.wav", "blues/train/blues.00003.1.wav", "blues/test/blues.00003.2.wav"],
        ["blues/train/blues.00003.wav", "blues/test/Blues-00003_seg1.wav", "blues/blues.00003.2.wav"],
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
        ["blues/2001.1.mp3", "blues/2001.2.mp3", "blues/2001.mp3"],
        ["blues/2001_00.mp3", "blues/2001_01.mp3"],
        ["blues/Live 20210314-1.mp3", "blues/Live 20210314-2.mp3"],
        [f"blues/8550123-{number:02d}.mp3" for number in range(1, 21)],
        [f"blues/op 100.{number:02d}.mp3" for number in range(1, 21)],
        ["blues/Artist/01.mp3", "blues/Artist/02.mp3"],
        ["blues/Album 1999/1.mp3", "blues/Album 1999/2.mp3", "blues/CD1/1.mp3", "blues/CD1/2.mp3"],
        ["blues/rock.00007/1.mp3", "blues/rock.00007/2.mp3"],
        ["blues/blues.007/1.mp3", "blues/blues.007/2.mp3"],
        ["blues/a/take.00007.0.wav", "blues/b/take.00007.1.wav"],
        ["blues/blues.00000.0.wav", "rock/blues.00000.1.wav", "rock/rock.00000.1.wav"],
        ["blues/blues.00000.0.wav", "blues/blues.00001.1.wav", "blues/blues.00001_0_1.wav"],
        ["blues/a/blues.00000.wav", "blues/b/blues.00000.wav"],
        ["blues/Tune.wav", "blues/Tune 1.wav", "blues/Tune 2.wav", "blues/Tune Two.wav"],
        ["blues/Tune.wav", "blues/Tune_part2.wav"],
        ["blues/a/Tune.wav", "blues/b/Tune_part1.wav", "blues/b/Tune_part2.wav"],
    ],
)
def test_numbers_of_different_tracks_link_nothing(names: list[str]) -> None:
    assert replicas(named(*names)) == {}


def test_pieces_of_two_names_in_one_folder_are_two_recordings() -> None:
    found = replicas(named(*(f"hip-hop/hiphop.{track:05d}.{piece}.wav" for track in range(3) for piece in range(2))))
    assert len(found) == 3
    assert all(len({name.split(".")[1] for name in group}) == 1 for group in found)


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
