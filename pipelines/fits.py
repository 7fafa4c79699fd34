"""docs/workflow-sizes.md: what fits into a Workflow, of every preset at every granularity.

`python -m realfeatures.pipelines.fits DOCUMENT` writes it, as `make sizes` does. Nothing in it is typed.
"""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from realfeatures.experiment.presets import PRESETS, load_preset
from realfeatures.kubeflow.batches import Granularity
from realfeatures.pipelines.fitting import HEADROOM, fit
from realfeatures.pipelines.paper import pipeline_builder
from realfeatures.pipelines.profiles import load_profile
from realfeatures.pipelines.workflow import KUBEFLOW_2_16, KUBEFLOW_2_17
from realfeatures.pipelines.workflow_size import MAX_WORKFLOW_BYTES
from realfeatures.running.plan import make_plan
from realfeatures.science.artifacts import write_bytes

REPETITIONS = (1, 3)
IMAGE = "registry.example/realfeatures@sha256:" + "0" * 64
STORE = ("store.location=s3://experiments/paper", "store.endpoint=http://store.example:9000")

HEAD = f"""# What fits into a workflow

Written by `make sizes`. All experiments of a preset, with an object store, in a run in which every task runs: KiB of
spec, and of state at the run's end, on a stock Kubeflow 2.17, which wraps every pod into a retry of its own, and on
2.16. In bold: at most {HEADROOM:.0%} of Argo's default limit of {MAX_WORKFLOW_BYTES // 1024} KiB; `auto` takes the
finest on 2.17.

| preset | repetitions | a task is one | tasks | spec | state, 2.17 | together | state, 2.16 | together |
| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |
"""


def rows(presets: Iterable[str] = PRESETS) -> Iterator[str]:
    """Yield the table's rows."""
    for name in presets:
        preset = load_preset(name)
        profile = load_profile("gpu" if preset.runtime.device == "cuda" else "cpu", STORE)
        for repetitions in REPETITIONS:
            plan = make_plan(preset, seeds=range(repetitions))
            build = pipeline_builder(plan, image=IMAGE, profile=profile, cache=True)
            for granularity in Granularity:
                new, old = (
                    fit(build, plan, granularity=granularity, limit=2**40, installation=one)
                    for one in (KUBEFLOW_2_17, KUBEFLOW_2_16)
                )
                sizes = " | ".join(f"{_kib(one.size.state)} | {_share(one.size.whole)}" for one in (new, old))
                yield f"| {name} | {repetitions} | {granularity} | {new.tasks} | {_kib(new.size.spec)} | {sizes} |\n"


def _share(size: int) -> str:
    share = size / MAX_WORKFLOW_BYTES
    return f"**{share:.0%}**" if share <= HEADROOM else f"{share:.0%}"


def _kib(size: int) -> str:
    return f"{size / 1024:.0f}"


if __name__ == "__main__":
    write_bytes(Path(sys.argv[1]), (HEAD + "".join(rows())).encode())
