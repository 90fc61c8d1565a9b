"""What a trial does beside its training steps, and what its batches cost; on one thread, in one process."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from benchmarks.performance.contenders import Contenders, spent, use_one_thread
from benchmarks.performance.music import four_fifths, prepared
from benchmarks.performance.row import Aim, Contender, Row, Setting, median_of

if TYPE_CHECKING:
    import keras

    from harness.features.store import FeatureStore
    from harness.trials.job import TrainingSpec
    from harness.trials.training.batches import TrainingCrops

_HERE = ("python", "-m", "benchmarks.performance.training")
_BATCH = 8
_BARE = ", bare `model.fit`"

contenders = Contenders()


def rows(setting: Setting) -> tuple[Row, ...]:
    names = setting.families.split(",")
    size = ("--passes", str(setting.size(4, 1)))
    epochs = ("--epochs", str(setting.size(20, 2)))
    batches = Row(
        name="batches",
        contenders=tuple(Contender(name, (*_HERE, "throughput", name, setting.music, *size)) for name in names),
        columns={
            "ours_cpu_seconds": "CPU a crop, our batches",
            "resident_cpu_seconds": "one array",
            "throughput": "throughput, in times that of the array",
        },
        aims=tuple(Aim(f"throughput of {name}", median_of(name, "throughput"), at_least=0.97) for name in names),
        rounds=3,
        prepare=(setting.make_music,),
    )
    share = Row(
        name="steps",
        contenders=setting.few(
            *(
                Contender(f"{name}{suffix}", (*_HERE, "trial", name, setting.music, *epochs, *bare))
                for name in names
                for suffix, bare in (("", ()), (_BARE, ("--bare",)))
            )
        ),
        columns={
            "trial_cpu_seconds": "CPU of all",
            "build_cpu_seconds": "build",
            "first_step_cpu_seconds": "first step",
            "steps_cpu_seconds": "other steps",
            "between_cpu_seconds": "between epochs",
            "end_cpu_seconds": "end",
            "share": "share of steps",
        },
        aims=tuple(Aim(f"share of {name}", median_of(name, "share"), at_least=0.85) for name in names),
        rounds=2,
        prepare=(setting.make_music,),
    )
    return batches, share


@contenders.command()
def throughput(name: str, music: Path, passes: int = 4) -> dict[str, Any]:
    """Train a family's baseline on our batches and on an array by turns."""
    use_one_thread()
    import numpy as np

    spec, store = _training(name, music, epochs=1)
    model, crops = _compiled(spec, store)
    batches = [crops[index] for index in range(len(crops))]
    inputs, labels, weights = (np.concatenate(part) for part in zip(*batches, strict=True))
    fits: dict[str, Callable[[], Any]] = {
        "ours": lambda: model.fit(crops, shuffle=False, verbose=0),
        "resident": lambda: model.fit(inputs, labels, sample_weight=weights, batch_size=_BATCH, verbose=0),
    }
    seconds: dict[str, list[float]] = {way: [] for way in fits}
    for _ in range(1 + passes):
        for way, fit in fits.items():
            with spent() as taken:
                fit()
            seconds[way].append(taken.cpu / len(inputs))
    ours, resident = (float(np.median(each[1:])) for each in seconds.values())
    return {"ours_cpu_seconds": ours, "resident_cpu_seconds": resident, "throughput": resident / ours}


@contenders.command()
def trial(name: str, music: Path, epochs: int = 20, bare: bool = False) -> dict[str, Any]:
    """Train a family's baseline as a trial does, or with a bare `model.fit`."""
    use_one_thread()
    import keras

    from benchmarks.performance.step_clock import StepClock
    from harness.families import families
    from harness.trials.training.train import train

    spec, store = _training(name, music, epochs)
    clock, fit = StepClock(), keras.Model.fit

    def timed_fit(self: keras.Model, *arguments: Any, callbacks: Any = (), **options: Any) -> Any:
        return fit(self, *arguments, callbacks=[*callbacks, clock], **options)

    keras.Model.fit = timed_fit
    started = time.process_time()
    if bare:
        model, crops = _compiled(spec, store)
        model.fit(crops, epochs=epochs, shuffle=False, verbose=0)
    else:
        with TemporaryDirectory() as folder:
            train(spec, families()[name], store, lambda told: True, None, Path(folder) / "model.keras")
    return clock.figures(started, time.process_time())


def _training(name: str, music: Path, epochs: int) -> tuple[TrainingSpec, FeatureStore]:
    """Return what trains the baseline of a family on four fifths of the tracks, without an early end."""
    from harness.families import families
    from harness.records.trial import BatchShape
    from harness.trials.job import TrainingSpec

    family, data = families()[name], prepared(music)
    spec = TrainingSpec(
        family=name,
        config={**family.baseline, "patience": epochs},
        input_spec=family.input_spec,
        genres=data.dataset.genres,
        folds=(four_fifths(data, family.input_spec),),
        epochs=epochs,
        seed=0,
        batch=BatchShape(micro_batch=_BATCH, accumulation=1),
        deterministic=False,
        threads=1,
    )
    return spec, data.store


def _compiled(spec: TrainingSpec, store: FeatureStore) -> tuple[keras.Model, TrainingCrops]:
    """Build and compile the model of a training, and return it with its batches."""
    from harness.families import families
    from harness.models import ModelInputs
    from harness.trials.training.batches import CropSampling, TrainingCrops
    from harness.trials.training.optimizer import compile_model

    (fold,), genres = spec.folds, len(spec.genres)
    inputs = ModelInputs(spec.input_spec.shape, genres, *fold.normalization[spec.input_spec])
    sampling = CropSampling(
        micro_batch=_BATCH, accumulation=1, window="fixed", crops_per_track=1, mixup=0.0, weighted=True, seed=0
    )
    crops = TrainingCrops(store, spec.input_spec, fold.train, genres, sampling)
    model = families()[spec.family].build(spec.config, inputs)
    compile_model(model, spec.config, crops.updates * spec.epochs, 1)
    return model, crops


if __name__ == "__main__":
    contenders.print_figures()
