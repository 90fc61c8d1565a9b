"""What libraries do that they do not promise, and that this project relies on: an upgrade fails here, with a sentence.

One class a library. Each test does the smallest real thing with what is installed.
"""

from __future__ import annotations

import ast
import copy
import inspect
import io
import json
import os
import platform
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from mmap import ACCESS_READ, mmap
from multiprocessing import spawn
from pathlib import Path
from types import ModuleType
from typing import Any

import optuna
import pytest
from optuna.samplers._tpe.sampler import _split_trials, default_gamma

from harness.processes import c_notes_discarded, sheltered
from harness.search.sampler import OBSERVED_TRIALS, StudyView
from tests.helpers.command import ROOT

PACKAGES = ("harness", "reports", "search_spaces", "benchmarks")
THREADS = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


def reliance(token: str, why: str) -> str:
    """Return the sentence of an assumption: the modules whose source holds `token`, and what they rely on."""
    files = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    found = [str(path.relative_to(ROOT)) for path in files if token in path.read_text(encoding="utf-8")]
    assert found, f"No module holds {token!r} any more: this test has nothing to guard and can go."
    return f"{', '.join(found)}: {why}"


def answer(script: str, *arguments: object, **environment: str) -> Any:
    """Run a script in a process of its own, and return what it printed, read as JSON."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, **environment})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


class Recording(optuna.samplers.RandomSampler):
    """A sampler that notes what it is asked for."""

    def __init__(self, asked: list[str]) -> None:
        super().__init__(seed=0)
        self.asked = asked

    def infer_relative_search_space(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
        self.asked.append("infer_relative_search_space")
        return {}

    def sample_relative(self, *arguments: Any) -> dict[str, Any]:
        self.asked.append("sample_relative")
        return {}

    def sample_independent(self, *arguments: Any) -> Any:
        self.asked.append("sample_independent")
        return super().sample_independent(*arguments)


class TestOptuna:
    @pytest.fixture
    def storage(self, tmp_path: Path) -> Iterator[optuna.storages.RDBStorage]:
        storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path / 'optuna.db'}")
        yield storage
        storage.engine.dispose()

    def test_a_running_trial_is_taken_up_by_its_id(self, storage: optuna.storages.RDBStorage) -> None:
        why = reliance(
            "_trial_id", "an interrupted trial goes on under its number, with what it was given and reported."
        )
        killed = optuna.create_study(storage=storage, study_name="study").ask()
        sampled = killed.suggest_float("learning_rate", 0.0, 1.0)
        killed.report(0.25, step=0)

        study = optuna.load_study(study_name="study", storage=storage)
        (frozen,) = study.get_trials(deepcopy=False)
        trial = optuna.Trial(study, frozen._trial_id)
        assert trial.number == killed.number, why
        assert trial.suggest_float("learning_rate", 0.0, 1.0) == sampled, why
        study.tell(trial, 0.5)
        (ended,) = study.trials
        assert (ended.value, ended.params, ended.intermediate_values) == (0.5, trial.params, {0: 0.25}), why

    def test_what_a_trial_reported_stands_in_memory_and_in_the_trial(self) -> None:
        why = reliance("_cached_frozen_trial", "both are emptied where another attempt at a trial begins.")
        study = optuna.create_study(storage=optuna.storages.InMemoryStorage())
        trial = study.ask()
        trial.report(0.25, step=1)
        kept = study.get_trials(deepcopy=False)[0], trial._cached_frozen_trial
        assert [each.intermediate_values for each in kept] == [{1: 0.25}] * 2, why
        for each in kept:
            each.intermediate_values = {}
        trial.report(0.75, step=2)
        assert study.trials[0].intermediate_values == {2: 0.75}, why

    def test_a_trial_is_kept_as_its_own_copy_of_it_says(self) -> None:
        why = reliance("__deepcopy__", "ten thousand trials share their distributions; Optuna's copy would not.")
        distribution = optuna.distributions.FloatDistribution(0.0, 1.0)

        class Shallow(optuna.trial.FrozenTrial):
            def __deepcopy__(self, memo: dict[int, Any]) -> Any:
                return copy.copy(self)

        made = optuna.trial.create_trial(params={"x": 0.5}, distributions={"x": distribution}, value=0.5)
        made.__class__ = Shallow
        storage = optuna.storages.InMemoryStorage()
        study = storage.create_new_study([optuna.study.StudyDirection.MAXIMIZE])
        kept = storage.get_trial(storage.create_new_trial(study, made))
        assert kept.distributions["x"] is distribution, why

    def test_what_a_trial_is_to_sample_stands_in_its_attributes(self) -> None:
        why = reliance("fixed_params", "a study without its trial 0 gets the baseline there.")
        study = optuna.create_study()
        study.enqueue_trial({"x": 0.25})
        assert study.trials[0].system_attrs == {"fixed_params": {"x": 0.25}}, why

    def test_the_tables_of_a_storage_take_rows(self, storage: optuna.storages.RDBStorage) -> None:
        why = reliance("optuna.storages._rdb", "the file for optuna-dashboard is written row by row.")
        from optuna.storages._rdb import models

        columns = {
            models.TrialModel: "trial_id number study_id state datetime_start datetime_complete",
            models.TrialValueModel: "trial_value_id trial_id objective value value_type",
            models.TrialParamModel: "param_id trial_id param_name param_value distribution_json",
            models.TrialIntermediateValueModel: "trial_intermediate_value_id trial_id step intermediate_value "
            "intermediate_value_type",
            models.TrialSystemAttributeModel: "trial_system_attribute_id trial_id key value_json",
        }
        for model, names in columns.items():
            assert [column.name for column in model.__table__.columns] == names.split(), why

    def test_a_trial_asks_for_what_is_sampled_together_before_it_asks_for_a_value(self) -> None:
        why = reliance(
            "def infer_relative_search_space",
            "there the sampler looks at the trials that ended and takes the trial's seed; values are drawn after it.",
        )
        asked: list[str] = []
        study = optuna.create_study(sampler=Recording(asked))
        trial = study.ask()
        assert asked == [], why
        trial.suggest_float("dropout", 0.0, 1.0)
        trial.suggest_float("learning_rate", 0.0, 1.0)
        together = ["infer_relative_search_space", "sample_relative"]
        assert asked == [*together, "sample_independent", "sample_independent"], why
        optuna.Trial(study, trial._trial_id).suggest_float("width", 0.0, 1.0)
        assert asked[4:] == [*together, "sample_independent"], why

    @pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
    def test_tpe_knows_of_trials_by_one_method_of_its_study(self) -> None:
        why = reliance("def _get_trials", "a sampler is shown some trials of a study by a study that overrides it.")

        def proposal(study: optuna.Study, shown: optuna.Study) -> float:
            trial = study.trials[-1]
            tpe = optuna.samplers.TPESampler(seed=1, n_startup_trials=2, multivariate=True, group=True)
            space = tpe.infer_relative_search_space(shown, trial)
            return float(tpe.sample_relative(shown, trial, space)["dropout"])

        studies = [optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)) for _ in range(2)]
        for study, values in zip(studies, ((0.1, 0.5, 0.9, *[9.0] * 8), (0.1, 0.5, 0.9)), strict=True):
            for value in values:
                trial = study.ask({"dropout": optuna.distributions.FloatDistribution(0.0, 1.0)})
                study.tell(trial, abs(value - trial.params["dropout"]))
            study.ask()
        more, fewer = studies
        assert proposal(more, StudyView(more, fewer.trials[:3])) == proposal(fewer, fewer), why
        assert proposal(more, more) != proposal(fewer, fewer), why

    def test_tpe_splits_trials_into_its_good_ones_and_the_others_by_number(self) -> None:
        why = reliance("_split_trials", "all of TPE's good trials stay among those that a sampler is shown.")
        assert inspect.getsource(optuna.samplers.TPESampler._sample).count("_split_trials(") == 1, why
        study = optuna.create_study(direction="maximize")
        for value in (0.1, 0.9, 0.5, 0.7):
            study.tell(study.ask(), value)
        best, others = _split_trials(study, study.trials, 2)
        assert ([trial.number for trial in best], [trial.number for trial in others]) == ([1, 3], [0, 2]), why
        assert default_gamma(300) == default_gamma(10_000) == default_gamma(OBSERVED_TRIALS), why

    @pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
    def test_what_tpe_does_around_a_trial_changes_no_proposal(self) -> None:
        why = reliance("TPESampler", "its hooks around a trial are not called.")

        def proposal(*, hooks: bool) -> float:
            study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
            for value in (0.1, 0.5, 0.9):
                trial = study.ask()
                study.tell(trial, trial.suggest_float("dropout", value, value + 0.01))
            trial = study.ask()
            study.sampler = optuna.samplers.TPESampler(seed=1, n_startup_trials=2, multivariate=True, group=True)
            if hooks:
                frozen = study.trials[-1]
                study.sampler.before_trial(study, frozen)
                study.sampler.after_trial(study, frozen, optuna.trial.TrialState.COMPLETE, [0.5])
            return trial.suggest_float("dropout", 0.0, 1.0)

        assert proposal(hooks=True) == proposal(hooks=False), why


class TestMultiprocessing:
    SERVER = """
