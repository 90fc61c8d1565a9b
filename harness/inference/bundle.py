"""Writing a trained model as a folder that works by itself, and one that is ready to be given away.

    FOLDER/model.keras     the network
    FOLDER/labels.json     the genres, in the order of its answers
    FOLDER/model.json      what preprocessing needs, and what the model is
    FOLDER/network/        the frozen network whose embeddings a model is trained on, where it is
    FOLDER/MODEL_CARD.md   for readers

`harness export` adds the code that reads it, `classify.py` as an example, its requirements, and a README.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import distributions, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import harness
from harness.errors import UsageError
from harness.features.embeddings.extractor import Extractor
from harness.features.input_spec import InputSpec
from harness.files import writing
from harness.inference.pipeline import ABOUT, LABELS, MODEL, NETWORK
from harness.paths import PathState, path_state
from harness.records.base import FORMAT

CARD = "MODEL_CARD.md"
PACKAGE = Path(harness.__file__).parent
"""The code that goes with a model, in an export and in MLflow alike. It goes whole: what of it a model uses is seen by
nobody but Python, and all of it is small beside a network."""

_EXAMPLE = PACKAGE / "inference" / "example.py"
_REQUIRED = ("keras", "librosa", "numpy", "pydantic", "soundfile", "soxr", "threadpoolctl", "tensorflow")
_README = """\
# A music genre classifier

`MODEL_CARD.md` says what it was trained on, how good it is, and where its limits are.

```
pip install -r requirements.txt
python classify.py song.mp3 other.wav
```

`classify.py` is short: read it to use the model in a program of your own. It needs this folder and nothing else.

| file | |
| --- | --- |
| `model.keras` | the network, for Keras 3 |
| `labels.json` | the genres, in the order of its answers |
| `model.json` | what the network sees of a track, and what the model is |
| `code/` | `harness`, of which `classify.py` uses decoding, features, crops and votes; under the licence in `LICENSE` |
"""


def write_bundle(
    folder: Path,
    model: Path,
    input_spec: InputSpec,
    genres: Sequence[str],
    about: Mapping[str, Any],
    card: str,
    extractor: Extractor | None = None,
) -> None:
    """Write a bundle.

    Args:
        folder: made if it is not there.
        model: the saved Keras model.
        input_spec: what it sees of a track.
        genres: its answers, in order.
        about: what the model is, as JSON can hold it; see `harness.inference.card.facts`.
        card: the model card, as markdown.
        extractor: the frozen network that embeds a track, where its input is an embedding.

    Raises:
        WorkspaceError: the folder cannot be written.
    """
    content: dict[str, Any] = {"format": FORMAT, "input_spec": asdict(input_spec), "about": dict(about)}
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(model, folder / MODEL)
        if extractor is not None:
            # Its suffix says what it is; the names of its parents may be anything.
            content["network"] = extractor.path.name
            copy = shutil.copytree if extractor.path.is_dir() else shutil.copyfile
            (folder / NETWORK).mkdir(exist_ok=True)
            copy(extractor.path, folder / NETWORK / extractor.path.name)
        (folder / LABELS).write_text(_json(list(genres)), encoding="utf-8")
        (folder / ABOUT).write_text(_json(content), encoding="utf-8")
        (folder / CARD).write_text(card, encoding="utf-8")


def export(bundle: Path, folder: Path) -> None:
    """Write a bundle to `folder` together with the code that it needs, an example and a README; all of it, or nothing.

    Raises:
        UsageError: the folder is not empty, or cannot be written; or this installation lacks the licence.
    """
    check_new(folder)
    licence = _licence()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as beside:
            made = Path(beside, "made")
            made.mkdir()
            for part in (MODEL, LABELS, ABOUT, CARD, NETWORK):
                if (bundle / part).is_dir():
                    shutil.copytree(bundle / part, made / part)
                elif (bundle / part).exists():
                    shutil.copyfile(bundle / part, made / part)
            shutil.copytree(PACKAGE, made / "code" / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
            shutil.copyfile(_EXAMPLE, made / "classify.py")
            (made / "requirements.txt").write_text("\n".join([*requirements(), ""]), encoding="utf-8")
            (made / "README.md").write_text(_README, encoding="utf-8")
            (made / "LICENSE").write_text(licence, encoding="utf-8")
            made.rename(folder)
    except OSError as error:
        raise UsageError(f"{folder}: cannot be written ({error}). Name another folder.") from error


def check_new(folder: Path) -> None:
    """Make sure that an export harms nothing.

    Raises:
        UsageError: the folder is there, and not empty, or cannot be looked into.
    """
    state = path_state(folder)
    try:
        free = not state.exists or (state.kind == "folder" and not any(folder.iterdir()))
    except OSError as error:
        state, free = PathState("unreadable", error.strerror or str(error)), False
    if state.kind == "unreadable":
        raise UsageError(f"{folder}: {state.said('')}. Name another folder.")
    if not free:
        raise UsageError(f"{folder}: is there, and not empty. Name a new folder.")


def requirements() -> list[str]:
    """Return what must be installed to use a bundle, in the versions that are installed here."""
    return [f"{name}=={version(name)}" for name in _REQUIRED]


def _licence() -> str:
    # In the folder of a clone, what an editable installation left beside the code is found first, and has none.
    texts = (found.read_text("licenses/LICENSE") for found in distributions(name=PACKAGE.name))
    text = next(filter(None, texts), None)
    if text is None:
        raise UsageError(
            f"{PACKAGE}: is installed without its licence, which must go with its code. Install it with pip."
        )
    return text


def _json(content: Any) -> str:
    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
