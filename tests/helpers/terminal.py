"""A terminal for commands under test.

`python -m tests.helpers.terminal COMMAND...` prints the last frame with a trial.
"""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from collections.abc import Sequence

# Rich moves up to the view's first line, and clears each line on its way.
_REDRAWN = re.compile(r"(?:\r?\x1b\[2K|\x1b\[1A)+")
_STYLE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


def in_terminal(command: Sequence[str], columns: int = 90, **variables: str) -> tuple[int, str]:
    """Run a command in a terminal; return its exit status, and what it wrote, control sequences and all."""
    leader, follower = pty.openpty()
    environment = {"TERM": "xterm-256color", "COLUMNS": str(columns), "LINES": "40"}
    with subprocess.Popen(
        command, stdin=follower, stdout=follower, stderr=follower, env=os.environ | environment | variables
    ) as process:
        os.close(follower)
        written = b""
        try:
            while chunk := os.read(leader, 65536):
                written += chunk
        except OSError:  # how Linux tells that nobody holds the other end any more
            pass
    os.close(leader)
    return process.returncode, written.decode()


def frames(written: str) -> list[str]:
    """Return what stood on the screen between two redrawings, without styles."""
    return [_STYLE.sub("", part).replace("\r", "").strip("\n") for part in _REDRAWN.split(written)]


if __name__ == "__main__":
    status, output = in_terminal(sys.argv[1:], NO_COLOR="1")
    shown = [frame for frame in frames(output) if frame.startswith("trial") and "0/" not in frame]
    print(shown[-1] if shown else output)
    sys.exit(status)
