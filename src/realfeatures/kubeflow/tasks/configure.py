"""The first task of a run: what the run form asks for becomes the text of every other task, or is refused."""

from realfeatures.errors import ConfigError
from realfeatures.experiment.address import code_digest
from realfeatures.kubeflow.batches import Granularity
from realfeatures.kubeflow.tasks.executor import ExecutorInput
from realfeatures.kubeflow.tasks.stage import cell_store
from realfeatures.kubeflow.tasks.texts import resolve, texts_of
from realfeatures.running.names import check_run_name, timed_name
from realfeatures.running.plan import whole_number


def configure(told: ExecutorInput) -> None:
    """Write the text of every root task.

    Raises:
        RealFeaturesError: the form asks for something that is not usable, or this image is of another version.
    """
    require_code(str(told.parameter("code")))
    check_run_name(timed_name(str(told.parameter("report_name"))))
    store = cell_store()
    plan = resolve(
        str(told.parameter("changes")),
        preset=str(told.parameter("preset")),
        seed=_whole_number(told, "seed"),
        repetitions=_whole_number(told, "repetitions"),
        overrides=told.parameter("overrides"),
        provide=store.provide if store is not None else None,
    )
    told.answer(texts_of(plan, Granularity(told.parameter("granularity"))), {})


def _whole_number(told: ExecutorInput, name: str) -> int:
    """Return a parameter that Kubeflow may have made 5.0 of 5."""
    value = told.parameter(name)
    number = whole_number(int(value) if isinstance(value, float) and value.is_integer() else value)
    if number is None:
        raise ConfigError(f"{name} {value!r}: expected a whole number")
    return number


def require_code(expected: str) -> None:
    """Refuse to run with another version of the science than the one that was asked for.

    Raises:
        ConfigError: the digests differ.
    """
    if code_digest() != expected:
        raise ConfigError(
            f"code {code_digest()[:12]}... in this image, {expected[:12]}... in the pipeline: the image is older"
            " (or newer) than the pipeline; rebuild it and compile again"
        )
