"""The model as MLflow stores it, as code: a table of audio paths in, a table of genres and probabilities out.

MLflow executes this file when it logs a model and when it loads one; nothing in the project imports it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow.pyfunc
import pandas as pd
from mlflow.models import set_model


class GenreModel(mlflow.pyfunc.PythonModel):
    """Answers for each path in the column `audio` with `genre` and one column a genre."""

    def load_context(self, context: Any) -> None:
        # Imports the framework; logging a model must not.
        from harness.inference.pipeline import Classifier

        self.classifier = Classifier(Path(context.artifacts["model"]))

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        rows = []
        for path in model_input["audio"]:
            probabilities = self.classifier.file(Path(path))
            rows.append({"genre": max(probabilities, key=probabilities.__getitem__), **probabilities})
        return pd.DataFrame(rows, columns=["genre", *self.classifier.genres])


set_model(GenreModel())
