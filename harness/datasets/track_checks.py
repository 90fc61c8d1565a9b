"""Whether decoded audio can serve is found while it passes by, block by block."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from harness.datasets.signal import FULL_SCALE, Samples
from harness.errors import DataError

MIN_SECONDS = 3.1
"""The shortest track that serves: the shortest crop, 130 frames, is 3.0 s, and resampling may cost a few samples."""

SILENCE = 1 / FULL_SCALE
"""One step of 16 bits: what moves less than that is stored as a constant."""

_PEAK = 32.0
"""30 dB over full scale. Hot mixes stay far below; quiet music in the scale of 16 bits is above."""

_DAMAGE_PEAK = 1e6
"""What a lossy decoder may make of a damaged frame, for some milliseconds. Features of more overflow."""

_CANCELLED = 1e-3
"""The power that mixing down must leave; unlike channels leave a half, and channels in opposite phase nothing."""


class TrackChecks:
    """What is known of a track of which some blocks have been seen."""

    def __init__(self, rate: int, *, lossy: bool = False) -> None:
        """Begin a track of `rate` samples a second; `lossy` says that it was coded so."""
        self._rate, self._seen = rate, 0
        self._peak = _DAMAGE_PEAK if lossy else _PEAK
        self._low, self._high = np.inf, -np.inf
        self._channels_move = False
        self._power = self._mixed_power = 0.0

    @property
    def seconds(self) -> float:
        """How much has been seen."""
        return self._seen / self._rate

    def see(self, mono: Samples, channels: npt.NDArray[np.float32] | None = None) -> None:
        """Take a block into account.

        Args:
            mono: float32, shape (n,).
            channels: float32, shape (n, channels), that it was mixed from; by default itself.

        Raises:
            DataError: it holds what no track may hold; the message is the reason alone.
        """
        if not len(mono):
            return
        # A channel's samples side by side: numpy is several times faster along them.
        rows = np.ascontiguousarray(mono[np.newaxis] if channels is None else channels.T)
        lows, highs = rows.min(axis=1), rows.max(axis=1)
        if not (np.isfinite(lows).all() and np.isfinite(highs).all()):
            raise DataError("not finite: it holds NaN or infinite samples")
        peak = float(max(-lows.min(), highs.max()))
        if peak > self._peak:
            raise DataError(f"far beyond full scale: its samples reach {peak:,.5g}. Scale them to [-1, 1]")
        self._seen += len(mono)
        self._low, self._high = min(self._low, float(mono.min())), max(self._high, float(mono.max()))
        if len(rows) > 1:
            self._channels_move |= bool((highs - lows >= SILENCE).any())
            self._power += float(rows.var(axis=1).mean()) * len(mono)
            self._mixed_power += float(mono.var()) * len(mono)

    def finish(self) -> None:
        """Judge the whole track.

        Raises:
            DataError: it cannot serve; the message is the reason alone.
        """
        if not self._seen:
            raise DataError("empty: it holds no samples")
        if self._seen < MIN_SECONDS * self._rate:
            raise DataError(f"too short: {self.seconds:.2f} s, and a track needs {MIN_SECONDS} s")
        silent = self._high - self._low < SILENCE
        if self._channels_move and (silent or self._mixed_power < _CANCELLED * self._power):
            raise DataError(
                "its channels cancel when mixed down, as one is the other in opposite phase: invert one of them, or "
                "keep one alone"
            )
        if silent:
            raise DataError("silent: its samples are all the same")
