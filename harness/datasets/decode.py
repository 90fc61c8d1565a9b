"""An audio file is decoded to samples, or the reason is given why it cannot serve."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from harness.datasets.signal import FULL_SCALE, Samples
from harness.errors import DataError

MIN_SECONDS = 3.1
"""The shortest track that serves: the shortest crop, 130 frames, is 3.0 s, and resampling may cost a few samples."""

AUDIO_SUFFIXES = (
    ".au",
    ".wav",
    ".flac",
    ".mp3",
    ".ogg",
    ".aif",
    ".aifc",
    ".aiff",
    ".caf",
    ".mp2",
    ".oga",
    ".opus",
    ".rf64",
    ".snd",
    ".w64",
    ".wave",
)

_SILENCE = 1 / FULL_SCALE
"""One step of 16 bits: what moves less than that is stored as a constant."""

_BLOCK = 1 << 18

CRASH_ADVICE = (
    "It may have run out of memory, or one of these files may crash the decoder. Free some memory and run again, or "
    "remove the file."
)
"""What to do when a worker process died while it decoded."""

_NO_FILE = 7
"""What libsndfile answers, with a text that says so, to anything called `.mp3` that is none."""


def decode(path: Path) -> tuple[Samples, int]:
    """Return the samples of an audio file, float32, shape (n,), mixed down to mono, and their rate in Hz.

    Raises:
        DataError: the file is unreadable, empty, silent, not finite or shorter than `MIN_SECONDS`; the message is
            the reason alone, without the file's name.
    """
    import soundfile

    try:
        if path.stat().st_size == 0:
            raise DataError("empty file")
        with soundfile.SoundFile(path) as file:
            rate: int = file.samplerate
            # Block by block: a damaged header may claim any length, and only one channel need be kept.
            blocks = []
            while len(block := file.read(_BLOCK, dtype="float32", always_2d=True)):
                blocks.append(block[:, 0] if block.shape[1] == 1 else block.mean(axis=1, dtype=np.float32))
    except soundfile.LibsndfileError as error:
        why = "" if error.code == _NO_FILE else f" ({error.error_string.strip().rstrip('.')})"
        raise DataError(f"not audio that libsndfile can read{why}") from None
    except OSError as error:
        raise DataError(f"not readable ({error.strerror})") from None
    samples = np.concatenate(blocks) if blocks else np.empty(0, np.float32)
    return checked(samples, rate), rate


def checked(samples: Samples, rate: int) -> Samples:
    """Return the same samples, float32, shape (n,), mono at `rate` Hz.

    Raises:
        DataError: they cannot serve; the message is the reason alone.
    """
    if not len(samples):
        raise DataError("empty: it holds no samples")
    if len(samples) < MIN_SECONDS * rate:
        raise DataError(f"too short: {len(samples) / rate:.2f} s, and a track needs {MIN_SECONDS} s")
    if not np.isfinite(samples).all():
        raise DataError("not finite: it holds NaN or infinite samples")
    if np.ptp(samples) < _SILENCE:
        raise DataError("silent: its samples are all the same")
    return samples


def content_address(samples: Samples, rate: int) -> str:
    """Return the content address of decoded audio: equal audio, equal address, whatever the file.

    Args:
        samples: float32, shape (n,), mono.
        rate: their rate in Hz.

    Returns:
        The SHA-256 of rate and samples, 64 hexadecimal digits.
    """
    return hashlib.sha256(rate.to_bytes(8, "little") + samples.astype("<f4", copy=False).tobytes()).hexdigest()
