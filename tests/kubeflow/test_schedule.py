"""Recurring runs: applied twice they change nothing, and no failure leaves two of them awake."""

import io
import re
import sys

import pytest
from kfp_http import Fault
from kfp_server import KfpServer
from small_pipeline import IMAGE, SMALL, compile_small

from realfeatures.cli import main as cli
from realfeatures.errors import ClusterError, ConfigError
from realfeatures.kubeflow.server import schedule
from realfeatures.kubeflow.server.kubeflow_api import Kubeflow
from realfeatures.kubeflow.server.schedule import Timing, parse_timing
from realfeatures.kubeflow.server.submit import Version, upload
from realfeatures.running.names import check_run_name, timed_name

SCHEDULES = "/apis/v2beta1/recurringruns"
MONDAYS = Timing(cron="0 0 3 * * 1")


@pytest.fixture
def version(kubeflow: Kubeflow, tmp_path) -> Version:
    return upload(kubeflow, compile_small(tmp_path / "paper.yaml", cache=False), label="digits E2 x1")


def wanted(kubeflow: Kubeflow, version: Version, *, timing: Timing = MONDAYS, experiment: str = "mine", **form):
    values = {"seed": 0, "overrides": "{}", "enabled": True, **form}
    return schedule.wanted("weekly", version, timing, experiment_id=kubeflow.experiment_id(experiment), **values)


def modes(server: KfpServer) -> list[str]:
    return [one.mode for one in server.schedules.values()]


def test_a_schedule_is_made_as_a_reproducibility_run_wants_it(kubeflow, server, version):
    done = schedule.apply(kubeflow, wanted(kubeflow, version))
    assert done.change == "created"
    (made,) = server.schedules.values()
    assert (made.no_catchup, made.max_concurrency, made.mode) == (True, "1", "ENABLE")
    assert made.trigger.cron_schedule.cron == "0 0 3 * * 1"
    assert made.pipeline_version_reference.pipeline_version_id == version.version_id
    pipeline = server.versions[version.version_id].pipeline_spec["pipeline_spec"]
    levels = [pipeline["root"], *(one for one in pipeline["components"].values() if "dag" in one)]
    assert not any(task["cachingOptions"] for level in levels for task in level["dag"]["tasks"].values())


def test_after_an_upgrade_of_kubeflow_it_is_made_anew(kubeflow, server, version):
    schedule.apply(kubeflow, wanted(kubeflow, version))
    assert schedule.apply(kubeflow, wanted(kubeflow, version)).change == "unchanged"
    server.tag = "2.18.0"
    assert schedule.apply(kubeflow, wanted(kubeflow, version)).change == "replaced"
    (made,) = server.schedules.values()
    assert made.description == "made on Kubeflow Pipelines 2.18.0"


def test_each_run_has_a_name_of_its_own_that_is_a_valid_one(kubeflow, server, version):
    schedule.apply(kubeflow, wanted(kubeflow, version))
    (made,) = server.schedules.values()
    name = made.runtime_config.parameters["report_name"]
    check_run_name(name.replace("[[ScheduledTime]]", "20261125030000"))


def test_a_name_whose_time_kubeflow_did_not_fill_in_gets_it_in_the_run():
    name = timed_name("weekly-[[ScheduledTime]]")
    check_run_name(name)
    assert re.fullmatch(r"weekly-20\d{12}", name)
    assert timed_name("weekly-20261125030000") == "weekly-20261125030000"


def test_applying_twice_changes_nothing(kubeflow, server, version):
    first = schedule.apply(kubeflow, wanted(kubeflow, version))
    again = schedule.apply(kubeflow, wanted(kubeflow, version))
    assert (again.schedule_id, again.change) == (first.schedule_id, "unchanged")
    assert server.count(f"POST {SCHEDULES}") == 1


