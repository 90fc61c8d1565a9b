"""The command line: wires the parts together. Imports nothing heavy before a command needs it."""

from __future__ import annotations

import json
import sys
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from harness.errors import DataError, HarnessError, UsageError

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
data_app = typer.Typer(no_args_is_help=True)
app.add_typer(data_app, name="data")

NO_COMPLETED_TRIAL = 3
INTERRUPTED = 130

Workspace = Annotated[Path, typer.Option(help="Folder with everything a benchmark produced.")]
TrackingUri = Annotated[str | None, typer.Option(metavar="URI", help="(default: the workspace's own)")]
Model = Annotated[str | None, typer.Option(metavar="URI|DIR", help="(default: the best model in the workspace)")]


def _families_beginning(incomplete: str) -> list[str]:
    """Return the names that a family's may be completed to, by its entry point alone: a key press loads no family."""
    names = sorted(entry.name for entry in entry_points(group="harness.families"))
    return [name for name in (*names, "all") if name.startswith(incomplete)]


def _version(asked: bool) -> None:
    if asked:
        typer.echo(version("harness"))
        raise typer.Exit


@app.callback()
def root(
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")] = False,
) -> None:
    """Which architecture classifies my music best within this GPU memory, by how much, and what would more buy?

    Examples:

        harness run all --quick

        harness data check ~/music

        harness --install-completion
    """


