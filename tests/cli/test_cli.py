"""The command line as its user meets it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
import pytest
from mlflow import MlflowClient

from harness import cli
from harness.families import families
from harness.records.trial import Outcome, RunningTrial, TrialRecord
from harness.settings import run_settings
from harness.testing.records import RECORD
from harness.tracking.ledger import Ledger
from harness.workspace import Workspace
from tests.helpers.audio import RATE, song, write_audio
from tests.helpers.command import Benchmark, command, trial_numbers

Harness = Callable[..., tuple[int, str, str]]


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Harness:
    """Run a light command in this process, in an empty folder: its exit status, and what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["harness", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    return run


def test_help_names_every_command(harness: Harness) -> None:
    status, out, _ = harness("--help")
    assert status == 0
    for name in ("run", "report", "ui", "data", "families", "doctor", "sync"):
        assert re.search(rf"\b{name}\b", out)


@pytest.mark.parametrize("command", [[], ["run"], ["data", "check"]])
def test_a_help_text_loads_nothing_heavy(command: list[str]) -> None:
    code = """import sys
before = set(sys.modules)
from harness import cli
try:
    cli.main()
finally:
    print(*sys.modules.keys() - before, file=sys.stderr)"""
    asked = [sys.executable, "-c", code, *command, "--help"]
    done = subprocess.run(asked, capture_output=True, text=True, check=True)
    assert "Usage: " in done.stdout
    slow = {"tensorflow", "keras", "mlflow", "optuna", "librosa", "matplotlib", "sklearn", "scipy", "numpy"}
    assert (slow | {"rich", "psutil"}).isdisjoint(done.stderr.split())
    # Where pydantic builds a model, it looks for plug-ins in all distributions; Typer makes it do so for a command.
    assert command or "importlib.metadata" not in done.stderr.split()


def test_a_list_of_commands_says_what_each_does_in_a_whole_sentence(harness: Harness) -> None:
    for group in ([], ["data"]):
        _, out, _ = harness(*group, "--help")
        commands = out.partition("Commands:")[2]
        assert "..." not in commands
        assert commands.count(".\n") >= 4


def test_families_are_listed_with_space_baseline_and_footprints(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    status, out, _ = harness("families", "--samples", 2)
    assert status == 0
    for family in families().values():
        assert f"{family.name}: {family.description}" in out
    assert out.count("footprint at micro-batch 8: ") == len(families())
    # What was estimated once is known.
    monkeypatch.setattr("harness.workflows.list_families.ForkServer.start", lambda: pytest.fail("a server was started"))
    status, out, _ = harness("families", "--samples", 2, "--json")
    described = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert [each["family"] for each in described] == list(families())
    for each in described:
        assert each["baseline"].keys() <= each["space"].keys()
        assert len(each["footprint_bytes"]) == 2
        assert min(each["footprint_bytes"]) > 2**20


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cnn2d-mfc"], "no family is called 'cnn2d-mfc'. Did you mean 'cnn2d-mfcc'?"),
        (["all", "--vram-budget", "8"], "--vram-budget: '8' is not a size. Write a positive number with its unit"),
        (["all", "--time-limit", "soon"], "--time-limit: 'soon' is not a duration. Write a positive number"),
        (["all", "--trials", "0"], "--trials: Input should be greater than or equal to 1, not 0."),
        (["all", "--jobs", "0"], "--jobs: 0 trials at once are too few. Give a positive number, or auto."),
        (["all", "--config", "none.toml"], "--config none.toml: cannot be read (No such file or directory)"),
        (["all", "--config", "odd.toml"], "odd.toml: no setting is called 'trails'. Did you mean 'trials'?"),
        (["all", "--config", "wrong.toml"], "wrong.toml: vram_budget: 'much' is not a size"),
        (["all", "--config", "broken.toml"], "--config broken.toml: not valid TOML"),
        (["all", "--config", "number.toml"], "number.toml: embedding: a text, or a list of texts, at least one, is"),
        (["all", "--config", "nothing.toml"], "nothing.toml: embedding: a text, or a list of texts, at least one, is"),
        (
            ["all", "--config", "size.toml"],
            "size.toml: vram_budget: '8' is not a size. Write a positive number with its",
        ),
        (["all", "--config", "time.toml"], "time.toml: time_limit: '90.5' is not a duration. Write a positive number"),
        (["all", "--seed", "4294967296"], "--seed: Input should be less than or equal to 4294967295, not 4294967296."),
        (
            ["all", "--tracking-uri", "127.0.0.1:5000"],
            "127.0.0.1:5000: http:// is missing. Write http://127.0.0.1:5000",
        ),
        (
            ["all", "--tracking-uri", "gpubox:5000/ml"],
            "gpubox:5000/ml: http:// is missing. Write http://gpubox:5000/ml",
        ),
        (["all", "--tracking-uri", "runs"], "--tracking-uri: runs: neither a server nor a database; MLflow keeps no"),
        (
            ["all", "--tracking-uri", "file:///folder/runs"],
            "file:///folder/runs: neither a server nor a database; MLflow",
        ),
        (
            ["all", "--tracking-uri", "htp://me:geheim@box"],
            "htp://me:***@box: MLflow knows no address that begins with",
        ),
    ],
)
def test_a_mistake_is_named_without_a_traceback(harness: Harness, arguments: list[str], message: str) -> None:
    Path("odd.toml").write_text("trails = 5\n")
    Path("wrong.toml").write_text('vram_budget = "much"\n')
    Path("broken.toml").write_text("trials =\n")
    Path("number.toml").write_text("embedding = 5\n")
    Path("nothing.toml").write_text("embedding = []\n")
    Path("size.toml").write_text("vram_budget = 8\n")
    Path("time.toml").write_text("time_limit = 90.5\n")
    status, out, err = harness("run", *arguments)
    assert status == 2
    assert err.startswith("error: ")
    assert message in err
    assert out == ""
    assert not Path("workspace").exists()


