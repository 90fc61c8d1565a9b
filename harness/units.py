"""Sizes, durations and scores: how users write them, how reports print them."""

from __future__ import annotations

import math
import re

from harness.errors import UsageError

KIB, MIB, GIB = 2**10, 2**20, 2**30

NOTHING = "–"
"""Stands for a figure that there is not."""

_SIZE_UNITS = {
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": KIB,
    "mib": MIB,
    "gib": GIB,
    "tib": 2**40,
}
_DURATION_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_NUMBER = r"(\d+(?:\.\d+)?|\.\d+)"


def parse_size(text: str) -> int:
    """Return the bytes that `text` names: `8GiB`, `7.5GiB`, `8192MiB` or `8GB`.

    Raises:
        UsageError: `text` is no positive number with a unit.
    """
    match = re.fullmatch(rf"\s*{_NUMBER}\s*([A-Za-z]+)\s*", text)
    unit = _SIZE_UNITS.get(match[2].lower()) if match else None
    if match is None or unit is None or float(match[1]) <= 0:
        raise UsageError(
            f"{text!r} is not a size. Write a positive number with its unit: 8GiB, 7.5GiB, 8192MiB or 8GB."
        )
    return round(float(match[1]) * unit)


def parse_duration(text: str) -> float:
    """Return the seconds that `text` names: `90s`, `30m`, `2h` or `1h30m`.

    Raises:
        UsageError: `text` is no positive duration with a unit.
    """
    if re.fullmatch(rf"\s*(?:{_NUMBER}\s*[smhdSMHD]\s*)+", text):
        parts = re.findall(rf"{_NUMBER}\s*([smhdSMHD])", text)
        seconds = sum(float(number) * _DURATION_UNITS[unit.lower()] for number, unit in parts)
        if seconds > 0:
            return seconds
    raise UsageError(f"{text!r} is not a duration. Write a positive number with its unit: 90s, 30m, 2h or 1h30m.")


def format_size(size: int | float) -> str:
    """Return `size` in bytes for a reader: `512 B`, `20.0 KiB`, `310 MiB`, `7.50 GiB`."""
    if size < KIB:
        return f"{size:.0f} B"
    if size < MIB:
        return f"{size / KIB:.1f} KiB"
    if size < GIB:
        return f"{size / MIB:.0f} MiB"
    return f"{size / GIB:.2f} GiB"


def format_duration(seconds: float) -> str:
    """Return `seconds` for a reader: `0.4 s`, `42 s`, `3 min 05 s`, `2 h 10 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def format_count(number: int) -> str:
    """Return a count for a reader: `950`, `12.3 k`, `4.10 M`."""
    if number < 1000:
        return str(number)
    if number < 10**6:
        return f"{number / 1e3:.1f} k"
    return f"{number / 1e6:.2f} M"


def format_setting(setting: bool | int | float | str | None) -> str:
    """Return a hyperparameter for a reader, at most six digits."""
    if setting is None:
        return NOTHING
    return f"{setting:.6g}" if isinstance(setting, float) else str(setting)


def plural(number: int, what: str) -> str:
    """Return how many there are of what has a regular plural: `1 trial`, `3 trials`."""
    return f"{number} {what}{'s' * (number != 1)}"


def percent(fraction: float | None) -> str:
    """Return a fraction for a reader: `61.0 %`, or a dash where there is no finite one."""
    return NOTHING if fraction is None or not math.isfinite(fraction) else f"{100 * fraction:.1f} %"


def percent_range(interval: tuple[float, float]) -> str:
    """Return an interval of fractions for a reader, in whole per cent, rounded outward so that it still covers."""
    low, high = (round(100 * end, 6) for end in interval)
    return f"{math.floor(low)}–{math.ceil(high)} %"


def ratio(fraction: float | None) -> str:
    """Return a score such as F1 for a reader: `0.59`, or a dash where there is no finite one."""
    return NOTHING if fraction is None or not math.isfinite(fraction) else f"{fraction:.2f}"


def ratio_range(interval: tuple[float, float]) -> str:
    """Return an interval of scores for a reader, two digits, rounded outward so that it still covers."""
    low, high = (round(100 * end, 6) for end in interval)
    return f"{math.floor(low) / 100:.2f}–{math.ceil(high) / 100:.2f}"


def is_finite(value: float | None) -> bool:
    """Whether `value` is a number that JSON, Optuna and MLflow can all store."""
    return value is not None and math.isfinite(value)
