"""The model as MLflow stores it, as code: a table of audio paths in, a table of genres and probabilities out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow.pyfunc
from mlflow.models import set_model


class GenreModel(mlflow.pyfunc.PythonModel):
    """Answers for each path in the column `audio` with `genre` and one column a genre."""

    def load_context(self, context: Any) -> None:
        from harness.inference.pipeline import Classifier

        self.classifier = Classifier(Path(context.artifacts["model"]))

    # MLflow reads type hints here as a schema, and has a signature of its own already.
    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        import pandas as pd

        rows = []
        for path in model_input["audio"]:
            probabilities = self.classifier.file(Path(path))
            rows.append({"genre": max(probabilities, key=probabilities.__getitem__), **probabilities})
        return pd.DataFrame(rows, columns=["genre", *self.classifier.genres])


set_model(GenreModel())
