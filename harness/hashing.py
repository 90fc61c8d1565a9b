"""Names and seeds that depend on their parts alone, in every process and on every machine."""

from __future__ import annotations

import hashlib
import json
from typing import Any

SEEDS = 2**32
"""How many seeds there are: NumPy and Keras take 32 bits."""


def short_hash(value: Any, length: int = 8) -> str:
    """Return the first `length` hexadecimal digits of the SHA-256 of `value` as canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def seed_for(*parts: object, size: int = 4) -> int:
    """Return a seed of `size` bytes that depends on the texts of `parts` alone; of 4 bytes, one of `SEEDS`."""
    text = "/".join(map(str, parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:size], "big")


def nth_seed(seed: int, number: int) -> int:
    """Return the seed of the `number`-th training of a trial: a trial of one fold trains with its own."""
    return (seed + number) % SEEDS
