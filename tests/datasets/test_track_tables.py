"""Which row of a user's table means which track."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

import pytest

from harness.datasets.dataset import Track
from harness.datasets.scan import scan
from harness.datasets.track_tables import mean_any, meant, read_table, values_of
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
    assert meant(tracks, [row, "blues/01"]) == {row: ["rock/Two"], "blues/01": ["blues/01"]}
    whole = str(tmp_path / "genres/rock/artist/Album/Two.wav")
    assert meant(tracks, [whole]) == {whole: ["rock/Two"]}


@pytest.mark.parametrize(
    "row",
    [
        r"C:\Music\rock\artist\Album\two.wav",
        "/mnt/x/music/rock/artist/Album/Two.wav",
        "../music/rock/artist/Album/Two",
        "genres/rock/artist/Album/Two.wav",
        "/mnt//Rock/./Two.wav",
        "data/rock/Two",
        # From no genre's folder, and yet from somewhere.
        r"D:\all\Two.wav",
        "../Two.flac",
        "/all/artist/Album/TWO.mp3",
    ],
)
def test_a_row_from_elsewhere_means_a_track_by_the_end_of_its_path(tmp_path: Path, row: str) -> None:
    tracks = scan(write_genres(tmp_path / "genres", NAMES)).tracks
    assert meant(tracks, [row]) == {row: ["rock/Two"]}


@pytest.mark.parametrize(
    "row",
    [
        # A track that is not there, or no more.
        "blues/Two.wav",
        "/mnt/blues/Two.wav",
        "blues/artist/Album/Two",
        "other/Two",
        "/mnt/rock/Other/Two.wav",
        "/mnt/01.wav",
        "01",
        "rock/",
        "",
    ],
)
def test_a_row_of_another_file_means_no_track(tmp_path: Path, row: str) -> None:
    assert meant(scan(write_genres(tmp_path / "genres", NAMES)).tracks, [row]) == {}


def test_the_longest_common_end_of_a_path_counts(tmp_path: Path) -> None:
    tracks = scan(write_genres(tmp_path, ["rock/a/one", "rock/b/one", "jazz/rock/b/one"])).tracks
    ids = {str(track.path.relative_to(tmp_path)): track.id for track in tracks}
    assert meant(tracks, ["/x/rock/a/one.wav", "/x/jazz/rock/b/one.wav", "/x/rock/b/one.wav", "/x/rock/one.wav"]) == {
        "/x/rock/a/one.wav": [ids["rock/a/one.wav"]],
        "/x/jazz/rock/b/one.wav": [ids["jazz/rock/b/one.wav"]],
    }


def test_paths_of_two_files_from_elsewhere_that_could_be_one_track_mean_none(tmp_path: Path) -> None:
    tracks = scan(write_genres(tmp_path, ["rock/Can/one", "jazz/Miles/two"])).tracks
    assert meant(tracks, ["/x/Can/one.wav", "/x/Air/one.wav", "/x/Air/two.wav", "Miles/two"]) == {"Miles/two": ["two"]}


def test_a_name_of_a_quarantined_file_is_known_wherever_it_is_from() -> None:
    files = [Track(name, "rock", Path(name), "", 0.0) for name in ("rock/a/bad.wav", "rock/b/bad.wav")]
    known = {"bad", "rock/bad", "a/bad.wav", "/x/rock/a/bad.wav", "/x/bad.wav"}
    assert mean_any(files, [*known, "worse", "jazz/bad", "/x/rock/c/worse.wav"]) == known


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
    assert meant(scan(write_genres(tmp_path, NAMES)).tracks, ["01", "01.wav"]) == {}


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
    assert meant(tracks, ["one"]) == {"one": ["blues/one.flac", "blues/one.wav"]}
    assert meant(tracks, ["one.wav"]) == {"one.wav": ["blues/one.wav", "blues/one.flac"]}
    assert meant(tracks, ["one.wav", "one.flac"]) == {"one.flac": ["blues/one.flac"], "one.wav": ["blues/one.wav"]}


def test_a_suffix_of_another_format_counts_where_nothing_else_is_said(tmp_path: Path) -> None:
    tracks = scan(write_genres(tmp_path, ["blues/one", "rock/two"])).tracks
    assert meant(tracks, ["one.mp3"]) == {"one.mp3": ["one"]}
    assert meant(tracks, ["one.mp3", "one.wav"]) == {"one.wav": ["one"]}
    assert meant(tracks, ["one.mp3", "one.ogg"]) == {}


@pytest.mark.parametrize("other", ["blues/a.wav", "A", "/x/blues/a", "a.WAV"])
def test_rows_that_contradict_each_other_are_both_named(tmp_path: Path, other: str) -> None:
    write_genres(tmp_path, ["blues/a", "rock/b"])
    table = tmp_path / "artists.csv"
    table.write_text(f"track,artist\na,X\n{other},Z\nb,Y\n")
    with pytest.raises(ProtocolError, match=f"artists.csv: rows .*\n  a: the row a says X, and {other} says Z\n"):
        scan(tmp_path)
    table.write_text(f"track,artist\na,X Y\n{other},x  y\nb,Y\n")
    assert scan(tmp_path).groups == {"a": "X Y", "b": "Y"}
    table.write_text(f"track,artist\na,\n{other},X\nb,Y\n")
    assert scan(tmp_path).groups == {"a": "X", "b": "Y"}


def test_what_equal_values_are_is_for_the_table_to_say() -> None:
    rows, meaning = {"a": "1", "A": "01"}, {"a": ["a"], "A": ["a"]}
    assert values_of(Path("t.csv"), rows, meaning, int) == {"a": "1"}
    with pytest.raises(ProtocolError, match="says 1, and A says 01"):
        values_of(Path("t.csv"), rows, meaning)


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
