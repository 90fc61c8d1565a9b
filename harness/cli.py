"""The command line: wires the parts together. Imports nothing heavy before a command needs it."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.errors import HarnessError, UsageError

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
data_app = typer.Typer(no_args_is_help=True, help="Make and check data sets.")
app.add_typer(data_app, name="data")

NO_COMPLETED_TRIAL = 3
INTERRUPTED = 130

Workspace = Annotated[Path, typer.Option(help="Folder with everything a benchmark produced.")]


def _version(asked: bool) -> None:
    if asked:
        typer.echo(version("harness"))
        raise typer.Exit


@app.callback()
def root(
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")] = False,
) -> None:
    """Which architecture classifies my music best within this GPU memory, by how much, and what would more buy?"""


@app.command()
def run(
    families: Annotated[list[str], typer.Argument(metavar="FAMILY...|all", help="See: harness families.")],
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
    quick: Annotated[bool | None, typer.Option("--quick", help="Small spaces, few epochs, for two cores.")] = None,
    dry_run: Annotated[bool | None, typer.Option("--dry-run", help="Show the plan; train nothing.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Search the hyperparameters of one or more families, or go on with a search that was interrupted.

    Examples:

        harness run all --quick

        harness run cnn2d-fusion --data ~/music/genres --trials 30 --vram-budget 6GiB
    """
    from harness import console
    from harness.families import select
    from harness.search import benchmark, preview
    from harness.settings import run_settings

    options: dict[str, Any] = {
        **{"families": tuple(families), "data": data, "protocol": protocol, "groups": groups, "trials": trials},
        **{"time_limit": time_limit, "trial_time_limit": trial_time_limit, "epochs": epochs, "seed": seed},
        **{"vram_budget": vram_budget, "min_micro_batch": min_micro_batch, "deterministic": deterministic},
        **{"jobs": int(jobs) if jobs and jobs.isdecimal() else jobs, "workspace": workspace, "storage": storage},
        **{"tracking_uri": tracking_uri, "device": device, "skip_bad": skip_bad, "quick": quick, "dry_run": dry_run},
    }
    settings = run_settings(options, config)
    try:
        with console.watching(as_json, len(select(settings.families))) as notify:
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
        list[str] | None, typer.Argument(metavar="[FAMILY...]", help="(default: all that were run)")
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
    from harness import console
    from harness.search import final as opening

    try:
        with console.watching(as_json, 0, table=False) as notify:
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
) -> None:
    """Write the comparison from stored results; twice in a row gives the same bytes."""
    from reports import render

    studies = stored_studies(workspace, tracking_uri)
    if inject is not None:
        typer.echo(render.inject_into(inject, studies))
    if inject is None or output is not None:
        for path in render.write(studies, output or workspace / "report" / "RESULTS.md"):
            typer.echo(path)


@app.command()
def ui(
    workspace: Workspace = Path("workspace"),
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int | None, typer.Option(help="(default: the first free one from 5000)")] = None,
) -> None:
    """Serve the MLflow UI of a workspace until Ctrl-C."""
    from harness.tracking.server import serve

    raise typer.Exit(serve(workspace, host, port, typer.echo))


@app.command()
def sync(
    workspace: Workspace = Path("workspace"),
    tracking_uri: Annotated[str | None, typer.Option(metavar="URI", help="(default: the workspace's own)")] = None,
) -> None:
    """Deliver to MLflow what it missed while it was away."""
    from harness.search.benchmark import deliver

    delivered = deliver(workspace, tracking_uri)
    typer.echo(f"delivered {delivered} results")


@app.command()
def families(
    samples: Annotated[int, typer.Option(min=1, help="Configurations of a family whose memory is reckoned.")] = 200,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Show every family with its input, its baseline, its space, and the GPU memory that the space asks for.

    The memory is reckoned from sampled configurations. The first time takes a few minutes; Ctrl-C does no harm.
    """
    from harness import console
    from harness.inspection import describe_families

    with console.counting("reckoning footprints") as progress:
        for text in describe_families(as_json, samples, progress):
            typer.echo(text)


@app.command()
def doctor(device: Annotated[str, typer.Option(metavar="auto|cpu|gpu:N")] = "auto") -> None:
    """Say what will be measured, and how: GPU, driver, source, framework, storage."""
    from harness.inspection import diagnose

    for line in diagnose(device):
        typer.echo(line)


@data_app.command("make")
def data_make(
    directory: Annotated[Path, typer.Argument(metavar="DIR")],
    artists: Annotated[int, typer.Option(help="Artists a genre.")] = 10,
    tracks: Annotated[int, typer.Option(help="Tracks an artist.")] = 2,
    seconds: Annotated[float, typer.Option(help="Length of a track.")] = 30.0,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Make a synthetic data set in GTZAN's layout; the same arguments give the same bytes."""
    from harness import console
    from harness.audio import demo
    from harness.search.events import Progress

    with console.watching(False, 0) as notify:
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
    """Say what is there, what cannot be used and why, what is there twice, and which protocols it can serve."""
    from harness.inspection import check_data

    for line in check_data(directory, groups, seed):
        typer.echo(line)


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
