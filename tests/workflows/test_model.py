"""Which files a model is asked about."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from harness.errors import DataError
from harness.inference.pipeline import Classifier
from harness.workflows.model import classify


class Listening:
    """Answers with the name of a file."""

    def file(self, path: Path) -> str:
        if path.stem == "broken":
            raise DataError(f"{path}: broken")
        return path.name


@pytest.fixture
def music(tmp_path: Path) -> Path:
    for name in ("b.mp3", "a/2.FLAC", "a/1.wav", "a/album/x.ogg", "._b.mp3", "cover.jpg", "a/notes.txt", "broken.wav"):
        path = tmp_path / "music" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "music" / "link").symlink_to(tmp_path / "music" / "a")
    (tmp_path / "empty").mkdir()
    return tmp_path


def asked(*paths: Path) -> list[Any]:
    return [(path, str(answer)) for path, answer in classify(cast(Classifier, Listening()), paths)]


def test_the_audio_of_a_folder_is_meant_at_any_depth_in_order(music: Path) -> None:
    folder = music / "music"
    assert asked(folder) == [
        (folder / "a/1.wav", "1.wav"),
        (folder / "a/2.FLAC", "2.FLAC"),
        (folder / "a/album/x.ogg", "x.ogg"),
        (folder / "b.mp3", "b.mp3"),
        (folder / "broken.wav", f"{folder / 'broken.wav'}: broken"),
    ]


def test_files_that_are_named_are_taken_as_they_are(music: Path) -> None:
    named = [music / "music/cover.jpg", music / "nowhere.wav", music / "music/a/1.wav"]
    assert [path for path, _ in asked(*named)] == named


def test_a_folder_without_audio_costs_only_itself(music: Path) -> None:
    (empty, why), (_, answer) = asked(music / "empty", music / "music/b.mp3")
    assert empty == music / "empty"
    assert why.startswith(f"{empty}: a folder without audio. It may hold .")
    assert answer == "b.mp3"
