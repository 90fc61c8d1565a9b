"""How studies, trials and finals are called, tagged and described in MLflow: the schema that users query by.

An experiment is `DATASET/PROTOCOL`; a study is a run in it, its trials and finals are runs nested in that run. Tags
identify a run; its name is for readers alone.
"""

from __future__ import annotations

import json

from mlflow.entities import Dataset, DatasetInput, InputTag
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT, MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NOTE

from harness.records.base import FORMAT, RunKind, Value
from harness.records.final import FinalRecord
from harness.records.study import StudyRecord
from harness.records.trial import Outcome, TrialRecord

NOTE, PARENT = MLFLOW_RUN_NOTE, MLFLOW_PARENT_RUN_ID
"""MLflow's own tags: the description of a run, and the id of the run that it is nested in."""
DELIVERED = "delivered"
"""The tag of a study's run or a trial's that has been delivered: the digest of all that was."""

_STATUS = {Outcome.COMPLETED: "FINISHED", Outcome.PRUNED: "FINISHED", Outcome.INTERRUPTED: "KILLED"}


def status(outcome: Outcome) -> str:
    """Return the status of the run of what ended so."""
    return _STATUS.get(outcome, "FAILED")


def experiment_name(study: StudyRecord) -> str:
    """Return the name of the experiment that a study's runs are in."""
    return f"{study.dataset.name}/{study.protocol.name}"


def study_name(study: StudyRecord) -> str:
    """Return what a reader calls a study."""
    return f"{study.family} · study {study.name.removeprefix(f'{study.family}-')}"


def trial_name(study: StudyRecord, number: int) -> str:
    """Return what a reader calls a trial."""
    return f"{study.family} · trial {number}"


def final_name(study: StudyRecord, final: FinalRecord) -> str:
    """Return what a reader calls a final run."""
    return f"{study.family} · {final.role}, {final.label}"


def with_score(name: str, macro_f1: float | None, otherwise: str = "") -> str:
    """Return the name of a run with its score, or with what it has instead of one."""
    result = otherwise if macro_f1 is None else f"{macro_f1:.2f}"
    return f"{name} · {result}" if result else name


def study_tags(study: StudyRecord) -> dict[str, str]:
    """Return the tags of every run of a study: its own, its trials' and its finals'."""
    return {
        "format": str(FORMAT),
        "family": study.family,
        "study": study.name,
        "space": study.space,
        "dataset": study.dataset.name,
        "protocol": study.protocol.name,
        "commit": study.provenance.commit,
    }


def trial_params(study: StudyRecord, trial: TrialRecord) -> dict[str, Value]:
    """Return the parameters of a trial that ended, by name."""
    params: dict[str, Value] = {**trial.params, "budget_bytes": study.budget_bytes}
    if trial.batch is not None:
        params["micro_batch"] = trial.batch.micro_batch
    return params


def final_params(study: StudyRecord, final: FinalRecord) -> dict[str, Value]:
    """Return the parameters of a final run, by name."""
    params: dict[str, Value] = {"trial": final.trial, "seed": final.seed, "budget_bytes": study.budget_bytes}
    if final.fold is not None:
        params["fold"] = final.fold
    return params


def final_tags(final: FinalRecord) -> dict[str, str]:
    """Return the tags of a final run beside those of its study."""
    tags = {"kind": RunKind.FINAL, "final": final.key, "trial": str(final.trial)}
    return tags | {"outcome": final.outcome, "vram.source": final.memory.reading.source}


def dataset_input(study: StudyRecord) -> DatasetInput:
    """Return the data set of a study as MLflow lists it. The audio stays where it is, and so does its path."""
    data, split = study.dataset, study.protocol
    profile = {
        "tracks": data.tracks,
        "genres": list(data.genres),
        "synthetic": data.synthetic,
        "sets of replicas": len(data.replicas),
        "unusable files": len(data.quarantined),
        "protocol": split.name,
        "tracks by partition": split.sizes,
    }
    source = "synthetic demo set" if data.synthetic else "folder of audio files"
    dataset = Dataset(data.name, data.fingerprint, "local", json.dumps({"uri": source}), profile=json.dumps(profile))
    return DatasetInput(dataset, [InputTag(MLFLOW_DATASET_CONTEXT, "training")])
