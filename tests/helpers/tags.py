"""Audio files with tags, of which those for testers have but few."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from tests.helpers.audio import RATE, noise, write_audio


def write_tagged(path: Path, artist: str, samples: np.ndarray | None = None, rate: int = RATE) -> Path:
    """Write an audio file with an artist, by libsndfile: FLAC, Ogg or WAV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with soundfile.SoundFile(path, "w", rate, 1) as file:
        file.artist = artist
        file.write(noise(path.name) if samples is None else samples)
    return path


def write_mp3(
    path: Path, *artists: str, album_artist: str = "", samples: np.ndarray | None = None, rate: int = 16_000
) -> Path:
    """Write an MP3 with an ID3v2.4 tag: its artists, and that of its album."""
    write_audio(path, noise(path.name, rate=rate) if samples is None else samples, rate=rate, format="MP3")
    texts = {b"TPE1": "\0".join(artists), b"TPE2": album_artist}
    frames = b"".join(_frame(name, text) for name, text in texts.items() if text)
    path.write_bytes(b"ID3\x04\0\0" + _size(frames) + frames + path.read_bytes())
    return path


def _frame(name: bytes, text: str) -> bytes:
    content = b"\x03" + text.encode()
    return name + _size(content) + b"\0\0" + content


def _size(content: bytes) -> bytes:
    """A length as ID3 writes it: seven bits a byte."""
    return bytes(len(content) >> shift & 0x7F for shift in (21, 14, 7, 0))
