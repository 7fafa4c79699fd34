"""The paper as one Kubeflow pipeline, compiled from the cells of the grid.

Top level: configure -> prepare data -> sources -> synthesis -> one nested pipeline for each feature set (pretrain ->
probe -> attack in every paradigm), one for natural encoders probed on crafted features, one for the
controls -> report. With several repetitions, each one's part is a nested pipeline of its own.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml
from google.protobuf import json_format  # type: ignore[import-untyped]
from kfp import dsl

from realfeatures.components.configure import configure
from realfeatures.components.report import report
from realfeatures.errors import ConfigError
from realfeatures.experiment.about import Role
from realfeatures.experiment.address import code_digest
from realfeatures.experiment.config import Preset
from realfeatures.experiment.grid import Cell, cells, images_key
from realfeatures.experiment.vocabulary import canonical_json
from realfeatures.kubeflow.spec import port_name, tasks
from realfeatures.kubeflow.tasks.cells import slot, structure
from realfeatures.pipelines.naming import executor_functions, name_components, number_tasks, share_executors
from realfeatures.pipelines.nesting import CELLS, MAX_PARTS, Level, Step, Task, in_order, nest
from realfeatures.pipelines.profiles import Profile
from realfeatures.pipelines.selecting import select_texts, text_named
from realfeatures.pipelines.size import require_size
from realfeatures.running.plan import outside_sources
from realfeatures.science.artifacts import write_bytes


def compile_pipeline(
    preset: Preset, *, seed: int, repetitions: int, image: str, profile: Profile, path: Path, cache: bool = True
) -> list[Cell]:
    """Write the pipeline of an experiment as YAML, whole or not at all; needs neither torch nor a cluster.

    Args:
        preset: the experiment; a folder's sha256 is filled in already.
        seed: of the first repetition, unless the run form says another one.
        repetitions: how many seeds one run computes.
        image: the image that every task runs in.
        profile: on what the tasks run.
        path: a .yaml file.
        cache: False: every task runs, whatever Kubeflow remembers, as a reproducibility run wants.

    Returns:
        The cells that it computes.

    Raises:
        ConfigError: preset and profile do not fit, or more cells than one Argo workflow can hold.
        StorageError: the file cannot be written.
    """
    check_profile(preset, profile)
    if not 0 < repetitions <= MAX_PARTS:
        raise ConfigError(f"--repetitions {repetitions}: a pipeline takes 1 to {MAX_PARTS}")
    paper = _Paper(preset, tuple(range(seed, seed + repetitions)), image, profile)
    spec = json_format.MessageToDict(paper.pipeline().pipeline_spec)
    name_components(spec)
    number_tasks(spec)
    share_executors(spec)
    select_texts(spec)
    if not cache:
        for task in tasks(spec):
            task["cachingOptions"] = {}
    pods = {label: profile.pod(function) for label, function in executor_functions(spec).items()}
    require_size(spec, pods)
    platform = {"platforms": {"kubernetes": {"deploymentSpec": {"executors": pods}}}}
    # kfp's own compiler writes with the slow dumper, and leaves half a file on a full disk.
    text = yaml.dump_all([spec, platform], Dumper=yaml.CSafeDumper, sort_keys=True)
    write_bytes(path, text.encode())
    return paper.grid


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


class _Paper:
    """The cells of an experiment, arranged as a person reads the paper."""

    def __init__(self, preset: Preset, seeds: Sequence[int], image: str, profile: Profile) -> None:
        self.preset = preset
        self.seeds = seeds
        self.image = image
        self.profile = profile
        self.grid = cells(preset, seeds)
        self.slots = {cell.key: slot(cell, seeds) for cell in self.grid}

    def pipeline(self) -> Any:
        """Return the whole as one pipeline, whose parameters are the fields of Kubeflow's run form."""
        steps = self._top_level()

        def paper(seed: int = self.seeds[0], overrides: str = "{}", run_name: str = self.preset.name) -> None:
            configured = self._configure(seed, overrides, run_name)
            level = self._level(lambda key: configured.outputs[port_name(key)])
            for step in steps:
                level.add(step, cells=configured.outputs[CELLS])
            self._report(level, configured, run_name)

        return dsl.pipeline(
            name=f"adversarial-examples-are-not-real-features-{self.preset.name}",
            description="Usefulness and robustness of robust and non-robust features across paradigms.",
        )(paper)

    def _configure(self, seed: Any, overrides: Any, run_name: Any) -> Any:
        task = configure(
            preset=canonical_json(self.preset.model_dump(mode="json")),
            seed=seed,
            repetitions=len(self.seeds),
            overrides=overrides,
            run_name=run_name,
            structure=structure(self.grid, self.seeds),
            code=code_digest(),
        )
        self._level(lambda key: key).place(task, "configure")
        return task

    def _top_level(self) -> list[Step]:
        prepare = Task("prepare data", self.grid[0])
        if len(self.seeds) == 1:
            return [prepare, *self._seed(self.grid[1:])]
        return [prepare, *(self._repetition(number, seed) for number, seed in enumerate(self.seeds, start=1))]

    def _repetition(self, number: int, seed: int) -> Step:
        own = [cell for cell in self.grid[1:] if cell.run_seed == seed]
        return self._nest(f"repetition {number}", self._seed(own), wanted=set(self._pictures().values()))

    def _seed(self, grid: Sequence[Cell]) -> list[Step]:
        """One seed: sources and synthesis one by one, and what evaluates the sets as nested pipelines."""
        sources = {key for cell in grid if cell.role is Role.IMAGES for key in cell.inputs.values()}
        steps: list[Step] = []
        groups: dict[str, list[Cell]] = {}
        for cell in grid:
            if cell.key in sources or cell.role is Role.IMAGES:
                steps.append(Task(cell.short, cell))
            else:
                groups.setdefault(cell.group, []).append(cell)
        for name, group in groups.items():
            outside = {key for cell in grid if cell not in group for key in cell.inputs.values()}
            steps.append(self._nest(name, [Task(cell.short, cell) for cell in group], wanted=outside))
        return in_order(steps)

    def _nest(self, name: str, steps: Sequence[Step], *, wanted: set[str]) -> Step:
        by_key = {cell.key: cell for cell in self.grid}
        return nest(name, steps, cells=by_key, wanted=wanted, level=lambda: self._level(self._named_text))

    def _level(self, text: Callable[[str], Any]) -> Level:
        return Level(image=self.image, profile=self.profile, text=text)

    def _named_text(self, key: str) -> str:
        return text_named(self.slots.get(key, key))

    def _pictures(self) -> dict[str, str]:
        """Return the keys of the first seed's image sets, of which the report shows a few images."""
        keys = {str(features): images_key(self.seeds[0], features) for features in self.preset.features}
        return {features: key for features, key in keys.items() if key in self.slots}

    def _report(self, level: Level, configured: Any, run_name: Any) -> None:
        task = report(
            preset=configured.outputs["resolved"],
            seeds=configured.outputs["seeds"],
            run_name=run_name,
            code=code_digest(),
            records=level.records,
            **{port: level.artifacts[key] for port, key in self._pictures().items()},
            **level.numbered_parts(),
        )
        level.place(task, "report")
