"""Text between the two markers of a document."""

from __future__ import annotations

import re

from harness.errors import UsageError

_OPEN, _CLOSE = "<!-- harness:results -->", "<!-- /harness:results -->"


def inject(text: str, document: str) -> str:
    """Return `document` with `text` between its two markers, and every other character as it was.

    The markers `<!-- harness:results -->` and `<!-- /harness:results -->` each stand once, alone on a line.

    Raises:
        UsageError: a marker is missing, stands twice, or the two are out of order.
    """
    opening, closing = (_marker(marker, document) for marker in (_OPEN, _CLOSE))
    if closing.start() < opening.end():
        raise UsageError(f"The marker {_CLOSE} stands before {_OPEN}. Put the opening marker first.")
    newline = "\r\n" if "\r\n" in document else "\n"
    content = newline.join(["", "", *text.strip().splitlines(), "", ""])
    return document[: opening.end()] + content + document[closing.start() :]


def _marker(marker: str, document: str) -> re.Match[str]:
    found = list(re.finditer(rf"^[ \t]*{re.escape(marker)}(?=[ \t]*\r?$)", document, flags=re.MULTILINE))
    if len(found) != 1:
        count = "is missing" if not found else f"stands {len(found)} times"
        raise UsageError(
            f"The marker {marker} {count} in the document. Put {_OPEN} and {_CLOSE} in it once, each alone on a line."
        )
    return found[0]
