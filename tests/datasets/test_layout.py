"""What lies under a genre's folder is read at any depth, or named with the reason; litter and empty folders are not."""

from __future__ import annotations

import errno
import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.datasets.decode import AUDIO_SUFFIXES
from harness.datasets.scan import inspect, scan
from harness.errors import DataError
from tests.helpers.audio import noise, write_audio, write_genres

FLAT = ("blues/one", "blues/two", "rock/three", "rock/four")
ALBUMS = (
    "jazz/Miles/Kind of Blue/01",
    "jazz/Miles/Kind of Blue/02",
    "jazz/Mingus/Ah Um/CD 2/01",
    "rock/Can/Tago Mago/01",
)
FORMATS = {".oga": ("OGG", "VORBIS"), ".opus": ("OGG", "OPUS"), ".mp2": ("MP3", None), ".snd": ("AU", None)} | {
    ".aif": ("AIFF", None),
    ".aifc": ("AIFF", None),
    ".wave": ("WAV", None),
}


def notes(root: Path) -> str:
    return "\n".join(inspect(root, workers=1).dataset.notes)


def test_albums_are_read_at_any_depth_and_their_artists_are_the_groups(tmp_path: Path) -> None:
    found = scan(write_genres(tmp_path, ALBUMS))
    assert {track.id: track.genre for track in found.tracks} == {name: name.split("/")[0] for name in ALBUMS}
    assert found.groups == {name: name.split("/")[1] for name in ALBUMS}
    assert found.groups_from == "the sub-folders of the genres, since there is no artists.csv"


def test_one_artist_in_two_genres_is_one_group_however_it_is_written(tmp_path: Path) -> None:
    names = ["jazz/Bjo\u0308rk/a", "jazz/Can/b", "rock/BJ\u00d6RK/c"]
    found = scan(write_genres(tmp_path, names))
    assert len(set(found.groups.values())) == 2
    assert found.groups["a"] == found.groups["c"]


@pytest.mark.parametrize(
    "names",
    [
        ["jazz/CD1/a", "jazz/CD 2/b", "rock/Disc 1/c"],
        ["jazz/Miles/a", "jazz/Mingus/b", "rock/c"],
        ["jazz/Miles/a", "rock/Can/b"],
        ["jazz/mp3/a", "jazz/flac/b", "rock/train/c"],
        ["jazz/jazz.00000/0", "jazz/jazz.00001/0", "rock/Rock_00000/0"],
    ],
)
def test_folders_that_are_no_artists_make_no_groups(tmp_path: Path, names: list[str]) -> None:
    found = scan(write_genres(tmp_path, names))
    assert len(found.tracks) == len(names)
    assert not found.groups


def test_a_table_of_artists_comes_before_the_folders(tmp_path: Path) -> None:
    write_genres(tmp_path, ALBUMS)
    rows = "".join(f"{name},x{index}\n" for index, name in enumerate(ALBUMS))
    (tmp_path / "artists.csv").write_text(f"track,artist\n{rows}")
    found = scan(tmp_path)
    assert set(found.groups.values()) == {"x0", "x1", "x2", "x3"}
    assert found.groups_from == "artists.csv"


def test_ids_below_a_genre_are_the_shortest_that_are_unique(tmp_path: Path) -> None:
    assert [track.id for track in scan(write_genres(tmp_path / "a", ["jazz/x/one", "rock/y/two"])).tracks] == [
        "one",
        "two",
    ]
    assert [track.id for track in scan(write_genres(tmp_path / "b", ["jazz/x/one", "rock/y/one"])).tracks] == [
        "jazz/one",
        "rock/one",
    ]


@pytest.mark.parametrize("suffix", FORMATS)
def test_what_libsndfile_reads_is_served_under_all_its_suffixes(tmp_path: Path, suffix: str) -> None:
    container, subtype = FORMATS[suffix]
    write_genres(tmp_path, FLAT)
    path = write_audio(
        tmp_path / "rock/more.wav", noise("more", rate=48_000), 48_000, format=container, subtype=subtype
    )
    path.rename(path.with_suffix(suffix))
    assert suffix in AUDIO_SUFFIXES
    assert "more" in {track.id for track in scan(tmp_path).tracks}


@pytest.mark.parametrize("suffix", [".ape", ".wv", ".m4b", ".mka", ".webm", ".M4A", ".mkv", ".wma", ".dsf"])
def test_other_audio_and_video_is_named_at_any_depth(tmp_path: Path, suffix: str) -> None:
    write_genres(tmp_path, FLAT)
    (tmp_path / "rock/deep/er").mkdir(parents=True)
    (tmp_path / f"rock/deep/er/song{suffix}").write_bytes(b"music")
    with pytest.raises(DataError, match=rf"(?s)1 of 5 files.*rock/deep/er/song{suffix}: not one of .*: convert it"):
        scan(tmp_path)


