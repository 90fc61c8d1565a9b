"""Songs are composed in ten styles: artists with habits write General-MIDI songs bar by bar.

`styles.toml` holds the music and explains its notation; this module writes songs of it. An artist draws instruments,
figures and grooves once, a song draws from its artist, and now and then either borrows from a neighbouring genre:
that makes songs of one artist alike and genres overlap, as in a real collection.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from random import Random
from typing import NamedTuple

from harness.hashing import seed_for
from harness.synthetic.styles import Genre, Styles, load_styles

STEPS_PER_BEAT = 4
COMMON_TIME, WALTZ_TIME = 16, 12
BASS_REGISTER, CHORD_REGISTER = 28, 48
LEAD_RANGE = (58, 86)
TOMS_AND_SNARE = (38, 45, 47, 50)
PARTS = ("bass", "comping", "lead", "backing", "drums")


class Chord(NamedTuple):
    """A chord: pitch class of the root, and semitones above it."""

    root: int
    intervals: tuple[int, ...]


class Event(NamedTuple):
    """One note within a bar: start and length in steps, MIDI pitch, loudness in [0, 1]."""

    step: int
    length: float
    pitch: int
    loudness: float


@dataclass(frozen=True)
class Artist:
    """The habits that all songs of one artist share. `looseness` is the spread of the timing, in beats."""

    bass: str
    bass_figures: tuple[str, ...]
    comping: tuple[tuple[str, str], ...]
    lead: tuple[str, ...]
    backing: str
    grooves: tuple[dict[str, str], ...]
    tempo: tuple[float, float]
    swing: float
    loudness: dict[str, float]
    density: float
    looseness: float


@dataclass(frozen=True)
class Clock:
    """Where a step of a bar falls in time."""

    tempo: float
    swing: float
    bar_steps: int

    @property
    def step_seconds(self) -> float:
        return 60 / self.tempo / STEPS_PER_BEAT

    def seconds(self, bar: int, step: int) -> float:
        """Return the start of `step`; at full swing the off-beat eighth comes on the third triplet."""
        swung = self.swing * (0, 1 / 3, 2 / 3, 1 / 3)[step % STEPS_PER_BEAT]
        return (bar * self.bar_steps + step + swung) * self.step_seconds


def compose(genre: str, artist: int, track: int, *, seed: int, seconds: float) -> bytes:
    """Write one song.

    Args:
        genre: a genre of the styles.
        artist: number of the artist within the genre.
        track: number of the song among the artist's.
        seed: seed of the whole set; the song depends on all four.
        seconds: the song fills at least this long.

    Returns:
        A Standard MIDI file.
    """
    styles = load_styles()
    band = _form_band(styles, genre, artist, seed)
    rng = Random(seed_for("song", seed, genre, artist, track, size=8))
    progression = _chords(styles, _source(styles, genre, "song", rng).progressions, key := rng.randrange(12), rng)
    scale = styles.scales[rng.choice(_source(styles, genre, "song", rng).scales)]
    clock = Clock(
        tempo=rng.uniform(*band.tempo),
        swing=min(1.0, max(0.0, band.swing + rng.gauss(0, 0.05))),
        bar_steps=WALTZ_TIME if rng.random() < styles.genres[genre].waltz else COMMON_TIME,
    )
    comping, comping_figure = rng.choice(band.comping)
    bass_bars, comping_bars = styles.figures[rng.choice(band.bass_figures)], styles.figures[comping_figure]
    groove = rng.choice(band.grooves)
    instruments = {"bass": band.bass, "comping": comping, "lead": rng.choice(band.lead), "backing": band.backing}
    has_lead, has_backing = rng.random() < 0.85, rng.random() < 0.5
    intro = rng.randrange(3) if rng.random() < 0.4 else 0
    motif = _motif(band.density, rng)
    melody = _melody(scale, key, rng)

    score: dict[str, list[tuple[int, Event]]] = {part: [] for part in PARTS}
    bars = int(seconds / clock.seconds(1, 0)) + 1
    for bar in range(bars):
        chord = progression[bar % len(progression)]

        def write(part: str, events: Iterator[Event], bar: int = bar) -> None:
            score[part] += [(bar, event) for event in events if event.step < clock.bar_steps]

        write("comping", _figure(rng.choice(comping_bars), chord, CHORD_REGISTER, rng))
        if bar < intro:
            continue
        write("bass", _figure(rng.choice(bass_bars), chord, BASS_REGISTER, rng))
        write("drums", _strokes(groove, styles.drums))
        if groove and bar % 4 == 3 and rng.random() < 0.35:
            write("drums", _fill(clock.bar_steps, rng))
        if has_backing:
            write("backing", (Event(0, clock.bar_steps, pitch + 12, 0.5) for pitch in _pitches("C", chord, 48, rng)))
        breathing = bar % 8 >= 6 and rng.random() < 0.4
        if has_lead and not breathing:
            write("lead", (Event(*m, next(melody), 0.8) for m in motif if rng.random() < band.density + 0.2))
    return _midi(score, instruments, band, clock, rng)


def _source(styles: Styles, genre: str, who: str, rng: Random) -> Genre:
    """Return the genre itself or, as likely as the cross-over of an artist or a song says, a neighbour."""
    borrows = rng.random() < getattr(styles.crossover, who)
    return styles.genres[rng.choice(styles.genres[genre].neighbours) if borrows else genre]


def _form_band(styles: Styles, genre: str, artist: int, seed: int) -> Artist:
    rng = Random(seed_for("artist", seed, genre, artist, size=8))

    def source() -> Genre:
        return _source(styles, genre, "artist", rng)

    def comping() -> tuple[str, str]:
        taken = source()
        return rng.choice(taken.comping), rng.choice(taken.comping_figures)

    return Artist(
        bass=rng.choice(source().bass),
        bass_figures=tuple(rng.choice(source().bass_figures) for _ in range(2)),
        comping=(comping(), comping()),
        lead=tuple(rng.choice(source().lead) for _ in range(2)),
        backing=rng.choice(source().backing),
        grooves=tuple(rng.choice(source().grooves) for _ in range(2)),
        tempo=source().tempo,
        swing=rng.uniform(*source().swing),
        loudness={part: level * rng.uniform(0.75, 1.0) for part, level in styles.genres[genre].mix.items()},
        density=rng.uniform(0.3, 0.8),
        looseness=rng.uniform(0.0, 0.02),
    )


def _chords(styles: Styles, progressions: Sequence[str], key: int, rng: Random) -> list[Chord]:
    """Return the chords of one progression in `key`, one a bar."""
    pairs = [symbol.split(":") for symbol in rng.choice(progressions).split()]
    return [Chord((key + styles.degrees[degree]) % 12, styles.qualities[quality]) for degree, quality in pairs]


def _pitches(symbol: str, chord: Chord, register: int, rng: Random) -> list[int]:
    """Return the MIDI pitches of one figure symbol, the chord's root in the octave above `register`."""
    root = register + (chord.root - register) % 12
    tones = chord.intervals
    third, fifth = tones[1], tones[2]
    match symbol:
        case "w":
            intervals = [rng.choice([*tones, -1, 1, 2, 5])]
        case "C" | "c":
            intervals = list(tones)
        case "H" | "h":
            intervals = [12 + tone for tone in tones]
        case "P":
            intervals = [-12, -5, 0]
        case "p":
            intervals = [-12, -5]
        case "S":
            intervals = [-12, -3]
        case _:
            seventh = tones[3] if len(tones) > 3 else 12
            single = {"1": 0, "3": third, "4": 5, "5": fifth, "6": 9, "7": seventh, "8": 12, "v": -5}
            intervals = [single[symbol]]
    return [root + interval for interval in intervals]


