"""The face of this package in Python: a benchmark run from a script or a notebook, and its results as tables.

    from harness import run, load_results

    results = run("cnn2d-mfcc", data="~/music", trials=10, vram_budget="6GiB")
    results.studies()           # one row a study
    load_results("workspace")   # the same, later

A script needs no guard around it: the processes that train leave its `__main__` alone.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.addresses import without_tilde
from harness.errors import UsageError
from harness.records.study import StudyResults
from harness.records.trial import TrialRecord, best_trial

if TYPE_CHECKING:
    import pandas as pd

    from reports.document import Report


class Figures(dict[str, bytes]):
    """The pictures of a report, SVG, by file name; a notebook shows them."""

    def _repr_html_(self) -> str:
        encoded = {name: base64.b64encode(picture).decode("ascii") for name, picture in self.items()}
        return "".join(f'<img alt="{name}" src="data:image/svg+xml;base64,{each}">' for name, each in encoded.items())


@dataclass(frozen=True, eq=False, repr=False)
class Results:
    """Studies with all that came of them.

    Attributes:
        results: the records, one a study; see `harness.records`.
    """

    results: tuple[StudyResults, ...]

    def studies(self) -> pd.DataFrame:
        """Return one row a study: what it is, its best trial's scores, those on tested tracks, and the best's memory.

        Scores are fractions, memory is in bytes; what is not known is missing. Tested scores are means over seeds.
        """
        import pandas as pd

        from harness.analysis.final_scores import score_finals

        rows = []
        for results in self.results:
            study, best, final = results.study, results.best, score_finals(results)
            winner = final.winner if final is not None else None
            rows.append(
                {
                    "family": study.family,
                    "study": study.name,
                    "dataset": study.dataset.name,
                    "protocol": study.protocol.name,
                    "budget_bytes": study.budget_bytes,
                    "trials": results.counted_trials,
                    "best_trial": best.number if best is not None else None,
                    "valid_accuracy": best.scores.valid_accuracy if best is not None else None,
                    "valid_macro_f1": best.scores.valid_macro_f1 if best is not None else None,
                    "test_accuracy": winner.accuracy.mean if winner is not None else None,
                    "test_macro_f1": winner.macro_f1.mean if winner is not None else None,
                    "vram_peak_bytes": best.memory.reading.measured_bytes if best is not None else None,
                }
            )
        return pd.DataFrame(rows)

    def trials(self) -> pd.DataFrame:
        """Return one row a trial: its outcome, scores, memory, time and hyperparameters (`params.NAME`)."""
        import pandas as pd

        return pd.DataFrame([_row(trial) for results in self.results for trial in results.trials])

    def best(self, family: str) -> TrialRecord | None:
        """Return the best trial of a family, by validation macro F1; None where none completed.

        Raises:
            UsageError: the family's studies cannot be compared, as they differ in data, protocol or limits.
        """
        found = [results for results in self.results if results.study.family == family]
        if len({results.study.comparable_key for results in found}) > 1:
            names = ", ".join(results.study.name for results in found)
            raise UsageError(f"studies of {family} that cannot be compared: {names}. studies() has the best of each")
        return best_trial([trial for results in found for trial in results.trials])

    def report(self) -> str:
        """Return the comparison in markdown, as `harness report` writes it."""
        return self._report.markdown

    def figures(self) -> Figures:
        """Return the pictures of the report, SVG, by file name."""
        return Figures(self._report.pictures)

    @cached_property
    def _report(self) -> Report:
        from reports.document import build_report

        return build_report(self.results)

    def __repr__(self) -> str:
        """Name the studies; the records themselves would fill a screen."""
        return f"Results of {', '.join(results.study.name for results in self.results) or 'no study'}"

    def _repr_html_(self) -> str:
        """Show the table of studies in a notebook."""
        return str(self.studies().to_html(index=False))


def run(
    families: str | Sequence[str] = "all",
    *,
    data: str | Path | None = None,
    trials: int | None = None,
    workspace: str | Path | None = None,
    config: str | Path | None = None,
    **options: object,
) -> Results:
    """Search the hyperparameters of families, or go on with a search that was interrupted.

    Progress is shown as `harness run` shows it: a live view on a terminal and in a notebook, plain lines elsewhere.
    Ctrl-C, or a notebook's stop button, leaves a workspace with which the same call goes on.

    Args:
        families: by name; `all` for those that are not optional.
        data: a folder of genre folders; the built-in synthetic set unless told otherwise.
        trials: total of trials a family; those that ended count.
        workspace: the folder where everything goes, `workspace` unless told otherwise.
        config: a TOML file of settings; options override it.
        options: the other settings of `harness run`, by the names of its long options with underscores: `epochs`,
            `seed`, `vram_budget`, `quick`, ... Sizes and durations need their units: `6GiB`, `30m`.

    Returns:
        The studies that were asked for; none with `dry_run`.

    Raises:
        HarnessError: something is the caller's to mend; the message says what.
    """
    from harness.console import LiveView, watching
    from harness.families import select
    from harness.settings import run_settings
    from harness.workflows.dry_run import dry_run
    from harness.workflows.run import run as run_benchmark

    names = (families,) if isinstance(families, str) else tuple(families)
    given = {"families": names, "data": data, "trials": trials, "workspace": workspace, **options}
    settings = run_settings(given, Path(config) if config is not None else None)
    chosen, stores = select(settings.families), settings.stores
    view = LiveView(len(chosen), stores.workspace, settings.search.time_limit, tracking_uri=stores.tracking_uri)
    with watching(False, view) as notify:
        if settings.dry_run:
            dry_run(settings, chosen, notify)
            return Results(())
        return Results(run_benchmark(settings, chosen, notify))


def load_results(workspace: str | Path = "workspace", *, tracking_uri: str | None = None) -> Results:
    """Read what a workspace holds, or an MLflow server.

    Args:
        tracking_uri: an MLflow server to read from instead.

    Raises:
        HarnessError: there are no results, or they cannot be read.
    """
    from harness.workflows.report import stored_studies

    return Results(tuple(stored_studies(without_tilde(Path(workspace)), without_tilde(tracking_uri))))


def _row(trial: TrialRecord) -> dict[str, Any]:
    scores, memory, timing = trial.scores, trial.memory, trial.timing
    return {
        "family": trial.family,
        "study": trial.study,
        "trial": trial.number,
        "outcome": str(trial.outcome),
        "valid_accuracy": scores.valid_accuracy,
        "valid_macro_f1": scores.valid_macro_f1,
        "train_accuracy": scores.train_accuracy,
        "micro_batch": trial.batch.micro_batch if trial.batch is not None else None,
        "parameters": trial.parameters,
        "footprint_bytes": memory.footprint_bytes,
        "vram_peak_bytes": memory.reading.measured_bytes,
        "vram_source": str(memory.reading.source),
        "allocator_peak_bytes": memory.allocator_peak_bytes,
        "train_seconds": timing.train_seconds,
        "inference_seconds": timing.inference_seconds,
        "message": trial.message,
        **{f"params.{name}": value for name, value in trial.params.items()},
    }
