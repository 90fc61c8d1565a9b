"""`harness data`: data sets made, fetched and checked, and their tables of artists."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from harness.cli.command import Commands
from harness.paths import printable

data_app = Commands()


@data_app.callback()
def data_root() -> None:
    """Make, fetch and check data sets.

    Examples:

        harness data check ~/music

        harness data artists ~/music

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
    from harness.console import LiveView, watching
    from harness.events import counter
    from harness.synthetic import dataset as synthetic

    with watching(False, LiveView(0, directory)) as notify:
        synthetic.make(
            directory,
            artists=artists,
            tracks=tracks,
            seconds=seconds,
            seed=seed,
            progress=counter(notify, "making tracks"),
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
    from harness.workflows.check_data import check_data

    with counting("reading tracks") as progress:
        for line in check_data(directory, groups, seed, progress):
            typer.echo(printable(line))


@data_app.command("artists")
def data_artists(
    directory: Annotated[Path, typer.Argument(metavar="DIR")],
    output: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="(default: artists.csv beside the genre folders)")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a table that is there.")] = False,
) -> None:
    """Write the table of artists from the tags of the files, for the protocol `group`.

    Examples:

        harness data artists ~/music

        harness data artists ~/music --output artists.csv
    """
    from harness.console import counting
    from harness.workflows.artists import write_artists

    with counting("reading tags") as progress:
        for line in write_artists(directory, output, force, progress):
            typer.echo(printable(line))


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
    from harness.console import counting, receiving
    from harness.datasets import gtzan
    from harness.workflows.check_data import check_fetched

    with receiving(f"downloading {name}") as progress:
        gtzan.fetch(directory, url or gtzan.MIRROR, progress)
    with counting("reading tracks") as counted:
        for line in check_fetched(directory, counted):
            typer.echo(printable(line))
