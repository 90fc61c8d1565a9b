"""Who trains, who validates, who tests and who is left out: decided by track, before any crop is cut."""

from __future__ import annotations

import csv
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from importlib.resources import files
from pathlib import Path

from harness.audio.draw import Side, linked, stratified
from harness.audio.tables import canonical_name, listed, matched, read_table
from harness.audio.tracks import Dataset
from harness.errors import ProtocolError, UsageError
from harness.records import ProtocolRecord, short_hash


class Partition(StrEnum):
    """What a track is used for."""

    TRAIN = "train"
    VALID = "valid"
    TEST = "test"
    FOLDS = "folds"
    """Trains and validates in turn."""
    EXCLUDED = "excluded"


PROTOCOLS = ("group", "fault_filtered", "kfold:5", "random")
"""The protocols that have a name, the most trustworthy first; `kfold` takes any number from 2."""

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


@dataclass(frozen=True)
class Split:
    """The partition of every track of a data set.

    Attributes:
        protocol: its name: `random`, `fault_filtered`, `group`, `kfold:5`, or the name of the user's CSV file.
        assignment: track id -> partition, for every track.
        grouped: whether groups are known and each stands on one side.
        warning: one line on what the protocol does to the numbers, or None.
        fold_of: track id -> the fold in which it validates, from 0; empty for a single split.
    """

    protocol: str
    assignment: Mapping[str, Partition]
    grouped: bool
    warning: str | None
    fold_of: Mapping[str, int] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """The same for the same assignment."""
        if not self.fold_of:
            return short_hash(dict(self.assignment), 16)
        return short_hash([dict(self.assignment), dict(self.fold_of)], 16)

    @property
    def folds(self) -> tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]:
        """The ids that train and those that validate, once for each fold; once where the split is a single one."""
        if not self.fold_of:
            return ((self.tracks(Partition.TRAIN), self.tracks(Partition.VALID)),)
        ids = self.tracks(Partition.FOLDS)
        return tuple(
            (
                tuple(track for track in ids if self.fold_of[track] != fold),
                tuple(track for track in ids if self.fold_of[track] == fold),
            )
            for fold in sorted(set(self.fold_of.values()))
        )

    @property
    def sizes(self) -> dict[str, int]:
        """How many tracks each partition has; `folds` is left out where there are none."""
        counts = Counter(self.assignment.values())
        shown = [partition for partition in Partition if partition is not Partition.FOLDS or self.fold_of]
        return {partition.value: counts[partition] for partition in shown}

    def tracks(self, partition: Partition) -> tuple[str, ...]:
        """Return the ids of a partition's tracks, sorted."""
        return tuple(sorted(track for track, side in self.assignment.items() if side is partition))

    def record(self) -> ProtocolRecord:
        """Return what reports and trackers keep of this split."""
        return ProtocolRecord(
            name=self.protocol,
            fingerprint=self.fingerprint,
            sizes=self.sizes,
            grouped=self.grouped,
            warning=self.warning,
            folds=len(set(self.fold_of.values())),
        )


def assign(dataset: Dataset, protocol: str, seed: int) -> Split:
    """Split a data set.

    - `random`: 80/20 into training and validation, stratified by genre; no test.
    - `fault_filtered`: the artist- and fault-filtered partition of GTZAN, 443/197/290, 70 of its tracks excluded
      (Kereliuk, Sturm and Larsen, "Deep Learning and Music Adversaries", 2015).
    - `group`: 60/20/20 by whole groups, stratified by genre.
    - `kfold:K`: K folds, stratified by genre, by whole groups where groups are known; each validates once, no test.
    - `FILE.csv`: what the columns `track` and `partition` say.
    - `auto`: `group` where it can serve, else `fault_filtered` where it can, else `random`.

    What is drawn depends on the seed and the track ids alone, and keeps replicas on one side.

    Raises:
        UsageError: there is no such protocol.
        ProtocolError: the protocol cannot serve this data set, or the file is broken.
    """
    if protocol == "auto":
        return _auto(dataset, seed)
    if protocol.lower().endswith(".csv"):
        split = _from_file(dataset, Path(protocol))
    elif protocol == "fault_filtered":
        split = _judged(dataset, protocol, _fault_filtered(dataset))
    elif protocol in _SHARES:
        split = _judged(dataset, protocol, _drawn(dataset, protocol, _SHARES[protocol], seed, protocol == "group"))
    elif match := re.fullmatch(r"kfold:(\d+)", protocol):
        split = _folded(dataset, protocol, int(match[1]), seed)
    else:
        raise UsageError(
            f"{protocol!r} is not a protocol. Choose auto, group, fault_filtered, random, kfold:K, or name a FILE.csv."
        )
    verify(dataset, split)
    return split


