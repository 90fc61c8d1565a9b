"""Paths that may not be looked at, or are too long, get a sentence from every command, and cost no other file."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import ClassVar
from unittest import mock

import numpy as np
import pytest

from harness.datasets.decode import decode
from harness.errors import DataError
from harness.inference.pipeline import TrackPrediction
from tests.helpers.audio import write_audio, write_genres
from tests.helpers.command import ROOT, Done, command, in_this_process

# In one process, which imports what commands need once.
COMMANDS = """
import json, sys
from contextlib import nullcontext
from tests.cli.test_unreadable_paths import answering
from tests.helpers.command import command, in_this_process

with answering() if sys.argv[2] == "without a model" else nullcontext():
    for order in json.loads(sys.argv[1]):
        done = in_this_process(command(*order))
        print(json.dumps([done.returncode, done.stdout, done.stderr]))
"""
TO_NAME = [
    (("data", "check", "{}"), "{}: {why}. Name the folder that holds the genre folders."),
    (("run", "cnn2d-mfcc", "--data", "{}"), "{}: {why}. Name the folder that holds the genre folders."),
    (("run", "cnn2d-mfcc", "--data", "{music}", "--groups", "{}"), "{}: {why}. Name a CSV file with track,artist"),
    (("run", "cnn2d-mfcc", "--data", "{music}", "--embedding", "{}"), "{}: {why}. Name YAMNet as a .tflite file"),
    (("run", "cnn2d-mfcc", "--data", "{music}", "--embedding", "{}.npz"), "{}.npz: {why}. Name YAMNet as a .tflite"),
    (("report", "--workspace", "{}"), "{}: {why}. Name another folder with --workspace."),
    (("ui", "--workspace", "{}"), "{}: {why}. Name another folder with --workspace."),
    (("sync", "--workspace", "{}"), "{}: {why}. Name another folder with --workspace."),
    (("predict", "x.wav", "--workspace", "{}"), "{}: {why}. Name another folder with --workspace."),
    (("final", "--workspace", "{}"), "{}: {why}. Name another folder with --workspace."),
    (("predict", "x.wav", "--model", "{}"), "--model {}: {why}. Name one that `harness export` wrote"),
    (("export", "{}"), "{}: {why}. Name another folder."),
    (("data", "make", "{}"), "{}: {why}. Choose another place."),
    (("data", "artists", "{music}", "--output", "{}"), "none of its 4 files names an artist"),
]


class Decoding:
    """Answers by whether a file can be read."""

    about: ClassVar[dict[str, object]] = {}

    def file(self, path: Path) -> TrackPrediction:
        try:
            decode(path)
        except DataError as error:
            raise DataError(f"{path}: {error}") from None
        return TrackPrediction(("jazz", "rock"), ((0.0, 3.2),), np.array([[0.75, 0.25]]))


@contextmanager
def answering() -> Iterator[None]:
    """Let `predict` answer so, without a model."""
    with (
        mock.patch("harness.workflows.model.open_classifier", return_value=nullcontext(Decoding())),
        mock.patch("harness.inference.card.introduction", return_value="model"),
    ):
        yield


def filled(order: tuple[str, ...], path: Path, music: Path) -> list[str]:
    return [part.replace("{}", str(path)).replace("{music}", str(music)) for part in order]


def without_privileges(orders: list[list[str]], how: str) -> list[Done]:
    """Carry out commands as one for whom locked folders are locked, which to root they are not."""
    dropped = "-dac_override,-dac_read_search"
    prefix = ["setpriv", "--bounding-set", dropped, "--inh-caps", dropped] if os.geteuid() == 0 else []
    if prefix and (not shutil.which("setpriv") or subprocess.run([*prefix, "true"], capture_output=True).returncode):
        pytest.skip("root opens every folder, and there is no setpriv to be less than that")
    program = [*prefix, sys.executable, "-c", COMMANDS, json.dumps(orders), how]
    done = subprocess.run(program, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return [Done(order, *json.loads(line)) for order, line in zip(orders, done.stdout.splitlines(), strict=True)]


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_genres(tmp_path_factory.mktemp("music"), ["blues/a", "blues/b", "rock/c", "rock/d"])


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "locked"
    folder.mkdir()
    write_audio(folder / "x.wav")
    folder.chmod(0)
    yield folder
    folder.chmod(0o700)


def check(done: Done, said: str, path: Path, why: str) -> None:
    assert done.returncode == 2, done
    assert said.replace("{}", str(path)).replace("{why}", why) in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(("order", "said"), TO_NAME)
def test_a_path_that_is_too_long_is_named(order: tuple[str, ...], said: str, music: Path, tmp_path: Path) -> None:
    path = tmp_path / ("x" * 300)
    check(in_this_process(command(*filled(order, path, music))), said, path, "cannot be read (File name too long)")


def test_what_lies_in_a_locked_folder_is_named(locked: Path, music: Path) -> None:
    path = locked / "inside"
    orders = [filled(order, path, music) for order, _ in TO_NAME]
    for done, (_, said) in zip(without_privileges(orders, "as it is"), TO_NAME, strict=True):
        check(done, said, path, "cannot be read (Permission denied)")


def test_files_that_may_not_be_read_cost_only_themselves(locked: Path, music: Path, tmp_path: Path) -> None:
    closed = write_audio(tmp_path / "closed.wav")
    closed.chmod(0)
    long, good = tmp_path / f"{'x' * 300}.wav", music / "blues/a.wav"
    order = ["predict", *map(str, [locked / "x.wav", locked, closed, long, good])]
    (done,) = without_privileges([order], "without a model")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "model",
        f"error: {locked / 'x.wav'}: not readable (Permission denied)",
        f"error: {locked}: not readable (Permission denied): check its permissions.",
        f"error: {closed}: not readable (Permission denied)",
        f"error: {long}: not readable (File name too long)",
    ]
    assert done.stdout == f"{good}: jazz 75 %, rock 25 %\n"


@pytest.mark.parametrize("name", ["results", "results/study"])
def test_locked_results_are_not_taken_for_none(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    folder.mkdir(parents=True)
    folder.chmod(0)
    orders = [[*order, "--workspace", str(tmp_path)] for order in (["report"], ["predict", "x.wav"], ["sync"])]
    for done in without_privileges(orders, "as it is"):
        check(done, "{}: {why}. Mend its permissions", folder, "cannot be read (Permission denied)")
    folder.chmod(0o700)


def test_an_error_of_the_system_that_no_one_expected_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*about: object) -> None:
        raise OSError(errno.EIO, "Input/output error", "/mnt/disk\n1/x")

    monkeypatch.setattr("harness.workflows.model.export_model", fail)
    done = in_this_process(command("export", "new"))
    assert (done.returncode, done.stderr) == (
        2,
        "error: /mnt/disk\\n1/x: cannot be used (Input/output error). Check that place and its permissions.\n",
    )


def test_names_are_shown_in_one_line(tmp_path: Path) -> None:
    odd = "a\n\x1b[31mb"
    write_genres(tmp_path, ["blues/one", "blues/two", "rock/three", f"rock/{odd}"])
    (tmp_path / f"rock/{odd}.m4a").touch()
    (tmp_path / f"loose {odd}.wav").touch()
    done = in_this_process(command("data", "check", tmp_path))
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    assert "note: in no genre's folder, so left out: loose a\\n\\x1b[31mb.wav\n" in done.stdout
    assert "\n  rock/a\\n\\x1b[31mb.m4a: not one of" in done.stdout
    with answering():
        done = in_this_process(command("predict", tmp_path / "rock"))
        exact = in_this_process(command("predict", tmp_path / "rock", "--json"))
    assert done.stderr.startswith(f"model\nerror: {tmp_path}/rock/a\\n\\x1b[31mb.m4a: not one of")
    assert done.stdout.splitlines()[0] == f"{tmp_path}/rock/a\\n\\x1b[31mb.wav: jazz 75 %, rock 25 %"
    assert json.loads(exact.stdout.splitlines()[0])["file"] == f"{tmp_path}/rock/{odd}.wav"
    (tmp_path / "blues/one.wav").write_bytes(b"")
    done = in_this_process(command("run", "cnn2d-mfcc", "--data", tmp_path, "--workspace", tmp_path / "ws"))
    assert "\x1b" not in done.stderr
    assert "\n  rock/a\\n\\x1b[31mb.m4a: not one of" in done.stderr
