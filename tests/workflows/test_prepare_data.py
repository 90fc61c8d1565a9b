"""What a user is told of a data set, and what is extracted of it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from harness.datasets.split import Partition
from harness.datasets.track_groups import FROM_FOLDERS
from harness.events import Event, Note, Progress
from harness.families import families, select
from harness.features.augment import AUGMENTED_COPIES
from harness.preparation import IN_SEARCH, WITH_TEST, PreparationReport, augmented_copies_needed
from harness.settings import RunSettings
from harness.testing.records import RECORD
from harness.workflows.prepare_data import describe_scan, describe_split, prepare_data
from tests.helpers.audio import dataset
from tests.helpers.models import ToneStore
from tests.helpers.tags import write_tagged


def test_all_that_was_found_is_said() -> None:
    found = replace(
        dataset({"a": "rock", "b": "rock"}, quarantined={"a.au": "no audio"}, replicas=[("a", "b")]),
        replica_reasons={("a", "b"): "same name, other format"},
        notes=("empty, so no genres: jazz",),
        groups={"a": "one", "b": "one"},
        groups_from=FROM_FOLDERS,
    )
    protocol = RECORD.protocol.model_copy(update={"grouped": True, "warning": "plausible, no more"})
    notes = [*describe_scan(found), *describe_split(PreparationReport(RECORD.dataset, protocol))]
    assert [(note.text, note.warning) for note in notes] == [
        ("skipped a.au: no audio", True),
        ("same name, other format, kept on one side: a, b", True),
        ("empty, so no genres: jazz", True),
        ("artists: 1, from the sub-folders of the genres, since there is no artists.csv", False),
        ("made: 4 tracks, protocol random: 2 train, 2 valid", False),
        (
            "checked: no track, replica or artist stands on two sides, and statistics come from training tracks alone",
            False,
        ),
        ("plausible, no more", True),
    ]
    assert list(describe_scan(dataset({"a": "rock"}))) == []
    plain = [note.text for note in describe_split(PreparationReport(RECORD.dataset, RECORD.protocol))]
    assert plain[1].startswith("checked: no track or replica stands on two sides")
    assert len(plain) == 2
    chosen = [note.text for note in describe_split(PreparationReport(RECORD.dataset, RECORD.protocol, "few tracks"))]
    assert chosen == [plain[0], "few tracks", plain[1]]


def test_augmented_copies_are_made_where_a_family_may_train_on_them() -> None:
    pretrained = families()["pretrained"]
    assert augmented_copies_needed([pretrained], quick=False) == 0
    assert augmented_copies_needed([pretrained, families()["cnn1d-raw"]], quick=False) == AUGMENTED_COPIES
    assert augmented_copies_needed([replace(pretrained, uses_augmented_copies=True)], quick=True) == 0


@pytest.mark.parametrize("partitions", [IN_SEARCH, WITH_TEST])
def test_a_search_offers_what_the_tags_know(
    partitions: tuple[Partition, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for genre in ("jazz", "metal"):
        for number in range(2):
            write_tagged(tmp_path / "music" / genre / f"{genre}{number}.flac", f"artist {number}")
    monkeypatch.setattr("harness.workflows.prepare_data.extract_features", lambda *about: None)
    said: list[Event] = []
    prepare_data(RunSettings(families=("cnn2d-mfcc",), data=tmp_path / "music"), [], partitions, said.append)
    notes = [each.text for each in said if isinstance(each, Note)]
    offered = [note for note in notes if "the files' tags name artists: `harness data artists /" in note]
    assert offered == (notes[:1] if partitions == IN_SEARCH else [])


def test_a_data_set_is_described_before_it_is_extracted(
    tones: Path, tone_store: ToneStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # where nothing is known of the tracks
    shutil.copytree(tone_store[0], tmp_path / "store")
    next((tmp_path / "store").rglob("*.features.npy")).unlink()
    said: list[Event] = []
    settings = RunSettings(families=("cnn2d-mfcc",), data=tones, protocol="random", quick=True, workspace=tmp_path)
    prepared = prepare_data(settings, select(settings.families), IN_SEARCH, said.append)
    order = [event.task if isinstance(event, Progress) else "note" for event in said]
    assert list(dict.fromkeys(order)) == ["reading tracks", "note", "extracting features"]
    assert any(
        f"{prepared.dataset.name}: 20 tracks, protocol random: " in each.text for each in said if isinstance(each, Note)
    )
    assert {track.id for track in prepared.tracks} == {track for side in prepared.split.folds[0] for track in side}
