"""A collection of albums, as people have it, from the first look at it to the genre of a new song, by the README."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from harness.workspace import Workspace
from tests.helpers.audio import song
from tests.helpers.command import Done, command
from tests.helpers.tags import write_mp3, write_tagged

RATE = 22_050


def write_track(path: Path, artist: str, seed: int, rate: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = song(seed, 6.0, rate)
    if path.suffix == ".mp3":
        write_mp3(path, artist, samples=samples, rate=rate)
    else:
        write_tagged(path, artist, samples, rate)


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two genres, four artists in each, an album or two of each in MP3 or FLAC; one album is there in both.

    What lies beside music lies beside it here, too. Tags name the artists, as folders do, in other letters.
    """
    root = tmp_path_factory.mktemp("collection") / "My Music"
    for g, genre in enumerate(("Jazz", "Metal")):
        for a in range(4):
            artist, kind = f"{genre} Artist {a}", (".mp3", ".flac")[a % 2]
            for t in (1, 2):
                path = root / genre / artist.lower() / "First Album" / f"0{t} - Song{kind}"
                write_track(path, artist, 100 * g + 10 * a + t, (22_050, 44_100)[g])
            (path.parent / "cover.jpg").write_bytes(b"no music")
            (path.parent / "._01 - Song.mp3").write_bytes(b"of a Mac")
    for t in (1, 2):  # the same songs as above, in another coding, and at another rate
        path = root / "Jazz" / "jazz artist 1" / "First Album (MP3)" / f"0{t} - Song.mp3"
        write_mp3(path, "Jazz Artist 1", samples=song(10 + t, 6.0, RATE), rate=RATE)
    (root / "Metal" / "metal artist 0" / "First Album" / "video.mkv").write_bytes(b"\x1aE\xdf\xa3 and so on")
    return root


def harness(*arguments: object) -> Done:
    return subprocess.run(command(*arguments), capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.apart
def test_a_collection_of_albums_from_the_first_look_to_a_new_song(collection: Path, tmp_path: Path) -> None:
    """Searches, tests and predicts by the command line, each in a process of its own."""
    workspace = tmp_path / "work"
    looked = harness("data", "check", collection)
    assert looked.returncode == 0, looked.stderr
    lines = looked.stdout.splitlines()
    assert "My-Music: 18 tracks, 2 genres, 0.0 hours" in lines
    assert "quarantined: 1" in lines
    assert any("video.mkv: " in line for line in lines)
    assert "replicas: 2" in lines
    assert sum("the same recording in another coding" in line for line in lines) == 2

    written = harness("data", "artists", collection)
    assert (written.returncode, written.stderr) == (0, "")
    assert "18 tracks, 8 artists" in written.stdout
    assert "artists: 8, from artists.csv" in harness("data", "check", collection).stdout

    run = ("run", "cnn2d-mfcc", "--data", collection, "--quick", "--trials", 1, "--epochs", 1, "--workspace", workspace)
    refused = harness(*run)
    assert refused.returncode == 2
    assert "video.mkv" in refused.stderr
    searched = harness(*run, "--skip-bad")
    assert searched.returncode == 0, searched.stderr
    assert "no track, replica or artist stands on two sides" in searched.stdout
    assert "protocol group" in searched.stdout

    tested = harness("final", "cnn2d-mfcc", "--final-seeds", 1, "--workspace", workspace)
    assert tested.returncode == 0, tested.stderr
    scores = json.loads((Workspace(workspace).report.parent / "scores.json").read_text(encoding="utf-8"))
    assert "finals" in json.dumps(scores)

    new = tmp_path / "new"
    write_track(new / "deep" / "song.flac", "Somebody", 999, RATE)
    (new / "broken.mp3").write_text("no music")
    answered = harness("predict", new, "--json", "--workspace", workspace)
    answers = [json.loads(line) for line in answered.stdout.splitlines()]
    assert [Path(each["file"]).name for each in answers if "genre" in each] == ["song.flac"]
    assert answers[-1]["genre"] in ("Jazz", "Metal")
    assert "broken.mp3" in answered.stdout + answered.stderr
