"""The paper as one Kubeflow pipeline, compiled from the cells of the grid.

Top level: prepare data -> sources -> synthesis -> one nested pipeline for each feature set (pretrain ->
probe -> attack in every paradigm), one for natural encoders probed on crafted features, one for the
controls -> report. With several seeds, each seed's part is a nested pipeline of its own.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from google.protobuf import json_format  # type: ignore[import-untyped]
from kfp import dsl

from realfeatures.artifacts import write_bytes
from realfeatures.components.report import report
from realfeatures.config import Preset
from realfeatures.errors import ConfigError
from realfeatures.grid import Cell, cells, images_key
from realfeatures.pipelines.naming import name_components, share_executors
from realfeatures.pipelines.nesting import MAX_PARTS, Level, Step, Task, nest
from realfeatures.pipelines.size import require_size
from realfeatures.provenance import code_digest
from realfeatures.vocabulary import Features, canonical_json


def compile_pipeline(preset: Preset, *, seeds: Sequence[int], image: str, path: Path) -> None:
    """Write the pipeline of an experiment as YAML, whole or not at all; needs neither torch nor a cluster.

    Args:
        preset: the experiment; a folder's sha256 is filled in already.
        seeds: one or more.
        image: the image that every task runs in.
        path: a .yaml file.

    Raises:
        ConfigError: no seed, or more cells than one Argo workflow can hold.
        StorageError: the file cannot be written.
    """
    pipeline = build_pipeline(preset, seeds=seeds, image=image)
    spec = json_format.MessageToDict(pipeline.pipeline_spec)
    name_components(spec)
    share_executors(spec)
    require_size(spec)
    # kfp's own compiler writes with the slow dumper, and leaves half a file on a full disk.
    write_bytes(path, yaml.dump(spec, Dumper=yaml.CSafeDumper, sort_keys=True).encode())


def build_pipeline(preset: Preset, *, seeds: Sequence[int], image: str) -> Any:
    """Return the experiment's pipeline, which kfp can compile or, after `kfp.local.init`, run.

    Raises:
        ConfigError: no seed, or too many for the report's ports.
    """
    if not 0 < len(seeds) <= MAX_PARTS:
        raise ConfigError(f"{len(seeds)} seeds: a pipeline takes 1 to {MAX_PARTS}; compile the others apart")
    return _Paper(preset, tuple(seeds), image).pipeline()


class _Paper:
    """The cells of an experiment, arranged as a person reads the paper."""

    def __init__(self, preset: Preset, seeds: Sequence[int], image: str) -> None:
        self.preset = preset
        self.seeds = seeds
        self.image = image
        self.grid = cells(preset, seeds)

    def pipeline(self) -> Any:
        """Return the whole as one pipeline."""
        steps = self._top_level()

        def paper() -> None:
            level = self._level(code_digest())
            for step in steps:
                level.add(step)
            self._report(level)

        return dsl.pipeline(
            name=f"adversarial-examples-are-not-real-features-{self.preset.name}",
            description="Usefulness and robustness of robust and non-robust features across paradigms.",
        )(paper)

    def _top_level(self) -> list[Step]:
        prepare = Task("prepare data", self.grid[0])
        if len(self.seeds) == 1:
            return [prepare, *self._seed(self.grid[1:])]
        return [prepare, *(self._nested_seed(seed) for seed in self.seeds)]

    def _nested_seed(self, seed: int) -> Step:
        own = [cell for cell in self.grid[1:] if cell.labels["run_seed"] == seed]
        return self._nest(f"seed {seed}", self._seed(own), wanted=set(self._pictures().values()))

    def _seed(self, grid: Sequence[Cell]) -> list[Step]:
        """One seed: sources and synthesis one by one, and what evaluates the sets as nested pipelines."""
        sources = {key for cell in grid if cell.labels["role"] == "images" for key in cell.inputs.values()}
        steps: list[Step] = []
        groups: dict[str, list[Cell]] = {}
        for cell in grid:
            if cell.key in sources or cell.labels["role"] == "images":
                steps.append(Task(title(cell), cell))
            else:
                groups.setdefault(group_title(cell), []).append(cell)
        for name, group in groups.items():
            outside = {key for cell in grid if cell not in group for key in cell.inputs.values()}
            steps.append(self._nest(name, [Task(title(cell), cell) for cell in group], wanted=outside))
        return steps

    def _nest(self, name: str, steps: Sequence[Step], *, wanted: set[str]) -> Step:
        by_key = {cell.key: cell for cell in self.grid}
        return nest(name, steps, cells=by_key, wanted=wanted, level=self._level)

    def _level(self, code: Any) -> Level:
        return Level(image=self.image, runtime=self.preset.runtime, code=code)

    def _pictures(self) -> dict[str, str]:
        """Return the keys of the first seed's image sets, of which the report shows a few images."""
        return {str(features): images_key(self.seeds[0], features) for features in self.preset.features}

    def _report(self, level: Level) -> None:
        task = report(
            preset=canonical_json(self.preset.model_dump(mode="json")),
            seeds=canonical_json(list(self.seeds)),
            code=level.code,
            records=level.records,
            **{port: level.artifacts[key] for port, key in self._pictures().items()},
            **level.numbered_parts(),
        )
        task.set_container_image(self.image).set_display_name("report")


def group_title(cell: Cell) -> str:
    """Return the name of the nested pipeline that evaluates a cell's encoder."""
    features, probed_on = cell.labels.get("features", "none"), cell.labels.get("probe_features")
    if features == "none":
        return "evaluate controls"
    if features == Features.NATURAL and probed_on not in (None, Features.NATURAL):
        # Apart from the other natural cells, which need not wait for the synthesis.
        return "probe natural encoders on crafted features"
    return f"evaluate {_words(features)} features"


def title(cell: Cell) -> str:
    """Return what a person reads on a cell's task, such as `contrastive: probe on natural`."""
    labels = {name: _words(value) for name, value in cell.labels.items()}
    role = cell.labels["role"]
    if role == "images":
        return f"make {labels['features']} images"
    if role == "source":
        return f"{labels['paradigm']}: train source"
    if role == "probe":
        return f"{labels['paradigm']}: probe on {labels['probe_features']}"
    if role == "attack":
        own_head = cell.inputs["probe"] == cell.inputs["encoder"]
        return f"{labels['paradigm']}: attack, {'own head' if own_head else 'probed on ' + labels['probe_features']}"
    return f"{labels['paradigm']}: pretrain"


def _words(label: str | int) -> str:
    return str(label).replace("_", "-")
