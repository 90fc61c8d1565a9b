"""The table of artists that is made from tags, and the hint that it can be."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.datasets.scan import scan
from harness.errors import DataError, UsageError, WorkspaceError
from harness.workflows.artists import artists_hint, write_artists
from harness.workflows.check_data import check_data
from tests.helpers.audio import dataset, write_audio
from tests.helpers.command import command, in_this_process
from tests.helpers.tags import write_mp3, write_tagged


def write_music(root: Path) -> Path:
    """A collection of two genres with four artists, one of them in two spellings."""
    for genre, artists in {"jazz": ("Zoë", "Ann, Bob"), "metal": ("ÿ \N{SNOWMAN}", "dark")}.items():
        for number, artist in enumerate(artists):
            write_tagged(root / genre / f"{genre}{number}a.flac", artist)
            write_mp3(root / genre / f"{genre}{number}b.mp3", artist.upper())
            write_tagged(root / genre / f"{genre}{number}c.ogg", artist)
    return root


def write(directory: Path, output: Path | None = None, force: bool = False) -> list[str]:
    return list(write_artists(directory, output, force, lambda name, done, total: None))


def test_the_table_is_written_where_a_run_looks_for_it(tmp_path: Path) -> None:
    root = write_music(tmp_path / "my music" / "genres").parent
    lines = write(root)
    table = root / "genres" / "artists.csv"
    assert lines == [f"{table}: 12 tracks, 4 artists", f"next: harness data check '{root}'"]
    assert table.read_text(encoding="utf-8").splitlines()[:4] == [
        "track,artist",
        "jazz0a,Zoë",
        "jazz0b,Zoë",
        "jazz0c,Zoë",
    ]
    groups = scan(root).groups
    assert len(groups) == 12
    assert {groups[track] for track in ("jazz1a", "jazz1b", "jazz1c")} == {"Ann, Bob"}
    assert {groups[track] for track in ("metal0a", "metal0b", "metal0c")} == {"ÿ \N{SNOWMAN}"}


def test_a_table_is_replaced_only_where_that_is_asked_for(tmp_path: Path) -> None:
    root = write_music(tmp_path / "music")
    mine = root / "artists.csv"
    mine.write_text("track,artist\njazz0a,\n")
    with pytest.raises(UsageError, match=r"artists\.csv: is there already\. Pass --force .*, or --output FILE"):
        write(root)
    assert mine.read_text() == "track,artist\njazz0a,\n"
    other = tmp_path / "of mine" / "artists.csv"
    assert write(root, other)[-1] == f"next: harness data check {root} --groups '{other}'"
    assert mine.read_text() == "track,artist\njazz0a,\n"
    write(root, force=True)
    assert mine.read_text(encoding="utf-8") == other.read_text(encoding="utf-8")


def test_a_table_above_the_layout_s_folder_is_the_one_that_counts(tmp_path: Path) -> None:
    root = write_music(tmp_path / "music" / "genres").parent
    (root / "artists.csv").write_text("")
    with pytest.raises(UsageError, match=r"music/artists\.csv: is there already"):
        write(root)


def test_tracks_without_an_artist_are_rows_to_fill_in(tmp_path: Path) -> None:
    root = write_music(tmp_path / "music")
    write_audio(root / "jazz" / "bare.wav")
    with pytest.raises(DataError, match=r"1 of 13 tracks have no artist in their tags:\n  bare\nTheir rows end in a"):
        write(root)
    table = root / "artists.csv"
    with pytest.raises(DataError, match="1 of 13 tracks have no group:\n  bare\n"):
        scan(root)
    table.write_text(table.read_text(encoding="utf-8").replace("bare,\n", "bare,me\n"), encoding="utf-8")
    assert scan(root).groups["bare"] == "me"


def test_the_command_says_what_it_wrote_and_ends_as_the_table_is(tmp_path: Path) -> None:
    root = write_music(tmp_path / "music")
    order = command("data", "artists", root)
    done = in_this_process(order)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{root / 'artists.csv'}: 12 tracks, 4 artists\n")
    assert in_this_process(order).returncode == 2
    write_audio(root / "jazz" / "bare.wav")
    done = in_this_process([*order, "--force"])
    assert (done.returncode, done.stdout) == (2, f"{root / 'artists.csv'}: 13 tracks, 4 artists\n")
    assert done.stderr.startswith(f"error: {root / 'artists.csv'}: 1 of 13 tracks have no artist in their tags:")


def test_a_name_that_no_table_can_hold_gets_no_row(tmp_path: Path) -> None:
    root = write_music(tmp_path / "music")
    (root / "jazz" / "jazz0a.flac").rename(os.fsdecode(bytes(root / "jazz") + b"/\xff.flac"))
    assert write(root)[0] == f"{root / 'artists.csv'}: 11 tracks, 4 artists"


def test_without_any_artist_nothing_is_written(tmp_path: Path) -> None:
    for name in ("jazz/one.wav", "metal/two.au"):
        write_audio(tmp_path / name)
    with pytest.raises(DataError, match="none of its 2 files names an artist in its tags"):
        write(tmp_path)
    assert not (tmp_path / "artists.csv").exists()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    root = write_music(tmp_path / "music")
    (tmp_path / "file").touch()
    with pytest.raises(WorkspaceError, match=r"a\.csv: cannot be written \(.*\)\. Make that place writable"):
        write(root, tmp_path / "file" / "a.csv")


def test_artists_joined_by_a_track_of_both_are_said(tmp_path: Path) -> None:
    root = write_music(tmp_path / "music")
    write_mp3(root / "jazz" / "both.mp3", "Zoë", "dark")
    assert write(root)[1:-1] == ["  Zoë: with dark, for they share tracks"]
    assert len(set(scan(root).groups.values())) == 3


def test_what_the_tags_know_is_offered_until_artists_are_known(tmp_path: Path) -> None:
    root = write_music(tmp_path / "my music")
    hint = f"the files' tags name artists: `harness data artists '{root}'` writes them for the protocol `group`"
    assert artists_hint(scan(root)) == hint

    def said() -> list[str]:
        return list(check_data(root, None, 0, lambda name, done, total: None))

    assert said()[said().index("artists: unknown") + 1] == f"  {hint}"
    write(root)
    assert artists_hint(scan(root)) is None
    assert "artists: 4, from artists.csv" in said()


def test_nothing_is_offered_where_no_tag_names_an_artist(tones: Path) -> None:
    assert artists_hint(scan(tones)) is None
    assert artists_hint(dataset({})) is None