@app.command()
def run(
    families: Annotated[
        list[str],
        typer.Argument(metavar="FAMILY...|all", help="See: harness families.", autocompletion=_families_beginning),
    ],
    config: Annotated[Path | None, typer.Option(metavar="FILE.toml", help="Settings; options override them.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of genre folders. (default: the synthetic set)")] = None,
    protocol: Annotated[
        str | None, typer.Option(help="auto, random, fault_filtered, group, kfold:K or FILE.csv. (default: auto)")
    ] = None,
    groups: Annotated[Path | None, typer.Option(metavar="FILE.csv", help="Artists: track,artist.")] = None,
    trials: Annotated[int | None, typer.Option(help="Total of trials a family. (default: 20; 3 if --quick)")] = None,
    time_limit: Annotated[str | None, typer.Option(metavar="30m", help="For all families; split evenly.")] = None,
    trial_time_limit: Annotated[str | None, typer.Option(metavar="5m", help="Training time of one trial.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Most epochs a trial. (default: 30; 4 if --quick)")] = None,
    vram_budget: Annotated[
        str | None, typer.Option(metavar="8GiB", help="Most GPU memory that a trial may hold. (default: 8GiB)")
    ] = None,
    min_micro_batch: Annotated[int | None, typer.Option(help="Smallest micro-batch. (default: 8)")] = None,
    jobs: Annotated[str | None, typer.Option(metavar="N|auto", help="Trials at once. (default: 1)")] = None,
    seed: Annotated[int | None, typer.Option(help="(default: 0)")] = None,
    deterministic: Annotated[bool | None, typer.Option("--deterministic", help="Same bits on every run.")] = None,
    workspace: Annotated[Path | None, typer.Option(help="(default: workspace)")] = None,
    storage: Annotated[str | None, typer.Option(metavar="URL", help="Optuna's storage.")] = None,
    tracking_uri: Annotated[str | None, typer.Option(metavar="URI", help="MLflow's server or store.")] = None,
    device: Annotated[str | None, typer.Option(metavar="auto|cpu|gpu:N", help="(default: auto)")] = None,
    skip_bad: Annotated[bool | None, typer.Option("--skip-bad", help="Go on without unusable files.")] = None,
    embedding: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE|musicnn", help="What `pretrained` hears with: YAMNet's .tflite, a SavedModel's folder, …"
        ),
    ] = None,
    quick: Annotated[bool | None, typer.Option("--quick", help="Small spaces, few epochs, for two cores.")] = None,
    dry_run: Annotated[bool | None, typer.Option("--dry-run", help="Show the plan; train nothing.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Search the hyperparameters of one or more families, or go on with a search that was interrupted.

    Examples:

        harness run all --quick

        harness run cnn2d-fusion --data ~/music/genres --trials 30 --vram-budget 6GiB
    """
    from harness.console import LiveView, watching
    from harness.families import select
    from harness.search import benchmark, preview
    from harness.settings import run_settings

    options: dict[str, Any] = {
        **{"families": tuple(families), "data": data, "protocol": protocol, "groups": groups, "trials": trials},
        **{"time_limit": time_limit, "trial_time_limit": trial_time_limit, "epochs": epochs, "seed": seed},
        **{"vram_budget": vram_budget, "min_micro_batch": min_micro_batch, "deterministic": deterministic},
        **{"jobs": int(jobs) if jobs and jobs.isdecimal() else jobs, "workspace": workspace, "storage": storage},
        **{"tracking_uri": tracking_uri, "device": device, "skip_bad": skip_bad, "quick": quick, "dry_run": dry_run},
        "embedding": embedding or None,
    }
    settings = run_settings(options, config)
    view = LiveView(len(select(settings.families)), settings.workspace, settings.time_limit)
    try:
        with watching(as_json, view) as notify:
            if settings.dry_run:
                preview.dry_run(settings, notify)
                return
            results = benchmark.run(settings, notify)
    except KeyboardInterrupt:
        typer.echo("interrupted; the same command goes on from here", err=True)
        raise typer.Exit(INTERRUPTED) from None
    where = settings.workspace / "report" / "RESULTS.md"
    typer.echo(f"report: {where}\nbrowse: harness ui --workspace {settings.workspace}", err=as_json)
    if all(result.best is None for result in results):
        raise typer.Exit(NO_COMPLETED_TRIAL)


@app.command()
def final(
    families: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FAMILY...]", help="(default: all that were run)", autocompletion=_families_beginning),
    ] = None,
    workspace: Workspace = Path("workspace"),
    final_seeds: Annotated[int, typer.Option(min=1, help="Trainings of each configuration.")] = 3,
    reopen_test: Annotated[
        bool, typer.Option("--reopen-test", help="Open a test set again, after more trials; the report counts it.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Open the test set: train winner and baseline again with fresh seeds, and score them on it.

    Do it once, after the search. Without a test set (random, kfold), outer folds take its place.

    Examples:

        harness final --workspace workspace

        harness final cnn2d-fusion --final-seeds 5
    """
    from harness.console import watching
    from harness.search import final as opening

    try:
        with watching(as_json) as notify:
            results = opening.final(workspace, families or [], final_seeds, reopen_test, notify)
    except KeyboardInterrupt:
        typer.echo("interrupted; the same command goes on from here", err=True)
        raise typer.Exit(INTERRUPTED) from None
    typer.echo(f"report: {workspace / 'report' / 'RESULTS.md'}", err=as_json)
    if not any(result.finals and any(run.tracks for run in result.finals.runs) for result in results):
        raise typer.Exit(NO_COMPLETED_TRIAL)


@app.command()
def report(
    workspace: Workspace = Path("workspace"),
    tracking_uri: Annotated[str | None, typer.Option(metavar="URI", help="Read from MLflow instead.")] = None,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE.md", help="(default: WORKSPACE/report/RESULTS.md)")
    ] = None,
    inject: Annotated[
        Path | None, typer.Option(metavar="FILE.md", help="Renew the table between the markers of a document.")
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE.html", help="Write one page that needs nothing else; from a server, with links."),
    ] = None,
) -> None:
    """Write the comparison from stored results; twice in a row gives the same bytes.

    Examples:

        harness report --workspace workspace

        harness report --inject README.md

        harness report --html report.html

        harness report --tracking-uri http://localhost:5000 --output RESULTS.md
    """
    from reports import write

    studies = stored_studies(workspace, tracking_uri)
    if inject is not None:
        typer.echo(write.inject_into(inject, studies))
    if html is not None:
        typer.echo(write.write_page(studies, html, run_links(tracking_uri)))
    if (inject is None and html is None) or output is not None:
        for path in write.write_markdown(studies, output or workspace / "report" / "RESULTS.md"):
            typer.echo(path)


@app.command()
def predict(
    audio: Annotated[list[Path], typer.Argument(metavar="AUDIO...", help="Audio files.")],
    workspace: Workspace = Path("workspace"),
    model: Model = None,
    tracking_uri: TrackingUri = None,
    over_time: Annotated[bool, typer.Option("--over-time", help="Show what is heard when.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, with every crop.")] = False,
) -> None:
    """Name the genres of audio files, with probabilities; a file that cannot be read costs only itself.

    Examples:

        harness predict song.mp3 other.wav --over-time

        harness predict *.flac --json --model models:/gtzan-cnn2d-fusion@champion
    """
    from harness.inference.card import introduction
    from harness.inference.choice import opened
    from harness.inference.pipeline import Classifier, quiet
    from harness.inference.text import line, timeline
    from harness.settings import cache

    failed = False
    with opened(workspace, model, tracking_uri, cache()) as bundle:
        classifier = Classifier(bundle)
        typer.echo(introduction(classifier.about), err=True)
        for path in audio:
            try:
                with quiet():
                    heard = classifier.file(path)
            except DataError as error:
                typer.echo(f"error: {error}", err=True)
                failed = True
                continue
            if as_json:
                typer.echo(json.dumps({"file": str(path), **heard.record()}))
                continue
            typer.echo(f"{path}: {line(heard)}")
            if over_time:
                typer.echo("\n".join(timeline(heard)))
    if failed:
        raise typer.Exit(DataError.exit_code)


@app.command()
def export(
    directory: Annotated[Path, typer.Argument(metavar="DIR")],
    workspace: Workspace = Path("workspace"),
    model: Model = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Write a model to a new folder, with all that it needs, to be used without this program or given away.

    Examples:

        harness export my-model && python my-model/classify.py song.mp3
    """
    from harness.inference import bundle as bundles
    from harness.inference.card import introduction
    from harness.inference.choice import opened
    from harness.inference.pipeline import Classifier
    from harness.settings import cache

    bundles.check_new(directory)
    with opened(workspace, model, tracking_uri, cache()) as bundle:
        typer.echo(introduction(Classifier(bundle).about), err=True)
        bundles.export(bundle, directory)
    typer.echo(directory)


@app.command()
def ui(
    workspace: Workspace = Path("workspace"),
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int | None, typer.Option(help="(default: the first free one from 5000)")] = None,
) -> None:
    """Serve the MLflow UI of a workspace until Ctrl-C.

    Examples:

        harness ui

        harness ui --workspace workspace --port 8080
    """
    from harness.tracking.server import serve

    raise typer.Exit(serve(workspace, host, port, typer.echo))


@app.command()
def sync(
    workspace: Workspace = Path("workspace"),
    tracking_uri: TrackingUri = None,
) -> None:
    """Deliver to MLflow what it missed while it was away.

    Examples:

        harness sync --tracking-uri http://localhost:5000
    """
    from harness.search.benchmark import deliver

    delivered = deliver(workspace, tracking_uri)
    typer.echo(f"delivered {delivered} results")


@app.command()
def families(
    samples: Annotated[int, typer.Option(min=1, help="Configurations of a family whose memory is reckoned.")] = 200,
    markdown: Annotated[bool, typer.Option("--markdown", help="A page of documentation, without the memory.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Show every family with its input, its baseline, its space, and the GPU memory that the space asks for.

    The memory is reckoned from sampled configurations. The first time takes a few minutes; Ctrl-C does no harm.

    Examples:

        harness families --samples 50

        harness families --markdown
    """
    from harness.console import counting
    from harness.inspection import describe_families, families_page

    if markdown:
        typer.echo(families_page(), nl=False)
        return
    with counting("reckoning footprints") as progress:
        for text in describe_families(as_json, samples, progress):
            typer.echo(text)


@app.command()
def doctor(
    device: Annotated[str, typer.Option(metavar="auto|cpu|gpu:N")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """Say whether trials compute on a GPU, within what memory, how that is measured, and what to do about the rest.

    Examples:

        harness doctor

        harness doctor --device gpu:1 --json
    """
    from dataclasses import asdict

    from harness.doctor import diagnose

    for finding in diagnose(device):
        typer.echo(json.dumps(asdict(finding)) if as_json else finding)


@data_app.callback()
def data_root() -> None:
    """Make, fetch and check data sets.

    Examples:

        harness data check ~/music

        harness data fetch gtzan ~/gtzan
    """


@data_app.command("make")
def data_make(
    directory: Annotated[Path, typer.Argument(metavar="DIR")],
    artists: Annotated[int, typer.Option(help="Artists a genre.")] = 10,
    tracks: Annotated[int, typer.Option(help="Tracks an artist.")] = 2,
    seconds: Annotated[float, typer.Option(help="Length of a track.")] = 30.0,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Make a synthetic data set in GTZAN's layout; the same arguments give the same bytes.

    Examples:

        harness data make ~/synthetic --artists 5 --tracks 2 --seconds 12
    """
    from harness.audio import demo
    from harness.console import LiveView, watching
    from harness.search.events import Progress

    with watching(False, LiveView(0, directory)) as notify:
        demo.make(
            directory,
            artists=artists,
            tracks=tracks,
            seconds=seconds,
            seed=seed,
            progress=lambda done, total: notify(Progress("making tracks", done, total)),
        )
    typer.echo(directory)


@data_app.command("check")
def data_check(
    directory: Annotated[Path, typer.Argument(metavar="DIR")],
    groups: Annotated[Path | None, typer.Option(metavar="FILE.csv", help="Artists: track,artist.")] = None,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Say what is there, what cannot be used and why, what is there twice, and which protocols it can serve.

    Examples:

        harness data check ~/music

        harness data check ~/music --groups artists.csv
    """
    from harness.console import counting
    from harness.inspection import check_data

    with counting("reading tracks") as progress:
        for line in check_data(directory, groups, seed, progress):
            typer.echo(line)


@data_app.command("fetch")
def data_fetch(
    name: Annotated[Literal["gtzan"], typer.Argument(metavar="gtzan")],
    directory: Annotated[Path, typer.Argument(metavar="DIR")],
    url: Annotated[str | None, typer.Option(help="Another mirror's archive.")] = None,
) -> None:
    """Download a data set (gtzan: 1.2 GB, no licence), unpack it into DIR/genres, and check what arrived.

    The same command again goes on where it was cut. A copy got elsewhere is taken, too: DIR/genres.tar.gz.

    Examples:

        harness data fetch gtzan ~/gtzan
    """
    from harness.audio import fetch
    from harness.console import counting, receiving
    from harness.inspection import check_fetched

    with receiving(f"downloading {name}") as progress:
        fetch.fetch(directory, url or fetch.MIRROR, progress)
    with counting("reading tracks") as counted:
        for line in check_fetched(directory, counted):
            typer.echo(line)


def run_links(tracking_uri: str | None) -> Any:
    """Return where each tracked run is found on the web; nothing where records are read from a workspace."""
    if tracking_uri is None:
        return {}
    from harness.tracking.mlflow import links

    return links.run_links(tracking_uri)


def stored_studies(workspace: Path, tracking_uri: str | None) -> Any:
    """Return all studies with at least one ended trial, from a workspace or from an MLflow server."""
    if tracking_uri is not None:
        from harness.tracking.mlflow.reading import read_studies

        studies = read_studies(tracking_uri)
        where = tracking_uri
    else:
        from harness.tracking.ledger import Ledger

        ledger = Ledger(workspace)
        studies = tuple(ledger.results(study.study) for study in ledger.studies())
        where = str(workspace)
    found = [study for study in studies if study.trials]
    if not found:
        raise UsageError(f"{where}: holds no finished trial. Make some with: harness run all --quick")
    return found


def main() -> None:
    """Run the command line; a user's mistake is printed without a traceback."""
    try:
        app()
    except HarnessError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
