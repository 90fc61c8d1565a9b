"""Files that did not change are not decoded again; files that did are, whatever they look like."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from harness.datasets import examination, scan_cache
from harness.datasets.dataset import Dataset
from harness.datasets.examination import examine
from harness.datasets.scan import scan
from harness.datasets.scan_cache import Examined, ScanCache
from tests.helpers.audio import noise, write_audio, write_genres

HELD = Examined("d" * 64, 30.0, b"\0print")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mod\udc85 notte.wav"  # a name that is no text
    path.write_bytes(b"audio")
    os.utime(path, (1, 1))
    return path


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ScanCache:
    monkeypatch.setattr(scan_cache, "_GRAIN_SECONDS", -1e9)
    return ScanCache(tmp_path / "cache" / "tracks.db")


def test_what_was_found_is_known_until_the_file_changes(file: Path, cache: ScanCache, tmp_path: Path) -> None:
    other = tmp_path / "other.wav"
    other.write_bytes(b"more")
    assert cache.known([file]) == {}
    cache.known([file, other])
    cache.remember({file: HELD, other: HELD._replace(acoustic_fingerprint=None)})
    assert cache.known([file, other, tmp_path / "gone.wav"]) == {
        file: HELD,
        other: HELD._replace(acoustic_fingerprint=None),
    }
    os.utime(file, (1, 1))  # which leaves its size and its time of change, but not when that was set
    assert cache.known([file, other]).keys() == {other}
    cache.remember({file: HELD})
    assert cache.known([file]) == {file: HELD}
    copy = tmp_path / "copy"
    copy.write_bytes(b"AUDIO")
    os.utime(copy, (1, 1))
    copy.rename(file)
    assert cache.known([file]) == {}


def test_another_version_knows_nothing(file: Path, cache: ScanCache, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.known([file])
    cache.remember({file: HELD})
    assert cache.known([file]) == {file: HELD}
    monkeypatch.setattr(scan_cache, "_VERSION", 2)
    assert cache.known([file]) == {}


def test_what_has_just_been_written_is_not_remembered(file: Path, tmp_path: Path) -> None:
    cache = ScanCache(tmp_path / "tracks.db")
    cache.known([file])
    cache.remember({file: HELD})
    assert time.time() - file.stat().st_ctime < 2
    assert cache.known([file]) == {}


@pytest.mark.parametrize("damage", ["text", "folder", "file as a folder"])
def test_a_cache_that_is_of_no_use_costs_nothing_but_time(file: Path, tmp_path: Path, damage: str) -> None:
    place = tmp_path / "cache"
    if damage == "text":
        place.mkdir()
        (place / "tracks.db").write_text("no database, but longer than its header" * 9)
    elif damage == "folder":
        (place / "tracks.db").mkdir(parents=True)
    else:
        place.write_text("in the way")
    cache = ScanCache(place / "tracks.db")
    assert cache.known([file]) == {}
    cache.remember({file: HELD})
    assert cache.known([file]) == {}


def test_a_second_scan_reads_only_what_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_cache, "_GRAIN_SECONDS", -1e9)
    root, remembered = (
        write_genres(tmp_path / "set", ("blues/a", "blues/b", "rock/c", "rock/d")),
        tmp_path / "cache",
    )
    (root / "rock" / "bad.wav").write_text("no audio")
    read: list[str] = []

    def counted(path: Path) -> Examined | str:
        read.append(path.stem)
        return examine(path)

    monkeypatch.setattr(examination, "examine", counted)
    seen: list[tuple[int, int]] = []

    def again() -> Dataset:
        read.clear()
        return scan(root, skip_bad=True, cache=remembered, progress=lambda done, total: seen.append((done, total)))

    first = again()
    assert read == ["a", "b", "bad", "c", "d"]
    seen.clear()
    second = again()
    assert read == ["bad"]  # why a file cannot serve is asked anew, for it may be another library's word
    assert seen == [(5, 5)]
    assert (second, second.quarantined) == (first, first.quarantined)
    write_audio(root / "rock" / "c.wav", noise("another"))
    third = again()
    assert read == ["bad", "c"]
    assert third.fingerprint == scan(root, skip_bad=True).fingerprint != first.fingerprint


def test_what_changes_while_others_are_read_is_not_remembered(file: Path, cache: ScanCache, tmp_path: Path) -> None:
    gone = tmp_path / "gone.wav"
    gone.write_bytes(b"audio")
    cache.known([file, gone])
    file.write_bytes(b"AUDIO")
    gone.unlink()
    cache.remember({file: HELD, gone: HELD})
    assert cache.known([file]) == {}
