"""How well acoustic fingerprints tell recordings apart: python -m benchmarks.fingerprints DIR [--synthetic DIR]

Every track of a folder of genres is coded again in several ways, and compared with itself and with all others: first
whole, then in pieces of 3.2 s, where one has the fewest bits. Tracks of a synthetic set are compared with each other.
Prints markdown. The folder should hold each recording once.
"""

from __future__ import annotations

import argparse
import io
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import soundfile
import soxr

from harness.datasets.decode import decode
from harness.datasets.fingerprint import MAX_ERROR, error_rate, fingerprint, linked
from harness.datasets.scan import scan
from harness.datasets.signal import Samples

PIECE_SECONDS = 3.2

SILENCES = {"0.3 s of silence first": (0.3, 0.0), "1 s of silence first": (1.0, 0.0), "2 s at both ends": (2.0, 2.0)}
"""What else is done to a track, and to each piece: seconds of silence in front and behind."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--synthetic", type=Path)
    arguments = parser.parse_args()

    whole: dict[str, list[bytes | None]] = defaultdict(list)
    pieces: dict[str, list[bytes | None]] = defaultdict(list)
    lengths: dict[str, list[float]] = defaultdict(list)
    song_of_piece = []
    seconds_spent = 0.0
    for number, path in enumerate(_paths(arguments.folder)):
        samples, rate = decode(path)
        count = int(len(samples) / rate / PIECE_SECONDS)
        song_of_piece += [number] * count
        for version, (other, other_rate) in {"itself": (samples, rate), **versions(samples, rate)}.items():
            started = time.process_time()
            whole[version].append(fingerprint(other, other_rate))
            seconds_spent += time.process_time() - started
            lengths[version].append(len(other) / other_rate)
            pieces[version] += _of_pieces(other, other_rate, count)
        for version, silence in SILENCES.items():
            made, *of_pieces = _padded(samples, rate, count, *silence)
            whole[version].append(made)
            lengths[version].append(len(samples) / rate + sum(silence))
            pieces[version] += of_pieces
    timed = sum(len(made) for version, made in whole.items() if version not in SILENCES)
    print(f"{len(lengths['itself'])} tracks, {len(song_of_piece)} pieces; ", end="")
    print(f"{1000 * seconds_spent / timed:.0f} ms of CPU a track\n")
    _table(whole, pieces, song_of_piece)
    _links(whole, lengths)
    if arguments.synthetic:
        made = [fingerprint(*decode(path)) for path in _paths(arguments.synthetic)]
        print(f"\nSynthetic, {len(made)} tracks: {_between(made, range(len(made)))}")
    _speed()


def versions(samples: Samples, rate: int) -> dict[str, tuple[Samples, int]]:
    """Return a track in other codings, at other rates, levels and starts: samples and their rate by what was done."""

    def at(other_rate: int) -> Samples:
        return np.asarray(soxr.resample(samples, rate, other_rate))

    def later(seconds: float, base: Samples, base_rate: int) -> Samples:
        return np.concatenate([np.zeros(round(seconds * base_rate), np.float32), base])

    constant = {"format": "MP3", "bitrate_mode": "CONSTANT"}
    low = later(0.1, 0.5 * at(16_000), 16_000)
    return {
        "MP3, as soundfile writes it": _coded(samples, rate, format="MP3"),
        "MP3, 8 kbit/s": _coded(samples, rate, compression_level=0.99, **constant),
        "Ogg, highest compression": _coded(samples, rate, format="OGG", compression_level=1.0),
        "44.1 kHz": (at(44_100), 44_100),
        "16 kHz": (at(16_000), 16_000),
        "8 kHz": (at(8_000), 8_000),
        "34 dB lower, 16 bits": (np.rint(0.02 * samples * 32_768).astype(np.float32) / 32_768, rate),
        "three times as loud, clipped": (np.clip(3 * samples, -1, 1), rate),
        "0.05 s later": (later(0.05, samples, rate), rate),
        "0.1 s later": (later(0.1, samples, rate), rate),
        "0.1 s, half as loud, 16 kHz, MP3 8 kbit/s": _coded(low, 16_000, compression_level=0.99, **constant),
    }


def _paths(folder: Path) -> Iterator[Path]:
    return (track.path for track in scan(folder, skip_bad=True).tracks)


def _coded(samples: Samples, rate: int, **options: object) -> tuple[Samples, int]:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, **options)
    file.seek(0)
    decoded, decoded_rate = soundfile.read(file, dtype="float32")
    return decoded, decoded_rate


def _of_pieces(samples: Samples, rate: int, count: int) -> list[bytes | None]:
    """Return the fingerprints of a track's pieces, one after another."""
    edges = np.round(np.arange(count + 1) * PIECE_SECONDS * rate).astype(int)
    return [fingerprint(samples[start:end], rate) for start, end in pairwise(edges)]