def offered(dataset: Dataset, seed: int) -> list[tuple[str, dict[str, int] | str]]:
    """Return every named protocol with the sizes of its partitions, or with the reason why it cannot serve."""
    offers: list[tuple[str, dict[str, int] | str]] = []
    for protocol in PROTOCOLS:
        try:
            offers.append((protocol, assign(dataset, protocol, seed).sizes))
        except ProtocolError as error:
            offers.append((protocol, str(error)))
    return offers


def verify(dataset: Dataset, split: Split) -> None:
    """Check that a split is one of this data set, that every genre can be learned, and that nothing leaks.

    Raises:
        ProtocolError: the split has other tracks than the data set; a genre has no training or validation track, or
            no test track though others have; replicas, or a group of a grouped split, stand on two sides.
    """
    ids = {track.id for track in dataset.tracks}
    if other := ids ^ split.assignment.keys():
        raise ProtocolError(
            f"{split.protocol}: made for another data set than {dataset.name}; these tracks are in one of the two "
            f"only:\n{listed(sorted(other))}\nSplit the data set again."
        )
    sides = {_side(split, track.id) for track in dataset.tracks}
    whole = [Partition.TRAIN, Partition.VALID, *({Partition.TEST} & sides)]
    needed = sorted(sides - {Partition.EXCLUDED}) if split.fold_of else whole
    present = {(track.genre, _side(split, track.id)) for track in dataset.tracks}
    lacking = [
        f"{genre}: no {side} track" for genre in dataset.genres for side in needed if (genre, side) not in present
    ]
    if lacking:
        raise ProtocolError(
            f"{split.protocol}: cannot split {dataset.name}:\n{listed(lacking)}\n"
            f"Add tracks to these genres, remove the genres, or choose another protocol."
        )
    for same in dataset.replicas:
        _one_side(split, "the same audio", same)
    if split.grouped:
        for group, members in _members(dataset).items():
            _one_side(split, f"group {group}", members)


def _side(split: Split, track: str) -> str:
    """Return the partition of a track, or its fold."""
    return f"fold {split.fold_of[track]}" if track in split.fold_of else split.assignment[track]


def _one_side(split: Split, what: str, tracks: Iterable[str]) -> None:
    sides = {track: _side(split, track) for track in tracks}
    if len(set(sides.values()) - {Partition.EXCLUDED}) > 1:
        raise ProtocolError(
            f"{split.protocol}: {what} stands on two sides:\n"
            + listed(f"{track}: {side}" for track, side in sides.items())
            + "\nPut them on one side, or exclude or remove some of them."
        )


def _members(dataset: Dataset) -> dict[str, list[str]]:
    members = defaultdict(list)
    for track, group in dataset.groups.items():
        members[group].append(track)
    return members


def _auto(dataset: Dataset, seed: int) -> Split:
    why = ""
    if dataset.groups:
        try:
            return assign(dataset, "group", seed)
        except ProtocolError as error:
            why = f" (`group` cannot serve: {' '.join(str(error).split())})"
    try:
        return assign(dataset, "fault_filtered", seed)
    except ProtocolError:
        split = assign(dataset, "random", seed)
        return Split(split.protocol, split.assignment, split.grouped, f"{split.warning}{why}")


def _judged(
    dataset: Dataset, protocol: str, assignment: Mapping[str, Partition], fold_of: Mapping[str, int] | None = None
) -> Split:
    """Return the split, with what is known of the groups in it."""
    split = Split(protocol, assignment, False, None, fold_of or {})
    sides = {
        group: {_side(split, track) for track in tracks} - {Partition.EXCLUDED}
        for group, tracks in _members(dataset).items()
    }
    warning = None
    if any(len(present) > 1 for present in sides.values()):
        held_out = [t for t, side in assignment.items() if side not in (Partition.TRAIN, Partition.EXCLUDED)]
        # Folds train on each other.
        training = {_side(split, track) for track in held_out} if fold_of else {Partition.TRAIN}
        heard = sum(bool((sides[dataset.groups[track]] - {_side(split, track)}) & training) for track in held_out)
        warning = (
            f"{protocol} splits artists: {heard} of {len(held_out)} held-out tracks have their artist in training, "
            f"so scores come out too high."
        )
    elif not sides and protocol != "fault_filtered":
        gtzan = " (63 % of them in a random split of GTZAN)" if _is_gtzan(dataset) else ""
        warning = (
            f"{protocol} knows no artists: held-out tracks{gtzan} can have their artist in training, so scores come "
            f"out too high."
        )
    return replace(split, grouped=bool(sides) and warning is None, warning=warning)


