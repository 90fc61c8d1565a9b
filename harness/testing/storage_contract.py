"""What a study promises where a storage is told of it, as tests: a class that each kind of storage inherits from."""

from __future__ import annotations

import optuna
import pytest
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from harness.errors import WorkspaceError
from harness.records.trial import Outcome, TrialRecord, ValidationScores
from harness.search.shared_study import SharedStudy
from harness.testing.records import RECORD
from harness.testing.study_contract import TRIALS, Interrupted, Storages, StudyContract, facts, record_of, space


class StorageContract(StudyContract):
    """What holds of a storage beside: it is told of all, and a study is taken over from it. See `StudyContract`."""

    @staticmethod
    def told(storages: Storages) -> list[FrozenTrial]:
        storage = storages()
        assert storage is not None
        return optuna.load_study(study_name=RECORD.name, storage=storage).trials

    def test_a_storage_is_told_of_all(self, storages: Storages) -> None:
        ended: dict[int, TrialRecord] = {}
        study = self.run(storages, 3, ended)
        trial = study.ask()
        study.sample(trial, space)
        trial.report({1: 0.25})
        assert facts(self.told(storages)) == facts(study.study.trials)

    def test_what_only_the_ledger_knows_is_told_once(self, storages: Storages) -> None:
        study, _ = self.take_up(storages, {})
        trial = study.ask()
        study.sample(trial, space)
        ended = {0: record_of(trial)}
        for _ in range(2):
            again, unfinished = self.take_up(storages, ended)
            assert unfinished == []
            assert facts(self.told(storages)) == facts(again.study.trials)

    def test_an_end_that_was_told_by_halves_is_told_whole(
        self, storages: Storages, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        study, _ = self.take_up(storages, {})
        trial = study.ask()
        study.sample(trial, space)
        record = record_of(trial, Outcome.TIMEOUT)

        def cut(*about: object, **more: object) -> None:
            raise Interrupted

        assert study.shared is not None
        with monkeypatch.context() as patch:
            patch.setattr(study.shared._storage, "set_trial_state_values", cut)
            with pytest.raises(Interrupted):
                trial.tell(record)
        assert [told.state for told in self.told(storages)] == [TrialState.RUNNING]
        # Here, or where the record is not: it was written before the state.
        assert SharedStudy(RECORD.name, existing(storages)).take_over("theirs", {}) == [record]
        self.take_up(storages, {0: record})
        (told,) = self.told(storages)
        assert (told.state, told.constraints) == (TrialState.PRUNED, record.constraints)

    def test_a_storage_that_lost_trials_gets_them_again(self, storages: Storages) -> None:
        whole = self.undisturbed()
        ended = {number: whole[number] for number in range(TRIALS - 2)}
        for _ in range(2):
            study, unfinished = self.take_up(storages, ended)
            assert unfinished == []
            assert facts(self.told(storages)) == facts(study.study.trials)
        self.run(storages, TRIALS, ended)
        assert [ended[number].params for number in ended] == [whole[number].params for number in whole]

    def test_where_both_tell_of_a_trial_the_ledger_is_right(self, storages: Storages) -> None:
        ended: dict[int, TrialRecord] = {}
        self.run(storages, 2, ended)
        score = ValidationScores(valid_macro_f1=0.875)
        ended[1] = ended[1].model_copy(update={"scores": score})
        study, _ = self.take_up(storages, ended)
        assert study.study.best_value == 0.875
        # Optuna changes nothing of a trial that has ended.
        assert self.told(storages)[1].value == 0.1

    def test_another_workspace_takes_a_study_over_and_the_earlier_owner_stops(self, storages: Storages) -> None:
        ended: dict[int, TrialRecord] = {}
        first = self.run(storages, 2, ended)
        running = first.ask()
        sampled = first.sample(running, space)

        shared = SharedStudy(RECORD.name, existing(storages))
        taken = shared.take_over("theirs", {})
        assert taken == list(ended.values())
        second, (again,) = self.take_up(storages, ended, workspace="theirs")
        assert again.number == 2
        assert second.sample(again, space) == sampled
        again.report({1: 0.5})
        for tell in (
            lambda: running.report({1: 0.25}),
            lambda: running.tell(record_of(running)),
            lambda: first.sample(first.ask(), space),
        ):
            with pytest.raises(WorkspaceError, match="was taken over by another workspace"):
                tell()
        again.tell(record_of(again))
        assert [told.state for told in self.told(storages)] == [TrialState.COMPLETE] * 3
        assert self.told(storages)[2].intermediate_values == {1: 0.5}

    def test_a_trial_that_ended_without_its_record_cannot_be_taken_over(self, storages: Storages) -> None:
        study = optuna.create_study(study_name=RECORD.name, storage=storages(), direction="maximize")
        study.add_trial(optuna.trial.create_trial(value=0.5))
        before = self.told(storages)
        with pytest.raises(WorkspaceError, match=r"trial 0 of made-up-.* ended without its record"):
            self.take_up(storages, {})
        assert self.told(storages) == before
        assert study.user_attrs == {}


def existing(storages: Storages) -> BaseStorage:
    storage = storages()
    assert storage is not None
    return storage
