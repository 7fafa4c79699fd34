"""The compiled pipeline: what a real Kubeflow runs, small enough for it, with every cell in it."""

from collections import Counter

import pytest
from compiled_pipeline import CHOSEN, Compile, Compiled, compiler
from small_pipeline import IMAGE
from spec_checks import problems
from spec_walk import Made

from realfeatures.errors import ConfigError
from realfeatures.experiment.address import code_digest
from realfeatures.experiment.presets import PRESETS, load_preset
from realfeatures.kubeflow.batches import CONFIGURE, REPORT, RESULTS, Granularity, port_of
from realfeatures.kubeflow.spec import levels
from realfeatures.kubeflow.tasks.texts import resolve, texts_of
from realfeatures.pipelines.fitting import HEADROOM
from realfeatures.pipelines.paper import compile_pipeline
from realfeatures.pipelines.profiles import PROFILES
from realfeatures.pipelines.workflow_size import MAX_WORKFLOW_BYTES
from realfeatures.running.names import RUN_TIME
from realfeatures.running.plan import make_plan

SHOWN = 18
"""Characters of a title that Kubeflow's page shows at most."""
TEXT_BYTES = 200
"""Kubeflow's state repeats a task's parameters up to six times."""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Compile:
    return compiler(tmp_path_factory.mktemp("compiled"))


def is_slow(name: str, granularity: Granularity, repetitions: int) -> bool:
    """The presets are of one shape: the default tests take one whole, and of the others what `auto` takes."""
    if name == "digits" and granularity is not Granularity.CELL:
        return (granularity, repetitions) == (Granularity.STAGE, 3)
    return granularity is not CHOSEN[repetitions]


WHOLE = [
    pytest.param((name, granularity, repetitions), id=f"{name}-{granularity}-{repetitions}", marks=marks)
    for name in PRESETS
    for granularity in Granularity
    for repetitions in (1, 3)
    for marks in [[pytest.mark.slow] * is_slow(name, granularity, repetitions)]
]
PARTS = [
    ("digits", Granularity.CELL, 1, "paradigms=diffusion"),  # `auto` takes the cell: every timestep is a task
    ("digits", Granularity.CELL, 2, "experiments=E2", "paradigms=supervised", "features=natural"),
    ("digits", Granularity.STAGE, 1, "experiments=E5"),
    ("paper", Granularity.ENCODER, 2, "experiments=decomposition"),
]
EVERY_PRESET = pytest.mark.parametrize("name", PRESETS)


@pytest.fixture(scope="module", params=[*WHOLE, *PARTS], ids=lambda one: "-".join(map(str, one)))
def pipeline(request, compiled: Compile) -> Compiled:
    return compiled(*request.param)


def test_nothing_in_a_pipeline_stops_a_real_kubeflow(pipeline):
    text_bytes = TEXT_BYTES if pipeline.changes == "{}" else None
    assert problems(pipeline.spec, pipeline.pods, pipeline.texts, text_bytes=text_bytes) == []


def test_a_run_with_overrides_finds_every_text(pipeline):
    form = {"preset": pipeline.plan.preset.name, "seed": 5, "repetitions": len(pipeline.plan.seeds)}
    plan = resolve(pipeline.changes, **form, overrides={"probe.epochs": 5})
    assert problems(pipeline.spec, pipeline.pods, texts_of(plan, pipeline.fitted.granularity)) == []


def test_every_cell_is_computed_by_one_task(pipeline):
    computed = sorted(cell.key for cells in pipeline.work.values() for cell in cells)
    assert computed == sorted(cell.key for cell in pipeline.plan.grid)


def test_every_task_is_given_what_its_cells_read_and_has_ports_for_what_they_make(pipeline):
    place = {cell.key: Made(path, port_of(cell)) for path, cells in pipeline.work.items() for cell in cells}
    for use in pipeline.uses:
        cells = pipeline.work.get(use.path, ())
        read = {place[key] for cell in cells for key in cell.inputs.values()}
        if cells:
            assert {made for made in read if made.task != use.path} == set(use.artifacts.values()), str(use)
            ports = pipeline.spec["components"][use.component]["outputDefinitions"]["artifacts"]
            assert {port_of(cell) for cell in cells} <= set(ports), str(use)