def _folded(dataset: Dataset, protocol: str, folds: int, seed: int) -> Split:
    if folds < 2:
        raise UsageError(f"{protocol}: one fold leaves nothing to train on. Name at least 2, as in kfold:5.")
    shares = {str(fold): 1 / folds for fold in range(folds)}
    drawn = _drawn(dataset, protocol, shares, seed, bool(dataset.groups))
    fold_of = {track: int(fold) for track, fold in drawn.items()}
    return _judged(dataset, protocol, dict.fromkeys(fold_of, Partition.FOLDS), fold_of)


def _from_file(dataset: Dataset, path: Path) -> Split:
    rows = read_table(path, ("partition",))
    for name, word in rows.items():
        if word.lower() not in _WORDS:
            raise ProtocolError(
                f"{path}: the row of {name} says {word!r}, which is no partition. Write one of {', '.join(Partition)}."
            )
    ids = [track.id for track in dataset.tracks]
    names = matched(ids, rows)
    if missing := [track for track in ids if track not in names]:
        raise ProtocolError(
            f"{path}: {len(missing)} of the {len(ids)} tracks of {dataset.name} have no row:\n{listed(missing)}\n"
            f"Add a row for each; `excluded` leaves a track out."
        )
    unknown = rows.keys() - names.values() - _quarantined_names(dataset, rows)
    if unknown:
        raise ProtocolError(
            f"{path}: {len(unknown)} of its rows name no track of {dataset.name}:\n{listed(sorted(unknown))}\n"
            f"Correct the names, or remove the rows."
        )
    return _judged(dataset, path.name, {track: _WORDS[rows[names[track]].lower()] for track in ids})


def _quarantined_names(dataset: Dataset, names: Iterable[str]) -> set[str]:
    """Return the names that mean a track that was quarantined: a table of the whole set still serves."""
    forms = {canonical_name(path) for path in dataset.quarantined}
    forms |= {form.rpartition("/")[2] for form in forms}
    return {name for name in names if canonical_name(name) in forms}


def _gtzan_names(dataset: Dataset) -> dict[str, str]:
    """Return track id -> GTZAN's name for it, for the tracks that have one."""
    table = _fault_filtered_table()
    genres = {name.partition(".")[0] for name in table}
    names = {}
    for track in dataset.tracks:
        name = canonical_name(track.id.rpartition("/")[2])
        genre, _, number = name.partition(".")
        same_genre = genre == canonical_name(f"{track.genre}.00000").partition(".")[0]
        if genre in genres and same_genre and number.isdecimal() and len(number) == 5 and int(number) < 100:
            names[track.id] = name
    return names


def _is_gtzan(dataset: Dataset) -> bool:
    return len(_gtzan_names(dataset)) == len(dataset.tracks)


def _fault_filtered(dataset: Dataset) -> dict[str, Partition]:
    names, table = _gtzan_names(dataset), _fault_filtered_table()
    if others := [track.id for track in dataset.tracks if track.id not in names]:
        raise ProtocolError(
            f"fault_filtered: a partition of GTZAN, and {len(others)} of the {len(dataset.tracks)} tracks of "
            f"{dataset.name} do not have names of GTZAN:\n{listed(others)}\nChoose another protocol."
        )
    return {track: table.get(name, Partition.EXCLUDED) for track, name in names.items()}


def _fault_filtered_table() -> dict[str, Partition]:
    """Return GTZAN's name of a track -> its partition; a name that is not there is excluded."""
    table = {}
    with (files("harness.audio") / "fault_filtered.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            for numbers in row["track_numbers"].split():
                first, _, last = numbers.partition("-")
                for number in range(int(first), int(last or first) + 1):
                    table[f"{row['genre']}.{number:05d}"] = Partition(row["partition"])
    return table


def _drawn(dataset: Dataset, protocol: str, shares: Mapping[Side, float], seed: int, by_group: bool) -> dict[str, Side]:
    """Return a side for every track, drawn by whole units: replicas, and groups where `by_group` says so."""
    if protocol == "group" and not dataset.groups:
        raise ProtocolError(
            f"group: no groups are known for {dataset.name}. Name a CSV with track,artist by --groups, or choose "
            f"another protocol."
        )
    genre_of = {track.id: track.genre for track in dataset.tracks}
    units = linked(genre_of, [*dataset.replicas, *(_members(dataset).values() if by_group else ())])
    present = Counter(genre for unit in units for genre in {genre_of[track] for track in unit})
    if poor := [f"{genre}: {present[genre]}" for genre in dataset.genres if present[genre] < len(shares)]:
        what = "groups" if by_group else "different tracks"
        sides = f"each of {len(shares)} folds" if protocol.startswith("kfold") else f"each of {', '.join(shares)}"
        raise ProtocolError(
            f"{protocol}: every genre needs at least {len(shares)} {what}, one for {sides}; "
            f"{dataset.name} has too few in\n{listed(poor)}\n"
            f"Add some, remove the genre, or choose another protocol."
        )
    return stratified(units, genre_of, shares, seed)
