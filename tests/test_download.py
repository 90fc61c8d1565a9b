"""Downloads: resumed where they were cut, checked, and given up with a reason."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.download import download
from harness.errors import DataError
from tests.helpers.mirror import PIECE, Mirror, impatient, serving

NAME = "file.bin"
OTHERWISE = "ask a friend."


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    impatient(monkeypatch)
    with serving(Mirror(bytes(range(256)) * 400)) as serves:
        yield serves


@pytest.mark.parametrize("header", ["X-Linked-ETag", None])
def test_a_check_sum_is_asked_for_where_a_header_tells_it(mirror: Mirror, tmp_path: Path, header: str | None) -> None:
    mirror.digest = hashlib.sha256(mirror.body).hexdigest()
    download(mirror.url, tmp_path / NAME, digest_header=header, otherwise=OTHERWISE)
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
    mirror.digest = "0" * 64
    if header:
        with pytest.raises(DataError, match=r"has the SHA-256 \w{64}, and the mirror says 0{64}\. It was removed"):
            download(mirror.url, tmp_path / "other", digest_header=header, otherwise=OTHERWISE)
    else:
        download(mirror.url, tmp_path / "other", otherwise=OTHERWISE)
    assert (tmp_path / "other").exists() == (header is None)


def test_a_cut_connection_is_taken_up_where_it_was_cut(mirror: Mirror, tmp_path: Path) -> None:
    first, second = 20 * PIECE, 30 * PIECE
    mirror.cut = [first, second]
    download(mirror.url, tmp_path / NAME, otherwise=OTHERWISE)
    assert mirror.ranges == [None, f"bytes={first}-", f"bytes={first + second}-"]
    assert (tmp_path / NAME).read_bytes() == mirror.body


def test_a_later_call_takes_up_what_an_earlier_one_received(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(mirror.body[:1000])
    download(mirror.url, tmp_path / NAME, otherwise=OTHERWISE)
    assert mirror.ranges == ["bytes=1000-"]
    assert (tmp_path / NAME).read_bytes() == mirror.body


def test_a_connection_that_gets_nowhere_is_given_up_and_what_arrived_is_kept(mirror: Mirror, tmp_path: Path) -> None:
    mirror.cut = [5 * PIECE, *[0] * 10]
    with pytest.raises(DataError, match="the connection failed or was cut: IncompleteRead"):
        download(mirror.url, tmp_path / NAME, otherwise=OTHERWISE)
    assert (tmp_path / f"{NAME}.part").read_bytes() == mirror.body[: 5 * PIECE]


def test_a_server_that_cannot_resume_sends_the_whole(mirror: Mirror, tmp_path: Path) -> None:
    mirror.resumes = False
    (tmp_path / f"{NAME}.part").write_bytes(b"something else")
    download(mirror.url, tmp_path / NAME, otherwise=OTHERWISE)
    assert (tmp_path / NAME).read_bytes() == mirror.body


@pytest.mark.parametrize("more", [b"", b"of another, longer file"], ids=["complete", "too long"])
def test_a_part_that_is_complete_or_too_long(mirror: Mirror, tmp_path: Path, more: bytes) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(mirror.body + more)
    download(mirror.url, tmp_path / NAME, otherwise=OTHERWISE)
    assert mirror.ranges == [f"bytes={len(mirror.body + more)}-", *([None] if more else [])]
    assert (tmp_path / NAME).read_bytes() == mirror.body


UNREACHABLE = {
    "http://127.0.0.1:9/file.bin": "the connection failed or was cut: Connection refused",
    # What a resolver says differs from one to the next.
    "http://mirror.invalid/file.bin": "the connection failed or was cut: .*(resol|[Nn]ame)",
    "file.bin": "Invalid URL .* No scheme supplied",
    "ftp://127.0.0.1/file.bin": "No connection adapters",
}


@pytest.mark.parametrize(("url", "cause"), UNREACHABLE.items(), ids=UNREACHABLE)
def test_a_mirror_that_cannot_be_reached_says_why(mirror: Mirror, tmp_path: Path, url: str, cause: str) -> None:
    with pytest.raises(DataError, match=rf"cannot be downloaded \({cause}") as raised:
        download(url, tmp_path / NAME, otherwise=OTHERWISE)
    assert "HTTPConnection" not in str(raised.value)
    assert str(raised.value).endswith(f"what has arrived is kept; or {OTHERWISE}")


def test_a_mirror_that_speaks_no_tls_says_so(mirror: Mirror, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the connection failed or was cut: \[SSL"):
        download(mirror.url.replace("http:", "https:"), tmp_path / NAME, otherwise=OTHERWISE)


def test_a_busy_mirror_is_asked_again(mirror: Mirror, tmp_path: Path) -> None:
    mirror.status = 503
    with pytest.raises(DataError, match="it answers 503 Service Unavailable"):
        download(mirror.url, tmp_path / NAME, otherwise=OTHERWISE)
    assert len(mirror.ranges) == 2
