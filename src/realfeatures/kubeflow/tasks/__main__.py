"""A task of Kubeflow's: `python -m realfeatures.kubeflow.tasks COMPONENT EXECUTOR_INPUT`.

The launcher puts the executor's input in the place of the pipeline's `{{$}}`. A component that computes cells runs in a
child of its own (supervisor.py), which is this module again, with `--child`. Whatever fails, the last line that begins
with `error:` says why.
"""

import logging
import os
import sys
from collections.abc import Callable, Sequence

from realfeatures.errors import ConfigError, Interrupted, RealFeaturesError, StoreUnavailableError, one_line
from realfeatures.kubeflow.batches import CONFIGURE, NAMES, REPORT, RESULTS
from realfeatures.kubeflow.tasks.executor import ExecutorInput
from realfeatures.kubeflow.tasks.position import Position
from realfeatures.kubeflow.tasks.supervisor import DONE, FAILED, MENDABLE, TERMINATED, UNAVAILABLE, supervise
from realfeatures.logs import log_to_stderr

logger = logging.getLogger("realfeatures.kubeflow.tasks")  # __name__ is __main__

RETRIES = "REALFEATURES_RETRIES"
"""Environment variable: how often a crashed stage is started again in its pod."""

CHILD = "--child"


def main(arguments: Sequence[str]) -> int:
    """Run a task; return its exit code."""
    log_to_stderr()
    try:
        component, executor_input, *child = _words(arguments)
        if component not in (CONFIGURE, RESULTS, REPORT) and not child:
            command = [sys.executable, "-m", "realfeatures.kubeflow.tasks", component, executor_input, CHILD]
            return supervise(command, retries=int(os.environ.get(RETRIES, "0")))
        _action(component)(ExecutorInput.parse(executor_input))
    except Interrupted:
        return TERMINATED
    except Exception as error:
        return _failed(error)
    return DONE


def _words(arguments: Sequence[str]) -> Sequence[str]:
    """Return the arguments of a task, checked.

    Raises:
        ConfigError: they are none.
    """
    if len(arguments) < 2 or arguments[0] not in NAMES:
        raise ConfigError(f"arguments {list(arguments[:1])}: expected COMPONENT EXECUTOR_INPUT; compile again")
    return arguments


def _failed(error: Exception) -> int:
    """Say why a task failed; return its exit code."""
    foreseen = isinstance(error, RealFeaturesError)
    if not foreseen:
        logger.exception("the task crashed")
    text = _printable(error if foreseen else f"{type(error).__name__}: {error}; its traceback is in the log")
    position = Position.inherited()
    if position is not None:
        position.tell(text)
    # Not the log's: it stands alone on its line, also where log lines are JSON.
    print(f"error: {text}", file=sys.stderr, flush=True)
    if isinstance(error, StoreUnavailableError):
        return UNAVAILABLE
    return MENDABLE if foreseen else FAILED


def _printable(text: object) -> str:
    """Return a text on one line, its control characters escaped: what a form was given may stand in it."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in one_line(text))


def _action(component: str) -> Callable[[ExecutorInput], None]:
    if component == CONFIGURE:
        from realfeatures.kubeflow.tasks.configure import configure

        return configure
    if component in (RESULTS, REPORT):
        from realfeatures.kubeflow.tasks.joining import join_results, write_report_of

        return join_results if component == RESULTS else write_report_of
    from realfeatures.kubeflow.tasks.stage import run_cells

    return run_cells


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