def test_one_embedding_needs_no_list(tmp_path: Path) -> None:
    (tmp_path / "one.toml").write_text('embedding = "y.tflite"\n')
    assert run_settings({}, tmp_path / "one.toml").dataset.embedding == ("y.tflite",)


def test_an_unknown_option_is_wrong_usage(harness: Harness) -> None:
    status, _, err = harness("run", "all", "--epoch", "3")
    assert status == 2
    assert "--epochs" in err


def test_a_tilde_is_a_home_folder_in_every_path(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("HOME", str(home))
    (tmp_path / "own.toml").write_text(
        'data = "~/music"\ngroups = "~/artists.csv"\nprotocol = "~/split.csv"\nembedding = ["~/net", "musicnn"]\n'
        'workspace = "~/ws"\nstorage = "sqlite:///~/studies.db"\ntracking_uri = "sqlite:///~/mlflow.db"\n'
    )
    settings = run_settings({}, tmp_path / "own.toml")
    music, stores = settings.dataset, settings.stores
    assert (music.data, music.groups, stores.workspace) == (home / "music", home / "artists.csv", home / "ws")
    assert (music.protocol, music.embedding) == (f"{home}/split.csv", (f"{home}/net", "musicnn"))
    assert (stores.storage, stores.tracking_uri) == (f"sqlite:///{home}/studies.db", f"sqlite:///{home}/mlflow.db")
    for arguments in (
        ("data", "check", "~/music"),
        ("run", "all", "--data=~/music", "--workspace=~/ws"),
        ("report", "--workspace=~/ws"),
        ("ui", "--workspace=~/ws"),
        ("predict", "x.wav", "--model=~/net"),
        ("run", "all", "--config=~/own.toml"),
    ):
        status, _, err = harness(*arguments)
        assert status == 2
        assert f"{home}/" in err
    # Nothing was made where the user stands, nor a workspace for data that are not there.
    assert [path.name for path in tmp_path.iterdir()] == ["own.toml"]


def test_a_name_that_the_terminal_cannot_show_ends_no_command(tmp_path: Path) -> None:
    for genre in ("blues – slow", "jazz"):
        for number in range(2):
            samples = np.random.default_rng(number + 2 * len(genre)).normal(0, 0.1, RATE * 16 // 5)
            write_audio(tmp_path / f"Müsik – 音/{genre}/{number}.wav", samples.astype(np.float32))
    order = command("data", "check", tmp_path / "Müsik – 音")
    done = subprocess.run(order, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "latin-1"})
    assert (done.returncode, done.stderr) == (0, b"")
    assert rb"genres: blues \u2013 slow, jazz" in done.stdout or rb"blues \u2013 slow" in done.stdout


SLEEPER = """
import signal, sys, time
# What a shell starts in the background is told to ignore it, and so is whatever that starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
from contextlib import contextmanager
import harness.workflows.run
from harness import cli

def run(settings, families, notify):
    try:
        print("running", flush=True)
        for _ in range(600):  # a signal that comes just before one of these waits for its end
            time.sleep(0.1)
    finally:
        print("closed", flush=True)

harness.workflows.run.run = run
sys.argv = ["harness", "run", "cnn2d-mfcc"]
cli.main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_end_is_answered_with_one_line(number: signal.Signals) -> None:
    started = subprocess.Popen(
        [sys.executable, "-c", SLEEPER], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert started.stdout is not None
    assert started.stdout.readline() == "running\n"
    started.send_signal(number)
    out, err = started.communicate(timeout=60)
    assert (started.returncode, out, err) == (
        128 + number,
        "closed\n",
        "interrupted; the same command goes on from here\n",
    )


def test_what_was_started_to_ignore_a_closed_terminal_goes_on_without_it() -> None:
    code = "import os, signal; from harness.interruption import *; interrupt_on_signals(); os.kill(os.getpid(), 1)"
    done = subprocess.run(["nohup", sys.executable, "-c", f"{code}; print('on')"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "on\n")


def test_programs_that_are_started_end_as_usual() -> None:
    tell = "import signal; print([signal.getsignal(each) for each in (1, 15)] == 2 * [signal.SIG_DFL])"
    code = f"import subprocess, sys; from harness.interruption import *; interrupt_on_signals(); o = {tell!r}"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; subprocess.run([sys.executable, '-c', o])"], capture_output=True, text=True
    )
    assert done.stdout == "True\n"


def test_a_closed_terminal_keeps_nothing_from_being_closed(tmp_path: Path) -> None:
    parent, child = os.openpty()
    code = SLEEPER.replace('print("closed", flush=True)', f"print('closed'); open({str(tmp_path / 'end')!r}, 'w')")
    started = subprocess.Popen(
        [sys.executable, "-c", code], stdin=child, stdout=child, stderr=child, start_new_session=True
    )
    os.close(child)
    shown = b""
    while b"running" not in shown:
        shown += os.read(parent, 100)
    os.close(parent)
    started.send_signal(signal.SIGHUP)
    assert started.wait(60) == 128 + signal.SIGHUP
    assert (tmp_path / "end").exists()


def test_a_report_of_nothing_says_how_to_make_results(harness: Harness) -> None:
    status, _, err = harness("report", "--workspace", "empty")
    assert status == 2
    advice = "Make some with: harness run all --workspace empty --quick"
    assert err == f"error: empty: holds no finished trial. {advice}\n"
    status, _, err = harness("report", "--tracking-uri", "sqlite:///nowhere.db")
    assert status == 2
    assert "nowhere.db: there is no MLflow store" in err
    status, _, err = harness("report", "--tracking-uri", "localhost:5000")
    assert (status, err.splitlines()[0][:42]) == (2, "error: localhost:5000: http:// is missing.")


def test_a_folder_without_music_is_named(harness: Harness, tmp_path: Path) -> None:
    status, _, err = harness("data", "check", tmp_path / "nowhere")
    assert status == 2
    assert "no such folder" in err


def test_one_recording_in_two_codings_is_told_from_copies(harness: Harness, tmp_path: Path) -> None:
    for seed, name in enumerate(("blues/one", "blues/two", "rock/three", "rock/copy")):
        write_audio(tmp_path / f"{name}.wav", song(min(seed, 2), 4.0), 22_050)
    write_audio(tmp_path / "blues/other.mp3", song(1, 4.0), 22_050)

    status, out, err = harness("data", "check", tmp_path)

    assert status == 0, err
    assert "replicas: 2\n  the same audio: copy, three\n  the same recording in another coding: other, two\n" in out


def test_gtzan_is_known_by_its_names(harness: Harness, tmp_path: Path) -> None:
    genres = ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock")
    samples = np.random.default_rng(0).normal(0, 0.1, (1000, RATE * 16 // 5)).astype(np.float32)
    for number, track in enumerate(samples):
        genre = genres[number // 100]
        write_audio(tmp_path / f"gtzan/genres/{genre}/{genre}.{number % 100:05d}.wav", track)
    status, out, err = harness("data", "check", tmp_path / "gtzan")
    assert status == 0, err
    assert "gtzan: 1000 tracks, 10 genres" in out
    assert "fault_filtered: 443 train, 197 valid, 290 test, 70 excluded" in out


def completed(benchmark: Benchmark) -> list[TrialRecord]:
    ledger = Ledger(Workspace(benchmark.workspace))
    return [trial for study in ledger.studies() for trial in ledger.trials(study.name) if trial.completed]


@pytest.mark.slow
def test_a_run_says_what_it_did(benchmark: Benchmark) -> None:
    """Runs a search."""
    first = benchmark.first
    assert first.returncode == 0, first.stderr
    assert trial_numbers(first.stdout) == {"cnn2d-mfcc": [0, 1], "cnn2d-fusion": [0, 1]}
    assert f"report: {benchmark.workspace}/report/RESULTS.md" in first.stderr
    assert "Traceback" not in first.stderr
    for trial in completed(benchmark):
        assert len(trial.epochs) == 2
        assert trial.memory.reading.source == "none"
        assert trial.memory.model_footprint_bytes


@pytest.mark.slow
def test_the_same_command_again_trains_nothing(benchmark: Benchmark) -> None:
    """Runs a search."""
    assert benchmark.again.returncode == 0, benchmark.again.stderr
    assert trial_numbers(benchmark.again.stdout) == {}


@pytest.mark.slow
def test_one_more_trial_is_one_more_for_each_family(benchmark: Benchmark) -> None:
    """Runs a search."""
    status, written = benchmark.more
    assert status == 0, written
    ledger = Ledger(Workspace(benchmark.workspace))
    for study in ledger.studies():
        assert [trial.number for trial in ledger.trials(study.name)] == [0, 1, 2]
        assert f"{study.family} 2" in written
        assert f"{study.family} 1" not in written


@pytest.mark.slow
def test_a_report_has_the_same_bytes_every_time_and_from_mlflow(
    benchmark: Benchmark, harness: Harness, tmp_path: Path
) -> None:
    """Runs a search."""
    uri = Workspace(benchmark.workspace).mlflow_url
    written = {}
    for name, source in {
        "one": ("--workspace", benchmark.workspace),
        "two": ("--workspace", benchmark.workspace),
        "three": ("--tracking-uri", uri),
    }.items():
        status, _, err = harness("report", *source, "--output", tmp_path / name / "RESULTS.md")
        assert status == 0, err
        written[name] = {
            path.relative_to(tmp_path / name): path.read_bytes()
            for path in (tmp_path / name).rglob("*")
            if path.is_file()
        }
    assert len(written["one"]) > 1
    assert written["one"] == written["two"]
    assert written["one"] == written["three"]
    assert (benchmark.workspace / "report/RESULTS.md").read_bytes() == written["one"][Path("RESULTS.md")]


@pytest.mark.slow
def test_mlflow_shows_every_trial_with_its_pictures_and_the_champions(benchmark: Benchmark) -> None:
    """Runs a search."""
    client = MlflowClient(Workspace(benchmark.workspace).mlflow_url)
    (experiment,) = (each for each in client.search_experiments() if each.name.startswith("tones/"))
    runs = client.search_runs([experiment.experiment_id], "tags.kind = 'trial'")
    shown = {(run.data.tags["study"], int(run.data.tags["trial"])): run for run in runs}
    ledger = Ledger(Workspace(benchmark.workspace))
    kept = {(trial.study, trial.number) for study in ledger.studies() for trial in ledger.trials(study.name)}
    assert len(runs) == len(shown)
    assert shown.keys() == kept
    assert completed(benchmark)
    for trial in completed(benchmark):
        run = shown[trial.study, trial.number]
        assert run.info.status == "FINISHED"
        assert run.data.metrics["valid_macro_f1"] == trial.scores.valid_macro_f1
        names = {item.path for item in client.list_artifacts(run.info.run_id)}
        assert {"confusion_matrix.png", "confusion_matrix.json", "per_genre.csv", "predictions.npz"} <= names
        picture = Path(client.download_artifacts(run.info.run_id, "confusion_matrix.png")).read_bytes()
        assert picture.startswith(b"\x89PNG")
    for family in ("cnn2d-mfcc", "cnn2d-fusion"):
        assert client.get_model_version_by_alias(f"tones-{family}", "champion")


def until_a_trial_ends(process: subprocess.Popen[str]) -> list[int]:
    """Read what a run prints up to the first end of a trial; its number, or nothing if the run ended before."""
    assert process.stdout is not None
    for line in process.stdout:
        event: dict[str, Any] = json.loads(line)
        if event["event"] == "trial":
            return [event["trial"]]
    return []


@pytest.mark.slow
def test_a_run_that_is_killed_and_interrupted_ends_as_an_undisturbed_one(
    benchmark: Benchmark, tones: Path, tmp_path: Path
) -> None:
    """Runs a search three times."""
    order = command("run", "cnn2d-mfcc", *benchmark.options, "--json", "--trials", 3, "--workspace", tmp_path / "work")
    ended: list[int] = []
    for sign in (signal.SIGKILL, signal.SIGINT):
        with subprocess.Popen(
            order, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        ) as process:
            ended += until_a_trial_ends(process)
            # Ctrl-C reaches every process of the terminal's group.
            os.killpg(process.pid, sign) if sign is signal.SIGINT else process.kill()
            out, err = process.communicate()
        ended += trial_numbers(out).get("cnn2d-mfcc", [])
        # On a busy machine all trials may have ended before the signal comes.
        if sign is signal.SIGINT and 2 not in ended:
            assert process.returncode == 130, err
            assert "interrupted; the same command goes on from here" in err
            assert "Traceback" not in err
    last = subprocess.run(order, capture_output=True, text=True)
    assert last.returncode == 0, last.stderr
    ended += trial_numbers(last.stdout).get("cnn2d-mfcc", [])
    assert len(ended) == len(set(ended))

    def scores(workspace: Path) -> list[tuple[int, Outcome, dict[str, Any], float | None, list[float]]]:
        ledger = Ledger(Workspace(workspace))
        (study,) = (study for study in ledger.studies() if study.family == "cnn2d-mfcc")
        return [
            (
                trial.number,
                trial.outcome,
                trial.params,
                trial.scores.valid_macro_f1,
                [epoch.loss for epoch in trial.epochs],
            )
            for trial in ledger.trials(study.name)
        ]

    assert scores(tmp_path / "work") == scores(benchmark.workspace)


def test_studies_are_written_for_optuna_dashboard(harness: Harness, tmp_path: Path) -> None:
    ledger = Ledger(Workspace(tmp_path / "ws"))
    study = ledger.open_study(RECORD.model_copy(update={"family": "cnn1d-raw", "name": "cnn1d-raw-1"}))
    ledger.open_study(RECORD)
    params = dict(families()["cnn1d-raw"].baseline)
    ledger.write_trial(
        TrialRecord(family=study.family, study=study.name, number=0, outcome=Outcome.CRASHED, params=params), None
    )
    ledger.running.write(RunningTrial(study=study.name, number=1, params=params))
    # Not the workspace's owner, and so while a run goes on.
    with Workspace(tmp_path / "ws").lock():
        status, out, err = harness("sync", "--workspace", tmp_path / "ws", "--optuna", tmp_path / "studies.db")
    assert (status, err) == (0, "")
    *notes, last = out.splitlines()
    assert last == f"{tmp_path / 'studies.db'}: 1 study"
    assert "left out of" in " ".join(notes)
    (found,) = optuna.get_all_study_summaries(f"sqlite:///{tmp_path / 'studies.db'}")
    assert (found.study_name, found.n_trials) == (study.name, 2)
    assert not (tmp_path / "ws" / "mlflow.db").exists()
    both = ("--optuna", tmp_path / "studies.db", "--tracking-uri", "http://localhost:1")
    status, out, err = harness("sync", "--workspace", tmp_path / "ws", *both)
    assert (status, out) == (2, "")
    assert "Give one of the two." in err


@pytest.mark.parametrize(
    ("given", "browse"),
    [
        ([], "harness ui --workspace ws"),
        (["--tracking-uri", "http://me:ge heim@127.0.0.1:1"], "http://me:***@127.0.0.1:1"),
    ],
)
def test_a_run_ends_with_where_its_results_are_browsed(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, given: list[str], browse: str
) -> None:
    results = (SimpleNamespace(trials=(1,), best=1),)
    monkeypatch.setattr("harness.workflows.run.run", lambda settings, families, notify: results)
    status, out, err = harness("run", "cnn2d-mfcc", "--workspace", "ws", *given)
    assert (status, err) == (0, "")
    assert out.splitlines() == ["report: ws/report/RESULTS.md", f"browse: {browse}"]