def _padded(samples: Samples, rate: int, count: int, before: float, behind: float) -> Iterator[bytes | None]:
    """Yield the fingerprints of a track and of its pieces, each between silences of so many seconds."""
    edges = np.round(np.arange(count + 1) * PIECE_SECONDS * rate).astype(int)
    for piece in (samples, *(samples[start:end] for start, end in pairwise(edges))):
        yield fingerprint(np.pad(piece, (round(before * rate), round(behind * rate))), rate)


def _table(whole: dict[str, list[bytes | None]], pieces: dict[str, list[bytes | None]], songs: Sequence[int]) -> None:
    print("| compared with | bit error rate, median and worst | of pieces linked, % |\n| --- | ---: | ---: |")
    for version in list(whole)[1:]:
        errors = _errors(zip(whole["itself"], whole[version], strict=True))
        of_pieces = _errors(zip(pieces["itself"], pieces[version], strict=True))
        share = 100 * np.mean(np.array(of_pieces) <= MAX_ERROR)
        print(f"| {version} | {np.median(errors):.3f}, {max(errors):.3f} | {share:.1f} |")
    print(f"\nOther tracks: {_between(whole['itself'], range(len(whole['itself'])))}")
    print(f"Pieces of other tracks: {_between(pieces['itself'], songs)}")


def _errors(pairs: Iterator[tuple[bytes | None, bytes | None]]) -> list[float]:
    return [error_rate(one, other) if one and other else 1.0 for one, other in pairs]


def _between(prints: Sequence[bytes | None], songs: Sequence[int]) -> str:
    """Say how near tracks of different songs come to each other."""
    different = ((a, b) for (a, song), (b, other) in combinations(zip(prints, songs, strict=True), 2) if song != other)
    errors = np.array(_errors(different))
    return (
        f"{len(errors)} pairs, lowest bit error rate {errors.min():.3f}, one in a thousand below "
        f"{np.quantile(errors, 0.001):.3f}; {np.count_nonzero(errors <= MAX_ERROR)} linked."
    )


def _links(whole: dict[str, list[bytes | None]], lengths: dict[str, list[float]]) -> None:
    groups = linked(
        [made for prints in whole.values() for made in prints],
        [length for version in whole for length in lengths[version]],
    )
    count = len(lengths["itself"])
    mixed = sum(len({index % count for index in group}) > 1 for group in groups)
    print(f"\nAll versions at once: {len(groups)} groups of {sorted({len(g) for g in groups})}, {mixed} of them mixed.")


def _speed() -> None:
    """Print how long it takes to find that nothing among many tracks of 30 s is the same."""
    rng = np.random.default_rng(0)
    for count in (1_000, 8_000):
        certain, values = rng.integers(0, 256, (2, count, 320, 4), np.uint8)
        made = np.concatenate([certain, certain & values], axis=2)
        started = time.perf_counter()
        linked([bits.tobytes() for bits in made], [30.0] * count)
        print(f"{count} tracks of 30 s compared in {time.perf_counter() - started:.1f} s.")


if __name__ == "__main__":
    main()
