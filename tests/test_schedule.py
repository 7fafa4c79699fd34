"""Recurring runs: applied twice they change nothing, and no failure leaves two of them awake."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from kfp_server import Fault, KfpServer

from realfeatures.cluster import schedule
from realfeatures.cluster.kubeflow_api import Connection, Kubeflow
from realfeatures.cluster.kubernetes_api import ClusterError
from realfeatures.cluster.schedule import Timing, parse_timing
from realfeatures.cluster.submit import Version, upload
from realfeatures.errors import ConfigError
from realfeatures.pipelines.paper import compile_pipeline
from realfeatures.pipelines.profiles import load_profile
from realfeatures.plan import check_run_name
from realfeatures.presets import load_preset

SMALL = ("controls=[]", "paradigms=supervised", "features=natural")
IMAGE = "registry.example/realfeatures@sha256:" + "0" * 64
SCHEDULES = "/apis/v2beta1/recurringruns"
MONDAYS = Timing(cron="0 0 3 * * 1")


@pytest.fixture
def server() -> Iterator[KfpServer]:
    with KfpServer() as running:
        yield running


@pytest.fixture
def kubeflow(server: KfpServer) -> Kubeflow:
    return Kubeflow(Connection(server.host), pause_seconds=0.01)


@pytest.fixture
def version(kubeflow: Kubeflow, tmp_path) -> Version:
    path = tmp_path / "paper.yaml"
    preset = load_preset("digits", SMALL)
    compile_pipeline(preset, seed=0, repetitions=1, image=IMAGE, profile=load_profile("cpu"), path=path, cache=False)
    return upload(kubeflow, path)


def wanted(kubeflow: Kubeflow, version: Version, *, timing: Timing = MONDAYS, seed: int = 0, enabled: bool = True):
    experiment = kubeflow.experiment_id("realfeatures")
    form = {"experiment_id": experiment, "seed": seed, "overrides": "{}", "enabled": enabled}
    return schedule.wanted("weekly", version, timing, **form)


def modes(server: KfpServer) -> list[str]:
    return [one.mode for one in server.schedules.values()]


def test_a_schedule_is_made_as_a_reproducibility_run_wants_it(kubeflow, server, version):
    done = schedule.apply(kubeflow, wanted(kubeflow, version))
    assert done.change == "created"
    (made,) = server.schedules.values()
    assert (made.no_catchup, made.max_concurrency, made.mode) == (True, "1", "ENABLE")
    assert made.trigger.cron_schedule.cron == "0 0 3 * * 1"
    assert made.pipeline_version_reference.pipeline_version_id == version.version_id
    pipeline = server.versions[version.version_id].pipeline_spec
    levels = [pipeline["root"], *(one for one in pipeline["components"].values() if "dag" in one)]
    assert not any(task["cachingOptions"] for level in levels for task in level["dag"]["tasks"].values())


def test_each_run_has_a_name_of_its_own_that_is_a_valid_one(kubeflow, server, version):
    schedule.apply(kubeflow, wanted(kubeflow, version))
    (made,) = server.schedules.values()
    name = made.runtime_config.parameters["run_name"]
    check_run_name(name.replace("[[ScheduledTime]]", "20261125030000"))


def test_applying_twice_changes_nothing(kubeflow, server, version):
    first = schedule.apply(kubeflow, wanted(kubeflow, version))
    again = schedule.apply(kubeflow, wanted(kubeflow, version))
    assert (again.schedule_id, again.change) == (first.schedule_id, "unchanged")
    assert server.count(f"POST {SCHEDULES}") == 1


@pytest.mark.parametrize(
    "change", [{"timing": Timing(interval_seconds=7 * 86400)}, {"seed": 5}, {"enabled": False}], ids=str
)
def test_another_form_replaces_the_old_one(change, kubeflow, server, version):
    first = schedule.apply(kubeflow, wanted(kubeflow, version))
    done = schedule.apply(kubeflow, wanted(kubeflow, version, **change))
    assert done.change == "replaced"
    assert done.schedule_id != first.schedule_id
    assert list(server.schedules) == [done.schedule_id]
    assert modes(server) == ["DISABLE" if change == {"enabled": False} else "ENABLE"]


def test_a_refusal_of_the_new_one_leaves_the_old_one(kubeflow, server, version):
    first = schedule.apply(kubeflow, wanted(kubeflow, version))
    server.faults = [Fault(f"POST {SCHEDULES}", 403)]
    with pytest.raises(ClusterError, match="may not do that"):
        schedule.apply(kubeflow, wanted(kubeflow, version, seed=5))
    assert list(server.schedules) == [first.schedule_id]
    assert modes(server) == ["ENABLE"]


def test_an_old_one_that_cannot_go_stays_and_the_new_one_goes(kubeflow, server, version):
    first = schedule.apply(kubeflow, wanted(kubeflow, version))
    server.faults = [Fault(f"DELETE {SCHEDULES}/{first.schedule_id}", 403)]
    with pytest.raises(ClusterError, match="the old schedule is still there, the new one is not"):
        schedule.apply(kubeflow, wanted(kubeflow, version, seed=5))
    assert list(server.schedules) == [first.schedule_id]


def test_a_new_one_that_does_not_wake_is_told_and_mended_by_the_same_command(kubeflow, server, version):
    server.faults = [Fault(f"POST {SCHEDULES}/", 403, times=1)]
    with pytest.raises(ClusterError, match="the new schedule is there and asleep: run the same command again"):
        schedule.apply(kubeflow, wanted(kubeflow, version))
    assert modes(server) == ["DISABLE"]
    schedule.apply(kubeflow, wanted(kubeflow, version))
    assert modes(server) == ["ENABLE"]


def test_never_are_two_awake(kubeflow, server, version):
    seen = []
    route = server._routes

    def watched():
        seen.append(modes(server).count("ENABLE"))
        return route()

    server._routes = watched
    for seed in range(3):
        schedule.apply(kubeflow, wanted(kubeflow, version, seed=seed))
    assert max(seen) == 1


def test_deleting_takes_all_of_a_name_and_no_other(kubeflow, server, version):
    schedule.apply(kubeflow, wanted(kubeflow, version))
    other = wanted(kubeflow, version)
    other.display_name = "nightly"
    schedule.apply(kubeflow, other)
    assert schedule.delete(kubeflow, "weekly") == 1
    assert [one.display_name for one in server.schedules.values()] == ["nightly"]
    assert schedule.delete(kubeflow, "weekly") == 0


@pytest.mark.parametrize(
    ("cron", "every", "expected"),
    [
        ("0 0 3 * * 1", None, Timing(cron="0 0 3 * * 1")),
        ("0 3 * * MON", None, Timing(cron="0 0 3 * * MON")),
        (None, "7d", Timing(interval_seconds=604800)),
        (None, "1m", Timing(interval_seconds=60)),
        (None, "2w", Timing(interval_seconds=1209600)),
    ],
)
def test_timings_are_read_as_people_write_them(cron, every, expected):
    assert parse_timing(cron=cron, every=every) == expected


@pytest.mark.parametrize(
    ("cron", "every", "expected"),
    [
        (None, None, "expected one of them"),
        ("0 0 3 * * 1", "7d", "expected one of them"),
        ("@daily", None, "expected six fields"),
        ("0 0 3 * * 1; rm", None, "expected six fields"),
        (None, "7", "expected a number and m, h, d or w"),
        (None, "0d", "expected a number and m, h, d or w"),
    ],
)
def test_a_wrong_timing_is_a_one_line_error(cron, every, expected):
    with pytest.raises(ConfigError, match=expected):
        parse_timing(cron=cron, every=every)


def realfeatures(*words: str, host: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "KF_PIPELINES_ENDPOINT": host}
    command = [sys.executable, "-m", "realfeatures.cli", "schedule", *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_the_commands_apply_list_and_delete(server):
    words = ("apply", "weekly", "--image", IMAGE, "--cron", "0 3 * * 1", *(w for one in SMALL for w in ("--set", one)))
    made = realfeatures(*words, host=server.host)
    assert made.stdout.startswith("weekly: created; cron 0 0 3 * * 1 (UTC), version "), made.stderr
    assert realfeatures(*words, host=server.host).stdout.startswith("weekly: unchanged")
    listed = realfeatures("list", host=server.host)
    assert "weekly" in listed.stdout
    assert "enabled" in listed.stdout
    assert realfeatures("delete", "weekly", "--yes", host=server.host).stdout == "weekly: deleted\n"
    missing = realfeatures("delete", "weekly", "--yes", host=server.host)
    assert (missing.returncode, missing.stderr.count("\n")) == (2, 1)
    assert "there is no such schedule" in missing.stderr
    assert not server.schedules