@pytest.mark.parametrize(("name", "reason"), [("album.zip", "an archive"), ("song.mp3.part", "an unfinished download")])
def test_what_was_not_unpacked_or_fetched_is_named(tmp_path: Path, name: str, reason: str) -> None:
    write_genres(tmp_path, FLAT)
    (tmp_path / "rock" / name).write_bytes(b"ID3\x04 and so on")
    assert reason in scan(tmp_path, skip_bad=True).quarantined[f"rock/{name}"]


READABLE = "audio or video by its first bytes, but not by its suffix: rename or convert it"
WMA = b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9"
TAG = b"ID3\x04\x00\x00\x00\x00\x00\x02--"
BEGINNINGS = [
    (b"ID3\x04 and so on", READABLE),
    (b"RIFF\x24\x00\x00\x00WAVEfmt ", READABLE),
    (b"riff\x2e\x91\xcf\x11\xa5\xd6", READABLE),
    (b"\xff\xfb\x90\x64\x00\x00", READABLE),
    (b"\xff\xf3\x84\xc4\x00\x00", READABLE),
    (TAG + b"fLaC\x00", READABLE),
    (b"OggS\x00\x02" + bytes(22) + b"\x01\x1e\x01vorbis", READABLE),
    (WMA, "this is a Windows Media file (.wma or another ASF), which libsndfile cannot read: convert it"),
    (b"DSD \x1c" + bytes(7), "this is DSD audio, which"),
    (b"FRM8" + bytes(8) + b"DSD ", "this is DSD audio, which"),
    (b"\x00\x00\x00\x20ftypM4A ", "this is AAC or ALAC audio in an MP4 file (.m4a), which"),
    (b"\xff\xf1\x50\x80", "this is AAC audio, which"),
    (TAG + b"\xff\xf1\x50\x80", "this is AAC audio, which"),
    (b"MAC \x96\x0f\x00\x00", "this is Monkey's Audio (.ape), which"),
    (b"TTA1\x01\x00", "this is True Audio (.tta), which"),
    (b"MThd\x00\x00\x00\x06", "this is a MIDI file, notes and no audio"),
]


@pytest.mark.parametrize(("content", "reason"), BEGINNINGS)
def test_music_in_disguise_is_named(tmp_path: Path, content: bytes, reason: str) -> None:
    write_genres(tmp_path, FLAT)
    names = ["song", "song.mp3.bak", "song.xyz", "song.txt", "song.json", "cover.jpg", ".song"]
    for name in names:
        (tmp_path / "rock" / name).write_bytes(content)
    found = inspect(tmp_path)
    assert set(found.dataset.quarantined) == {f"rock/{name}" for name in names}
    assert all(why.startswith(reason) for why in found.dataset.quarantined.values())
    assert found.ignored == ()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("notes.txt", b"MAC addresses of the players"),
        ("README", b"ID3 tags were set by hand, in latin-1: \xe9\n"),
        ("rip.log", b"\xff\xfe" + "log".encode("utf-16-le")),
        ("cover.heic", b"\x00\x00\x00\x18ftypheic\x00"),
        ("about.docx", b"PK\x03\x04\x14\x00"),
        ("empty.txt", b""),
    ],
)
def test_what_only_resembles_music_is_no_music(tmp_path: Path, name: str, content: bytes) -> None:
    write_genres(tmp_path, FLAT)
    (tmp_path / "rock" / name).write_bytes(content)
    found = inspect(tmp_path)
    assert (found.dataset.quarantined, found.problems) == ({}, ())
    assert found.ignored == (f"1 {Path(name).suffix or 'without a suffix'}",)


def test_music_whose_name_begins_with_a_dot_is_read(tmp_path: Path) -> None:
    names = ["rock/.38 Special - Hold On", "rock/.38 Special/Caught", ".38 Special/One", "metal.mf/...And Justice"]
    write_genres(tmp_path, [*FLAT, *names])
    (tmp_path / "rock/.keep").touch()
    (tmp_path / "rock/.song.m4a").write_bytes(b"music")
    found = inspect(tmp_path)
    assert {str(track.path.relative_to(tmp_path).with_suffix("")) for track in found.dataset.tracks} == {*FLAT, *names}
    assert list(found.dataset.quarantined) == ["rock/.song.m4a"]
    assert (found.problems, found.ignored) == ((), ("1 without a suffix",))


