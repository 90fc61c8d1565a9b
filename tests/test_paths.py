"""Whatever a user names is told what it is, and is shown in one line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.paths import path_state, printable


def test_a_path_is_told_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    kinds = {
        "": "folder",
        "file": "file",
        "link": "file",
        "pipe": "other",
        "none": "missing",
        "file/below": "missing",
        "a\0b": "missing",
        "loop": "missing",
        "x" * 300: "unreadable",
    }
    assert {name: path_state(tmp_path / name).kind for name in kinds} == kinds
    assert path_state(tmp_path / ("x" * 300)).said("no such file") == "cannot be read (File name too long)"
    assert path_state(tmp_path / "none").said("no such file") == "no such file"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Müsik – 音 🎵", "Müsik – 音 🎵"),
        ("two\nlines\r", "two\\nlines\\r"),
        ("\x1b[2Jred\x9b", "\\x1b[2Jred\\x9b"),
        ("a\u2028b\u202ecba", "a\\u2028b\\u202ecba"),
        (r"back\slash", r"back\slash"),
    ],
)
def test_a_name_is_shown_in_one_line(name: str, shown: str) -> None:
    assert printable(name) == shown
    assert len(printable(name).splitlines()) == 1
