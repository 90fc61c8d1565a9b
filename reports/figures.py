"""The pictures of a report: confusion matrices, the course of a search, and scores against memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from harness.analysis.memory_curve import MemoryPoint
from harness.records.trial import Outcome
from harness.units import format_size
from reports.svg import GRID, INK, MUTED, ON_COLOUR, PAPER, SERIES, PngFrame, draw_svg

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH = 5.0
_MARKERS = "os^Dv*Pp"


def confusion_matrix_png(matrix: np.ndarray, genres: Sequence[str], title: str) -> bytes:
    """Draw a confusion matrix as a PNG: counts as text, colour by the share of the true genre's tracks.

    About 900 pixels wide up to 10 genres, and larger beyond, so that 40 genres stay readable.

    Args:
        matrix: counts of tracks, integers, shape (C, C): rows are the true genre, columns the predicted one.
        genres: the C class names.
        title: what stands above the picture.
    """
    return _confusion_frame(tuple(genres)).fill(lambda figure, drawn: _fill_confusion(figure, drawn, matrix, title))


def confusion_matrix_svg(matrix: np.ndarray, genres: Sequence[str], title: str) -> bytes:
    """Draw the same picture as `confusion_matrix_png`, as SVG.

    Args:
        matrix: counts of tracks, integers, shape (C, C): rows are the true genre, columns the predicted one.
        genres: the C class names.
        title: what stands above the picture.
    """
    side = _confusion_side(len(genres))

    def draw(figure: Figure) -> None:
        _draw_confusion(figure, genres)
        _fill_confusion(figure, [], matrix, title)

    return draw_svg(side, side, draw)


def search_history_svg(scores: Mapping[int, float], unscored: Mapping[Outcome, Sequence[int]], title: str) -> bytes:
    """Draw the course of a search as SVG: scores by trial with the best so far, beneath them what was not scored.

    Args:
        scores: macro F1 of the completed trials, by number.
        unscored: numbers of the other trials by outcome; a row each.
        title: what stands above the picture.
    """
    height = (2.5 if scores else 0.5) + 0.22 * len(unscored) + 0.3
    return draw_svg(_WIDTH, height, lambda figure: _draw_history(figure, scores, unscored, title))


def score_memory_svg(
    families: Mapping[str, Sequence[MemoryPoint]], front: Sequence[MemoryPoint], budget_bytes: int
) -> bytes:
    """Draw scores against memory as SVG: a filled mark where memory was measured, a hollow one where predicted.

    Args:
        families: their completed trials, by name.
        front: the trials that none beats with as little memory, by rising memory.
        budget_bytes: drawn as a line.
    """
    height = 3.2 + 0.17 * ((len(families) + 3) // 2)
    return draw_svg(_WIDTH, height, lambda figure: _draw_memory(figure, families, front, budget_bytes))


def _confusion_side(genres: int) -> float:
    return max(_WIDTH, 0.36 * genres + 1.4)


@lru_cache(maxsize=8)
def _confusion_frame(genres: tuple[str, ...]) -> PngFrame:
    side = _confusion_side(len(genres))
    return PngFrame(side, side, lambda figure: _draw_confusion(figure, genres))


def _draw_confusion(figure: Figure, genres: Sequence[str]) -> None:
    """Draw a confusion matrix without counts, with room for a title."""
    axes = figure.add_subplot()
    axes.set(xlim=(-0.5, len(genres) - 0.5), ylim=(len(genres) - 0.5, -0.5), aspect="equal")
    axes.set(xlabel="predicted genre", ylabel="true genre")
    figure.suptitle("title", fontsize=10)
    axes.set_xticks(range(len(genres)), genres, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(genres)), genres)
    edges = np.arange(len(genres) + 1) - 0.5
    axes.hlines(edges, edges[0], edges[-1], color=GRID, linewidth=0.6)
    axes.vlines(edges, edges[0], edges[-1], color=GRID, linewidth=0.6)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0)


def _fill_confusion(figure: Figure, drawn: list[Artist], matrix: np.ndarray, title: str) -> None:
    """Write the title, draw the counts, and add what these are drawn as to `drawn`."""
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    totals = matrix.sum(axis=1, keepdims=True)
    shares = np.divide(matrix, totals, out=np.zeros(matrix.shape), where=totals > 0)
    figure.suptitle(title, fontsize=10)
    (axes,) = figure.axes
    filled = np.argwhere(matrix > 0)
    squares = [Rectangle((column - 0.5, row - 0.5), 1, 1) for row, column in filled]
    # Opacity rather than a scale of colours: the paper shows through, light or dark.
    colours = [(SERIES[0], opacity) for opacity in (0.08 + 0.92 * shares[matrix > 0]).tolist()]
    cells = PatchCollection(squares, facecolor=colours, edgecolor="none")
    drawn.append(axes.add_collection(cells, autolim=False))
    for row, column in filled:
        colour = ON_COLOUR if shares[row, column] > 0.6 else INK
        count = str(int(matrix[row, column]))
        drawn.append(axes.text(column, row, count, ha="center", va="center", color=colour, in_layout=False))


def _draw_history(
    figure: Figure, scores: Mapping[int, float], unscored: Mapping[Outcome, Sequence[int]], title: str
) -> None:
    from matplotlib.ticker import MaxNLocator

    heights = [2.3] * bool(scores) + [0.22 * len(unscored) + 0.05] * bool(unscored)
    panels = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    figure.suptitle(title, fontsize=10)
    if scores:
        _draw_scores(panels[0], scores)
    if unscored:
        _draw_unscored(panels[-1], unscored)
    last = max([*scores, *(number for numbers in unscored.values() for number in numbers)])
    panels[-1].set(xlabel="trial", xlim=(-0.03 * last - 0.5, 1.03 * last + 0.5))
    panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True))


def _draw_scores(axes: Axes, scores: Mapping[int, float]) -> None:
    numbers = sorted(scores)
    values = [scores[number] for number in numbers]
    axes.step(numbers, np.maximum.accumulate(values), where="post", color=SERIES[1], linewidth=1.2, label="best so far")
    axes.plot(numbers, values, "o", markersize=4, color=SERIES[0], label=f"completed ({len(numbers)})", clip_on=False)
    if 0 in scores:
        axes.plot(0, scores[0], "D", markersize=8, markerfacecolor="none", color=INK, label="baseline", clip_on=False)
    axes.set_ylabel("macro F1, validation")
    axes.grid(axis="y")
    axes.figure.legend(loc="outside lower center", ncols=3)


def _draw_unscored(axes: Axes, unscored: Mapping[Outcome, Sequence[int]]) -> None:
    for row, numbers in enumerate(unscored.values()):
        axes.plot(numbers, [row] * len(numbers), "x", markersize=4, color=SERIES[4], clip_on=False)
    names = [f"{outcome.label} ({len(numbers)})" for outcome, numbers in unscored.items()]
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y")
    axes.spines["left"].set_visible(False)


def _draw_memory(
    figure: Figure, families: Mapping[str, Sequence[MemoryPoint]], front: Sequence[MemoryPoint], budget_bytes: int
) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.ticker import LogLocator, NullLocator

    axes = figure.add_subplot()
    sizes = [point.budget_bytes for points in families.values() for point in points]
    left, right = min(budget_bytes, *sizes) / 1.3, max(budget_bytes, *sizes) * 1.3
    axes.set_xscale("log", base=2)
    axes.set_xlim(left, right)
    steps = [*((point.budget_bytes, point.macro_f1) for point in front), (right, front[-1].macro_f1)]
    axes.step(*zip(*steps, strict=True), where="post", color=MUTED, linewidth=1.2)
    axes.axvline(budget_bytes, color=SERIES[4], linewidth=1, linestyle=(0, (4, 3)))
    legend = []
    for index, (name, points) in enumerate(families.items()):
        colour, marker = SERIES[index % len(SERIES)], _MARKERS[index % len(_MARKERS)]
        for measured in (True, False):
            chosen = [(point.budget_bytes, point.macro_f1) for point in points if point.measured is measured]
            if chosen:
                face = colour if measured else PAPER
                axes.plot(*zip(*chosen, strict=True), marker, markersize=5, color=colour, markerfacecolor=face)
        legend.append(Line2D([], [], marker=marker, linestyle="none", color=colour, label=name))
    legend.append(Line2D([], [], color=MUTED, label="Pareto front"))
    legend.append(Line2D([], [], color=SERIES[4], linestyle=(0, (4, 3)), label=f"budget, {format_size(budget_bytes)}"))
    axes.set(xlabel=_measure(families), ylabel="macro F1, validation")
    axes.xaxis.set_major_formatter(lambda size, _: format_size(size).replace(".00", ""))
    axes.xaxis.set_major_locator(LogLocator(base=2, numticks=7))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid()
    figure.legend(handles=legend, loc="outside lower center", ncols=2, handletextpad=0.4)


def _measure(families: Mapping[str, Sequence[MemoryPoint]]) -> str:
    """Return what the axis of memory shows."""
    measured = {point.measured for points in families.values() for point in points}
    if measured == {True}:
        return "smallest budget, measured"
    if measured == {False}:
        return "smallest budget, predicted: nothing was measured"
    return "smallest budget: filled marks measured, hollow ones predicted"
