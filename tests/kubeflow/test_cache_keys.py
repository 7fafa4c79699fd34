"""What Kubeflow's cache takes from an earlier run: its keys, computed as its driver does.

A key holds a task's parameters, the ids of its input artifacts by port, its outputs, command and image; an artifact
that came from the cache keeps its id (kubeflow/pipelines, backend/src/v2/cacheutils/cache.go, GenerateCacheKey).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

import pytest
from small_pipeline import IMAGE
from spec_walk import walk

from realfeatures.experiment.codec import decode
from realfeatures.experiment.presets import load_preset
from realfeatures.kubeflow.batches import CONFIGURE, REPORT, RESULTS, Granularity, choose
from realfeatures.kubeflow.tasks.texts import resolve, texts_of
from realfeatures.pipelines.paper import pipeline_builder
from realfeatures.pipelines.profiles import load_profile
from realfeatures.running.plan import Plan, make_plan

FIRST = ("experiments=E1,E2", "paradigms=supervised,masked", "features=natural,robust,d_rand")


@dataclass(frozen=True)
class Run:
    """A run's tasks that the cache knows, by their keys."""

    tasks: Mapping[str, tuple[str, ...]]
    """The task's path."""
    addresses: Mapping[tuple[str, ...], Mapping[str, str]]
    """Those of a task's cells, by the task's path and the cell's key."""

    def hits(self, later: "Run") -> set[str]:
        """Return the tasks of a later run that are taken from this one, after checking that they compute the same."""
        found = self.tasks.keys() & later.tasks.keys()
        for key in found:
            assert later.addresses[later.tasks[key]] == self.addresses[self.tasks[key]]
        return {"/".join(later.tasks[key]) for key in found}


def run(
    *changes: str, plan: Plan | None = None, image: str = IMAGE, granularity: Granularity = Granularity.STAGE
) -> Run:
    """Compile with changes; run with the form's defaults, or with what a plan has."""
    compiled = make_plan(load_preset("digits", [*FIRST, *changes]), seeds=[0])
    spec, _ = pipeline_builder(compiled, image=image, profile=load_profile("cpu"), cache=True)(granularity)
    planned = plan or compiled
    ids, tasks, addresses = {}, {}, {}
    for use in walk(spec, texts_of(planned, granularity))[0]:
        component = spec["components"][use.component]
        container = spec["deploymentSpec"]["executors"][component["executorLabel"]]["container"]
        inputs = {port: [ids[made.task], made.port] for port, made in use.artifacts.items()}
        words = [container[name] for name in ("image", "command", "args")]
        key = json.dumps([use.parameters, inputs, component["outputDefinitions"], words], sort_keys=True)
        ids[use.path] = key
        if use.path[-1] not in (CONFIGURE, REPORT):  # these two are never taken from the cache
            tasks[key] = use.path
            cells = decode(use.parameters["cells"], choose).cells
            addresses[use.path] = {cell.key: planned.addresses[cell.key] for cell in cells}
    assert len(tasks) == len(ids) - 2
    return Run(tasks, addresses)


def by_form(seed: int = 0, **overrides: object) -> Plan:
    values = dict(change.split("=") for change in FIRST)
    changes = json.dumps({name: value.split(",") for name, value in values.items()})
    return resolve(changes, preset="digits", seed=seed, repetitions=1, overrides=overrides)


@pytest.fixture(scope="module")
def first() -> Run:
    return run()


def everything(of: Run) -> set[str]:
    return {"/".join(path) for path in of.tasks.values()}


def test_the_same_form_takes_every_task_but_the_first_and_the_report_from_the_cache(first):
    assert first.hits(run(plan=by_form())) == everything(first)


def test_another_seed_takes_the_prepared_data_alone(first):
    assert first.hits(run(plan=by_form(seed=3))) == {"prepare-data"}


def test_another_value_for_the_probe_runs_what_holds_a_probe_and_what_follows(first):
    missed = everything(first) - first.hits(run(plan=by_form(**{"probe.epochs": 5})))
    assert {path.rpartition("/")[2] for path in missed} == {"probe", "attack", RESULTS}
    probes = {path.rpartition("/")[0] for path in missed if path.endswith("/probe")}
    attacks = {path.rpartition("/")[0] for path in missed if path.endswith("/attack")}
    assert attacks == probes
    assert first.hits(run(plan=by_form(**{"probe.epochs": 50}))) == everything(first)  # what the preset has


@pytest.mark.parametrize("change", ["masked.mask_ratio=0.5", "data.train_size=500", "attack.pgd_steps=3"])
def test_a_value_that_was_compiled_in_is_as_one_of_the_form(first, change):
    name, _, value = change.partition("=")
    compiled, asked = run(change), run(plan=by_form(**{name: json.loads(value)}))
    assert first.hits(compiled) == first.hits(asked) < everything(first)
    assert compiled.tasks.keys() == asked.tasks.keys()


def test_other_data_take_nothing(first):
    assert first.hits(run("data.train_size=500")) == set()


def test_another_part_of_the_experiments_takes_what_is_the_same_in_both(first):
    part = run("experiments=E1")
    hits = first.hits(part)
    assert {"prepare-data", "repetition-1/robust-images"} <= hits
    assert not any(path.endswith("/attack") for path in hits if "natural-masked" in path)  # less is attacked


def test_another_image_takes_nothing(first):
    assert first.hits(run(image=IMAGE.replace("0" * 64, "1" * 64))) == set()


def test_another_granularity_takes_the_tasks_of_the_same_cells_at_most(first):
    coarse = run(granularity=Granularity.SET)
    assert first.hits(coarse) == set()  # a task's name says its granularity


def test_a_moved_tag_of_another_code_takes_nothing(first):
    plan = by_form()
    other = replace(plan, addresses={key: address[::-1] for key, address in plan.addresses.items()})
    assert first.hits(run(plan=other)) == set()
