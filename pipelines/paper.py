"""The paper as one Kubeflow pipeline, compiled from the cells of the grid.

Top level: prepare data -> sources -> synthesis -> one nested pipeline for each feature set (pretrain ->
probe -> attack in every paradigm), one for natural encoders probed on crafted features, one for the
controls -> report. With several seeds, each seed's part is a nested pipeline of its own.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, get_args

import yaml
from google.protobuf import json_format
from kfp import dsl

from realfeatures.artifacts import write_bytes
from realfeatures.components.attack import attack
from realfeatures.components.collect import collect
from realfeatures.components.linear_probe import linear_probe
from realfeatures.components.match_representations import match_representations
from realfeatures.components.perturb_towards_targets import perturb_towards_targets
from realfeatures.components.prepare_data import prepare_data
from realfeatures.components.pretrain import pretrain
from realfeatures.components.report import report
from realfeatures.config import Features, Preset, canonical_json
from realfeatures.errors import ConfigError
from realfeatures.grid import DATA, Cell, cells, images_key
from realfeatures.kfp_runtime import cell_text
from realfeatures.provenance import code_digest

COMPONENTS: dict[str, Any] = {
    component.python_func.__name__: component
    for component in (
        prepare_data,
        pretrain,
        match_representations,
        perturb_towards_targets,
        linear_probe,
        attack,
    )
}
"""The component of every stage, by the stage's name."""

MAX_PARTS = 6
"""The ports that `collect` and `report` have for nested pipelines."""
MAX_TASKS = 160
MAX_WORKFLOW_BYTES = 640 * 1024


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
    require_size(spec, preset=preset.name, seeds=seeds)
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
