"""Scanning: every layout of GTZAN, every bad file with its reason, and the same data set wherever it lies."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from harness.datasets.decode import decode
from harness.datasets.scan import scan
from harness.datasets.signal import SAMPLE_RATE, resample
from harness.errors import DataError, ProtocolError
from tests.helpers.audio import noise, song, write_audio, write_genres

NAMES = ("blues/blues.00000", "blues/blues.00001", "rock/rock.00000", "rock/rock.00001")


@pytest.mark.parametrize("layout", ["genres", "genres_original", "Data/genres_original", ""])
def test_every_layout_is_the_same_data_set(tmp_path: Path, layout: str) -> None:
    root = tmp_path / "gtzan"
    base = write_genres(root / layout, NAMES)
    write_genres(tmp_path / "elsewhere", NAMES)

    from_root, from_base, elsewhere = scan(root), scan(base), scan(tmp_path / "elsewhere")

    assert from_root.name == from_base.name == "gtzan"
    assert from_root.genres == ("blues", "rock")
    assert [track.id for track in from_root.tracks] == ["blues.00000", "blues.00001", "rock.00000", "rock.00001"]
    assert {track.seconds for track in from_root.tracks} == {3.2}
    assert from_root.fingerprint == from_base.fingerprint == elsewhere.fingerprint


def test_images_beside_the_audio_are_no_genres(tmp_path: Path) -> None:
    write_genres(tmp_path / "gtzan/Data/genres_original", NAMES)
    (tmp_path / "gtzan/Data/images_original/blues").mkdir(parents=True)
    (tmp_path / "gtzan/Data/images_original/blues/blues00000.png").write_bytes(b"png")

    for root in ("gtzan", "gtzan/Data"):
        assert scan(tmp_path / root).name == "gtzan"


@pytest.mark.parametrize("suffix", [".au", ".wav", ".flac", ".mp3", ".ogg", ".WAV"])
def test_every_format_serves_and_litter_does_not_count(tmp_path: Path, suffix: str) -> None:
    rock = noise("rock", rate=SAMPLE_RATE)
    write_audio(tmp_path / f"hip-hop/hip-hop_00000{suffix}", rate=SAMPLE_RATE)
    write_audio(tmp_path / f"rock/a song, its name in full{suffix}", rock, rate=SAMPLE_RATE)
    for litter in ("bextract_single.mf", "rock/rock.mf", ".DS_Store", "rock/.DS_Store", "rock/._a song.wav"):
        (tmp_path / litter).write_bytes(b"litter")

    found = scan(tmp_path)

    assert [(track.id, track.genre) for track in found.tracks] == [
        ("a song, its name in full", "rock"),
        ("hip-hop_00000", "hip-hop"),
    ]
    assert not found.quarantined
    decoded = resample(*decode(found.tracks[0].path))
    assert decoded.dtype == np.float32
    assert np.corrcoef(decoded[: len(rock)], rock)[0, 1] > 0.8


BAD = {
    "unreadable": (b"this is no audio at all", "not audio that libsndfile can read"),
    "zero_bytes": (b"", "empty file"),
    "no_samples": (np.zeros(0), "empty: it holds no samples"),
    "silent": (np.zeros(16_000), "silent"),
    "offset": (np.full(16_000, 0.5), "silent"),
    "not_finite": (np.where(np.arange(16_000) == 9_000, np.nan, 0.1 * np.sin(np.arange(16_000))), "not finite"),
    "short": (noise(0, 3.05), "too short: 3.05 s"),
}


def write_bad(base: Path) -> None:
    for name, (content, _) in BAD.items():
        path = base / f"rock/{name}.wav"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            write_audio(path, content, subtype="FLOAT")
    (base / "rock/broken_link.wav").symlink_to(base / "nowhere.wav")
    (base / "rock/phone.m4a").write_bytes(b"aac")


def test_every_bad_file_is_named_with_its_reason_and_stops_the_run(tmp_path: Path) -> None:
    write_genres(tmp_path, NAMES)
    write_bad(tmp_path)

    with pytest.raises(DataError) as caught:
        scan(tmp_path)

    lines = {line.split(":")[0].strip(): line for line in str(caught.value).splitlines()}
    for name, (_, reason) in BAD.items():
        assert reason in lines[f"rock/{name}.wav"]
    assert "No such file" in lines["rock/broken_link.wav"]
    assert "convert it" in lines["rock/phone.m4a"]
    assert "9 of 13 files" in str(caught.value)
    assert "--skip-bad" in str(caught.value)


def test_skipping_bad_files_leaves_the_good_ones_and_the_reasons(tmp_path: Path) -> None:
    write_genres(tmp_path, NAMES)
    good = scan(tmp_path)
    write_bad(tmp_path)

    found = scan(tmp_path, skip_bad=True)

    assert found.tracks == good.tracks
    assert found.fingerprint == good.fingerprint
    assert len(found.quarantined) == len(BAD) + 2
    assert found.record().quarantined == found.quarantined


def test_of_many_bad_files_twenty_are_listed(tmp_path: Path) -> None:
    write_genres(tmp_path, NAMES)
    for number in range(25):
        (tmp_path / f"rock/bad{number:02d}.wav").write_bytes(b"")

    with pytest.raises(DataError, match="and 5 more") as caught:
        scan(tmp_path)
    assert str(caught.value).count("empty file") == 20


def test_a_header_that_lies_about_the_length_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    write_genres(tmp_path, NAMES)
    path = write_audio(tmp_path / "rock/cut.au", subtype="PCM_16")
    path.write_bytes(path.read_bytes()[:-400])

    assert {track.id: track.seconds for track in scan(tmp_path).tracks}["cut"] == 3.15


def test_the_same_audio_in_other_files_is_named(tmp_path: Path) -> None:
    write_genres(tmp_path, NAMES)
    first, second = soundfile.read(tmp_path / "rock/rock.00000.wav", dtype="int16")
    write_audio(tmp_path / "blues/copy.flac", first, second)
    write_audio(tmp_path / "rock/stereo.au", np.stack([first, first], axis=1), second)

    assert scan(tmp_path).replicas == (("copy", "rock.00000", "stereo"),)


def test_one_recording_in_several_codings_is_named(tmp_path: Path) -> None:
    for seed, name in enumerate(("blues/one", "blues/two", "rock/three", "rock/four")):
        write_audio(tmp_path / f"{name}.wav", song(seed, 4.0), SAMPLE_RATE)
    digests = {track.id: track.digest for track in scan(tmp_path).tracks}
    write_audio(tmp_path / "blues/track 7.mp3", song(0, 4.0), SAMPLE_RATE, compression_level=0.9)
    write_audio(tmp_path / "rock/again.ogg", 0.5 * soxr.resample(song(0, 4.0), SAMPLE_RATE, 16_000), 16_000)
    write_audio(tmp_path / "rock/copy.flac", song(2, 4.0), SAMPLE_RATE, subtype="PCM_16")

    found = scan(tmp_path)

    assert found.replicas == (("again", "one", "track 7"), ("copy", "three"))
    assert digests.items() <= {track.id: track.digest for track in found.tracks}.items()


def test_ids_grow_only_as_far_as_they_must(tmp_path: Path) -> None:
    write_genres(tmp_path, ["blues/01", "rock/01", "rock/02"])
    assert [track.id for track in scan(tmp_path).tracks] == ["blues/01", "rock/01", "rock/02"]

    write_genres(tmp_path, ["rock/02"], ".au")
    assert [track.id for track in scan(tmp_path).tracks] == [
        "blues/01.wav",
        "rock/01.wav",
        "rock/02.au",
        "rock/02.wav",
    ]


def test_fingerprint_follows_audio_and_genre(tmp_path: Path) -> None:
    before = scan(write_genres(tmp_path, NAMES)).fingerprint
    os.rename(tmp_path / "rock/rock.00001.wav", tmp_path / "blues/rock.00001.wav")
    moved = scan(tmp_path).fingerprint
    write_audio(tmp_path / "blues/rock.00001.wav", noise("another take"))

    assert len({before, moved, scan(tmp_path).fingerprint}) == 3


def test_worker_processes_find_the_same_and_report_progress(tmp_path: Path) -> None:
    write_genres(tmp_path, NAMES)
    write_bad(tmp_path)
    seen: list[tuple[int, int]] = []

    parallel = scan(tmp_path, skip_bad=True, workers=2, progress=lambda done, total: seen.append((done, total)))

    assert parallel == scan(tmp_path, skip_bad=True, workers=1)
    assert seen == [(done, 11) for done in range(1, 12)]


def test_too_little_to_classify_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        scan(tmp_path / "nowhere")
    with pytest.raises(DataError, match="no genre folders"):
        scan(tmp_path)
    write_genres(tmp_path, ["blues/one"])
    with pytest.raises(DataError, match="one genre only, blues"):
        scan(tmp_path)
    (tmp_path / "rock").mkdir()
    with pytest.raises(DataError, match="one genre only, blues"):
        scan(tmp_path)
    (tmp_path / "rock/bad.wav").write_bytes(b"")
    with pytest.raises(DataError, match="rock: none of its files can serve"):
        scan(tmp_path, skip_bad=True)


@pytest.mark.parametrize("layout", ["genres", "."])
def test_a_synthetic_set_is_known_by_its_mark_and_brings_its_artists(tmp_path: Path, layout: str) -> None:
    root = tmp_path / "demo"
    write_genres(root / layout, NAMES)
    assert not scan(root).synthetic
    assert not scan(root).groups

    (root / "SYNTHETIC.txt").write_text("made")
    rows = "".join(f"{Path(name).name},artist {index // 2}\n" for index, name in enumerate(NAMES))
    (root / layout / "artists.csv").write_text("track,artist\n" + rows)

    for found in (scan(root), scan(root / layout)):
        assert found.synthetic
        assert found.groups["blues.00001"] == "artist 0"
        assert found.groups["rock.00000"] == "artist 1"


def test_a_table_of_groups_finds_tracks_by_any_form_of_their_names(tmp_path: Path) -> None:
    root = write_genres(tmp_path / "set", ["blues/blues_00000", "hiphop/hiphop_00000"])
    table = tmp_path / "groups.csv"
    table.write_text("track,artist_group\nblues.00000.au,1\nhip-hop.00000,2\nrock.00000,3\n")

    assert scan(root, groups=table).groups == {"blues_00000": "1", "hiphop_00000": "2"}


def test_spellings_of_an_artist_in_a_table_are_one_group(tmp_path: Path) -> None:
    root = write_genres(tmp_path, ["blues/a", "blues/b", "blues/c", "rock/d", "rock/e", "rock/f"])
    artists = ("Miles Davis", "miles davis", " Miles  Davis ", "Beyonc\u00e9", "Beyonce\u0301", "Can")
    rows = "".join(f"{track},{artist}\n" for track, artist in zip("abcdef", artists, strict=True))
    (root / "artists.csv").write_text(f"track,artist\n{rows}", encoding="utf-8")

    groups = scan(root).groups
    assert groups == dict.fromkeys("abc", "Miles Davis") | dict.fromkeys("de", "Beyonc\u00e9") | {"f": "Can"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "track,artist\nblues.00000,a\nblues.00001,b\nrock.00000,\n",
            r"2 of 4 tracks have no group:\s+rock.00000\s+rock",
        ),
        ("track,singer\nblues.00000,a\n", "header is 'track,singer'"),
        ("", "header is ''"),
        ("track,artist\nblues.00000,a\nblues.00000,b\n", "row 3 names blues.00000 a second time"),
        ("track,artist\nblues.00000\n", "row 2 has one column"),
        ("track,artist\nblues.00000,\xff\n", "UTF-8"),
        (None, "cannot be read"),
    ],
)
def test_a_broken_table_of_groups_is_said(tmp_path: Path, text: str | None, message: str) -> None:
    write_genres(tmp_path / "set", NAMES)
    table = tmp_path / "groups.csv"
    if text is not None:
        table.write_text(text, encoding="latin-1")

    with pytest.raises(ProtocolError, match=message):
        scan(tmp_path / "set", groups=table)


def test_scanning_writes_nothing(tmp_path: Path) -> None:
    root = write_genres(tmp_path / "set", NAMES)
    before = sorted((path, path.stat().st_mtime_ns) for path in [root, *root.rglob("*")])
    scan(root)
    assert sorted((path, path.stat().st_mtime_ns) for path in [root, *root.rglob("*")]) == before


def test_names_that_are_no_text_are_quarantined(tmp_path: Path) -> None:
    write_genres(tmp_path, NAMES)
    latin = os.fsencode(tmp_path / "rock") + b"/caf\xe9.wav"
    try:
        shutil.copy(tmp_path / "rock/rock.00000.wav", os.fsdecode(latin))
    except OSError:
        pytest.skip("this file system takes names in UTF-8 only")

    found = scan(tmp_path, skip_bad=True)
    assert found.quarantined == {"rock/caf?.wav": "its name is not UTF-8: rename it"}
    found.record().model_dump_json()
