"""The paper as one Kubeflow pipeline, compiled from the cells of the grid; needs neither torch nor a cluster."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import kfp
import yaml

from realfeatures.components import COMPONENTS, Component, configure
from realfeatures.components.component import CELLS, Ports
from realfeatures.errors import ConfigError
from realfeatures.experiment.address import code_digest
from realfeatures.experiment.codec import changes_of
from realfeatures.experiment.config import Preset
from realfeatures.experiment.grid import DATA
from realfeatures.experiment.vocabulary import canonical_json
from realfeatures.kubeflow.batches import CONFIGURE, REPORT, RESULTS, Batch, Granularity
from realfeatures.pipelines.arrangement import NATURAL, Arrangement
from realfeatures.pipelines.fitting import Fitted, Specification, fit
from realfeatures.pipelines.levels import (
    Components,
    Level,
    Reference,
    artifact_of,
    constant,
    input_parameter,
    parameter_of,
)
from realfeatures.pipelines.profiles import Profile, Work
from realfeatures.pipelines.workflow_size import MAX_WORKFLOW_BYTES
from realfeatures.running.names import RUN_TIME
from realfeatures.running.plan import Plan, outside_sources
from realfeatures.science.artifacts import write_bytes

PREPARE = "prepare-data"

SMALL_SECONDS = 120.0
"""chosen: of one core, by estimate: a task of so little work shares a core, so that a small node runs several."""

Spec = dict[str, Any]


def compile_pipeline(
    plan: Plan,
    *,
    image: str,
    profile: Profile,
    path: Path,
    granularity: Granularity | None = None,
    limit: int = MAX_WORKFLOW_BYTES,
    cache: bool = True,
    scheduled: bool = False,
) -> Fitted:
    """Write the pipeline of an experiment as YAML, whole or not at all.

    Args:
        plan: of the run that it is for, unless the run form says another seed or other values.
        image: the image that every task runs in.
        profile: on what the tasks run.
        path: a .yaml file.
        granularity: how much of the experiment is one task; None: the least that the cluster can hold.
        limit: bytes that the cluster's Argo takes for a Workflow.
        cache: False: every task runs, whatever Kubeflow remembers, as a reproducibility run wants.
        scheduled: it is to be the version of a recurring run, whose object holds the whole workflow as text.

    Returns:
        What was written, with its sizes.

    Raises:
        ConfigError: preset and profile do not fit, or the pipeline is too large for the cluster.
        StorageError: the file cannot be written.
    """
    check_profile(plan.preset, profile)
    build = pipeline_builder(plan, image=image, profile=profile, cache=cache)
    fitted = fit(build, plan, granularity=granularity, limit=limit, scheduled=scheduled)
    text = yaml.dump_all(fitted.specification, Dumper=_Dumper, sort_keys=True)
    write_bytes(path, text.encode())
    return fitted


def pipeline_builder(
    plan: Plan, *, image: str, profile: Profile, cache: bool
) -> Callable[[Granularity], Specification]:
    """Return what makes the pipeline of a granularity; arguments as `compile_pipeline`."""
    options = {"cachingOptions": {"enableCache": True} if cache else {}, **profile.retry_policy()}
    return lambda granularity: _Paper(plan, granularity).specification(image, profile, options)


def check_profile(preset: Preset, profile: Profile) -> None:
    """Refuse a profile that cannot run the preset.

    Raises:
        ConfigError: it gives no GPU to a preset that wants one, or pods cannot reach the data set.
    """
    if preset.runtime.device == "cuda" and not profile.accelerator:
        raise ConfigError(
            f"preset {preset.name} has runtime.device=cuda and profile {profile.name} no accelerator;"
            " use --profile gpu, or --set runtime.device=cpu"
        )
    for name, source in outside_sources(preset).items():
        raise ConfigError(
            f"{name}.weights {source.weights!r}: pods cannot see a file of this machine; run the preset on one machine"
        )
    if preset.data.sha256 is not None and not profile.store.location:
        raise ConfigError(
            f"data {preset.data.source!r}: pods cannot see a folder of this machine; put it into an object store with"
            " `realfeatures store mirror`, and name the store by --profile-set store.location=s3://BUCKET"
        )


class _Dumper(yaml.CSafeDumper):
    """Writes what stands in two places twice: a person reads it, too."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - of the base class
        return True


NEVER_CACHED: Mapping[str, Any] = {"cachingOptions": {}}
"""Of what is new in every run: the form is checked, and the report is published under the run's name."""