@pytest.mark.parametrize(
    "change",
    [
        {"timing": Timing(interval_seconds=7 * 86400)},
        {"seed": 5},
        {"overrides": '{"probe.epochs": 5}'},
        {"enabled": False},
        {"experiment": "theirs"},
    ],
    ids=str,
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


@pytest.mark.parametrize("refused", ["{old}:disable", "{new}:enable"])
def test_a_refusal_on_the_way_leaves_the_old_one_at_work(refused, kubeflow, server, version):
    first = schedule.apply(kubeflow, wanted(kubeflow, version))
    create = server._create_schedule

    def plant(**request):
        made = create(**request)
        path = refused.format(old=first.schedule_id, new=made.recurring_run_id)
        server.faults = [Fault(f"POST {SCHEDULES}/{path}", 403)]
        return made

    server._create_schedule = plant
    with pytest.raises(ClusterError, match="may not do that"):
        schedule.apply(kubeflow, wanted(kubeflow, version, seed=5))
    assert list(server.schedules) == [first.schedule_id]
    assert modes(server) == ["ENABLE"]


def test_what_cannot_be_restored_is_told_and_mended_by_the_same_command(kubeflow, server, version):
    schedule.apply(kubeflow, wanted(kubeflow, version))
    server.faults = [Fault(f"POST {SCHEDULES}/", 403), Fault(f"DELETE {SCHEDULES}", 403)]
    with pytest.raises(ClusterError, match="neither can what was there be restored"):
        schedule.apply(kubeflow, wanted(kubeflow, version, seed=5))
    assert sorted(modes(server)) == ["DISABLE", "ENABLE"]
    server.faults = []
    done = schedule.apply(kubeflow, wanted(kubeflow, version, seed=5))
    assert list(server.schedules) == [done.schedule_id]
    assert modes(server) == ["ENABLE"]


def test_an_old_one_that_cannot_go_sleeps_and_goes_with_the_same_command(kubeflow, server, version):
    first = schedule.apply(kubeflow, wanted(kubeflow, version))
    server.faults = [Fault(f"DELETE {SCHEDULES}/{first.schedule_id}", 403)]
    with pytest.raises(ClusterError, match="the new schedule is at work, an older one is still there"):
        schedule.apply(kubeflow, wanted(kubeflow, version, seed=5))
    assert modes(server) == ["DISABLE", "ENABLE"]
    server.faults = []
    done = schedule.apply(kubeflow, wanted(kubeflow, version, seed=5))
    assert list(server.schedules) == [done.schedule_id]


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


# --- the commands ----------------------------------------------------------------------------------------------------

APPLY = ("apply", "weekly", "--image", IMAGE, *(word for one in SMALL for word in ("--set", one)))


@pytest.fixture
def call(server, monkeypatch, capsys):
    """Call `realfeatures schedule` in this process; returns exit code, standard output and standard error."""
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", server.host)

    def main(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["realfeatures", "schedule", *words])
        code = cli.main()
        return code, *capsys.readouterr()

    return main


def test_the_commands_apply_list_and_delete(call, server):
    _, out, err = call(*APPLY, "--cron", "0 3 * * 1")
    assert out.startswith("weekly: created; cron 0 0 3 * * 1 (UTC), version "), err
    assert call(*APPLY, "--cron", "0 3 * * 1")[1].startswith("weekly: unchanged")
    assert call(*APPLY, "--every", "7d", "--disabled")[1].startswith("weekly: replaced; every 7d, version ")
    listed = call("list")[1]
    (made,) = server.schedules.values()
    row = next(line for line in listed.splitlines() if "weekly" in line)
    assert all(word in row for word in ("every 7d", "disabled", made.pipeline_version_reference.pipeline_version_id))
    assert call("delete", "weekly", "--yes")[1] == "weekly: deleted\n"
    code, _, err = call("delete", "weekly", "--yes")
    assert (code, err.count("\n")) == (2, 1)
    assert "there is no such schedule" in err
    assert not server.schedules


def test_deleting_asks_first(call, server, monkeypatch):
    call(*APPLY, "--every", "7d")
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    assert call("delete", "weekly")[1].endswith("weekly: kept\n")
    assert len(server.schedules) == 1
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    assert call("delete", "weekly")[0] == 0
    assert not server.schedules


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (APPLY, "--cron, --every: expected one of them"),
        ((*APPLY, "--every", "7d", "--overrides", '{"probe.epoch": 1}'), "probe.epoch: unknown key"),
        ((*APPLY, "--every", "7d", "--image", " "), "--image: expected an image"),
        (("apply", "w" * 49, *APPLY[2:], "--every", "7d"), "expected at most 48 characters"),
        (("apply", "Weekly", *APPLY[2:], "--every", "7d"), "run name 'Weekly': expected"),
    ],
)
def test_wrong_options_are_one_line_and_nothing_is_asked(words, expected, call, server):
    code, _out, err = call(*words)
    assert (code, err.count("\n")) == (2, 1)
    assert expected in err
    assert server.requests == []
