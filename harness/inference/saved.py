"""The files of a saved model, read and checked: one that cannot be read is named, with what is wrong with it."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

from harness.errors import ModelError, first_line

_POINTER = b"version https://git-lfs"
"""How a file begins that Git LFS has left in the place of a large one."""

_ANEW = "Export or download it again, or name another model."


def read_json(path: Path) -> Any:
    """Return what a JSON file of a model holds.

    Raises:
        ModelError: there is no such file, or it is damaged.
    """
    _check_there(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: damaged ({first_line(error)}). {_ANEW}") from None


def check_network(path: Path) -> None:
    """Make sure that a saved network is whole, without importing the framework.

    Raises:
        ModelError: there is no such file, or it is damaged.
    """
    _check_there(path)
    try:
        with zipfile.ZipFile(path) as file:
            torn = file.testzip()
    except Exception as error:  # of zipfile and of what it decompresses with
        raise ModelError(f"{path}: damaged ({first_line(error)}). {_ANEW}") from None
    if torn is not None:
        raise ModelError(f"{path}: damaged (its part {torn} is not what was written). {_ANEW}")


def load_network(path: Path, genres: int) -> Any:
    """Return the `keras.Model` of a saved network, which answers with so many genres; the framework is imported.

    Raises:
        ModelError: there is no such file, it cannot be read, or it answers with another number of genres.
    """
    from harness.keras_backend import environment

    check_network(path)
    for name, value in environment().items():
        os.environ.setdefault(name, value)
    import keras

    # Registers the layers that a saved model may name.
    import harness.models.layers  # noqa: F401

    try:
        network = keras.models.load_model(path, compile=False)
        answers = network.output_shape[-1]
    except Exception as error:
        why = f"{type(error).__name__}: {first_line(error)}"
        raise ModelError(f"{path}: Keras {keras.__version__} cannot load it ({why}). {_ANEW}") from error
    if answers != genres:
        raise ModelError(
            f"{path}: answers with {answers} genres, and the file of their names has {genres}. One of the two belongs "
            f"to another model. {_ANEW}"
        )
    return network


def _check_there(path: Path) -> None:
    try:
        with path.open("rb") as file:
            start = file.read(len(_POINTER))
    except OSError as error:
        raise ModelError(
            f"{path.parent}: holds no whole model ({error.strerror}: {path.name}). Name a folder that `harness export` "
            "wrote."
        ) from None
    if start == _POINTER:
        raise ModelError(f"{path}: stands for a file that Git LFS keeps. Fetch it: git lfs pull")
