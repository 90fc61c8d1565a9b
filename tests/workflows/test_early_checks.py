"""What is said of the settings of a run before any audio is read, and before a workspace is made."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from harness.errors import HarnessError
from harness.events import Event, Note
from harness.families import select
from harness.settings import run_settings
from harness.workflows.dry_run import dry_run
from harness.workflows.early_checks import check_settings
from harness.workflows.run import run


@pytest.fixture
def table(tmp_path: Path) -> Path:
    (tmp_path / "odd.csv").write_text("track,partition\nblues.00000,training\nblues.00001,somewhere\n")
    (tmp_path / "twice.csv").write_text("track,artist\nblues.00000,a\nblues.00000,b\n")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    return tmp_path


@pytest.mark.parametrize("command", [run, dry_run])
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"data": "nowhere"}, "nowhere: no such folder"),
        ({"protocol": "kfold:1"}, "kfold:1: one fold leaves nothing to train on"),
        ({"protocol": "kfold"}, "'kfold' is not a protocol. Choose auto, group"),
        ({"protocol": "none.csv"}, "none.csv: cannot be read (No such file or directory)"),
        ({"protocol": "odd.csv"}, "odd.csv: the row of blues.00001 says 'somewhere', which is no partition"),
        ({"groups": "none.csv"}, "none.csv: cannot be read (No such file or directory)"),
        ({"embedding": "none.tflite"}, "none.tflite"),
        ({"storage": "sqlit:///x.db"}, "--storage sqlit:///x.db: cannot be opened"),
        (
            {"storage": "mysql+nosuch://me:***@box/x"},
            "--storage mysql+nosuch://me:***@box/x: its password is hidden. Write",
        ),
        (
            {"tracking_uri": "http://me:***@box"},
            "--tracking-uri http://me:***@box: its password is hidden. Write it in",
        ),
        ({"groups": "odd.csv"}, "odd.csv: its header is 'track,partition'. It must begin with track,artist or"),
        ({"groups": "twice.csv"}, "twice.csv: row 3 names blues.00000 a second time"),
        ({"groups": "binary.csv"}, "binary.csv: not a CSV file in UTF-8"),
        ({"storage": "mysql+nosuch://me:geheim@box/x"}, "--storage mysql+nosuch://me:***@box/x: cannot be opened"),
    ],
)
def test_a_mistyped_setting_is_told_before_any_audio_is_read(
    command: Any, given: dict[str, str], said: str, table: Path, tones: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(table)
    monkeypatch.setattr("harness.datasets.examination.map_items", lambda *about, **more: pytest.fail("audio was read"))
    settings = run_settings({"data": tones, "workspace": table / "ws", **given})
    with pytest.raises(HarnessError) as failed:
        command(settings, select(["cnn2d-mfcc"]), lambda event: None)
    assert said in str(failed.value)
    assert "geheim" not in str(failed.value)
    assert not (table / "ws").exists()


@pytest.mark.parametrize("command", [run, dry_run])
@pytest.mark.parametrize("home", [".", "genres"])
def test_a_broken_table_beside_the_genres_is_told_before_any_audio_is_read(
    command: Any, home: str, tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.datasets.examination.map_items", lambda *about, **more: pytest.fail("audio was read"))
    monkeypatch.setattr("harness.workflows.devices.LocalBackend", lambda *about: Nothing())
    monkeypatch.setattr("harness.workflows.devices.ForkServer", Nothing)
    shutil.copytree(tones, tmp_path / "set" / "genres")
    (tmp_path / "set" / home / "artists.csv").write_text("name,artist\nblues.00000,a\n")
    settings = run_settings({"data": tmp_path / "set", "workspace": tmp_path / "ws"})
    with pytest.raises(
        HarnessError, match=r"artists.csv: its header is 'name,artist'. It must begin with track,artist"
    ):
        command(settings, select(["cnn2d-mfcc"]), lambda event: None)


class Nothing:
    """Stands for what no test of settings needs."""

    @classmethod
    def start(cls) -> Nothing:
        return cls()

    def close(self) -> None:
        pass


class Answering(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *about: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Answering) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def told(uri: str, tones: Path, workspace: Path) -> list[Event]:
    events: list[Event] = []
    check_settings(run_settings({"data": tones, "tracking_uri": uri, "workspace": workspace}), events.append)
    return events


def test_a_server_that_answers_is_not_spoken_of(server: str, tones: Path, tmp_path: Path) -> None:
    assert told(server, tones, tmp_path) == []


def test_a_server_that_is_away_is_told_when_a_run_starts(tones: Path, tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    uri = f"http://me:geheim@127.0.0.1:{port}"
    (note,) = told(uri, tones, tmp_path / "mein ws")
    assert isinstance(note, Note)
    assert note.warning
    assert note.text.startswith(f"http://me:***@127.0.0.1:{port}: MLflow is away (no answer). ")
    assert f"harness sync --workspace '{tmp_path}/mein ws' --tracking-uri 'http://me:***@127.0.0.1:{port}'" in note.text
