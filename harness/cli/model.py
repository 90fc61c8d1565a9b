"""`harness predict` and `harness export`: a trained model in use, and given away."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import Model, TrackingUri, Workspace
from harness.errors import DataError
from harness.paths import printable


def predict(
    audio: Annotated[
        list[Path], typer.Argument(metavar="AUDIO...", readable=False, help="Audio files, or folders of them.")
    ],
    workspace: Workspace = Path("workspace"),
    model: Model = None,
    tracking_uri: TrackingUri = None,
    over_time: Annotated[bool, typer.Option("--over-time", help="Show which genre comes when.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, with every crop.")] = False,
) -> None:
    """Name the genres of audio files, with probabilities; a file that cannot be read costs only itself.

    Examples:

        harness predict song.mp3 other.wav --over-time

        harness predict ~/music/new

        harness predict *.flac --json --model models:/gtzan-cnn2d-fusion@champion
    """
    from harness.inference.card import introduction
    from harness.inference.text import line, timeline
    from harness.workflows.model import classify, open_classifier

    failed = False
    with open_classifier(workspace, model, tracking_uri) as classifier:
        typer.echo(introduction(classifier.about), err=True)
        for path, answer in classify(classifier, audio):
            if isinstance(answer, DataError):
                typer.echo(f"error: {printable(str(answer))}", err=True)
                failed = True
            elif as_json:
                typer.echo(json.dumps({"file": str(path), **answer.record()}))
            else:
                typer.echo(
                    "\n".join([f"{printable(str(path))}: {line(answer)}", *(timeline(answer) if over_time else [])])
                )
    if failed:
        raise typer.Exit(DataError.exit_code)


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
    from harness.workflows.model import export_model

    typer.echo(export_model(directory, workspace, model, tracking_uri), err=True)
    typer.echo(directory)
