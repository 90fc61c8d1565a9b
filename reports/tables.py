"""Words and tables: how a figure is written, markdown tables that survive any name, CSV and JSON."""

from __future__ import annotations

import csv
import html
import io
import json
import math
import re
from collections.abc import Mapping, Sequence

from harness.records import FinalsRecord, Predictions, StudyResults, Value, is_finite
from harness.scoring.metrics import Interval, confusion, per_genre

NOTHING = "–"

RunLinks = Mapping[tuple[str, int | str | None], str]
"""Web addresses of tracked runs, by study and by what the run stands for: a trial's number, a `FinalRecord.key`, or
None for the study itself."""

# What markdown or a table would take as markup. Underscores inside a word are plain text on code hosts.
_MARKUP = re.compile(r"[\\|`*<>\[\]~$]|(?<![^\W_])_|_(?![^\W_])|&(?=#?\w+;)")


def escape(text: str) -> str:
    """Return `text` on one line, to be read literally in a markdown sentence or table cell."""
    return _MARKUP.sub(r"\\\g<0>", one_line(text))


def one_line(text: str) -> str:
    """Return `text` with every run of white space made one space."""
    return " ".join(text.split())


def percent(fraction: float | None) -> str:
    """Return a fraction for a reader: `61.0 %`, or a dash."""
    return NOTHING if fraction is None or not is_finite(fraction) else f"{100 * fraction:.1f} %"


def percent_range(interval: Interval) -> str:
    """Return an interval of fractions for a reader, in whole per cent, rounded outward so that it still covers."""
    low, high = (round(100 * end, 6) for end in interval)
    return f"{math.floor(low)}–{math.ceil(high)} %"


def points(difference: float) -> str:
    """Return a difference of two fractions for a reader, in points of a per cent: `+4.5 points`."""
    # Adding 0 takes the sign off what rounds to 0.
    return f"{round(100 * difference, 1) + 0.0:+.1f} points".replace("-", "−")


def ratio(fraction: float | None) -> str:
    """Return a score such as F1 for a reader: `0.59`, or a dash."""
    return NOTHING if fraction is None or not is_finite(fraction) else f"{fraction:.2f}"


def ratio_range(interval: Interval) -> str:
    """Return an interval of scores for a reader, two digits, rounded outward so that it still covers."""
    low, high = (round(100 * end, 6) for end in interval)
    return f"{math.floor(low) / 100:.2f}–{math.ceil(high) / 100:.2f}"


def p_value(probability: float) -> str:
    """Return a p-value for a reader, with its sign: `= 0.0123`, or `< 0.001`."""
    return "< 0.001" if probability < 0.001 else f"= {probability:.3g}"


def seconds(spent: float | None) -> str:
    """Return seconds for a reader, with one decimal below ten: `4.2`, `1,234`; or a dash."""
    if spent is None or not is_finite(spent):
        return NOTHING
    return f"{spent:.1f}" if spent < 10 else f"{spent:,.0f}"


def milliseconds(spent: float) -> str:
    """Return seconds for a reader as milliseconds: `42 ms`, `3.1 ms`."""
    return f"{1000 * spent:.1f} ms" if spent < 0.01 else f"{1000 * spent:,.0f} ms"


def count(number: int, what: str) -> str:
    """Return how many there are of what has a regular plural: `1 trial`, `3 trials`."""
    return f"{number} {what}{'s' * (number != 1)}"


def value(setting: Value) -> str:
    """Return a hyperparameter for a reader, at most six digits."""
    if setting is None:
        return NOTHING
    return f"{setting:.6g}" if isinstance(setting, float) else str(setting)


def link(text: str, address: str | None) -> str:
    """Return markdown that leads from `text` to a web address; `text` alone where there is none."""
    return text if address is None else f"[{text}](<{address}>)"


def folded(title: str, content: str) -> str:
    """Return markdown that a reader unfolds by its `title`, which is plain text."""
    return f"<details>\n<summary>{html.escape(one_line(title))}</summary>\n\n{content}\n\n</details>"


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[str] = ()) -> str:
    """Return a GitHub flavoured table; `numeric` names the columns set to the right.

    Cells are markdown: names that come from outside go through `escape` first.
    """
    rule = ["---:" if column in numeric else "---" for column in columns]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [columns, rule, *rows])


def per_genre_table(predictions: Predictions) -> str:
    """Return precision, recall, F1 and support of each genre as a markdown table."""
    columns = ["Genre", "Precision", "Recall", "F1", "Tracks"]
    rows = [
        [escape(row.genre), ratio(row.precision), ratio(row.recall), ratio(row.f1), str(row.support)]
        for row in per_genre(predictions)
    ]
    return markdown_table(columns, rows, numeric=columns[1:])


def per_genre_csv(predictions: Predictions) -> str:
    """Return the per-genre scores as CSV with the header `genre,precision,recall,f1,support`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["genre", "precision", "recall", "f1", "support"])
    writer.writerows(per_genre(predictions))
    return text.getvalue()


def confusion_json(predictions: Predictions) -> str:
    """Return `{"genres": [...], "matrix": [[...]]}` as JSON; rows are the true genre, columns the predicted one."""
    return _json({"genres": list(predictions.genres), "matrix": confusion(predictions).tolist()})


def scores_json(studies: Sequence[StudyResults]) -> str:
    """Return what does not depend on clocks and memory as JSON: equal text from equal runs."""
    ordered = sorted(studies, key=lambda results: (results.study.family, results.study.study))
    return _json({"studies": [_study_scores(results) for results in ordered]})


def _study_scores(results: StudyResults) -> dict[str, object]:
    study = results.study
    trials = sorted(results.trials, key=lambda trial: trial.number)
    return {
        "family": study.family,
        "study": study.study,
        "dataset": {"name": study.dataset.name, "fingerprint": study.dataset.fingerprint},
        "protocol": {"name": study.protocol.name, "fingerprint": study.protocol.fingerprint},
        "budget_bytes": study.budget_bytes,
        "epochs": study.epochs,
        "seed": study.seed,
        "quick": study.quick,
        "trials": [
            {
                "number": trial.number,
                "params": trial.params,
                "outcome": trial.outcome.value,
                "best_epoch": trial.best_epoch,
                "valid_accuracy": trial.valid_accuracy if is_finite(trial.valid_accuracy) else None,
                "valid_macro_f1": trial.valid_macro_f1 if is_finite(trial.valid_macro_f1) else None,
            }
            for trial in trials
        ],
        "references": [reference.model_dump(mode="json") for reference in results.references],
        "finals": _final_scores(results.finals) if results.finals else None,
    }


def _final_scores(finals: FinalsRecord) -> dict[str, object]:
    runs = sorted(finals.runs, key=lambda run: (run.role, run.seed, run.fold or 0))
    return {
        "tested": finals.tested,
        "opened_after_trials": [opening.trials for opening in finals.openings],
        "ensembles": [
            each.model_dump(mode="json", exclude={"peak_bytes", "track_seconds"}) for each in finals.ensembles
        ],
        "runs": [
            {
                "role": run.role.value,
                "trial": run.trial,
                "seed": run.seed,
                "fold": run.fold,
                "outcome": run.outcome.value,
                "test_accuracy": run.test_accuracy if is_finite(run.test_accuracy) else None,
                "test_macro_f1": run.test_macro_f1 if is_finite(run.test_macro_f1) else None,
            }
            for run in runs
        ],
    }


def _json(document: object) -> str:
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
