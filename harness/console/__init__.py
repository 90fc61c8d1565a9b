"""A run as its user sees it: a live view on a terminal and in a notebook, plain lines elsewhere, JSON for scripts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.progress import DownloadColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.progress import Progress as Bars

from harness.console.lines import Lines
from harness.console.live import LiveView
from harness.console.notebook import watching_in_notebook
from harness.events import EpochFinished, Event, Notify
from harness.units import format_size

__all__ = ["LiveView", "counting", "receiving", "watching"]


@contextmanager
def watching(as_json: bool, view: LiveView | None = None) -> Iterator[Notify]:
    """Give the function that shows events, in the way that suits standard output, for as long as the block runs.

    Args:
        as_json: print one JSON object a line and nothing else on standard output.
        view: what to show while the block runs, where standard output is a terminal or a notebook's cell.
    """
    console = Console(stderr=as_json, highlight=False)
    if view is not None and console.is_jupyter and not as_json:
        with watching_in_notebook(view) as notify_cell:
            yield notify_cell
        return
    if as_json or view is None or not _is_terminal(console):
        yield Lines(console, as_json)
        return
    # What stays on the screen are the lines; the view goes with the run.
    with Live(view.render(), console=console, refresh_per_second=2, transient=True) as live:

        def notify(event: Event) -> None:
            line = view.see(event)
            if line:
                live.console.print(line, markup=False)
            # What a watcher waits for is shown at once, for a short epoch is over before the next redrawing.
            live.update(view.render(), refresh=isinstance(event, EpochFinished))

        yield notify


@contextmanager
def counting(task: str) -> Iterator[Callable[[str, int, int], None]]:
    """Give a function that shows on standard error how far `task` is: of what, done, and total. Nothing in a pipe."""
    console = Console(stderr=True)
    with Bars(console=console, transient=True, disable=not _is_terminal(console)) as bars:
        bar = bars.add_task(task)
        yield lambda name, done, total: bars.update(bar, description=f"{task}: {name}", completed=done, total=total)


@contextmanager
def receiving(task: str) -> Iterator[Callable[[int, int], None]]:
    """Give a function that shows on standard error how many bytes of a file are there: a bar, or a line each tenth."""
    console = Console(stderr=True, highlight=False)
    if not _is_terminal(console):
        shown: set[int] = set()

        def told(done: int, total: int) -> None:
            tenth = 10 * done // total
            if tenth not in shown:
                shown.add(tenth)
                console.print(f"{task}: {format_size(done)} of {format_size(total)}", soft_wrap=True)

        yield told
        return
    columns = (*Bars.get_default_columns()[:2], DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Bars(*columns, console=console, transient=True) as bars:
        bar = bars.add_task(task, total=None)
        yield lambda done, total: bars.update(bar, completed=done, total=total)


def _is_terminal(console: Console) -> bool:
    """Whether a view can be drawn; FORCE_COLOR, which makes rich take a pipe for a terminal, does not mean that."""
    return console.file.isatty() and not console.is_dumb_terminal
