"""Songs are rendered and recorded: MIDI is played through a SoundFont, with the sound of an artist's studio."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from functools import cache
from importlib import resources
from random import Random

import numpy as np

from harness.datasets.signal import SAMPLE_RATE, Samples
from harness.hashing import seed_for
from harness.synthetic.styles import load_styles


@dataclass(frozen=True)
class Sound:
    """How one artist's recordings sound.

    Attributes:
        drive: overdrive; 0 is clean, 3 is fuzzy.
        reverb: energy of the room's answer, relative to the direct sound.
        reverb_seconds: time until the room has decayed by 60 dB.
        tilt: slope of the spectrum, in dB an octave.
        cutoff: upper limit of the microphone, in Hz.
        noise: level of the background noise, in dB below full scale.
        crackle: whether it is an old record.
    """

    drive: float
    reverb: float
    reverb_seconds: float
    tilt: float
    cutoff: float
    noise: float
    crackle: bool


def artist_sound(genre: str, artist: int, *, seed: int) -> Sound:
    """Return how an artist's recordings sound: in part the genre's habit, in part the artist's own."""
    style = load_styles().genres[genre]
    rng = Random(seed_for("sound", seed, genre, artist, size=8))
    return Sound(
        drive=rng.choice(style.drive),
        reverb=rng.uniform(0.0, 0.35),
        reverb_seconds=rng.uniform(0.2, 1.8),
        tilt=style.brightness + rng.gauss(0.0, 1.0),
        cutoff=rng.choice((4500.0, 6500.0, 8500.0, math.inf, math.inf)),
        noise=rng.choice((-90.0, -75.0, -60.0, -50.0)),
        crackle=rng.random() < 0.1,
    )


@cache
def _soundfont() -> bytes:
    return resources.files("pretty_midi").joinpath("TimGM6mb.sf2").read_bytes()


def render(midi: bytes, seconds: float) -> Samples:
    """Return a MIDI file as sound: float32 samples at 22,050 Hz, of exactly `seconds`, shape (samples,)."""
    import midirenderer
    import soundfile
    import soxr

    stereo, rate = soundfile.read(io.BytesIO(midirenderer.render_wave_from(_soundfont(), midi)), dtype="float32")
    mono = soxr.resample(stereo.mean(axis=1), rate, SAMPLE_RATE)
    length = round(seconds * SAMPLE_RATE)
    return np.pad(mono[:length], (0, max(0, length - len(mono))))


def apply_recording_effects(dry: Samples, sound: Sound, rng: np.random.Generator) -> Samples:
    """Add what a recording adds: overdrive, a room, a microphone, noise.

    Args:
        dry: float32 samples at 22,050 Hz, shape (samples,).
        sound: the artist's.
        rng: draws the room's answer and the noise.

    Returns:
        float32 samples in [-1, 1], of the same shape.
    """
    from scipy import fft

    played = dry / max(float(np.abs(dry).max()), 1e-9)
    if sound.drive:
        played = np.tanh(played * (1 + 2 * sound.drive))
    room = int(sound.reverb_seconds * SAMPLE_RATE)
    # 6.9 is ln(1000): the envelope falls by 60 dB.
    tail = rng.standard_normal(room, dtype=np.float32) * np.exp(-6.9 * np.arange(room, dtype=np.float32) / room)
    impulse = sound.reverb * tail / np.sqrt((tail**2).sum())
    impulse[0] += 1
    size = fft.next_fast_len(len(played) + room, real=True)
    frequencies = fft.rfftfreq(size, 1 / SAMPLE_RATE)
    tilt = 10 ** (sound.tilt * np.log2(np.maximum(frequencies, 40) / 1000) / 20)
    # The magnitude of a Butterworth low-pass of order 4.
    microphone = 1 / np.sqrt(1 + (frequencies / sound.cutoff) ** 8)
    response = fft.rfft(impulse, size) * (tilt * microphone).astype(np.float32)
    wet = fft.irfft(fft.rfft(played, size) * response, size)[: len(played)]
    wet *= 0.9 / max(float(np.abs(wet).max()), 1e-9)
    wet += rng.standard_normal(len(wet), dtype=np.float32) * np.float32(10 ** (sound.noise / 20))
    if sound.crackle:
        clicks = rng.integers(0, len(wet), 10 * len(wet) // SAMPLE_RATE)
        wet[clicks] += rng.uniform(-0.1, 0.1, len(clicks)).astype(np.float32)
    recording: Samples = np.clip(wet, -1, 1)
    return recording
