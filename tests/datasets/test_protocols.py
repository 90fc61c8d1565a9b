"""Protocols: stratified, repeatable, and never the same artist or audio on two sides."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from harness.datasets.dataset import Dataset
from harness.datasets.protocols import assign, offered
from harness.datasets.split import Partition, Split, verify
from harness.errors import ProtocolError, UsageError
from tests.helpers.audio import dataset

TEN = ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock")
GTZAN = {f"{genre}.{number:05d}": genre for genre in TEN for number in range(100)}


def by_genre(data: Dataset, split: Split) -> Counter[tuple[str, Partition]]:
    return Counter((track.genre, split.assignment[track.id]) for track in data.tracks)


def demo(artists: int = 5, tracks: int = 2, genres: tuple[str, ...] = TEN) -> Dataset:
    groups = {
        f"{genre}-{artist}-{track}": f"{genre}-{artist}"
        for genre in genres
        for artist in range(artists)
        for track in range(tracks)
    }
    return dataset({track: track.partition("-")[0] for track in groups}, groups)


def test_random_is_80_to_20_in_every_genre() -> None:
    data = dataset(GTZAN)
    split = assign(data, "random", 0)

    assert split.sizes == {"train": 800, "valid": 200, "test": 0, "excluded": 0}
    assert set(by_genre(data, split).values()) == {80, 20}
    assert split.tracks(Partition.VALID) == tuple(sorted(split.tracks(Partition.VALID)))
    assert "63 %" in (split.warning or "")


@pytest.mark.parametrize(("tracks", "valid"), [(2, 1), (3, 1), (5, 1), (8, 2), (13, 3)])
def test_random_keeps_a_validation_track_for_a_small_genre(tracks: int, valid: int) -> None:
    data = dataset({f"{genre}{number}": genre for genre in ("a", "b") for number in range(tracks)})
    split = assign(data, "random", 0)
    assert by_genre(data, split)["a", Partition.VALID] == valid
    assert "63 %" not in (split.warning or "")


def test_a_draw_depends_on_seed_and_ids_alone() -> None:
    data = demo()
    shuffled = list(data.tracks)
    random.Random(1).shuffle(shuffled)
    for protocol in ("random", "group"):
        split = assign(data, protocol, 3)
        assert assign(replace(data, tracks=tuple(shuffled)), protocol, 3).assignment == split.assignment
        assert assign(data, protocol, 3).fingerprint == split.fingerprint
        assert assign(data, protocol, 4).fingerprint != split.fingerprint


def test_a_draw_is_the_same_on_every_machine() -> None:
    assert assign(demo(), "group", 0).fingerprint == "8f0d934c9c1321d3"
    assert assign(dataset(GTZAN), "random", 0).fingerprint == "da9e6707157d85ec"


def test_group_parts_the_demo_set_by_whole_artists() -> None:
    data = demo()
    for seed in range(5):
        split = assign(data, "group", seed)
        assert split.sizes == {"train": 60, "valid": 20, "test": 20, "excluded": 0}
        assert split.grouped
        assert split.warning is None
        sides = {(data.groups[track], side) for track, side in split.assignment.items()}
        assert len(sides) == 50
        artists = Counter((artist.partition("-")[0], side) for artist, side in sides)
        assert all(
            [artists[genre, side] for side in (Partition.TRAIN, Partition.VALID, Partition.TEST)] == [3, 1, 1]
            for genre in TEN
        )


@pytest.mark.parametrize("sizes", [(1, 1, 1), (40, 1, 1), (4, 3, 3), (9, 9, 1, 1), (2, 2, 2, 1, 1, 1, 1)])
def test_group_fills_three_sides_whenever_there_are_three_groups(sizes: tuple[int, ...]) -> None:
    groups = {
        f"{genre}-{artist}-{track}": f"{genre}-{artist}"
        for genre in "ab"
        for artist, size in enumerate(sizes)
        for track in range(size)
    }
    data = dataset({track: track[0] for track in groups}, groups)
    for seed in range(10):
        assert len(by_genre(data, assign(data, "group", seed))) == 6


def test_group_keeps_a_group_of_two_genres_and_replicas_together() -> None:
    data = demo()
    shared = dict(data.groups) | {"rock-0-0": "blues-0", "rock-0-1": "blues-0"}
    linked = ("jazz-1-0", "jazz-2-0", "metal-4-1")
    data = replace(data, groups=shared, replicas=(linked,))
    for seed in range(10):
        split = assign(data, "group", seed)
        assert len({split.assignment[track] for track in ("rock-0-0", "rock-0-1", "blues-0-0", "blues-0-1")}) == 1
        assert len({split.assignment[track] for track in (*linked, "jazz-1-1", "jazz-2-1", "metal-4-0")}) == 1


def test_folds_hold_every_track_out_once_by_whole_artists_where_they_are_known() -> None:
    data = demo()
    split = assign(data, "kfold:5", 0)
    assert split.sizes == {"train": 0, "valid": 0, "test": 0, "folds": 100, "excluded": 0}
    assert split.record().folds == 5
    assert split.grouped
    assert split.warning is None
    assert sorted(track for _, valid in split.folds for track in valid) == sorted(data.groups)
    for train, valid in split.folds:
        assert len(valid) == 20
        assert {track.partition("-")[0] for track in valid} == set(TEN)
        assert not {data.groups[track] for track in train} & {data.groups[track] for track in valid}
    assert assign(data, "kfold:5", 1).fingerprint != split.fingerprint
    assert assign(data, "kfold:4", 0).fingerprint != split.fingerprint


def test_folds_without_artists_say_so_and_keep_replicas_together() -> None:
    data = replace(dataset(GTZAN), replicas=(("blues.00000", "blues.00001"), ("rock.00003", "rock.00004")))
    split = assign(data, "kfold:10", 0)
    assert "knows no artists" in (split.warning or "")
    assert {len(valid) for _, valid in split.folds} == {100}
    for pair in data.replicas:
        assert any(set(pair) <= set(valid) for _, valid in split.folds)


def test_folds_need_as_many_artists_of_each_genre() -> None:
    with pytest.raises(ProtocolError, match=r"kfold:6: every genre needs at least 6 groups(.|\n)*blues: 5"):
        assign(demo(), "kfold:6", 0)
    with pytest.raises(UsageError, match="at least 2"):
        assign(demo(), "kfold:1", 0)


def test_a_leak_between_folds_is_refused() -> None:
    data = demo()
    split = assign(data, "kfold:5", 0)
    track = next(iter(split.fold_of))
    moved = {**split.fold_of, track: (split.fold_of[track] + 1) % 5}
    with pytest.raises(ProtocolError, match="stands on two sides"):
        verify(data, replace(split, fold_of=moved))


def test_random_keeps_replicas_together() -> None:
    same = ("blues.00003", "blues.00050", "rock.00007")
    for seed in range(10):
        split = assign(dataset(GTZAN, replicas=[same]), "random", seed)
        assert len({split.assignment[track] for track in same}) == 1


def test_a_genre_with_too_little_is_named() -> None:
    few = {track: genre for track, genre in GTZAN.items() if genre != "jazz"} | {"jazz.00000": "jazz"}
    with pytest.raises(ProtocolError, match=r"at least 2 different tracks.*\n  jazz: 1\n"):
        assign(dataset(few), "random", 0)
    with pytest.raises(ProtocolError, match=r"at least 2 different tracks"):
        assign(dataset({"a": "x", "b": "x", "c": "y", "d": "y"}, replicas=[("c", "d")]), "random", 0)
    with pytest.raises(ProtocolError, match=r"at least 3 groups.*\n  blues: 2\n  classical: 2"):
        assign(demo(artists=2), "group", 0)
    with pytest.raises(ProtocolError, match="no groups are known"):
        assign(dataset(GTZAN), "group", 0)


def test_fault_filtered_is_the_published_partition() -> None:
    data = dataset(GTZAN)
    split = assign(data, "fault_filtered", 0)

    assert split.sizes == {"train": 443, "valid": 197, "test": 290, "excluded": 70}
    assert split.assignment.keys() == GTZAN.keys()
    assert by_genre(data, split)["blues", Partition.TEST] == 31
    assert split.assignment["blues.00000"] is Partition.VALID
    assert split.assignment["blues.00029"] is Partition.TRAIN
    assert split.assignment["blues.00013"] is Partition.TEST
    assert split.assignment["hiphop.00001"] is Partition.EXCLUDED
    assert split.warning is None
    assert not split.grouped


def test_fault_filtered_stands_as_published_though_a_recording_sounds_like_another() -> None:
    crossing, kept = ("blues.00000", "blues.00029"), ("blues.00012", "blues.00013")
    data = dataset(GTZAN, replicas=[crossing, kept])
    split = assign(data, "fault_filtered", 0)
    assert list(split.sizes.values()) == [443, 197, 290, 70]
    assert split.warning == (
        "fault_filtered is taken as published, with one recording on two sides: blues.00000, blues.00029. Scores may "
        "come out too high."
    )
    same_audio = tuple(replace(track, digest="one") if track.id in crossing else track for track in data.tracks)
    with pytest.raises(ProtocolError, match=r"one recording .*stands on"):
        assign(replace(data, tracks=same_audio), "fault_filtered", 0)


def test_fault_filtered_is_measured_against_known_artists() -> None:
    artists = {track: track for track in GTZAN}
    assert assign(dataset(GTZAN, artists), "fault_filtered", 0).grouped

    split = assign(dataset(GTZAN, artists | {"blues.00012": "x", "blues.00029": "x"}), "fault_filtered", 0)
    assert "1 of 487 held-out tracks" in (split.warning or "")
    assert not split.grouped


@pytest.mark.parametrize(
    "spelled",
    [
        lambda genre, number: (f"{genre}_{number:05d}", genre),
        lambda genre, number: (f"{genre.title()}.{number:05d}.au", genre.title()),
        lambda genre, number: (
            f"{genre}/{genre}-{number:05d}".replace("hiphop", "hip-hop"),
            genre.replace("hiphop", "hip-hop"),
        ),
        lambda genre, number: (f"{genre}.{number:05d}".replace("hiphop", "hip hop"), genre),
    ],
)
def test_fault_filtered_knows_every_spelling(spelled: object) -> None:
    assert callable(spelled)
    data = dataset(dict(spelled(genre, number) for genre in TEN for number in range(100)))
    assert list(assign(data, "fault_filtered", 0).sizes.values()) == [443, 197, 290, 70]


@pytest.mark.parametrize("other", ["my song", "blues.00100", "blues.0", "polka.00001", "rock.00001x"])
def test_fault_filtered_is_for_gtzan_alone(other: str) -> None:
    with pytest.raises(ProtocolError, match=rf"1 of the 1001 tracks .*\n  {other}\n"):
        assign(dataset(GTZAN | {other: "blues"}), "fault_filtered", 0)


def test_fault_filtered_names_what_a_part_of_gtzan_lacks() -> None:
    part = {track: genre for track, genre in GTZAN.items() if genre != "rock" or track < "rock.00038"}
    with pytest.raises(ProtocolError, match=r"cannot split made:\n  rock: no valid track\nAdd"):
        assign(dataset(part), "fault_filtered", 0)


def test_auto_takes_the_most_trustworthy_that_can_serve() -> None:
    few = {track: genre for track, genre in GTZAN.items() if track.endswith("0")}
    assert assign(demo(), "auto", 0).protocol == "group"
    assert assign(dataset(GTZAN), "auto", 0).protocol == "fault_filtered"
    assert assign(dataset(few), "auto", 0).protocol == "fault_filtered"
    alone = assign(dataset({t: g for t, g in few.items() if t < f"{g}.00020"}), "auto", 0)
    assert alone.protocol == "random"
    assert "too high" in (alone.warning or "")


def test_auto_gives_folds_to_few_tracks_and_says_so() -> None:
    few = {f"{genre}{number}": genre for genre in ("a", "b") for number in range(49)}
    split = assign(dataset(few), "auto", 0)
    assert split == replace(assign(dataset(few), "kfold:5", 0), choice=split.choice)
    assert split.choice == (
        "few tracks (98): each validates once in 5 folds, at 5 times the training; --protocol random trains once"
    )
    assert "knows no artists" in (split.warning or "")

    enough = assign(dataset(few | {"a49": "a", "b49": "b"}), "auto", 0)
    assert (enough.protocol, enough.choice) == ("random", None)
    # A genre of four tracks cannot be in five folds.
    poor = assign(dataset({track: genre for track, genre in few.items() if track[1:] < "12"}), "auto", 0)
    assert (poor.protocol, poor.choice) == ("random", None)


def test_auto_gives_folds_by_whole_artists_to_few_tracks_of_known_ones() -> None:
    split = assign(demo(genres=TEN[:9]), "auto", 0)
    assert (split.protocol, split.grouped) == ("kfold:5", True)
    assert "--protocol group trains once, and keeps a test set" in (split.choice or "")
    # Three artists a genre are enough for `group` alone.
    assert assign(demo(artists=3), "auto", 0).protocol == "group"
    # Where it is known better, nothing is drawn.
    part = {track: genre for track, genre in GTZAN.items() if track.endswith("0") and genre != "rock"}
    assert assign(dataset(part), "auto", 0).protocol == "fault_filtered"


def test_auto_says_why_known_groups_do_not_serve() -> None:
    split = assign(demo(artists=2), "auto", 0)
    assert split.protocol == "random"
    assert "at least 3 groups" in (split.warning or "")
    assert "\n" not in (split.warning or "")


def test_splitting_known_artists_is_measured() -> None:
    data = demo()
    split = assign(data, "random", 0)
    learned = {data.groups[track] for track in split.tracks(Partition.TRAIN)}
    known = sum(data.groups[track] in learned for track in split.tracks(Partition.VALID))
    assert known
    assert f"{known} of 20 held-out tracks" in (split.warning or "")
    assert not split.grouped


def test_an_unknown_protocol_lists_the_known() -> None:
    with pytest.raises(UsageError, match=r"'holdout' is not a protocol\. Choose auto, group, fault_filtered, random"):
        assign(demo(), "holdout", 0)


def test_offered_gives_sizes_or_reasons() -> None:
    offers = dict(offered(demo(), 0))
    said = {name: offer if isinstance(offer, str) else offer.sizes_text for name, offer in offers.items()}
    assert said["group"] == "60 train, 20 valid, 20 test"
    assert said["random"] == "80 train, 20 valid"
    assert said["kfold:5"] == "100 tracks in 5 folds"
    assert said["fault_filtered"] == (
        "a partition of GTZAN, and 100 of the 100 tracks of made do not have names of GTZAN: "
        f"{', '.join(track.id for track in demo().tracks[:3])} and 97 more. Choose another protocol."
    )


FOUR = {"rock_00000": "rock", "rock_00001": "rock", "jazz_00000": "jazz", "jazz_00001": "jazz"}


def table(tmp_path: Path, *rows: str, header: str = "track,partition") -> str:
    path = tmp_path / "mine.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8-sig")
    return str(path)


GOOD = ("rock_00000,train", "rock.00001,Validation", "jazz_00000.wav,training", "jazz_00001,val")


def test_a_file_is_followed(tmp_path: Path) -> None:
    split = assign(dataset(FOUR), table(tmp_path, *GOOD), 0)
    assert split.protocol == "mine.csv"
    assert split.tracks(Partition.TRAIN) == ("jazz_00000", "rock_00000")
    assert split.tracks(Partition.VALID) == ("jazz_00001", "rock_00001")
    assert "knows no artists" in (split.warning or "")


def test_a_file_that_keeps_known_groups_together_is_grouped(tmp_path: Path) -> None:
    split = assign(dataset(FOUR, groups={track: track for track in FOUR}), table(tmp_path, *GOOD), 0)
    assert split.grouped
    assert split.warning is None


def test_a_file_may_say_one_thing_twice(tmp_path: Path) -> None:
    split = assign(dataset(FOUR), table(tmp_path, *GOOD, "rock.00000,training", "/x/jazz/jazz.00001.wav,val"), 0)
    assert split.assignment == assign(dataset(FOUR), table(tmp_path, *GOOD), 0).assignment


def test_a_file_may_name_quarantined_tracks(tmp_path: Path) -> None:
    data = dataset(FOUR, quarantined={"jazz/jazz_00054.wav": "unreadable"})
    assert len(assign(data, table(tmp_path, *GOOD, "jazz.00054,test"), 0).assignment) == 4


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (GOOD[:3], r"1 of the 4 tracks .* have no row:\n  jazz_00001\n"),
        ((*GOOD, "pop.00000,train"), r"1 of its rows name no track .*:\n  pop.00000\n"),
        ((*GOOD[:3], "jazz_00001,dev"), "the row of jazz_00001 says 'dev'"),
        ((*GOOD, "rock_00000,valid"), "row 6 names rock_00000 a second time"),
        ((*GOOD, "rock.00000,valid"), r"\n  rock_00000: the row rock_00000 says train, and rock.00000 says valid\n"),
        ((*GOOD[:3], "jazz_00001,excluded"), "jazz: no valid track"),
        ((*GOOD[:3], "jazz_00001,test"), "jazz: no valid track\n  rock: no test track"),
    ],
)
def test_a_broken_file_is_said(tmp_path: Path, rows: tuple[str, ...], message: str) -> None:
    with pytest.raises(ProtocolError, match=message):
        assign(dataset(FOUR), table(tmp_path, *rows), 0)


def test_a_missing_file_or_header_is_said(tmp_path: Path) -> None:
    with pytest.raises(ProtocolError, match="cannot be read"):
        assign(dataset(FOUR), str(tmp_path / "none.csv"), 0)
    with pytest.raises(ProtocolError, match="must begin with track,partition"):
        assign(dataset(FOUR), table(tmp_path, *GOOD, header="id,part"), 0)


def test_verify_refuses_what_leaks() -> None:
    data = demo()
    split = assign(data, "group", 0)
    verify(data, split)
    one, other = split.tracks(Partition.TRAIN)[0], split.tracks(Partition.TEST)[0]

    with pytest.raises(
        ProtocolError, match=rf"one recording \(the same audio\) stands on two sides:\n  {one}: train\n  {other}: test"
    ):
        verify(replace(data, replicas=((one, other),)), split)
    with pytest.raises(ProtocolError, match=f"group {data.groups[one]} stands on two sides"):
        verify(data, replace(split, assignment={**split.assignment, one: Partition.VALID}))
    verify(data, replace(split, assignment={**split.assignment, one: Partition.EXCLUDED}))
    with pytest.raises(ProtocolError, match=rf"another data set .*\n  {one}\n"):
        verify(data, replace(split, assignment={t: p for t, p in split.assignment.items() if t != one}))


def test_record_carries_the_split() -> None:
    split = assign(demo(), "group", 0)
    record = split.record()
    assert (record.name, record.fingerprint, record.sizes) == ("group", split.fingerprint, split.sizes)
    assert record.grouped