import json, multiprocessing, os
from multiprocessing import forkserver, process
from multiprocessing.context import ForkServerProcess

from harness.processes import c_notes_discarded, sheltered

CHILD = "import os, sys; connection.send([os.environ['WHEN'], 'colorsys' in sys.modules])"

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(["colorsys"])
os.environ["WHEN"] = "server"
forkserver.ensure_running()
os.environ["WHEN"] = "later"
ours, theirs = context.Pipe()
child = context.Process(target=exec, args=(CHILD, {"connection": theirs}))
with sheltered():
    child.start()
is_known = child in process._children
process._children.discard(child)
seen = ours.recv()
child.join()
print(json.dumps([isinstance(child, ForkServerProcess), is_known, seen, child.exitcode]))
"""

    def test_the_fork_server_starts_before_its_first_child(self) -> None:
        why = reliance(
            "ensure_running",
            "the server imports the framework while the run prepares its data, and its children inherit the "
            "environment that was set when it started.",
        )
        is_fork_server, _, (when, is_preloaded), status = answer(self.SERVER)
        assert (when, is_preloaded, status) == ("server", True, 0), why
        assert is_fork_server, reliance("ForkServerProcess", "the context's processes are of this class.")

    def test_a_process_that_is_discarded_is_not_waited_for(self) -> None:
        why = reliance("_children", "a child that hangs in a driver is taken off this set, or Python would never end.")
        _, is_known, _, status = answer(self.SERVER)
        assert is_known, why
        assert status == 0, why

    def test_a_child_imports_what_stands_as_main(self, monkeypatch: pytest.MonkeyPatch) -> None:
        why = reliance(
            'sys.modules["__main__"]',
            "while a child is started, an empty module stands there, so that it does not import this program again.",
        )
        script = ModuleType("__main__")
        script.__file__ = "/somewhere/script.py"
        monkeypatch.setitem(sys.modules, "__main__", script)
        assert spawn.get_preparation_data("child")["init_main_from_path"] == "/somewhere/script.py", why
        with sheltered():
            assert not [key for key in spawn.get_preparation_data("child") if key.startswith("init_main")], why

    def test_a_process_has_a_folder_of_its_threads(self) -> None:
        why = reliance(
            "jemalloc_bg_thd",
            "a fork server with threads is refused, but for the one that jemalloc starts in pyarrow, which may fork.",
        )
        script = (
            "import json, pathlib, pyarrow; pyarrow.array([1]); tasks = pathlib.Path('/proc/self/task').iterdir();"
            "print(json.dumps(sorted((task / 'comm').read_text().strip() for task in tasks)))"
        )
        names = answer(script, **THREADS)
        assert names == ["jemalloc_bg_thd", "python"], why


class TestMatplotlib:
    def test_svg_has_a_style_element_and_spells_colours_in_styles(self) -> None:
        from matplotlib.figure import Figure

        why = reliance("</style>", "rules for dark schemes are put there, and find colours by the text of styles.")
        figure = Figure()
        axes = figure.subplots()
        axes.plot([0, 1], color="#0969da")
        axes.fill_between([0, 1], [0, 1], color="#bc4c00")
        picture = io.BytesIO()
        figure.savefig(picture, format="svg")
        text = picture.getvalue().decode()
        assert text.count("</style>") == 1, why
        styles = [part.partition('"')[0] for part in text.split('style="')[1:]]
        assert any("stroke: #0969da" in style for style in styles), why
        assert any("fill: #bc4c00" in style for style in styles), why


class TestSoundfile:
    def test_a_file_that_is_no_mp3_is_error_seven(self, tmp_path: Path) -> None:
        import soundfile

        why = reliance("_NO_FILE", "its text says that the file does not exist, so the number decides what is said.")
        (tmp_path / "text.mp3").write_text("no audio at all\n" * 100)
        with pytest.raises(soundfile.LibsndfileError) as raised:
            soundfile.SoundFile(tmp_path / "text.mp3")
        assert raised.value.code == 7, why

    @pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="nothing is discarded without glibc")
    def test_the_variable_stderr_decides_where_libraries_print(self, capfd: pytest.CaptureFixture[str]) -> None:
        import ctypes

        why = reliance('"stderr"', "it is pointed elsewhere while decoders work, whose notes cannot be switched off.")
        library = ctypes.CDLL(None)

        def note(text: bytes) -> None:
            library.fputs(text, ctypes.c_void_p.in_dll(library, "stderr"))

        with c_notes_discarded(), c_notes_discarded():
            note(b"a note")
            os.write(2, b"an error ")
        note(b"and another")
        assert capfd.readouterr().err == "an error and another", why


class TestMLflow:
    """Of MLflow's user interface, tags, limits and models that are logged by hand."""

    @pytest.fixture(scope="class")
    def interface(self) -> str:
        """The scripts of MLflow's web pages."""
        found = find_spec("mlflow")
        assert found is not None
        assert found.origin is not None
        scripts = Path(found.origin).parent.joinpath("server", "js", "build").rglob("*.js")
        return "\n".join(path.read_text(encoding="utf-8") for path in scripts)

    @pytest.mark.parametrize(
        "name",
        [
            *("mlflow.sharedViewState.", "viewStateShareKey", "workflowType", "machine_learning"),
            *("selectedColumns", "columnOrder", "columnWidths", "searchFilter", "orderByKey", "orderByAsc"),
        ],
    )
    def test_the_table_of_runs_reads_its_saved_views(self, interface: str, name: str) -> None:
        """`tracking/mlflow/views.py` writes them."""
        assert name in interface, f"MLflow's UI does not know {name!r} any more: `harness ui` opens without its views"

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("MLFLOW_RUN_NOTE", "mlflow.note.content"),
            ("MLFLOW_PARENT_RUN_ID", "mlflow.parentRunId"),
            ("MLFLOW_DATASET_CONTEXT", "mlflow.data.context"),
        ],
    )
    def test_tags_mean_what_they_meant(self, name: str, value: str) -> None:
        """`tracking/mlflow/schema.py` takes them from a module without a promise."""
        from mlflow.utils import mlflow_tags

        assert getattr(mlflow_tags, name, None) == value, f"{name} is another tag: runs lose their place or their text"

    def test_a_request_takes_as_much_as_is_sent(self) -> None:
        """`tracking/mlflow/runs.py` sends points of curves in batches, the first with parameters and tags."""
        from mlflow.utils.validation import MAX_ENTITIES_PER_BATCH, MAX_METRICS_PER_BATCH

        from harness.tracking.mlflow.runs import METRICS_PER_BATCH

        assert METRICS_PER_BATCH <= MAX_METRICS_PER_BATCH, "MLflow refuses a batch of so many points"
        assert METRICS_PER_BATCH + 100 <= MAX_ENTITIES_PER_BATCH, "MLflow refuses the points with their parameters"

    def test_a_description_is_not_cut_off(self) -> None:
        """`tracking/mlflow/registry.py` shortens model cards to what the database keeps."""
        from mlflow.store.model_registry.dbmodels.models import SqlModelVersion

        from harness.tracking.mlflow.registry import MAX_DESCRIPTION

        kept = SqlModelVersion.description.type.length
        assert kept is None or kept >= MAX_DESCRIPTION, f"MLflow keeps {kept} characters of a model card"

    @pytest.mark.parametrize(
        "name",
        [
            "MLFLOW_HTTP_REQUEST_TIMEOUT",
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES",
            "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR",
            "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT",
            "MLFLOW_UV_AUTO_DETECT",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION",
        ],
    )
    def test_its_settings_have_their_names(self, name: str) -> None:
        """`tracking/mlflow/connection.py` and `tracking/server.py` set them."""
        from mlflow import environment_variables

        assert hasattr(environment_variables, name), f"MLflow does not read {name}: it waits, prints or starts more"

    def test_a_model_can_be_put_together_by_hand(self) -> None:
        """`tracking/mlflow/logged_model.py` logs without the active run and the global store."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of MLflow's own models
            import mlflow.pyfunc
        from mlflow import MlflowClient
        from mlflow.entities import LoggedModelOutput
        from mlflow.models import Model

        def lacking(function: Callable[..., Any], *names: str) -> set[str]:
            return set(names) - inspect.signature(function).parameters.keys()

        why = "champions cannot be logged"
        create = MlflowClient.create_logged_model
        assert not lacking(create, "experiment_id", "name", "source_run_id", "params", "tags"), why
        assert not lacking(MlflowClient.log_model_artifacts, "model_id", "local_dir"), why
        assert not lacking(MlflowClient.finalize_logged_model, "model_id", "status"), why
        assert not lacking(MlflowClient.log_outputs, "run_id", "models"), why
        assert not lacking(LoggedModelOutput, "model_id", "step"), why
        assert not lacking(Model, "artifact_path", "run_id", "model_uuid", "model_id"), why
        assert not lacking(mlflow.pyfunc.save_model, "python_model", "artifacts", "code_paths", "mlflow_model"), why


class TestJax:
    def test_out_of_memory_is_known_by_its_message(self) -> None:
        pytest.importorskip("jax")
        why = reliance("RESOURCE_EXHAUSTED", "an error that says so is an outcome of its own, and is tried with less.")
        script = (
            "import json, jax.numpy as jnp\ntry: jnp.zeros(2**46).block_until_ready()\n"
            "except Exception as error: print(json.dumps(f'{type(error).__name__} {error}'))"
        )
        assert "RESOURCE_EXHAUSTED" in answer(script, JAX_PLATFORMS="cpu"), why


class TestTensorFlow:
    """In this process, after all tests without the framework: the fixture sorts them so."""

    @pytest.mark.parametrize("text", [b"OOM when allocating tensor", b"ran out of memory"])
    def test_out_of_memory_is_known_by_its_message(self, text: bytes) -> None:
        why = reliance("OOM when", "an error that says so is an outcome of its own, and is tried with less.")
        # It would wait for ten seconds before it said so; that of its allocator under a cap is tested beside the pool.
        (folder,) = find_spec("tensorflow").submodule_search_locations
        (library,) = Path(folder).glob("libtensorflow_framework.so.*")
        with library.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
            assert content.find(text) >= 0, why

    def test_the_allocator_tells_its_peak_on_a_cpu_too(self, keras: ModuleType) -> None:
        import tensorflow as tf

        why = reliance("get_memory_info", "what a trial needed, beside what it held, is the allocator's own peak.")
        assert "peak" in tf.config.experimental.get_memory_info("CPU:0"), why

    def test_lite_is_still_there_and_warns_as_it_is_known_to(self, keras: ModuleType) -> None:
        import tensorflow as tf

        reliance("tf.lite.Interpreter", "YAMNet runs in it, and its warning of deprecation is silenced by its text.")
        resolver = tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        options = {"experimental_preserve_all_tensors": True, "experimental_op_resolver_type": resolver}
        with (
            pytest.warns(UserWarning, match=r"\s*Warning: tf.lite.Interpreter is deprecated"),
            pytest.raises(ValueError, match="not a valid Flatbuffer"),
        ):
            tf.lite.Interpreter(model_content=b"x" * 100, num_threads=1, **options)


class TestKeras:
    def test_layers_keep_the_nodes_that_lead_into_them(self, keras: ModuleType) -> None:
        why = reliance(
            "_inbound_nodes", "a footprint is estimated from each layer's tensors, a shared layer's each time."
        )
        shared = keras.layers.Dense(3)
        first, second = keras.Input((4,)), keras.Input((4,))
        keras.Model([first, second], [shared(first), shared(second)])
        nodes = shared._inbound_nodes
        assert [node.input_tensors for node in nodes] == [[first], [second]], why
        assert [[tensor.shape for tensor in node.output_tensors] for node in nodes] == [[(None, 3)]] * 2, why

    def test_layers_are_called_what_their_footprint_calls_them(self, keras: ModuleType) -> None:
        why = reliance("_KEEPS_NOTHING", "a layer of another name falls to the default in silence.")
        source = (ROOT / why.partition(":")[0]).read_text(encoding="utf-8")
        sets = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Set)]
        strings = [node.value for each in sets for node in ast.walk(each) if isinstance(node, ast.Constant)]
        names = {name for name in strings if isinstance(name, str) and name[0].isupper()}
        assert len(names) > 10
        # The two are ours.
        assert {name for name in names if not hasattr(keras.layers, name)} == {"PositionEmbedding", "SpecAugment"}, why

    def test_an_optimizer_counts_micro_steps_in_a_variable(self, keras: ModuleType) -> None:
        import numpy as np

        why = reliance("_iterations", "a benchmark sets it, so that the next step but one ends an update.")
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(0.1, gradient_accumulation_steps=8), "mse", run_eagerly=True)
        model.optimizer.build(model.trainable_variables)
        model.optimizer._iterations.assign(6)
        inputs, targets = np.ones((2, 4), np.float32), np.full((2, 1), 9, np.float32)
        before = model.get_weights()[0]
        model.train_on_batch(inputs, targets)
        assert (model.get_weights()[0] == before).all(), why
        model.train_on_batch(inputs, targets)
        assert (model.get_weights()[0] != before).all(), why