class _Paper:
    """The pipeline while it is built."""

    def __init__(self, plan: Plan, granularity: Granularity) -> None:
        self.preset, self.seed, self.repetitions = plan.preset, plan.seeds[0], len(plan.seeds)
        self.costs, self.granularity = plan.costs, granularity
        self.components = Components()
        self.used: dict[str, tuple[Component, Work]] = {}
        """The components that are containers, and how much work they are for, by the label of their executor."""
        self.root = Level()
        self.has_small = True
        """Whether tasks of little work ask for less than others."""

    def specification(self, image: str, profile: Profile, options: Mapping[str, Any]) -> Specification:
        """Return the pipeline's specification, and that of its pods; `options`: how a stage is cached and retried."""
        # Of two components with equal containers Kubeflow keeps the first one's ports (argocompiler/argo.go).
        self.has_small = profile.container(Work.SMALL) != profile.container(Work.LARGE)
        self._build(options)
        executors = {
            label: {"container": {**one.container(image), **profile.container(work)}}
            for label, (one, work) in self.used.items()
        }
        pods = {label: profile.pod(work) for label, (_, work) in self.used.items()}
        spec = {
            # A short name: it stands in that of every node of the workflow.
            "pipelineInfo": {"name": f"paper-{self.preset.name}", "description": self._description()},
            "schemaVersion": "2.1.0",
            "sdkVersion": f"kfp-{kfp.__version__}",
            "components": self.components.specifications,
            "deploymentSpec": {"executors": executors},
            "root": {"dag": self.root.dag(), "inputDefinitions": {"parameters": self._form()}},
        }
        return spec, {"platforms": {"kubernetes": {"deploymentSpec": {"executors": pods}}}}

    def _description(self) -> str:
        experiments = ", ".join(self.preset.experiments)
        return (
            "Usefulness and robustness of robust and non-robust features across paradigms. Preset"
            f" {self.preset.name}: {experiments}; repetitions: {self.repetitions}; a task is one {self.granularity}."
        )

    def _form(self) -> Spec:
        """Return the fields of Kubeflow's run form."""
        fields = {
            "seed": ("NUMBER_INTEGER", float(self.seed)),
            "overrides": ("STRUCT", {}),
            "report_name": ("STRING", f"{self.preset.name}-{RUN_TIME}"),
        }
        return {
            name: {"parameterType": kind, "defaultValue": value, "isOptional": True}
            for name, (kind, value) in fields.items()
        }

    def _build(self, options: Mapping[str, Any]) -> None:
        arrangement = Arrangement(self.preset, self.granularity, seed=self.seed)
        ports = arrangement.ports()
        names = {
            key: self._declare(COMPONENTS[batch.component], ports[batch.component], self._work(batch))
            for key, batch in arrangement.batches.items()
        }
        names[RESULTS] = self._declare(COMPONENTS[RESULTS], ports[RESULTS], Work.LIGHT)
        repetition = arrangement.repetition(self.components, names, options)
        nested = self.components.add("repetition", repetition.specification())
        numbers = range(1, self.repetitions + 1)
        self._configure()
        self.root.add(
            PREPARE,
            title="prepare data",
            component=names[DATA],
            parameters={CELLS: parameter_of(CONFIGURE, "data")},
            artifacts={},
            options=options,
        )
        for number in numbers:
            self.root.add(
                f"repetition-{number}",
                title=f"repetition {number}",
                component=nested,
                parameters={CELLS: parameter_of(CONFIGURE, f"repetition_{number}")},
                artifacts={NATURAL: artifact_of(PREPARE, "images")},
                options={"cachingOptions": options["cachingOptions"]},
            )
        results = [artifact_of(f"repetition-{number}", "results") for number in numbers]
        self._report(results, {**options, **NEVER_CACHED})

    def _configure(self) -> None:
        numbers = range(1, self.repetitions + 1)
        told = ["data", *(f"repetition_{number}" for number in numbers), REPORT]
        self.root.add(
            CONFIGURE,
            title="configure",
            component=self._declare(configure(dict.fromkeys(told, "STRING")), {}, Work.LIGHT),
            parameters={
                "preset": constant(self.preset.name),
                "changes": constant(canonical_json(changes_of(self.preset))),
                "granularity": constant(str(self.granularity)),
                "code": constant(code_digest()),
                "repetitions": constant(float(self.repetitions)),
                **{name: input_parameter(name) for name in self._form()},
            },
            artifacts={},
            options=NEVER_CACHED,
        )

    def _report(self, results: list[Reference], options: Mapping[str, Any]) -> None:
        ports = Ports(most=len(results), least=len(results))
        self.root.add(
            REPORT,
            title="report",
            component=self._declare(COMPONENTS[REPORT], {"results": ports}, Work.LIGHT),
            parameters={CELLS: parameter_of(CONFIGURE, REPORT), "report_name": input_parameter("report_name")},
            artifacts=dict(zip(ports.names("results", len(results)), results, strict=True)),
            options=options,
        )

    def _work(self, batch: Batch) -> Work:
        """Return how much a task is likely to do."""
        seconds = sum(self.costs[cell.key].weight for cell in batch.cells)
        return Work.SMALL if self.has_small and seconds <= SMALL_SECONDS else Work.LARGE

    def _declare(self, component: Component, ports: Mapping[str, Ports], work: Work) -> str:
        """Add a component that is a container; return its name in the pipeline."""
        name = component.name.replace("_", "-") + ("-small" if work is Work.SMALL else "")
        self.used[f"exec-{name}"] = component, work
        return self.components.add(name, component.specification(ports, executor=f"exec-{name}"))