@pytest.mark.parametrize(
    "name", ["._one.wav", ".Trash-1000/a.wav", ".git/a.wav", ".DS_Store", ".nfs00000000001a", "a.mf"]
)
def test_litter_with_a_dot_is_passed_over(tmp_path: Path, name: str) -> None:
    write_genres(tmp_path, FLAT)
    (tmp_path / "rock" / name).parent.mkdir(exist_ok=True)
    (tmp_path / "rock" / name).write_bytes(b"ID3\x04")
    found = inspect(tmp_path)
    assert (len(found.dataset.tracks), found.dataset.quarantined, found.ignored) == (4, {}, ())


def test_folders_of_music_beside_the_genres_folder_are_a_note(tmp_path: Path) -> None:
    write_genres(tmp_path / "set/genres", FLAT)
    assert not scan(tmp_path / "set").notes
    write_genres(tmp_path / "set", ["blues/a/one", "jazz/two", "loose"])
    (tmp_path / "set/pictures").mkdir()
    (tmp_path / "set/pictures/a.png").touch()
    (tmp_path / "set/genres.tar.gz").touch()
    (tmp_path / "set/all").symlink_to("genres")
    found = scan(tmp_path / "set")
    assert len(found.tracks) == 4
    assert found.notes == (
        "the genres are the folders of genres/, so audio beside it is left out: blues, jazz, loose.wav. Move what "
        "belongs to the data set into genres/.",
    )
    (tmp_path / "kaggle/Data").mkdir(parents=True)
    (tmp_path / "set/genres").rename(tmp_path / "kaggle/Data/genres_original")
    write_genres(tmp_path / "kaggle", ["Data/more/x", "other/y"])
    (note,) = scan(tmp_path / "kaggle").notes
    assert "beside it is left out: Data/more, other. " in note


