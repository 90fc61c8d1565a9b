"""Pictures as PNG bytes: drawn without a display, equal bytes for equal figures."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np

_DPI = 100


def confusion_matrix_png(matrix: np.ndarray, genres: Sequence[str], title: str) -> bytes:
    """Return a confusion matrix as a PNG: counts as text, colour by the share of the true genre's tracks.

    About 900 pixels wide up to 20 genres, and larger beyond, so that 40 genres stay readable.

    Args:
        matrix: counts of tracks, integers, shape (C, C): rows are the true genre, columns the predicted one.
        genres: the C class names.
        title: what stands above the picture.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    n_genres = len(genres)
    side = max(8.2, 0.41 * n_genres)
    text_size = float(np.clip(0.35 * 72 * side / max(n_genres, 1) * 0.6, 7, 13))
    totals = matrix.sum(axis=1, keepdims=True)
    shares = np.divide(matrix, totals, out=np.zeros(matrix.shape), where=totals > 0)

    figure = Figure(figsize=(side + 0.8, side), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(n_genres), genres, rotation=45, ha="right", rotation_mode="anchor", parse_math=False)
    axes.set_yticks(range(n_genres), genres, parse_math=False)
    axes.set_xlabel("predicted genre")
    axes.set_ylabel("true genre")
    axes.set_title(title, parse_math=False)
    axes.set_xticks(np.arange(n_genres + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(n_genres + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="0.9", linewidth=0.8)
    axes.tick_params(which="minor", length=0)
    for row, column in np.argwhere(matrix > 0):
        colour = "white" if shares[row, column] > 0.6 else "black"
        count = str(int(matrix[row, column]))
        axes.text(column, row, count, ha="center", va="center", color=colour, fontsize=text_size)
    figure.colorbar(image, ax=axes, shrink=0.75, label="share of the true genre's tracks")

    picture = io.BytesIO()
    # The version of matplotlib would otherwise stand in the file and change its bytes.
    figure.savefig(picture, format="png", metadata={"Software": None})
    return picture.getvalue()
