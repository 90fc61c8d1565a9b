"""Which model answers: the best of a workspace, or the one that a user names."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.errors import ModelError, UsageError, WorkspaceError
from harness.families import Family, select
from harness.features.embeddings.extractor import Extractor, known_extractors
from harness.inference.bundle import write_bundle
from harness.inference.card import facts, model_card
from harness.inference.pipeline import ABOUT
from harness.paths import path_state
from harness.records.study import StudyRecord, StudyResults
from harness.records.trial import TrialRecord
from harness.tracking.ledger import Ledger
from harness.workspace import Workspace

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:/")
_IN_MLFLOW = Path("artifacts", "model")
"""Where a model that MLflow keeps has its bundle."""


@contextmanager
def open_model(workspace: Path, model: str | None, tracking_uri: str | None, cache: Path) -> Iterator[Path]:
    """Hold the folder of a bundle; an error of the model that the block raises names it as the user knows it.

    Args:
        workspace: its best model is meant where `model` names none.
        model: an address such as `models:/NAME@ALIAS`, `models:/NAME/VERSION` or `runs:/RUN`, or a folder.
        tracking_uri: the MLflow store that knows the address; the workspace's own unless told otherwise.
        cache: a folder for what can be made anew of frozen networks.

    Raises:
        HarnessError: there is no such model, or the workspace cannot be read.
    """
    if model is None:
        with TemporaryDirectory() as folder:
            place = Workspace(workspace)
            ledger = Ledger(place)
            best = best_model(ledger, ledger.studies())
            if best is None:
                raise WorkspaceError(
                    f"{workspace}: holds no trained model. Train some with: "
                    f"{place.command('run all', '--quick')}. Or name another folder with --workspace."
                )
            family, extractors = available(ledger, best[0].study, cache)
            bundle_trial(ledger, *best, family, extractors, Path(folder))
            with _named(ledger.model_path(best[1].study, best[1].number), Path(folder)):
                yield Path(folder)
    elif _ADDRESS.match(model):
        from harness.tracking.mlflow.logged_model import download_model

        with TemporaryDirectory() as folder:
            bundle = _bundle_in(download_model(tracking_uri or Workspace(workspace).mlflow_url, model, Path(folder)))
            with _named(f"--model {model}", bundle):
                yield bundle
    elif (state := path_state(Path(model))).kind == "folder":
        yield _bundle_in(Path(model))
    else:
        raise UsageError(
            f"--model {model}: {state.said('no such folder')}. Name one that `harness export` wrote, or an address "
            "such as models:/NAME@champion."
        )


def best_model(ledger: Ledger, studies: Iterable[StudyRecord]) -> tuple[StudyResults, TrialRecord] | None:
    """Return the completed trial to use, of all whose model is there: the best in macro F1, rather of real music than
    of synthetic, and rather not of a quick study.

    Scores of other data sets, protocols and budgets are no strict comparison; this is a choice of a model to use.
    """
    candidates = [
        (results, trial)
        for results in map(ledger.results, (study.name for study in studies))
        for trial in results.trials
        if trial.number in results.predictions and ledger.model_path(trial.study, trial.number).exists()
    ]

    def rank(candidate: tuple[StudyResults, TrialRecord]) -> tuple[bool, bool, float, int]:
        study, trial = candidate[0].study, candidate[1]
        return not study.dataset.synthetic, not study.quick, trial.scores.valid_macro_f1 or 0.0, -trial.number

    return max(candidates, key=rank, default=None)


def bundle_trial(
    ledger: Ledger,
    results: StudyResults,
    trial: TrialRecord,
    family: Family,
    extractors: Mapping[str, Extractor],
    folder: Path,
) -> None:
    """Write the bundle of a completed trial; `extractors` are the networks that `family` embeds with, by name."""
    input_spec = family.input_spec_of(trial.params)
    write_bundle(
        folder,
        ledger.model_path(trial.study, trial.number),
        input_spec,
        results.study.dataset.genres,
        facts(results, trial),
        model_card(results, trial, input_spec),
        extractors.get(input_spec.name),
    )


def available(ledger: Ledger, study: StudyRecord, cache: Path) -> tuple[Family, Mapping[str, Extractor]]:
    """Return the family of a study, and the frozen networks that it was embedded with.

    Raises:
        UsageError: the family is not installed, or a network is not where it was.
    """
    (family,) = select([study.family])
    if not family.on_embeddings:
        return family, {}
    try:
        extractors = known_extractors(study.embeddings, ledger.settings(study.name).dataset.embedding, cache)
    except (UsageError, WorkspaceError) as error:
        raise UsageError(
            f"{study.name}: what it was embedded with is not available ({error}) Put it back, or name a model that "
            f"carries it: --model models:/{study.dataset.name}-{study.family}@champion"
        ) from error
    return family.with_embeddings({name: each.input_spec for name, each in extractors.items()}), extractors


@contextmanager
def _named(name: object, copy: Path) -> Iterator[None]:
    """Let an error of a model whose copy is read name the model itself."""
    try:
        yield
    except ModelError as error:
        raise ModelError(f"{name}: {str(error).replace(f'{copy}{os.sep}', '')}") from error


def _bundle_in(folder: Path) -> Path:
    """Return the bundle in a folder: that itself, or within what MLflow keeps."""
    return folder / _IN_MLFLOW if path_state(folder / _IN_MLFLOW / ABOUT).exists else folder