def test_a_genre_of_what_cannot_be_read_is_not_lost(tmp_path: Path) -> None:
    write_genres(tmp_path, FLAT)
    for name in ("folk/a.webm", "folk/b.webm", "ambient/c.xyz", "zydeco/deep/d.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(DataError) as caught:
        scan(tmp_path, skip_bad=True)
    text = str(caught.value)
    assert "folk: none of its files can serve:\n  folk/a.webm: not one of" in text
    assert "ambient: none of its files can serve, for none is called as audio is." in text
    assert "zydeco/deep/d.wav: empty file" in text
    assert text.index("ambient:") < text.index("folk:") < text.index("zydeco:")


def test_what_is_no_audio_is_counted_and_folders_of_it_are_no_genres(tmp_path: Path) -> None:
    write_genres(tmp_path, FLAT)
    for name in ("rock/cover.jpg", "rock/a.cue", "blues/cover.JPG", "covers/one.jpg", "texts/about.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"none")
    found = inspect(tmp_path)
    assert (found.ignored, found.problems) == (("3 .jpg", "1 .cue", "1 .txt"), ())
    assert found.dataset.notes == ("no audio in them, so no genres: covers, texts",)
    assert not found.dataset.quarantined


@pytest.mark.parametrize(
    "folder", ["lost+found", "$RECYCLE.BIN", "System Volume Information", "@eaDir", ".Trashes", "__MACOSX", "#recycle"]
)
def test_folders_of_the_system_are_strays_at_every_depth(tmp_path: Path, folder: str) -> None:
    fingerprint = scan(write_genres(tmp_path, FLAT)).fingerprint
    for place in (tmp_path / folder, tmp_path / "rock" / folder, tmp_path / "rock/artist" / folder):
        place.mkdir(parents=True)
        write_audio(place / "deleted.wav")
    found = inspect(tmp_path)
    assert found.dataset.fingerprint == fingerprint
    assert (found.problems, found.dataset.notes, found.dataset.quarantined) == ((), (), {})


def test_an_empty_genre_folder_is_a_note(tmp_path: Path) -> None:
    write_genres(tmp_path, FLAT)
    (tmp_path / "jazz/artist").mkdir(parents=True)
    assert scan(tmp_path).notes == ("empty, so no genres: jazz",)


def test_music_beside_the_genres_is_a_note(tmp_path: Path) -> None:
    write_genres(tmp_path, FLAT)
    write_audio(tmp_path / "loose.wav")
    assert scan(tmp_path).notes == ("in no genre's folder, so left out: loose.wav",)


def test_links_are_followed_once(tmp_path: Path) -> None:
    write_genres(tmp_path / "set", ["blues/one", "rock/artist/two"])
    write_genres(tmp_path / "disk", ["album/three", "jazz/deep/four"])
    (tmp_path / "set/blues/a link").symlink_to(tmp_path / "disk/album")
    (tmp_path / "set/jazz").symlink_to(tmp_path / "disk/jazz")
    (tmp_path / "disk/jazz/deep/back").symlink_to("..")
    (tmp_path / "set/blues/again").symlink_to(tmp_path / "set/rock/artist")
    (tmp_path / "set/blues/all").symlink_to(tmp_path)
    (tmp_path / "set/blues/gone").symlink_to(tmp_path / "nowhere")

    found = scan(tmp_path / "set", skip_bad=True)

    assert [(track.genre, track.id) for track in found.tracks] == [
        ("jazz", "four"),
        ("blues", "one"),
        ("blues", "three"),
        ("rock", "two"),
    ]
    reasons = {name: reason.partition(",")[0] for name, reason in found.quarantined.items()}
    assert reasons == {
        "blues/again": "a folder that is read already",
        "blues/all": "a link to a folder above it",
        "blues/gone": "a link that leads nowhere (No such file or directory): mend or remove it",
        "jazz/deep/back": "a folder that is read already",
    }


def test_a_pipe_is_named_and_not_waited_for(tmp_path: Path) -> None:
    write_genres(tmp_path, FLAT)
    os.mkfifo(tmp_path / "rock/pipe.wav")
    assert scan(tmp_path, skip_bad=True).quarantined == {"rock/pipe.wav": "neither a file nor a folder: remove it"}


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "set.tar.gz").write_bytes(b"")
    (tmp_path / "song.mp3").write_bytes(b"")
    with pytest.raises(DataError, match=r"set.tar.gz: is a file: unpack it, and name the folder"):
        scan(tmp_path / "set.tar.gz")
    with pytest.raises(DataError, match=r"song.mp3: is a file: name the folder"):
        scan(tmp_path / "song.mp3")


def test_a_folder_one_too_high_is_said(tmp_path: Path) -> None:
    write_genres(tmp_path, ["music/blues/one", "music/rock/two"])
    with pytest.raises(DataError, match=rf"one genre only, music.* its folders \(blues, rock\), name {tmp_path}/music"):
        scan(tmp_path)
    write_audio(tmp_path / "flat/one.wav")
    with pytest.raises(DataError, match=r"in no genre's folder: one\.wav"):
        scan(tmp_path / "flat")


def test_two_folders_of_one_name_in_two_forms_are_an_error(tmp_path: Path) -> None:
    composed = unicodedata.normalize("NFC", "Música")
    write_genres(tmp_path, [f"{composed}/one", f"{unicodedata.normalize('NFD', composed)}/two", "rock/three"])
    if len(list(tmp_path.iterdir())) < 3:
        pytest.skip("this file system takes both for one name")
    with pytest.raises(DataError, match=f"2 folders are called {composed}, in different forms of Unicode"):
        scan(tmp_path)


def test_genres_that_look_like_one_and_numbers_get_a_hint(tmp_path: Path) -> None:
    write_genres(tmp_path / "hop", ["Hip-Hop/a", "hiphop/b", "hip hop/c", "rock/d"])
    assert notes(tmp_path / "hop").startswith("these genres look like one: Hip-Hop, hip hop, hiphop.")
    write_genres(tmp_path / "fma_small", ["000/000002", "001/001001", "140/140001"])
    assert "its genres in its tracks.csv" in notes(tmp_path / "fma_small")
    (tmp_path / "fma_small/tracks.csv").write_text("")
    assert "the tracks.csv beside them" in notes(tmp_path / "fma_small")
    write_genres(tmp_path / "parts", ["train/rock/a", "test/rock/b"])
    assert "partitions, not genres" in notes(tmp_path / "parts")


@pytest.mark.parametrize(("folder", "name"), [("音楽 2024", "音楽-2024"), ("Música", "Música"), ("my set!", "my-set")])
def test_a_data_set_keeps_the_letters_of_its_name(tmp_path: Path, folder: str, name: str) -> None:
    assert scan(write_genres(tmp_path / unicodedata.normalize("NFD", folder), FLAT)).name == name


def test_a_folder_that_may_not_be_looked_into_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_genres(tmp_path, [*FLAT, "jazz/locked/five"])
    listing = Path.iterdir

    def refused(folder: Path) -> Iterator[Path]:
        if folder.name == "locked":  # to root, who may run this, every folder is open
            raise PermissionError(errno.EACCES, "Permission denied", str(folder))
        return listing(folder)

    monkeypatch.setattr(Path, "iterdir", refused)
    found = inspect(tmp_path)
    assert found.dataset.quarantined == {"jazz/locked": "not readable (Permission denied): check its permissions"}
    assert [str(problem).split(":")[0] for problem in found.problems] == [str(tmp_path / "jazz")]
