"""Genres of audio files: python classify.py song.mp3 other.wav

`harness export` puts this beside a model as `classify.py`. It needs that folder, and what requirements.txt names.
"""

import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "code"))

from harness.errors import DataError, ModelError  # noqa: E402
from harness.inference.pipeline import Classifier  # noqa: E402
from harness.processes import redirected  # noqa: E402


def main(files: list[str]) -> int:
    classifier = Classifier.load(HERE)
    status = 0
    for file in files:
        try:
            with redirected(2):  # of notes that decoders and the framework print
                prediction = classifier.file(Path(file))
        except DataError as error:
            print(f"error: {error}", file=sys.stderr)
            status = 2
            continue
        # prediction.crops has the probabilities of every few seconds, prediction.spans when they are.
        print(json.dumps({"file": file, "genre": prediction.genre, "probabilities": prediction.probabilities}))
    return status


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except ModelError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
