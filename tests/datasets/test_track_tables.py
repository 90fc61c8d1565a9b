"""Which row of a user's table means which track."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import pytest

from harness.datasets.scan import scan
from harness.datasets.track_tables import matched, read_table
from harness.errors import ProtocolError
from tests.helpers.audio import noise, write_audio, write_genres

NAMES = ("blues/café one", "blues/01", "rock/01", "rock/artist/Album/Two")


def composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


@pytest.mark.parametrize(
    "row",
    [
        "Two",
        "two",
        "Two.wav",
        "two.mp3",
        "rock/Two",
        "Album/Two",
        "rock/artist/Album/Two",
        "rock\\artist\\album\\two.wav",
    ],
)
def test_a_row_means_a_track_by_stem_and_by_path(tmp_path: Path, row: str) -> None:
    tracks = scan(write_genres(tmp_path / "genres", NAMES)).tracks
    assert matched(tracks, [row, "blues/01"]) == {"rock/Two": row, "blues/01": "blues/01"}
    assert matched(tracks, [f"genres/{row}"]) == ({"rock/Two": f"genres/{row}"} if "artist" in row else {})
    whole = str(tmp_path / "genres/rock/artist/Album/Two.wav")
    assert matched(tracks, [whole]) == {"rock/Two": whole}


def test_a_stem_serves_where_it_is_unique_whatever_form_the_ids_have(tmp_path: Path) -> None:
    write_genres(tmp_path, [*NAMES, "rock/three"])
    (tmp_path / "artists.csv").write_text(
        "track,artist\ncafé one,a\nTwo,b\nthree,c\nblues/01,d\nrock/01.wav,e\n", encoding="utf-8"
    )
    groups = scan(tmp_path).groups
    assert {track.rpartition("/")[2]: group for track, group in groups.items() if "01" not in track} == {
        "café one": "a",
        "Two": "b",
        "three": "c",
    }
    assert (groups["blues/01"], groups["rock/01"]) == ("d", "e")


def test_a_stem_of_two_tracks_means_none(tmp_path: Path) -> None:
    assert matched(scan(write_genres(tmp_path, NAMES)).tracks, ["01", "01.wav"]) == {}


@pytest.mark.parametrize(("on_disk", "in_table"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_names_are_compared_whatever_form_of_unicode_they_have(tmp_path: Path, on_disk: str, in_table: str) -> None:
    assert on_disk in ("NFC", "NFD")
    disk = (lambda text: unicodedata.normalize("NFD", text)) if on_disk == "NFD" else composed
    table = (lambda text: unicodedata.normalize("NFD", text)) if in_table == "NFD" else composed
    write_genres(tmp_path, [disk(name) for name in ("blues/é", "blues/ü", "rock/ñ")])
    rows = "".join(f"{table(name)},{artist}\n" for name, artist in (("é", "a"), ("Ü", "b"), ("rock/ñ", "c")))
    (tmp_path / "artists.csv").write_text(f"track,artist\n{rows}", encoding="utf-8")
    assert {composed(track): group for track, group in scan(tmp_path).groups.items()} == {"é": "a", "ü": "b", "ñ": "c"}


def test_a_name_in_two_forms_of_unicode_is_a_track_named_twice(tmp_path: Path) -> None:
    write_genres(tmp_path, ["blues/é", "rock/ñ"])
    (tmp_path / "artists.csv").write_text("track,artist\n\u00e9,a\ne\u0301,b\n", encoding="utf-8")
    with pytest.raises(ProtocolError, match="row 3 names"):
        scan(tmp_path)


def test_a_row_means_all_files_of_a_recording_unless_it_names_one(tmp_path: Path) -> None:
    write_genres(tmp_path, ["blues/one", "rock/two"])
    write_audio(tmp_path / "blues/one.flac", noise("another coding"))
    tracks = scan(tmp_path).tracks
    assert matched(tracks, ["one"]) == {"blues/one.flac": "one", "blues/one.wav": "one"}
    assert matched(tracks, ["one.wav"]) == {"blues/one.flac": "one.wav", "blues/one.wav": "one.wav"}
    assert matched(tracks, ["one.wav", "one.flac"]) == {"blues/one.flac": "one.flac", "blues/one.wav": "one.wav"}


def test_the_longer_name_counts(tmp_path: Path) -> None:
    tracks = scan(write_genres(tmp_path, ["blues/a/one", "rock/b/one", "rock/b/two"])).tracks
    assert matched(tracks, ["two", "b/two"]) == {"rock/two": "b/two"}


@pytest.mark.parametrize("before", ["", "\ufeff", "sep=,\n", "\ufeffsep=,\r\n", '"sep=,"\n'])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_columns_are_parted_by_commas_semicolons_or_tabs(tmp_path: Path, before: str, separator: str) -> None:
    path = tmp_path / "table.csv"
    rows = [
        ["Track", " artist", "year"],
        ["a", "X", "1"],
        ["b", '"Earth, Wind; Fire"', "2"],
        ["", "", ""],
        ["c", "Y", "3"],
    ]
    text = "\r\n".join(separator.join(row) for row in rows)
    path.write_bytes((before.replace(",", separator) + text).encode())
    assert read_table(path, ["artist"]) == {"a": "X", "b": "Earth, Wind; Fire", "c": "Y"}


@pytest.mark.parametrize("separator", ["|", ":", " ", " | "])
def test_columns_that_are_parted_otherwise_are_refused_by_name(tmp_path: Path, separator: str) -> None:
    path = tmp_path / "table.csv"
    path.write_text(f"track{separator}artist\na{separator}X\n")
    with pytest.raises(ProtocolError, match=re.escape(f"{separator.strip() or ' '!r} parts the columns")):
        read_table(path, ["artist"])


def test_rows_are_numbered_as_the_file_has_them(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("sep=;\ntrack;artist\na;X\nb\n")
    with pytest.raises(ProtocolError, match="row 4 has one column"):
        read_table(path, ["artist"])
