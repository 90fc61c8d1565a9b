"""Files from the web: downloaded, resumed where they were cut, and held against their check sum."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from harness.errors import DataError
from harness.parallel import Progress

RETRIES = Retry(3, backoff_factor=1, status_forcelist=(429, 500, 502, 503, 504), raise_on_status=False)
TIMEOUT_SECONDS = (10.0, 60.0)
"""To connect, and between two pieces."""

# What a cut connection loses at most.
_PIECE = 2**16


def download(
    url: str, path: Path, progress: Progress | None = None, *, digest_header: str | None = None, otherwise: str
) -> None:
    """Download a file, as often as a cut connection asks for it, and check its size and, if known, its check sum.

    Args:
        url: of the file.
        path: where it is to be; what has arrived of it lies beside it as `<name>.part`, from which a later call goes
            on.
        progress: told how many bytes have arrived, and how many there will be.
        digest_header: the header in which the server, or one that redirects to it, tells the file's SHA-256.
        otherwise: what else a user can do, for the error: a sentence, from its verb on.

    Raises:
        DataError: the file cannot be downloaded, or another one arrived than the check sum says.
        OSError: it cannot be written.
    """
    part = path.with_name(f"{path.name}.part")
    with requests.Session() as session:
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=RETRIES))
        while True:
            before = _size(part)
            try:
                digest = _receive(session, url, part, progress, digest_header)
                break
            except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
                # One that was cut goes on at once, for as long as it gets on.
                if _size(part) <= before:
                    reason = f"the connection failed or was cut: {_cause(error)}"
                    raise _unreachable(url, reason, otherwise) from error
            except requests.HTTPError as error:
                reason = f"it answers {error.response.status_code} {error.response.reason}"
                raise _unreachable(url, reason, otherwise) from error
            except requests.RequestException as error:
                raise _unreachable(url, str(error), otherwise) from error
    if digest:
        with part.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != digest:
            part.unlink()
            raise DataError(
                f"{url}: what arrived has the SHA-256 {found}, and the mirror says {digest}. It was removed. Fetch it "
                f"again; or {otherwise}"
            )
    part.rename(path)


def _receive(
    session: requests.Session, url: str, part: Path, progress: Progress | None, digest_header: str | None
) -> str | None:
    """Receive what is missing of a file, to its end, and return its SHA-256 if the server tells it."""
    have = _size(part)
    # Compressed on the way, a file could not be resumed by its own bytes.
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    with session.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            if response.headers.get("Content-Range") != f"bytes */{have}":
                part.unlink()  # of another file than the server has now
                return _receive(session, url, part, progress, digest_header)
        else:
            response.raise_for_status()
            resumed = response.status_code == requests.codes.partial_content
            done = have if resumed else 0
            total = done + int(response.headers.get("Content-Length", 0))
            with part.open("ab" if resumed else "wb") as file:
                for piece in response.iter_content(_PIECE):
                    file.write(piece)
                    done += len(piece)
                    if progress is not None:
                        progress(done, max(done, total))
        answers = [*response.history, response]
    if digest_header is None:
        return None
    digests = (answer.headers.get(digest_header, "").strip('"') for answer in answers)
    return next((digest for digest in digests if re.fullmatch("[0-9a-f]{64}", digest)), None)


def _cause(error: BaseException) -> str:
    """Return what is at the bottom of an error, such as `Connection refused`, without who passed it on."""
    while below := error.__cause__ or error.__context__:
        error = below
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _unreachable(url: str, reason: str, otherwise: str) -> DataError:
    return DataError(
        f"{url}: cannot be downloaded ({reason}). Try again later, what has arrived is kept; or {otherwise}"
    )


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
