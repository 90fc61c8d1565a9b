"""`harness data fetch`: from a server that really serves, to a folder that really holds the data set."""

from __future__ import annotations

import hashlib
import io
import re
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.datasets import gtzan
from harness.datasets.scan import scan
from harness.errors import DataError
from tests.helpers.audio import dataset, write_genres
from tests.helpers.command import command
from tests.helpers.mirror import Mirror, impatient, serving

NAMES = ("blues/blues.00000", "blues/blues.00001", "rock/rock.00000", "rock/rock.00001")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    home = write_genres(tmp_path_factory.mktemp("archive") / "genres", NAMES)
    (home / "blues" / "._blues.00000.wav").write_bytes(b"litter of a Mac")
    return packed(home)


def packed(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        tar.add(folder, arcname=folder.name)
    return buffer.getvalue()


@pytest.fixture
def mirror(archive: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    impatient(monkeypatch)
    with serving(Mirror(archive)) as serves:
        yield serves


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_what_is_fetched_is_a_data_set_and_nothing_else(mirror: Mirror, tmp_path: Path) -> None:
    mirror.digest = hashlib.sha256(mirror.body).hexdigest()
    seen: list[tuple[int, int]] = []
    gtzan.fetch(tmp_path / "new" / "gtzan", mirror.url, lambda done, total: seen.append((done, total)))
    assert seen[-1] == (len(mirror.body), len(mirror.body))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert [path.name for path in (tmp_path / "new" / "gtzan").iterdir()] == ["genres"]
    found = scan(tmp_path / "new" / "gtzan", workers=1)
    assert [track.id for track in found.tracks] == sorted(name.rpartition("/")[2] for name in NAMES)


def test_what_is_there_is_not_fetched_again(mirror: Mirror, tmp_path: Path) -> None:
    gtzan.fetch(tmp_path, mirror.url)
    asked = len(mirror.ranges)
    gtzan.fetch(tmp_path, mirror.url)
    assert len(mirror.ranges) == asked


def test_a_wrong_checksum_is_refused_and_the_file_removed(mirror: Mirror, tmp_path: Path) -> None:
    mirror.digest = "0" * 64
    with pytest.raises(DataError, match=r"has the SHA-256 \w{64}, and the mirror says 0{64}\. It was removed"):
        gtzan.fetch(tmp_path, mirror.url)
    assert files(tmp_path) == set()


def test_a_mirror_without_the_file_says_how_to_place_a_copy(mirror: Mirror, tmp_path: Path) -> None:
    mirror.status = 404
    with pytest.raises(DataError) as raised:
        gtzan.fetch(tmp_path, mirror.url)
    message = str(raised.value)
    assert "it answers 404 Not Found" in message
    for hint in ("--url", str(tmp_path / "genres.tar.gz"), str(tmp_path / "genres" / "blues")):
        assert hint in message


def test_a_mirror_that_cannot_be_reached_says_how_to_place_a_copy(mirror: Mirror, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"cannot be downloaded \(the connection failed .* name another mirror"
    ) as raised:
        gtzan.fetch(tmp_path, "http://127.0.0.1:9/genres.tar.gz")
    assert str(tmp_path / "genres.tar.gz") in str(raised.value)


def flipped(body: bytes) -> bytes:
    """The same with one bit of the check sum at the end changed: all that can tell wrong sound from right."""
    return body[:-8] + bytes([body[-8] ^ 1]) + body[-7:]


def climbing(body: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        member = tarfile.TarInfo("genres/../../escaped.wav")
        member.size = 4
        tar.addfile(member, io.BytesIO(b"evil"))
    return buffer.getvalue()


DAMAGED: dict[str, Callable[[bytes], bytes]] = {
    "cut short": lambda body: body[: len(body) // 2],
    "wrong check sum": flipped,
    "a page": lambda body: b"<html>Log in to download</html>",
    "a path out of the folder": climbing,
}


@pytest.mark.parametrize("damage", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_archive_leaves_nothing(mirror: Mirror, tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    mirror.body = damage(mirror.body)
    with pytest.raises(DataError, match="what arrived is not a whole archive"):
        gtzan.fetch(tmp_path / "gtzan", mirror.url)
    assert files(tmp_path) == set()


def test_a_placed_archive_is_unpacked_and_kept(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / "genres.tar.gz").write_bytes(mirror.body)
    gtzan.fetch(tmp_path, mirror.url)
    assert mirror.ranges == []
    assert (tmp_path / "genres.tar.gz").read_bytes() == mirror.body
    assert len(scan(tmp_path, workers=1).tracks) == len(NAMES)


def test_a_placed_archive_that_is_damaged_is_named_and_kept(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / "genres.tar.gz").write_bytes(mirror.body[:1000])
    with pytest.raises(DataError, match=r"genres\.tar\.gz: not a whole archive .* Replace it, or move it away"):
        gtzan.fetch(tmp_path, mirror.url)
    assert files(tmp_path) == {"genres.tar.gz"}


@pytest.mark.parametrize("layout", ["genres_original", "Data"])
def test_other_layouts_become_genres(mirror: Mirror, tmp_path: Path, layout: str) -> None:
    base = tmp_path / "source" / layout
    write_genres(base / "genres_original" if layout == "Data" else base, NAMES)
    mirror.body = packed(base)
    gtzan.fetch(tmp_path / "gtzan", mirror.url)
    assert (tmp_path / "gtzan" / "genres" / "blues" / "blues.00000.wav").is_file()


def test_a_full_disk_is_said_and_what_arrived_is_kept(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / "genres.tar.gz.part").symlink_to("/dev/full")
    with pytest.raises(DataError, match=r"No space left on device.*Make room"):
        gtzan.fetch(tmp_path, mirror.url)


def test_a_file_where_a_folder_is_needed_is_named(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for directory in (tmp_path / "file", tmp_path / "file" / "gtzan"):
        with pytest.raises(DataError, match=r"/file: a file, not a folder\. Name a folder"):
            gtzan.fetch(directory, mirror.url)
    assert mirror.ranges == []


@pytest.mark.parametrize("layout", ["", "genres", "Data/genres_original"])
def test_another_data_set_is_left_as_it_is(mirror: Mirror, tmp_path: Path, layout: str) -> None:
    write_genres(tmp_path / layout, ("blues/Robert Johnson", "rock/00001"))
    before = files(tmp_path)
    with pytest.raises(DataError, match=r"holds another data set: .* Name an empty folder, or a new one") as raised:
        gtzan.fetch(tmp_path, mirror.url)
    assert not re.search(r"remove|delete", str(raised.value), re.IGNORECASE)
    assert files(tmp_path) == before
    assert mirror.ranges == []


def whole() -> dict[str, str]:
    return {f"{genre}.{number:05d}": genre for genre in gtzan.GENRES for number in range(100)}


def test_the_whole_of_gtzan_is_known() -> None:
    assert list(gtzan.compare(dataset(whole()))) == ["GTZAN: 1,000 of 1,000 tracks can be used"]


def test_a_track_that_is_known_to_be_damaged_is_told_apart_from_one_that_is_lost() -> None:
    tracks = whole()
    del tracks["jazz.00054"]
    found = dataset(tracks, quarantined={"jazz/jazz.00054.wav": "not audio"})
    first, second = gtzan.compare(found)
    assert first == "GTZAN: 999 of 1,000 tracks can be used"
    assert second == "  damaged or missing, as in many copies: jazz.00054; if damaged, run with --skip-bad"
    del tracks["pop.00007"]
    with pytest.raises(DataError, match=r"1 of GTZAN's 1,000 tracks are missing or damaged:\n  pop\.00007"):
        list(gtzan.compare(dataset(tracks)))


def test_the_command_fetches_checks_and_says_what_is_missing(mirror: Mirror, tmp_path: Path) -> None:
    order = command("data", "fetch", "gtzan", tmp_path / "gtzan", "--url", mirror.url)
    done = subprocess.run(order, capture_output=True, text=True)
    assert done.returncode == 2
    assert "gtzan: 4 tracks, 2 genres, 0.0 hours\n  blues: 2\n  rock: 2\n" in done.stdout
    assert "protocols:" in done.stdout
    assert "\nGTZAN: 4 of 1,000 tracks can be used\n" in done.stdout
    assert done.stderr.startswith("downloading gtzan: ")
    assert "error: " in done.stderr
    assert "995 of GTZAN's 1,000 tracks are missing or damaged" in done.stderr
    # What lies there may be the user's own.
    assert done.stderr.endswith("\nFetch it into an empty folder, from another mirror with --url.\n")
    assert "Traceback" not in done.stderr
