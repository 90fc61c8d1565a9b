"""The model as MLflow stores it, as code: audio files or waveforms in, genres and probabilities out.

MLflow executes this file when it logs a model and when it loads one; nothing in the project imports it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model


class GenreModel(mlflow.pyfunc.PythonModel):
    """Answers each row with `genre` and one column a genre.

    A row has either `audio`, the path of a file where the model runs, or `samples`, a waveform of one channel in
    [-1, 1], with its `rate` in Hz.
    """

    def load_context(self, context: Any) -> None:
        # Logging a model executes this file, and must not import the framework.
        from harness.inference.pipeline import Classifier

        self.classifier = Classifier.load(Path(context.artifacts["model"]))
        self.classifier.network()

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        rows = [self._answer(row) for row in model_input.to_dict("records")]
        return pd.DataFrame(rows, columns=["genre", *self.classifier.genres])

    def _answer(self, row: dict[str, Any]) -> dict[str, Any]:
        from harness.errors import DataError

        path, samples, rate = (row.get(name) for name in ("audio", "samples", "rate"))
        try:
            if isinstance(path, str):
                prediction = self.classifier.file(Path(path))
            elif isinstance(samples, list | np.ndarray) and rate is not None and rate > 0:
                prediction = self.classifier.samples(np.asarray(samples, np.float32), int(rate))
            else:
                raise DataError("a row without audio. Give `audio`, or both `samples` and `rate`.")
        except (DataError, TypeError, ValueError) as error:  # lists that are no waveform
            raise MlflowException.invalid_parameter_value(str(error)) from None
        return {"genre": prediction.genre, **prediction.probabilities}


set_model(GenreModel())
