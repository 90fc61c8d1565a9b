"""Writing a trained model as a folder that works by itself, and one that is ready to be given away.

    FOLDER/model.keras     the network
    FOLDER/labels.json     the genres, in the order of its answers
    FOLDER/model.json      what preprocessing needs, and what the model is
    FOLDER/network/        the frozen network that a model on embeddings hears with
    FOLDER/MODEL_CARD.md   for readers

`harness export` adds the code that reads it, `classify.py` as an example, its requirements, and a README.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, distribution, version
from modulefinder import Module, ModuleFinder
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import harness
from harness.errors import UsageError
from harness.features.embeddings.extractor import Extractor
from harness.features.input_spec import InputView
from harness.inference.pipeline import ABOUT, LABELS, MODEL, NETWORK

CARD = "MODEL_CARD.md"
PACKAGE = Path(harness.__file__).parent
"""The code that a model needs when MLflow keeps it; an export takes just the modules that `classify.py` imports."""

_EXAMPLE = PACKAGE / "inference" / "example.py"
_REQUIRED = ("keras", "librosa", "numpy", "pydantic", "soundfile", "soxr", "tensorflow")
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
| `code/` | what `classify.py` needs of `harness`: decoding, features, crops, votes; under the licence in `LICENSE` |
"""


def write_bundle(
    folder: Path,
    model: Path,
    view: InputView,
    genres: Sequence[str],
    about: Mapping[str, Any],
    card: str,
    extractor: Extractor | None = None,
) -> None:
    """Write a bundle.

    Args:
        folder: made if it is not there.
        model: the saved Keras model.
        view: what it sees of a track.
        genres: its answers, in order.
        about: what the model is, as JSON can hold it; see `harness.inference.card.facts`.
        card: the model card, as markdown.
        extractor: the frozen network that it hears with, where its view is an embedding.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(model, folder / MODEL)
    content: dict[str, Any] = {"view": asdict(view), "about": dict(about)}
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
            for module in _modules():
                copy = made / "code" / module.relative_to(PACKAGE.parent)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(module, copy)
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
        UsageError: the folder is there, and not empty.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder}: is there, and not empty. Name a new folder.")


def requirements() -> list[str]:
    """Return what must be installed to use a bundle, in the versions that are installed here."""
    return [f"{name}=={version(name)}" for name in _REQUIRED]


class _Own(ModuleFinder):
    """Finds the modules of this package that a script imports, wherever in it, and those that they import."""

    def __init__(self) -> None:
        super().__init__(path=[str(PACKAGE.parent)])

    def find_module(self, name: str, path: Any, parent: Module | None = None) -> Any:
        if path is None and name != PACKAGE.name:
            raise ImportError(name)
        return super().find_module(name, path, parent)


def _modules() -> list[Path]:
    """Return the files of this package that `classify.py` needs."""
    finder = _Own()
    finder.run_script(str(_EXAMPLE))
    names = finder.modules.keys() - {"__main__"}
    return sorted(Path(finder.modules[name].__file__) for name in names)  # type: ignore[attr-defined]


def _licence() -> str:
    try:
        text = distribution(PACKAGE.name).read_text("licenses/LICENSE")
    except PackageNotFoundError:
        text = None
    if not text:
        raise UsageError(
            f"{PACKAGE}: is installed without its licence, which must go with its code. Install it with pip."
        )
    return text


def _json(content: Any) -> str:
    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
