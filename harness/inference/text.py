"""An answer as a terminal shows it."""

from __future__ import annotations

import numpy as np

from harness.inference.pipeline import TrackPrediction

SHOWN = 3
"""Genres in a line; `--json` has all of them."""

_SHADES = " ░▒▓█"
_WIDTH = 60


def line(prediction: TrackPrediction) -> str:
    """Return the most probable genres: `jazz 62 %, blues 30 %, rock 5 %`."""
    ordered = sorted(prediction.probabilities.items(), key=lambda answer: -answer[1])
    return ", ".join(f"{genre} {100 * probability:.0f} %" for genre, probability in ordered[:SHOWN])


def timeline(prediction: TrackPrediction) -> list[str]:
    """Return a strip of probabilities over time for each genre that leads somewhere, darker where it is higher."""
    parts = [part.mean(axis=0) for part in np.array_split(prediction.crops, min(len(prediction.crops), _WIDTH))]
    cell = _WIDTH // len(parts)
    totals = np.sum(parts, axis=0)
    leading = sorted({int(np.argmax(part)) for part in parts}, key=lambda genre: -totals[genre])
    margin = max(len(prediction.genres[genre]) for genre in leading)
    strips = ["".join(_shade(part, genre) * cell for part in parts) for genre in leading]
    end = _clock(prediction.spans[-1][1])
    return [
        *(f"  {prediction.genres[genre]:{margin}} {strip}" for genre, strip in zip(leading, strips, strict=True)),
        f"  {'':{margin}} 0:00{end:>{len(parts) * cell - 4}}",
    ]


def _shade(probabilities: np.ndarray, genre: int) -> str:
    """Return a character, the darker the more probable; what leads is seen however low it is."""
    steps = round(float(probabilities[genre]) * (len(_SHADES) - 1))
    return _SHADES[max(steps, int(probabilities.argmax() == genre))]


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