def _figure(bar: str, chord: Chord, register: int, rng: Random) -> Iterator[Event]:
    """Yield the notes of one bar of a bass or comping figure."""
    for step, symbol in enumerate(bar):
        if symbol in ".-":
            continue
        rings = sum(1 for _ in takewhile(lambda following: following == "-", bar[step + 1 :]))
        for pitch in _pitches(symbol, chord, register, rng):
            yield Event(step, 0.9 + rings, pitch, 0.55 if symbol in "chp" else 0.75)


def _strokes(groove: dict[str, str], drums: dict[str, int]) -> Iterator[Event]:
    """Yield one bar of a groove."""
    for drum, strokes in groove.items():
        for step, stroke in enumerate(strokes):
            if stroke != ".":
                yield Event(step, 1, drums[drum], int(stroke) / 9)


def _fill(bar_steps: int, rng: Random) -> Iterator[Event]:
    """Yield a drum fill on the last beat of a bar."""
    for step in range(bar_steps - STEPS_PER_BEAT, bar_steps):
        if rng.random() < 0.7:
            yield Event(step, 1, rng.choice(TOMS_AND_SNARE), 0.8)


def _motif(density: float, rng: Random) -> list[tuple[int, float]]:
    """Return the rhythm that the lead repeats: start and length of its notes, in steps."""
    notes = (
        (rng.randrange(0, COMMON_TIME, rng.choice((1, 2, 2, 4))), rng.choice((1.0, 2.0, 2.0, 3.0, 4.0, 6.0)))
        for _ in range(2 + int(density * 8))
    )
    return sorted(dict(notes).items())


def _melody(scale: tuple[int, ...], key: int, rng: Random) -> Iterator[int]:
    """Yield MIDI pitches without end: a walk on the scale, mostly by step, within the range of the lead."""
    low, high = LEAD_RANGE
    ladder = [pitch for pitch in range(low, high + 1) if (pitch - key) % 12 in scale]
    rung = len(ladder) // 2
    while True:
        rung = min(len(ladder) - 1, max(0, rung + rng.choice((-2, -1, -1, 0, 1, 1, 2))))
        yield ladder[rung]


def _midi(
    score: dict[str, list[tuple[int, Event]]], instruments: dict[str, str], band: Artist, clock: Clock, rng: Random
) -> bytes:
    """Return the score as a MIDI file, played by the band: a little early or late, a little softer or louder."""
    import pretty_midi

    song = pretty_midi.PrettyMIDI(initial_tempo=clock.tempo)
    for part, events in score.items():
        program = pretty_midi.instrument_name_to_program(instruments[part]) if part in instruments else 0
        player = pretty_midi.Instrument(program, is_drum=part == "drums")
        for bar, event in events:
            start = max(0.0, clock.seconds(bar, event.step) + rng.gauss(0, band.looseness) * 60 / clock.tempo)
            loudness = event.loudness * band.loudness[part] * rng.uniform(0.88, 1.05)
            velocity = min(127, max(1, round(127 * loudness)))
            player.notes.append(
                pretty_midi.Note(velocity, event.pitch, start, start + event.length * clock.step_seconds)
            )
        song.instruments.append(player)
    buffer = io.BytesIO()
    song.write(buffer)
    return buffer.getvalue()
