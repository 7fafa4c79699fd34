"""A compiled pipeline run by kfp.local, as processes of this machine or in containers."""

import copy
from pathlib import Path
from typing import Any

import yaml
from kfp import components, local
from kfp.local.config import LocalRunnerType

from realfeatures.experiment.config import Preset
from realfeatures.kubeflow.batches import Granularity
from realfeatures.pipelines.paper import compile_pipeline
from realfeatures.pipelines.profiles import Profile, load_profile
from realfeatures.running.plan import make_plan

PROCESSES = local.SubprocessRunner(use_venv=False)


def compile_here(
    preset: Preset,
    folder: Path,
    *,
    repetitions: int = 1,
    granularity: Granularity = Granularity.STAGE,
    image: str = "python",
    profile: Profile | None = None,
) -> Path:
    """Compile a pipeline of any size; return its file."""
    plan, paper = make_plan(preset, seeds=range(repetitions)), folder / "paper.yaml"
    chosen = profile or load_profile("cpu")
    compile_pipeline(plan, image=image, profile=chosen, path=paper, granularity=granularity, limit=2**30)
    return paper


def run_here(paper: Path, folder: Path, *, runner: LocalRunnerType = PROCESSES, **form: Any) -> Path:
    """Run a pipeline under `folder`/kfp; `form`: what the run form says. Returns the run's own folder."""
    before = set(runs(folder))
    local.init(runner, pipeline_root=str(folder / "kfp"), enable_caching=runner is PROCESSES)
    components.load_component_from_text(for_kfp_local(paper, runner))(**{"report_name": "local", **form})
    (made,) = set(runs(folder)) - before
    return made


def runs(folder: Path) -> list[Path]:
    """Return the folder of each run; the cache is hidden among them."""
    root = folder / "kfp"
    return [run for run in root.iterdir() if not run.name.startswith(".")] if root.exists() else []


def for_kfp_local(paper: Path, runner: LocalRunnerType) -> str:
    """Return a compiled pipeline as kfp.local takes it.

    It keys folders and its cache by the component's name: each use of one gets its own. Its SubprocessRunner takes a
    container for a Python component where the name of kfp's module is among the words of the command.
    """
    spec, platform = yaml.load_all(paper.read_text(), Loader=yaml.CSafeLoader)
    components: dict[str, Any] = {}

    def own(dag: dict[str, Any], place: str) -> None:
        for key, task in dag["tasks"].items():
            name = f"{place}-{key}"
            component = copy.deepcopy(spec["components"][task["componentRef"]["name"]])
            task["componentRef"] = {"name": name}
            components[name] = component
            if "dag" in component:
                own(component["dag"], name)

    own(spec["root"]["dag"], "comp")
    if isinstance(runner, local.SubprocessRunner):
        for executor in spec["deploymentSpec"]["executors"].values():
            container = executor["container"]
            container["command"] = ["sh", "-c", 'exec "$@" # kfp.dsl.executor_main', "sh", *container["command"]]
    return yaml.dump_all([{**spec, "components": components}, platform], Dumper=yaml.CSafeDumper)