def test_the_results_of_a_repetition_know_all_its_cells(pipeline):
    """By the records in each artifact of the cells that it comes from."""
    known: dict[tuple[str, ...], set[str]] = {}
    for use in pipeline.uses:
        before = [known[made.task] for made in use.artifacts.values()]
        known[use.path] = {cell.key for cell in pipeline.work.get(use.path, ())}.union(*before)
    assert known[(REPORT,)] == {cell.key for cell in pipeline.plan.grid}
    joined = [path for path in known if path[-1] == RESULTS]
    assert len(joined) == len(pipeline.plan.seeds)
    assert all(known[path] == {cell.key for cell in pipeline.cells[path]} for path in joined)


def test_titles_are_short_and_tell_tasks_apart(pipeline):
    for level in levels(pipeline.spec):
        titles = [task["taskInfo"]["name"] for task in level.tasks.values()]
        assert [title for title in titles if len(title) > SHOWN or "_" in title] == []
        assert [title for title, count in Counter(titles).items() if count > 1] == []


def test_the_top_level_reads_as_the_paper(pipeline):
    repetitions = [f"repetition {seed + 1}" for seed in pipeline.plan.seeds]
    titles = [task["taskInfo"]["name"] for task in pipeline.root.values()]
    assert titles == ["configure", "prepare data", *repetitions, "report"]


@EVERY_PRESET
@pytest.mark.parametrize("repetitions", CHOSEN)
def test_a_whole_preset_stays_under_nine_tenths_of_a_workflow(name, repetitions, compiled):
    assert compiled(name, CHOSEN[repetitions], repetitions).fitted.size.whole < HEADROOM * MAX_WORKFLOW_BYTES


@pytest.mark.parametrize("repetitions", CHOSEN)
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name != "digits")) for name in PRESETS]
)
def test_the_finest_granularity_that_fits_is_chosen(name, repetitions, compiled):
    fitted = compiled(name, None, repetitions).fitted
    assert fitted.granularity is CHOSEN[repetitions]
    assert fitted.size.whole <= HEADROOM * MAX_WORKFLOW_BYTES
    assert list(fitted.refused) == list(Granularity)[: list(Granularity).index(fitted.granularity)]
    assert f"each one {fitted.granularity} (cell needs " in str(fitted)


@pytest.mark.parametrize(
    ("granularity", "repetitions"), [(Granularity.CELL, 1), pytest.param(Granularity.STAGE, 3, marks=pytest.mark.slow)]
)
def test_a_granularity_that_does_not_fit_is_refused_and_names_one_that_does(granularity, repetitions, tmp_path):
    plan = make_plan(load_preset("digits"), seeds=range(repetitions))
    options = {"image": IMAGE, "profile": PROFILES["cpu"], "path": tmp_path / "paper.yaml"}
    fits = CHOSEN[repetitions]
    with pytest.raises(ConfigError, match=rf"a task for each {granularity} needs .* KiB; use --granularity {fits}, or"):
        compile_pipeline(plan, **options, granularity=granularity)
    assert list(tmp_path.iterdir()) == []


@EVERY_PRESET
def test_the_run_form_asks_for_seed_overrides_and_a_name_with_the_time(name, compiled):
    fields = compiled(name, Granularity.STAGE, 1).spec["root"]["inputDefinitions"]["parameters"]
    assert {key: (one["parameterType"], one["defaultValue"]) for key, one in fields.items()} == {
        "seed": ("NUMBER_INTEGER", 0),
        "overrides": ("STRUCT", {}),
        "report_name": ("STRING", f"{name}-{RUN_TIME}"),
    }
    assert all(one["isOptional"] for one in fields.values())


def test_a_run_of_the_forms_defaults_is_the_run_that_was_compiled(tmp_path):
    changes = ["probe.epochs=4", "experiments=E2", "features=natural,robust", "data.train_size=100"]
    plan = make_plan(load_preset("digits", changes), seeds=[3, 4])
    fitted = compile_pipeline(plan, image=IMAGE, profile=PROFILES["cpu"], path=tmp_path / "paper.yaml")
    root = fitted.specification[0]["root"]
    form = {key: one["defaultValue"] for key, one in root["inputDefinitions"]["parameters"].items()}
    inputs = root["dag"]["tasks"][CONFIGURE]["inputs"]["parameters"]
    told = {key: form[key] if key in form else one["runtimeValue"]["constant"] for key, one in inputs.items()}
    assert told["code"] == code_digest()
    numbers = {key: int(told[key]) for key in ("seed", "repetitions")}
    run = resolve(told["changes"], preset=told["preset"], overrides=told["overrides"], **numbers)
    assert texts_of(run, Granularity(told["granularity"])) == texts_of(plan, fitted.granularity)
