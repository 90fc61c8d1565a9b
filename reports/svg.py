"""Pictures as bytes: SVG that follows the reader's light or dark scheme, and PNG. Equal bytes for equal drawings."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure

INK, MUTED, GRID, PAPER = "#1f2328", "#59636e", "#d1d9e0", "#ffffff"
SERIES = ("#0969da", "#bc4c00", "#1a7f37", "#8250df", "#cf222e", "#1b7c83", "#bf3989", "#7d4e00")
"""Colours of light pictures, readable on `PAPER`; draw with these alone, so that each has its dark counterpart."""

ON_COLOUR = "#fefefe"
"""Text on a strong colour: white in both schemes."""

_DARK = {
    INK: "#e6edf3",
    MUTED: "#9198a1",
    GRID: "#3d444d",
    PAPER: "#0d1117",
    **dict(
        zip(
            SERIES,
            ("#58a6ff", "#f0883e", "#3fb950", "#bc8cff", "#ff7b72", "#39c5cf", "#f778ba", "#d29922"),
            strict=True,
        )
    ),
}
_STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": MUTED,
    "axes.facecolor": PAPER,
    "axes.labelcolor": INK,
    "axes.axisbelow": True,
    "figure.facecolor": PAPER,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    # Text stays text, in a font that the reader has; ids follow from the content alone.
    "svg.fonttype": "none",
    "svg.hashsalt": "harness",
}
_PNG_DPI = 180
_DRAWING = threading.Lock()

Draw = Callable[["Figure"], None]


def draw_svg(width: float, height: float, draw: Draw) -> bytes:
    """Return what `draw` draws on a figure of `width` x `height` inches as SVG, with a style for dark schemes."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    with _style():
        figure, picture = _figure(width, height), io.BytesIO()
        draw(figure)
        canvas: Any = FigureCanvasSVG(figure)
        # `savefig` would draw twice, once for the layout alone. The date would otherwise stand in the file.
        canvas.print_svg(picture, metadata={"Date": None, "Creator": None})
    return picture.getvalue().replace(b"</style>", f"{_dark_style()}</style>".encode(), 1)


class PngFrame:
    """What pictures of one kind share, laid out once: most of the time that one takes goes into that."""

    def __init__(self, width: float, height: float, draw: Draw) -> None:
        """Draw the frame on a figure of `width` x `height` inches."""
        with _style():
            self._figure = _figure(width, height, dpi=_PNG_DPI)
            draw(self._figure)
            self._figure.draw_without_rendering()
            self._figure.set_layout_engine("none")

    def fill(self, draw: Callable[[Figure, list[Artist]], None]) -> bytes:
        """Return the frame with what `draw` draws in it as PNG.

        Args:
            draw: adds each artist to the list that it is given; they are taken out again, whatever happens.
        """
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        picture = io.BytesIO()
        artists: list[Artist] = []
        with _style():
            try:
                draw(self._figure, artists)
                canvas: Any = FigureCanvasAgg(self._figure)
                # The version of matplotlib would otherwise stand in the file.
                canvas.print_png(picture, metadata={"Software": None}, pil_kwargs={"compress_level": 3})
            finally:
                for artist in artists:
                    artist.remove()
        return picture.getvalue()


@contextmanager
def _style() -> Iterator[None]:
    """Hold matplotlib to the style of all pictures, in one thread at a time: its settings are the process's."""
    import matplotlib.style

    # After a reset, so that a user's own settings do not change the bytes.
    with _DRAWING, matplotlib.style.context(_STYLE, after_reset=True):
        yield


def _figure(width: float, height: float, **options: Any) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", **options)


def _dark_style() -> str:
    """Return rules that exchange each colour, where matplotlib wrote it, for its dark counterpart."""
    rules = [
        f'[style*="{what}: {light}"]{{{what}: {dark} !important}}'
        for light, dark in _DARK.items()
        for what in ("fill", "stroke")
    ]
    return "\n@media (prefers-color-scheme: dark) {\n" + "\n".join(rules) + "\n}\n"
