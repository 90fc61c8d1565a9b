"""The live view of a run in a notebook, redrawn in place beneath its cell; IPython is all that it needs."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from harness.console.live import LiveView
from harness.events import EpochFinished, Event, Notify

_REDRAW_SECONDS = 0.5
_WIDTH = 80
_PRE = '<pre style="line-height: normal; font-family: monospace">{code}</pre>'


@contextmanager
def watching_in_notebook(view: LiveView) -> Iterator[Notify]:
    """Give the function that shows events beneath the cell that runs, for as long as the block runs.

    The lines stay; the view goes with the run, however it ends.
    """
    from IPython.display import HTML, display

    handle = display(HTML(view_html(view)), display_id=True)
    drawn = time.monotonic()

    def notify(event: Event) -> None:
        nonlocal drawn
        line = view.see(event)
        if line:
            print(line, flush=True)
        if line or isinstance(event, EpochFinished) or time.monotonic() - drawn > _REDRAW_SECONDS:
            handle.update(HTML(view_html(view)))
            drawn = time.monotonic()

    try:
        yield notify
    finally:
        handle.update(HTML(""))


def view_html(view: LiveView) -> str:
    """Return what the view shows now as HTML without scripts or style sheets."""
    console = Console(
        file=io.StringIO(),
        record=True,
        width=_WIDTH,
        force_terminal=True,
        force_jupyter=False,
        color_system="truecolor",
    )
    console.print(view.render())
    return console.export_html(inline_styles=True, code_format=_PRE)
