"""Tasks of a small experiment, each told by an executor input as Kubeflow's launcher writes it, in a folder."""

import contextlib
import io
import json
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from realfeatures.components import COMPONENTS, Component, configure
from realfeatures.experiment.address import code_digest
from realfeatures.experiment.config import Preset
from realfeatures.experiment.grid import DATA, cells
from realfeatures.experiment.overrides import differences
from realfeatures.experiment.presets import PRESETS, load_preset
from realfeatures.experiment.vocabulary import canonical_json
from realfeatures.kubeflow.batches import CONFIGURE, REPORT, RESULTS, Batch, Granularity, Source, batches, slug, sources
from realfeatures.kubeflow.tasks.__main__ import CHILD, main
from realfeatures.kubeflow.tasks.texts import texts_of
from realfeatures.running.plan import Plan, make_plan

SMALLEST = [
    "experiments=E1",
    "paradigms=supervised",
    "features=natural",
    "data.train_size=40",
    "data.test_size=20",
    "supervised.optimizer.epochs=1",
    "probe.epochs=1",
    "attack.images=10",
    "attack.pgd_steps=1",
    "attack.autoattack=[]",
    "attack.autoattack_images=10",
    "attack.masking_images=0",
]
"""Eleven cells of the digits preset; one training, of a single step."""


@dataclass(frozen=True)
class Outcome:
    """How a task ended, and what it said on its standard error."""

    code: int
    stderr: str

    @property
    def error(self) -> str:
        """Its last line; a failed task says there why."""
        return self.stderr.splitlines()[-1]


def run_task(component: str, told: str) -> Outcome:
    """Run a task in this process, one that computes cells as its supervisor's child does."""
    arguments = [component, told] if component in (CONFIGURE, RESULTS, REPORT) else [component, told, CHILD]
    before = signal.getsignal(signal.SIGTERM)
    with contextlib.redirect_stderr(io.StringIO()) as stderr:
        try:
            code = main(arguments)
        finally:
            signal.signal(signal.SIGTERM, before)
    return Outcome(code, stderr.getvalue())


def run_container(component: str, told: str) -> Outcome:
    """Run a task as its pod's container does: in a process of its own, under a supervisor."""
    command = [sys.executable, "-m", "realfeatures.kubeflow.tasks", component, told]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return Outcome(done.returncode, done.stderr)


def executor_input(
    folder: Path, component: Component, *, parameters: Mapping[str, Any], inputs: Mapping[str, Any] | None = None
) -> str:
    """Return what the launcher puts in the place of `{{$}}`.

    Args:
        folder: of the task.
        component: says what it returns.
        parameters: their values.
        inputs: the artifact at each connected port, as `produced` returns it.
    """
    artifacts = {port: {"artifacts": [_artifact(folder, port, kind)]} for port, kind in component.outputs.items()}
    files = {name: {"outputFile": str(folder / "parameters" / name)} for name in component.returned}
    given = {port: {"artifacts": [one]} for port, one in (inputs or {}).items()}
    outputs = {"parameters": files, "artifacts": artifacts, "outputFile": str(folder / "executor_output.json")}
    told = {"inputs": {"parameterValues": dict(parameters), "artifacts": given}, "outputs": outputs}
    return json.dumps({half: {name: one for name, one in ports.items() if one} for half, ports in told.items()})


def produced(folder: Path, port: str) -> dict[str, Any]:
    """Return an artifact that a finished task left, as Kubeflow hands it on."""
    (found,) = json.loads((folder / "executor_output.json").read_text())["artifacts"][port]["artifacts"]
    # The folder may be a copy.
    return {**found, "uri": str(folder / port)}


def _artifact(folder: Path, port: str, kind: str) -> dict[str, Any]:
    typed = {"schemaTitle": kind, "schemaVersion": "0.0.1"}
    return {"name": port, "type": typed, "uri": str(folder / port), "metadata": {}}


