"""`harness data check` is the diagnosis: all that is found is shown, in a fixed order, before anything is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.errors import DataError
from harness.workflows.check_data import check_data
from tests.helpers.audio import noise, write_audio, write_genres


def shown(root: Path) -> tuple[list[str], str]:
    """The lines, and the error behind them."""
    lines: list[str] = []
    try:
        for line in check_data(root, None, 0, lambda *_: None):
            lines.append(line)
    except DataError as error:
        return lines, str(error)
    return lines, ""


def test_all_reasons_are_shown_before_genres_are_refused(tmp_path: Path) -> None:
    write_genres(tmp_path, ["blues/one", "rock/two"])
    for genre in ("metal", "disco"):
        write_audio(tmp_path / genre / "a.wav", noise("a", 3.0))
        write_audio(tmp_path / genre / "b.wav", np.zeros(16_000))
    (tmp_path / "artists.csv").write_text("track,artist\none,a\n")

    lines, error = shown(tmp_path)

    assert lines[lines.index("quarantined: 4") + 1 :][:4] == [
        "  disco/a.wav: too short: 3.00 s, and a track needs 3.1 s",
        "  disco/b.wav: silent: its samples are all the same",
        "  metal/a.wav: too short: 3.00 s, and a track needs 3.1 s",
        "  metal/b.wav: silent: its samples are all the same",
    ]
    assert [line.partition(":")[0] for line in lines if not line.startswith(" ")] == [
        tmp_path.name,
        "artists",
        "quarantined",
        "replicas",
        "protocols",
    ]
    disco, metal, table = (error.index(part) for part in ("disco: none of", "metal: none of", "artists.csv: 1 of 2"))
    assert disco < metal < table
    assert "metal/a.wav: too short" in error
    assert shown(tmp_path) == (lines, error)


def test_one_genre_is_described_and_refused(tmp_path: Path) -> None:
    lines, error = shown(write_genres(tmp_path, ["blues/one"]))
    assert "  blues: 1" in lines
    assert "protocols: none, with fewer than two genres" in lines
    assert "one genre only, blues" in error


def test_protocols_are_shown_with_whole_sentences(tmp_path: Path) -> None:
    names = [f"{genre}/{genre}{number}" for genre in ("blues", "rock") for number in range(5)]
    lines, error = shown(write_genres(tmp_path, [*names, "pop/one"]))
    assert not error
    name, other = tmp_path.name, "choose another protocol."
    mend = f"Add some, remove the genre, or {other}"
    assert lines[lines.index("protocols:") + 1 :] == [
        f"  group: no groups are known for {name}. Name a CSV with track,artist by --groups, or {other}",
        f"  fault_filtered: a partition of GTZAN, and 11 of the 11 tracks of {name} do not have names of GTZAN: "
        "blues0, blues1, blues2 and 8 more. Choose another protocol.",
        "  kfold:5: every genre needs at least 5 different tracks, one for each of 5 folds; "
        f"{name} has too few in pop: 1. {mend}",
        "  random: every genre needs at least 2 different tracks, one for each of train, valid; "
        f"{name} has too few in pop: 1. {mend}",
    ]


def test_folds_artists_replicas_and_what_is_not_read_are_said(tmp_path: Path) -> None:
    names = [f"{genre}/artist {number}/song" for genre in ("blues", "rock") for number in range(5)]
    write_genres(tmp_path, names)
    write_audio(tmp_path / "rock/artist 0/song.flac", noise("another coding"))
    (tmp_path / "rock/artist 0/cover.jpg").write_bytes(b"")
    (tmp_path / "polka").mkdir()
    lines, error = shown(tmp_path)
    assert not error
    assert "artists: 5, from the sub-folders of the genres, since there is no artists.csv" in lines
    assert "note: empty, so no genres: polka" in lines
    assert "not read, since it is no audio: 1 .jpg" in lines
    assert "replicas: 1" in lines
    assert "  same name, other format: rock/artist 0/song.flac, rock/artist 0/song.wav" in lines
    assert "  kfold:5: 11 tracks in 5 folds" in lines


def test_an_archive_is_not_called_missing(tmp_path: Path) -> None:
    (tmp_path / "set.zip").write_bytes(b"")
    with pytest.raises(DataError, match="is a file: unpack it"):
        list(check_data(tmp_path / "set.zip", None, 0, lambda *_: None))
