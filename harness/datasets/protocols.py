"""Protocols: the ways to give every track its partition."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from harness.datasets import gtzan
from harness.datasets.dataset import Dataset, Track
from harness.datasets.split import Partition, Split, verify
from harness.datasets.stratified_split import Side, assign_stratified, linked_units
from harness.datasets.track_tables import mean_any, meant, read_table, values_of
from harness.errors import ProtocolError, UsageError, listed, one_line
from harness.records.study import ProtocolRecord

PROTOCOLS = ("group", "fault_filtered", "kfold:5", "random")
"""The protocols that have a name, the most trustworthy first; `kfold` takes any number from 2."""

_FEW_TRACKS = 100
"""Of fewer, a fifth validates on fewer than 20 tracks, and each of these is more than 5 points of a score."""

_SHARES: dict[str, dict[Partition, float]] = {
    "group": {Partition.TRAIN: 0.6, Partition.VALID: 0.2, Partition.TEST: 0.2},
    "random": {Partition.TRAIN: 0.8, Partition.VALID: 0.2},
}
_WORDS = {partition.value: partition for partition in Partition} | {
    "training": Partition.TRAIN,
    "validation": Partition.VALID,
    "val": Partition.VALID,
    "testing": Partition.TEST,
    "exclude": Partition.EXCLUDED,
}


def assign(dataset: Dataset, protocol: str, seed: int) -> Split:
    """Split a data set.

    - `random`: 80/20 into training and validation, stratified by genre; no test.
    - `fault_filtered`: the artist- and fault-filtered partition of GTZAN, 443/197/290, 70 of its tracks excluded
      (Kereliuk, Sturm and Larsen, "Deep Learning and Music Adversaries", 2015).
    - `group`: 60/20/20 by whole groups, stratified by genre.
    - `kfold:K`: K folds, stratified by genre, by whole groups where groups are known; each validates once, no test.
    - `FILE.csv`: what the columns `track` and `partition` say.
    - `auto`: `group` where it can serve, else `fault_filtered` where it can, else `random`; of fewer than 100 tracks
      `kfold:5` in the place of `group` and `random`, where it can serve.

    What is drawn depends on the seed and the track ids alone, and keeps replicas on one side.

    Raises:
        UsageError: there is no such protocol.
        ProtocolError: the protocol cannot serve this data set, or the file is broken.
    """
    check_protocol(protocol)
    if protocol == "auto":
        return _auto(dataset, seed)
    if protocol.lower().endswith(".csv"):
        split = _from_file(dataset, Path(protocol))
    elif protocol == "fault_filtered":
        split = _with_leak_warning(dataset, protocol, gtzan.fault_filtered(dataset))
        dataset, split = _as_published(dataset, split)
    elif protocol in _SHARES:
        drawn = _drawn(dataset, protocol, _SHARES[protocol], seed, protocol == "group")
        split = _with_leak_warning(dataset, protocol, drawn)
    else:
        split = _folded(dataset, protocol, int(protocol.removeprefix("kfold:")), seed)
    verify(dataset, split)
    return split


def check_protocol(protocol: str) -> None:
    """Make sure that there is such a protocol, whatever the data set.

    Raises:
        UsageError: there is none.
        ProtocolError: it is a file, which is broken.
    """
    if protocol.lower().endswith(".csv"):
        _partitions(Path(protocol))
    elif folds := re.fullmatch(r"kfold:(\d+)", protocol):
        if int(folds[1]) < 2:
            raise UsageError(f"{protocol}: one fold leaves nothing to train on. Name at least 2, as in kfold:5.")
    elif protocol not in ("auto", "fault_filtered", *_SHARES):
        raise UsageError(
            f"{protocol!r} is not a protocol. Choose auto, group, fault_filtered, random, kfold:K, or name a FILE.csv."
        )


def offered(dataset: Dataset, seed: int) -> list[tuple[str, ProtocolRecord | str]]:
    """Return every named protocol with its split, or with the reason why it cannot serve, in one line."""
    offers: list[tuple[str, ProtocolRecord | str]] = []
    for protocol in PROTOCOLS:
        try:
            offers.append((protocol, assign(dataset, protocol, seed).record()))
        except ProtocolError as error:
            offers.append((protocol, one_line(error).removeprefix(f"{protocol}: ")))
    return offers


def _auto(dataset: Dataset, seed: int) -> Split:
    why = ""
    folded = _folds_of_few(dataset, seed)
    if dataset.groups:
        if folded:
            return folded
        try:
            return assign(dataset, "group", seed)
        except ProtocolError as error:
            why = f" (`group` cannot serve: {one_line(error)})"
    try:
        return assign(dataset, "fault_filtered", seed)
    except ProtocolError:
        if folded:
            return folded
        split = assign(dataset, "random", seed)
        return replace(split, warning=f"{split.warning}{why}")


def _folds_of_few(dataset: Dataset, seed: int) -> Split | None:
    """Return five folds of a data set with few tracks, where each genre has enough for them."""
    if len(dataset.tracks) >= _FEW_TRACKS:
        return None
    try:
        split = assign(dataset, "kfold:5", seed)
    except ProtocolError:
        return None
    once = "group trains once, and keeps a test set" if dataset.groups else "random trains once"
    choice = (
        f"few tracks ({len(dataset.tracks)}): each validates once in 5 folds, at 5 times the training; "
        f"--protocol {once}"
    )
    return replace(split, choice=choice)


def _with_leak_warning(
    dataset: Dataset, protocol: str, assignment: Mapping[str, Partition], fold_of: Mapping[str, int] | None = None
) -> Split:
    """Return the split, with what is known of the groups in it."""
    split = Split(protocol, assignment, False, None, fold_of or {})
    sides = {
        group: {split.side(track) for track in tracks} - {Partition.EXCLUDED}
        for group, tracks in dataset.group_members.items()
    }
    warning = None
    if any(len(present) > 1 for present in sides.values()):
        held_out = [t for t, side in assignment.items() if side not in (Partition.TRAIN, Partition.EXCLUDED)]
        # Folds train on each other.
        training = {split.side(track) for track in held_out} if fold_of else {Partition.TRAIN}
        leaked = sum(bool((sides[dataset.groups[track]] - {split.side(track)}) & training) for track in held_out)
        warning = (
            f"{protocol} splits artists: {leaked} of {len(held_out)} held-out tracks have their artist in training, "
            f"so scores come out too high."
        )
    elif not sides and protocol != "fault_filtered":
        known = gtzan.is_gtzan(dataset)
        share = f" ({gtzan.RANDOM_SPLIT_LEAK_PERCENT} % of them in a random split of GTZAN)" if known else ""
        warning = (
            f"{protocol} knows no artists: held-out tracks{share} can have their artist in training, so scores come "
            f"out too high."
        )
    return replace(split, grouped=bool(sides) and warning is None, warning=warning)


def _as_published(dataset: Dataset, split: Split) -> tuple[Dataset, Split]:
    """Return a data set and a published split of it that can be verified: the split stands as it was published.

    What is one recording in it by sound or name alone, and on two sides, is told of; equal audio is still refused.
    """
    audio = {track.id: track.digest for track in dataset.tracks}

    def sides(same: Iterable[str]) -> set[str]:
        return {split.side(track) for track in same} - {Partition.EXCLUDED}

    def equal_audio_crosses(same: Sequence[str]) -> bool:
        return any(len(sides(t for t in same if audio[t] == audio[track])) > 1 for track in same)

    crossing = [same for same in dataset.replicas if len(sides(same)) > 1 and not equal_audio_crosses(same)]
    if not crossing:
        return dataset, split
    warning = (
        f"{split.protocol} is taken as published, with one recording on two sides: "
        f"{'; '.join(', '.join(same) for same in crossing)}. Scores may come out too high."
    )
    rest = tuple(same for same in dataset.replicas if same not in crossing)
    return replace(dataset, replicas=rest), replace(
        split, warning=f"{split.warning} {warning}" if split.warning else warning
    )


def _folded(dataset: Dataset, protocol: str, folds: int, seed: int) -> Split:
    shares = {str(fold): 1 / folds for fold in range(folds)}
    drawn = _drawn(dataset, protocol, shares, seed, bool(dataset.groups))
    fold_of = {track: int(fold) for track, fold in drawn.items()}
    return _with_leak_warning(dataset, protocol, dict.fromkeys(fold_of, Partition.FOLDS), fold_of)


def _partitions(path: Path) -> dict[str, str]:
    """Return the rows of a file of partitions: names of tracks, and words for partitions."""
    rows = read_table(path, ("partition",))
    for name, word in rows.items():
        if word.lower() not in _WORDS:
            raise ProtocolError(
                f"{path}: the row of {name} says {word!r}, which is no partition. Write one of {', '.join(Partition)}."
            )
    return rows


def _from_file(dataset: Dataset, path: Path) -> Split:
    rows = _partitions(path)
    ids = [track.id for track in dataset.tracks]
    meaning = meant(dataset.tracks, rows)
    words = values_of(path, rows, meaning, lambda word: _WORDS[word.lower()])
    if missing := [track for track in ids if track not in words]:
        raise ProtocolError(
            f"{path}: {len(missing)} of the {len(ids)} tracks of {dataset.name} have no row:\n{listed(missing)}\n"
            f"Add a row for each; `excluded` leaves a track out."
        )
    unknown = rows.keys() - meaning.keys() - _quarantined_names(dataset, rows)
    if unknown:
        raise ProtocolError(
            f"{path}: {len(unknown)} of its rows name no track of {dataset.name}:\n{listed(sorted(unknown))}\n"
            f"Correct the names, or remove the rows."
        )
    return _with_leak_warning(dataset, path.name, {track: _WORDS[words[track].lower()] for track in ids})


def _quarantined_names(dataset: Dataset, names: Iterable[str]) -> set[str]:
    """Return the names that mean a track that was quarantined: a table of the whole set still serves."""
    files = (Track(path, path.partition("/")[0], Path(path), digest="", seconds=0) for path in dataset.quarantined)
    return mean_any(files, names)


def _drawn(dataset: Dataset, protocol: str, shares: Mapping[Side, float], seed: int, by_group: bool) -> dict[str, Side]:
    """Return a side for every track, drawn by whole units: replicas, and groups where `by_group` says so."""
    if protocol == "group" and not dataset.groups:
        raise ProtocolError(
            f"group: no groups are known for {dataset.name}. Name a CSV with track,artist by --groups, or choose "
            f"another protocol."
        )
    genre_of = {track.id: track.genre for track in dataset.tracks}
    units = linked_units(genre_of, [*dataset.replicas, *(dataset.group_members.values() if by_group else ())])
    present = Counter(genre for unit in units for genre in {genre_of[track] for track in unit})
    if poor := [f"{genre}: {present[genre]}" for genre in dataset.genres if present[genre] < len(shares)]:
        what = "groups" if by_group else "different tracks"
        sides = f"each of {len(shares)} folds" if protocol.startswith("kfold") else f"each of {', '.join(shares)}"
        raise ProtocolError(
            f"{protocol}: every genre needs at least {len(shares)} {what}, one for {sides}; "
            f"{dataset.name} has too few in\n{listed(poor)}\n"
            f"Add some, remove the genre, or choose another protocol."
        )
    return assign_stratified(units, genre_of, shares, seed)
