"""Studies made ready to be tested: their data as it lies now, their embeddings, their device, and leave to open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import DataError, HarnessError
from harness.evaluation.nested_cv import folds_to_test
from harness.evaluation.study_under_test import StudyUnderTest
from harness.evaluation.test_evaluation import TestEvaluation
from harness.evaluation.test_set_access import TestSetAccess, check_same_data, openings_before
from harness.events import Note, Notify
from harness.families import Family
from harness.features.embeddings.extractor import known_extractors
from harness.paths import path_state
from harness.preparation import WITH_TEST, PreparedData
from harness.records.study import StudyResults
from harness.settings import DatasetSettings, RunSettings, cache
from harness.tracking.ledger import Ledger
from harness.workflows.devices import ProvenDevices
from harness.workflows.prepare_data import prepare_data


@dataclass(frozen=True)
class FinalPreparation:
    """Makes studies of one workspace ready; what several of them share is made once.

    Attributes:
        families: those that are tested, by name.
        known: all studies of the workspace.
    """

    ledger: Ledger
    devices: ProvenDevices
    families: Mapping[str, Family]
    known: Sequence[StudyResults]
    notify: Notify
    _prepared: dict[str, PreparedData] = field(default_factory=dict)

    def ready(self, studies: Sequence[StudyResults], reopen: bool) -> list[TestEvaluation]:
        """Return the studies that may be tested, before the test set of any of them is opened; tell of the others.

        Raises:
            HarnessError: none may; it says why of the first.
        """
        ready, errors = [], []
        for results in studies:
            try:
                evaluation = self._evaluation(results)
                evaluation.access.check(reopen)
            except HarnessError as error:
                errors.append(error)
            else:
                ready.append(evaluation)
        if not ready:
            raise errors[0]
        for why in errors:
            self.notify(Note(f"not tested: {why}", warning=True))
        return ready

    def _evaluation(self, results: StudyResults) -> TestEvaluation:
        record, family = results.study, self.families[results.study.family]
        settings = self._settings(record.name)
        prepared = self._data(settings)
        check_same_data(prepared.dataset.record(), prepared.split.record(), record)
        if family.on_embeddings:
            networks = known_extractors(record.embeddings, settings.dataset.embedding, cache())
            prepared = prepared.with_embeddings(networks, self.notify)
        family = prepared.available(family)
        slots = self.devices.of(settings.compute.device, record.budget_bytes)
        folds = folds_to_test(prepared, record, family.input_specs)
        study = StudyUnderTest(results, family, prepared, folds, settings.search, settings.budget)
        tracks = tuple(tuple(example.track for example in fold.test) for fold in folds)
        access = TestSetAccess(results, tracks, study.has_test_set, openings_before(results, self.known))
        return TestEvaluation(study, access, self.devices.backend, slots, self.ledger, self.notify)

    def _settings(self, study: str) -> RunSettings:
        """Return the settings that a study ran with, for the workspace as it lies now.

        Raises:
            WorkspaceError: there are none, or another version wrote them.
        """
        stored = self.ledger.settings(study)
        now = {"stores": stored.moved(self.ledger.workspace.root), "families": tuple(self.families)}
        return stored.model_copy(update=now)

    def _data(self, settings: RunSettings) -> PreparedData:
        """Return the data of settings, prepared once, with the tracks that are tested.

        Raises:
            DataError: they are not where the search read them, or cannot serve.
        """
        key = (
            f"{settings.dataset.model_dump_json(exclude={'embedding'})} {settings.search.seed} {settings.search.quick}"
        )
        if key not in self._prepared:
            _check_places(settings.dataset)
            families = list(self.families.values())
            self._prepared[key] = prepare_data(settings, families, WITH_TEST, self.notify)
        return self._prepared[key]


def _check_places(music: DatasetSettings) -> None:
    """Make sure that the files of a search are where it read them.

    Raises:
        DataError: one is not there.
    """
    table = Path(music.protocol) if music.protocol.lower().endswith(".csv") else None
    for option, path in (("--data", music.data), ("--groups", music.groups), ("--protocol", table)):
        if path is not None and not (state := path_state(path)).exists:
            raise DataError(
                f"{path}: the search read it there, and it {state.said('is there no more')}. Where it was moved, give "
                f"the same `harness run` once with {option} NEW: nothing is trained again, and the new place is kept."
            )
