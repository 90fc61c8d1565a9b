"""What finished trials teach about predictions of memory: how need compares with footprint."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.units import MIB

PRIOR_SPREAD = math.log(1.25)
"""Before anything was measured, needed over predicted is within a quarter in two of three trials."""

PRIOR_WEIGHT = 2
"""As many trials does the prior spread weigh against the measured one."""

CONSTANT_SCALE = 64 * MIB
"""The part of a need that does not grow with the network is hardly larger than this, before anything was measured."""

NOISE = 0.05
"""Residuals of log need beyond this share count in proportion, not squared, so that no single trial rules the fit."""

MARGIN_SIGMAS = 1.645
"""The upper bound is passed by one trial in twenty, if ratios are log-normal."""

LOWER_SIGMAS = 0.842
"""One trial in five stays under the lower bound."""


@dataclass(frozen=True)
class Need:
    """What one trial needed, beside what was predicted for it, in bytes.

    Attributes:
        needed: the peak of the framework's allocator.
        stopped: the trial was stopped before it had all that it needed, which is more than `needed`.
    """

    predicted: int
    needed: int
    stopped: bool = False


@dataclass(frozen=True)
class Correction:
    """How the needs of a family's trials follow from predicted peaks: a line, and a margin to both sides of it.

    Attributes:
        factor: what a need grows by for each predicted byte.
        constant: the part of a need that does not grow with the network, in bytes.
        margin: what to multiply an estimate with for an upper bound.
    """

    factor: float = 1.0
    constant: float = 0.0
    margin: float = math.exp(MARGIN_SIGMAS * PRIOR_SPREAD)

    @classmethod
    def learn(cls, needs: Sequence[Need]) -> Correction:
        """Fit the line to what trials needed; none gives the prior: factor 1, no constant, and its margin.

        The fit is the maximum of a posterior: log needs with a robust loss (soft L1, as in `scipy.optimize.
        least_squares`), a normal prior on the logarithm of the factor, a half-normal one on the constant. A trial that
        was stopped counts only where the line lies below what it had by then.
        """
        if not needs:
            return cls()
        from scipy.optimize import least_squares

        predicted = np.array([need.predicted for need in needs], float)
        needed = np.log([need.needed for need in needs])
        stopped = np.array([need.stopped for need in needs])

        def residuals(line: np.ndarray) -> np.ndarray:
            log_factor, constant = line
            found = needed - np.log(np.exp(log_factor) * predicted + constant * CONSTANT_SCALE)
            return np.asarray(np.where(stopped, np.maximum(found, 0.0), found))

        def loss(line: np.ndarray) -> np.ndarray:
            # The square of each entry is what is minimised: twice soft L1 of data, squares of the priors.
            robust = 2 * (np.sqrt(1 + (residuals(line) / NOISE) ** 2) - 1)
            return np.concatenate([np.sqrt(robust), [line[0] / PRIOR_SPREAD, line[1]]])

        log_factor, constant = least_squares(loss, [0.0, 0.1], bounds=([-np.inf, 0.0], np.inf)).x
        whole = residuals(np.array([log_factor, constant]))[~stopped]
        # One trial far from the line must not widen the margin for all others.
        squares = float((np.clip(whole, -2 * PRIOR_SPREAD, 2 * PRIOR_SPREAD) ** 2).sum())
        squares += PRIOR_WEIGHT * PRIOR_SPREAD**2
        spread = math.sqrt(squares / (len(whole) + PRIOR_WEIGHT))
        return cls(math.exp(log_factor), constant * CONSTANT_SCALE, math.exp(MARGIN_SIGMAS * spread))

    def estimate(self, predicted: int) -> int:
        """Return the corrected need in bytes."""
        return round(self.factor * predicted + self.constant)

    def upper(self, predicted: int) -> int:
        """Return what the need passes in one trial of twenty, in bytes."""
        return round(self.estimate(predicted) * self.margin)

    def lower(self, predicted: int) -> int:
        """Return what the need stays under in one trial of five, in bytes."""
        return round(self.estimate(predicted) * math.pow(self.margin, -LOWER_SIGMAS / MARGIN_SIGMAS))
