"""What a family takes as its input: which rows of what, and how much of a track at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness.datasets.signal import SAMPLE_RATE
from harness.features.extract import HOP_LENGTH, MFCC, N_ROWS

EMBEDDING_SECONDS = 30.0
"""A model sees this much of an embedded track at once: all of it, where clips are as long as GTZAN's."""


@dataclass(frozen=True)
class InputSpec:
    """What a family sees of a crop: some rows of the features, the waveform itself, or an embedding.

    Attributes:
        name: how the input is called.
        kind: `features`, `waveform`, or `embedding`: what a frozen network made of the waveform.
        start: the first row of the features; 0 for the others.
        stop: the row after the last; 0 for a waveform, the numbers a frame for an embedding.
        length: of a crop, in frames (features, embedding) or in samples at 22,050 Hz (waveform).
        source: the fingerprint of an embedding's network; empty for the others.
    """

    name: str
    kind: Literal["features", "waveform", "embedding"]
    start: int
    stop: int
    length: int
    source: str = ""

    @property
    def rows(self) -> int:
        """How many numbers there are at each moment: 1 for a waveform."""
        return 1 if self.kind == "waveform" else self.stop - self.start

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one crop: (rows, frames, 1) or (samples, 1)."""
        return (self.length, 1) if self.kind == "waveform" else (self.rows, self.length, 1)

    @property
    def seconds(self) -> float:
        """How much audio a crop spans."""
        if self.kind == "embedding":
            return EMBEDDING_SECONDS
        return self.length * (1 if self.kind == "waveform" else HOP_LENGTH) / SAMPLE_RATE

    def describe(self) -> str:
        """Return one line for a reader: `mfcc: 40 rows x 130 frames (3.0 s)`."""
        size = f"{self.length:,} samples" if self.kind == "waveform" else f"{self.rows:,} rows x {self.length} frames"
        return f"{self.name}: {size} ({self.seconds:.1f} s)"


MFCC_INPUT = InputSpec("mfcc", "features", MFCC.start, MFCC.stop, 130)
FUSION_INPUT = InputSpec("fusion", "features", 0, N_ROWS, 130)
WAVEFORM_INPUT = InputSpec("waveform", "waveform", 0, 0, 5 * SAMPLE_RATE)
