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

    def predict(self, context: Any, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        import pandas as pd

        rows = []
        for path in model_input["audio"]:
            probabilities = self.classifier.file(Path(path))
            rows.append({"genre": max(probabilities, key=probabilities.__getitem__), **probabilities})
        return pd.DataFrame(rows, columns=["genre", *self.classifier.genres])


set_model(GenreModel())
