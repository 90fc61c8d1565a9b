"""Which files a model is asked about."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from harness.errors import DataError
from harness.inference.pipeline import Classifier
from harness.workflows.model import classify
from tests.helpers.audio import write_audio


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
    (folder / ".38 Special").mkdir()
    (folder / ".38 Special" / "...And.wav").touch()
    assert asked(folder) == [
        (folder / ".38 Special/...And.wav", "...And.wav"),
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


def test_what_of_a_folder_cannot_be_read_answers_for_itself(music: Path) -> None:
    folder = music / "music"
    for name, content in {"a/2.m4a": b"", "song": b"DSD \x1c" + bytes(7), "readme": b"text", ".DS_Store": b""}.items():
        (folder / name).write_bytes(content)
    (folder / "gone.wav").symlink_to(music / "nowhere")
    write_audio(music / "disk/far.wav")
    (folder / "linked").symlink_to(music / "disk")
    answers = dict(asked(folder))
    assert len(answers) == 9
    assert answers[folder / "linked/far.wav"] == "far.wav"
    said = {path.name: answer.removeprefix(f"{path}: ") for path, answer in answers.items() if ": " in answer}
    assert said.pop("2.m4a").startswith("not one of ")
    assert said == {
        "broken.wav": "broken",
        "gone.wav": "a link that leads nowhere (No such file or directory): mend or remove it.",
        "song": "this is DSD audio, which libsndfile cannot read: convert it to .flac or .wav, as with ffmpeg.",
    }


def test_a_name_that_is_too_long_costs_only_itself(music: Path) -> None:
    long, good = music / f"{'x' * 300}.wav", music / "music/b.mp3"
    assert asked(long, long / "y.wav", good) == [(long, long.name), (long / "y.wav", "y.wav"), (good, "b.mp3")]


def test_a_folder_that_cannot_be_listed_costs_only_itself(music: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listing = Path.iterdir

    def refused(folder: Path) -> Iterator[Path]:
        if folder.resolve().name == "a":  # to root, who may run this, every folder is open
            raise PermissionError(errno.EACCES, "Permission denied", str(folder))
        return listing(folder)

    monkeypatch.setattr(Path, "iterdir", refused)
    locked = "not readable (Permission denied): check its permissions."
    within = asked(music / "music")
    assert within[0] == (music / "music/a", f"{music / 'music/a'}: {locked}")
    assert [path.name for path, _ in within] == ["a", "b.mp3", "broken.wav", "link"]
    assert asked(music / "music/a") == [within[0]]
