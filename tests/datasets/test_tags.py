"""Artists in the tags of files: who is meant, and which names are one."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from harness.datasets.tags import artist_names, one_artist_each
from tests.helpers.audio import write_audio
from tests.helpers.tags import write_mp3, write_tagged


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg"])
def test_the_artist_of_every_format_is_read(tmp_path: Path, suffix: str) -> None:
    assert artist_names(write_tagged(tmp_path / f"one{suffix}", " Zoë\tKeating ")) == ("Zoë Keating",)
    assert artist_names(write_audio(tmp_path / f"bare{suffix}")) == ()


def test_first_bytes_say_what_a_file_is(tmp_path: Path) -> None:
    path = write_tagged(tmp_path / "one.ogg", "Zoë")
    assert artist_names(path.rename(tmp_path / "one.mp3")) == ("Zoë",)


@pytest.mark.parametrize(
    ("artists", "album_artist", "names"),
    [
        (["Björk"], "", ("Björk",)),
        ([], "Björk", ("Björk",)),
        (["Björk feat. Tricky"], "Björk", ("Björk",)),
        (["Björk feat. Tricky"], "", ("Björk",)),
        (["Björk (ft. Tricky & Co)"], "Various Artists", ("Björk",)),
        (["Little Feat"], "", ("Little Feat",)),
        (["Björk; Tricky"], "", ("Björk", "Tricky")),
        (["Verschiedene Interpreten"], "Unknown", ()),
        (["Bj\ufffdrk"], "", ()),
        (["Björk & Tricky", "Björk", "Tricky"], "", ("Björk & Tricky", "Björk", "Tricky")),
        (["BJÖRK & Tricky", "Björk", "Tricky"], "björk", ("björk", "Tricky")),
        # An album by several is nobody's, whatever its language calls that.
        (["Björk"], "Various Artists", ("Björk",)),
        (["Björk"], "Verschiedene Interpreten", ("Björk",)),
        (["Fairport Convention"], "Air", ("Fairport Convention",)),
        ([], "Various Artists", ()),
        (["Unknown Artist"], "", ()),
        ([" "], "", ()),
    ],
)
def test_who_made_a_track(tmp_path: Path, artists: list[str], album_artist: str, names: tuple[str, ...]) -> None:
    assert artist_names(write_mp3(tmp_path / "one.mp3", *artists, album_artist=album_artist)) == names


@pytest.mark.parametrize("content", [b"", b"no audio", b"ID3\x04\0\0\0\0\x7f\x7f", b"fLaC\xff\xff\xff\xff", b"OggS"])
def test_a_broken_file_names_nobody(tmp_path: Path, content: bytes) -> None:
    for name in ("broken.mp3", "broken.flac", "broken.au"):
        (tmp_path / name).write_bytes(content)
        assert artist_names(tmp_path / name) == ()
    assert artist_names(tmp_path / "not_there.mp3") == ()


def test_spellings_of_a_name_are_one_artist() -> None:
    decomposed = unicodedata.normalize("NFD", "Björk")
    tagged = {"a": ["Björk"], "b": ["BJÖRK"], "c": [decomposed], "d": ["Björk"], "e": ["Air"], "f": []}
    assert one_artist_each(tagged) == dict.fromkeys("abcd", "Björk") | {"e": "Air"}


def test_a_track_by_two_joins_the_tracks_of_both() -> None:
    tagged = {"a": ["Björk"], "b": ["Björk"], "c": ["Tricky"], "d": ["Tricky", "Björk"], "e": ["Air"]}
    assert one_artist_each(tagged) == dict.fromkeys("abcd", "Björk") | {"e": "Air"}