@dataclass
class Pods:
    """The tasks of one repetition; each runs when it is told to, in a folder of its own."""

    root: Path
    plan: Plan
    granularity: Granularity = Granularity.STAGE
    repetition: int = 1
    batches: dict[str, Batch] = field(init=False)
    texts: dict[str, str] = field(init=False)
    """What `configure` gives each task, by its key."""

    def __post_init__(self) -> None:
        seed = self.plan.seeds[self.repetition - 1]
        self.batches = batches(cells(self.plan.preset, [seed]), self.granularity)
        told = texts_of(self.plan, self.granularity)
        paths = {**{one.key: one.path for one in self.batches.values() if one.key != DATA}, RESULTS: (RESULTS,)}
        below = told[f"repetition_{self.repetition}"]
        self.texts = {DATA: told["data"], **{key: selected(below, path) for key, path in paths.items()}}

    def folder(self, key: str) -> Path:
        """Return a task's folder."""
        return self.root / slug(key)

    def cell(self, key: str, cell: str) -> Path:
        """Return where a task has left a cell's artifact."""
        (found,) = self.folder(key).glob(f"*/cells/{self.plan.addresses[cell]}")
        return found

    def artifacts(self, key: str) -> dict[str, Any]:
        """Return what is connected to a task, by port: the artifacts of the tasks before it."""
        if key == RESULTS:
            read = [Source(one.key, "results") for one in self.batches.values() if "results" in one.outputs]
        else:
            read = list(sources(self.batches[key], self.batches))
        return {f"{one.port}_{n}": produced(self.folder(one.batch), one.port) for n, one in enumerate(read, 1)}

    def input(self, key: str, *, cells: str | None = None, without: Sequence[str] = ()) -> str:
        """Return a task's executor input.

        Args:
            key: of the task.
            cells: instead of the text that `configure` gives it.
            without: ports to which nothing is connected.
        """
        inputs = {port: one for port, one in self.artifacts(key).items() if port not in without}
        parameters = {"cells": self.texts[key] if cells is None else cells}
        return executor_input(self.folder(key), COMPONENTS[self.component(key)], parameters=parameters, inputs=inputs)

    def component(self, key: str) -> str:
        """Return what runs a task."""
        return RESULTS if key == RESULTS else self.batches[key].component

    def run(self, key: str, **changes: Any) -> Outcome:
        """Run a task; `changes`: of its input."""
        return run_task(self.component(key), self.input(key, **changes))

    def run_all(self, *keys: str) -> "Pods":
        """Run some tasks, or every one to the results."""
        for key in keys or (*self.batches, RESULTS):
            done = self.run(key)
            assert done.code == 0, done.stderr
        return self


def report_input(folder: Path, repetitions: Sequence[Pods], *, cells: str | None = None) -> str:
    """Return the last task's executor input; `cells`: instead of the text that `configure` gives it."""
    first = repetitions[0]
    text = texts_of(first.plan, first.granularity)[REPORT] if cells is None else cells
    inputs = {f"results_{n}": produced(one.folder(RESULTS), "results") for n, one in enumerate(repetitions, 1)}
    parameters = {"cells": text, "report_name": "first"}
    return executor_input(folder, COMPONENTS[REPORT], parameters=parameters, inputs=inputs)


def selected(text: str, path: Sequence[str]) -> str:
    """Return a task's text from its repetition's, as the pipeline's selectors do."""
    for step in path:
        text = json.loads(text)[step]
    return text


def smallest(*changes: str, seeds: Sequence[int] = (0,)) -> Plan:
    return make_plan(load_preset("digits", [*SMALLEST, *changes]), seeds=seeds)


def configure_input(folder: Path, preset: Preset, **form: Any) -> str:
    """Return the executor input of the first task of a pipeline that was compiled with a preset.

    Args:
        folder: of the task.
        preset: a changed `digits`.
        form: what differs from the run form's defaults, or from what the pipeline says.
    """
    changes = canonical_json(differences(preset, PRESETS["digits"]()))
    fixed = {"preset": "digits", "changes": changes, "granularity": "stage", "code": code_digest(), "repetitions": 1}
    parameters = {**fixed, "seed": 0, "overrides": {}, "report_name": "digits-[[ScheduledTime]]", **form}
    returned = dict.fromkeys(("data", *(f"repetition_{n + 1}" for n in range(int(parameters["repetitions"]))), REPORT))
    return executor_input(folder, configure(dict.fromkeys(returned, "STRING")), parameters=parameters)
