"""What a model is, for those who will use it: the facts that travel with it, and its card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.analysis.final_scores import score_configuration
from harness.analysis.score_intervals import intervals_of
from harness.datasets.track_checks import MIN_SECONDS
from harness.families import Family
from harness.features.input_spec import InputSpec
from harness.markdown import escape, genre_table, table
from harness.records.final import FinalRole
from harness.records.study import StudyResults
from harness.records.trial import TrialRecord
from harness.scoring.metrics import per_genre
from harness.units import format_setting, percent, percent_range, plural, ratio, ratio_range

_PARTITIONS = {"train": "train", "valid": "validate", "folds": "take turns at it", "excluded": "are left out"}


def facts(results: StudyResults, trial: TrialRecord) -> dict[str, Any]:
    """Return what a model is, as JSON can hold it: `introduction` reads it."""
    study = results.study
    return {
        "family": study.family,
        "study": study.name,
        "trial": trial.number,
        "dataset": study.dataset.name,
        "synthetic": study.dataset.synthetic,
        "protocol": study.protocol.name,
        "quick": study.quick,
        "valid_accuracy": trial.scores.valid_accuracy,
        "valid_macro_f1": trial.scores.valid_macro_f1,
        "valid_tracks": len(results.predictions[trial.number].tracks),
    }


def introduction(about: Mapping[str, Any]) -> str:
    """Return one line that says which model answers, and a second where it is no model to rely on."""
    scores = f"macro F1 {ratio(about['valid_macro_f1'])}, accuracy {percent(about['valid_accuracy'])}"
    line = (
        f"model: {about['family']}, trial {about['trial']} of {about['study']}: validation {scores} "
        f"({about['valid_tracks']} tracks of {about['dataset']}, protocol {about['protocol']})"
    )
    doubts = _doubts(about["quick"], about["synthetic"])
    return f"{line}\nnote: {doubts}" if doubts else line


def model_card(results: StudyResults, trial: TrialRecord, input_spec: InputSpec) -> str:
    """Return the model card of a completed trial, as markdown."""
    sections = {
        "Trained on": _training(results),
        "Scores": _scores(results, trial),
        "Limits": _limits(results),
        "Licence": _licence(results, input_spec),
        "Made with": _origin(results, trial),
    }
    study = results.study
    head = (
        f"# {escape(study.family)}, trained on {escape(study.dataset.name)}\n\n"
        f"Names the genre of a piece of music, one of: {', '.join(map(escape, study.dataset.genres))}.\n\n"
        f"The architecture: {escape(study.description)}. It sees {escape(input_spec.describe())}; a track is cut into "
        "such crops, and the mean of their probabilities is the answer."
    )
    return "\n\n".join([head, *(f"## {title}\n\n{text}" for title, text in sections.items())]) + "\n"


def card_of(results: StudyResults, family: Family, number: int) -> str | None:
    """Return the model card of the trial with this number, or None where it is not among the completed ones."""
    trials = (trial for trial in results.trials if trial.number == number and number in results.predictions)
    return next((model_card(results, trial, family.input_spec_of(trial.params)) for trial in trials), None)


def _doubts(quick: bool, synthetic: bool) -> str:
    reasons = ["by a --quick study (small space, few epochs)"] * quick + ["on synthetic music"] * synthetic
    return f"trained {' '.join(reasons)}: good for trying the commands, not to rely on." if reasons else ""


def _training(results: StudyResults) -> str:
    data, protocol = results.study.dataset, results.study.protocol
    sizes = ", ".join(f"{count} {_PARTITIONS.get(name, name)}" for name, count in protocol.sizes.items() if count)
    lines = [
        f"{data.tracks} tracks of {escape(data.name)}{', which is synthetic' * data.synthetic}, split by the protocol "
        f"`{protocol.name}`: {sizes}. Fingerprint of the audio: `{data.fingerprint}`."
    ]
    if protocol.folds:
        lines.append(
            f"The model is the one of the last of {protocol.folds} folds, and did not train on that fold's tracks; the "
            "scores are those of all folds' models together."
        )
    if protocol.warning:
        lines.append(escape(protocol.warning))
    return "\n\n".join(lines)


def _scores(results: StudyResults, trial: TrialRecord) -> str:
    answers = results.predictions[trial.number]
    completed = sum(each.completed for each in results.trials)
    intervals = intervals_of(answers)
    return "\n\n".join(
        [
            f"On {len(answers.tracks)} validation tracks: accuracy {percent(trial.scores.valid_accuracy)} "
            f"({percent_range(intervals.accuracy)} at 95 %), macro F1 {ratio(trial.scores.valid_macro_f1)} "
            f"({ratio_range(intervals.macro_f1)}). Its best epoch, and the trial itself as one of {completed} "
            "completed, were chosen by these same tracks: expect less of other music.",
            _tested(results, trial),
            _as_of(results),
            genre_table(per_genre(answers)),
        ]
    )


def _tested(results: StudyResults, trial: TrialRecord) -> str:
    """Return what `harness final` says of the configuration, or of its search; the model itself was never tested."""
    finals = results.finals
    if finals is None:
        return "Nothing was tested on tracks that no choice saw; `harness final` does that."
    # With outer folds, a trial's number may be one of a smaller search: it says nothing of this configuration.
    of_test_set = finals.tested == "test"
    roles = {run.trial: run.role for run in finals.runs} if of_test_set else {}
    if roles and trial.number not in roles:
        others = " and ".join(f"trial {number}" for number in sorted(roles))
        return f"This configuration was not tested: `harness final` tested {others} of its study."
    scored = score_configuration(results, roles.get(trial.number, FinalRole.WINNER))
    if scored is None:
        where = "test set" if of_test_set else "outer folds"
        return f"`harness final` evaluated on the {where}, and no seed was scored on all of it."
    seeds = plural(len(scored.seeds), "fresh seed")
    scores = (
        f"accuracy {percent(scored.accuracy.mean)} ({percent_range(scored.accuracy_interval)} at 95 %), macro F1 "
        f"{ratio(scored.macro_f1.mean)}; means over seeds."
    )
    if not of_test_set:
        return (
            f"Its search was tested on {scored.tracks} tracks in outer folds, each with the winner that was chosen "
            f"without it, which may be another configuration than this, trained with {seeds}: {scores}"
        )
    line = (
        f"The same configuration, trained again with {seeds}, was tested on {scored.tracks} tracks that its "
        f"search never saw: {scores}"
    )
    if len(finals.openings) > 1:
        times = len(finals.openings)
        line += f" The test set was evaluated on {times} times: what was chosen later may follow what was seen."
    return line


def _as_of(results: StudyResults) -> str:
    """Return how much the card could know: a file that travels with a model is not renewed."""
    finals = results.finals
    known = "nothing was tested yet" if finals is None else f"had been tested, last after {finals.openings[-1].trials}"
    return (
        f"This card was written when its study had {plural(len(results.trials), 'trial')} and {known}. Where the model "
        "is registered in MLflow, the description of its version is the newest card; a file beside a model stays as it "
        "was written."
    )


def _limits(results: StudyResults) -> str:
    study = results.study
    lines = [
        "It knows no other genres, and always answers with one of these.",
        "Its probabilities are not calibrated: 0.9 does not mean right nine times of ten.",
        f"It needs {MIN_SECONDS} s of music that is not silent, and mixes it down to one channel.",
    ]
    if doubts := _doubts(study.quick, study.dataset.synthetic):
        lines.insert(0, f"{doubts[0].upper()}{doubts[1:]}")
    return "\n".join(f"- {line}" for line in lines)


def _licence(results: StudyResults, input_spec: InputSpec) -> str:
    lines = [
        "The code is under the MIT licence. What the weights may be used for depends on the music they were learnt "
        f"from: see to the licence of {escape(results.study.dataset.name)} before you pass the model on. (GTZAN comes "
        "without one.)"
    ]
    if input_spec.kind == "embedding":
        lines.append(f"It carries the frozen network {escape(input_spec.name)}, which is under a licence of its own.")
    return "\n\n".join(lines)


def _origin(results: StudyResults, trial: TrialRecord) -> str:
    study, made = results.study, results.study.provenance
    params = [[escape(name), escape(format_setting(setting))] for name, setting in trial.params.items()]
    return (
        f"Trial {trial.number} of `{study.name}`, epoch {trial.best_epoch} of {study.epochs}, seed {study.seed}; "
        f"{trial.parameters or 0:,} parameters. Device: {escape(made.device)}. Commit `{made.commit or 'unknown'}`; "
        f"{', '.join(f'{name} {version}' for name, version in made.versions.items())}.\n\n"
        f"{table(['Hyperparameter', 'Value'], params)}"
    )
