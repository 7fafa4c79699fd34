"""Recurring runs on Kubeflow: the same version again and again, without the cache, to see whether numbers hold."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from realfeatures.errors import ClusterError, ConfigError
from realfeatures.kubeflow.server.kubeflow_api import Kubeflow
from realfeatures.kubeflow.server.submit import Version, parameters, reference
from realfeatures.running.names import RUN_TIME

UNIT_SECONDS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
SHORTEST_SECONDS = 60
"""Kubeflow's controller looks about every ten seconds; below a minute runs would only queue."""
MAX_CONCURRENCY = "1"
"""A late run waits for the one before it."""

_CRON_FIELD = re.compile(r"[0-9*/,?A-Za-z#-]+")


@dataclass(frozen=True)
class Timing:
    """When runs start: a cron expression in UTC, or an interval."""

    cron: str | None = None
    """Six fields: second, minute, hour, day of month, month, day of week."""
    interval_seconds: int | None = None

    def __str__(self) -> str:
        return f"cron {self.cron} (UTC)" if self.cron else f"every {_in_words(self.interval_seconds or 0)}"


@dataclass(frozen=True)
class Applied:
    """What `apply` did."""

    schedule_id: str
    change: str
    """created, replaced or unchanged."""


def parse_timing(*, cron: str | None, every: str | None) -> Timing:
    """Return the timing that one of two options asks for.

    Raises:
        ConfigError: none or both are given, or it is not of its form.
    """
    if (cron is None) == (every is None):
        raise ConfigError('--cron, --every: expected one of them, such as --cron "0 0 3 * * 1" or --every 7d')
    return Timing(cron=_cron(cron)) if cron is not None else Timing(interval_seconds=_seconds(str(every)))


def _cron(text: str) -> str:
    fields = text.split()
    if len(fields) == 5:  # what cron itself takes: Kubeflow's begins with the second
        fields = ["0", *fields]
    if len(fields) != 6 or not all(_CRON_FIELD.fullmatch(field) for field in fields):
        raise ConfigError(
            f"--cron {text!r}: expected six fields, second first, such as '0 0 3 * * 1' for Mondays at 3:00 UTC"
        )
    return " ".join(fields)


def _seconds(text: str) -> int:
    match = re.fullmatch(r"([1-9][0-9]{0,5})([mhdw])", text)
    if not match:
        raise ConfigError(f"--every {text!r}: expected a number and m, h, d or w, such as 7d")
    return max(SHORTEST_SECONDS, int(match[1]) * UNIT_SECONDS[match[2]])


def _in_words(seconds: int) -> str:
    unit = next((unit for unit in ("d", "h", "m") if seconds and seconds % UNIT_SECONDS[unit] == 0), None)
    return f"{seconds // UNIT_SECONDS[unit]}{unit}" if unit else f"{seconds}s"


def wanted(
    name: str, version: Version, timing: Timing, *, experiment_id: str, seed: int, overrides: str, enabled: bool
) -> Any:
    """Return a recurring run as the server is asked for it."""
    import kfp_server_api as api

    trigger = (
        api.V2beta1Trigger(cron_schedule=api.V2beta1CronSchedule(cron=timing.cron))
        if timing.cron
        else api.V2beta1Trigger(
            periodic_schedule=api.V2beta1PeriodicSchedule(interval_second=str(timing.interval_seconds))
        )
    )
    fields = parameters(seed=seed, overrides=overrides, report_name=f"{name}-{RUN_TIME}")
    return api.V2beta1RecurringRun(
        display_name=name,
        experiment_id=experiment_id,
        pipeline_version_reference=reference(version),
        runtime_config=api.V2beta1RuntimeConfig(parameters=fields),
        trigger=trigger,
        mode=api.RecurringRunMode.ENABLE if enabled else api.RecurringRunMode.DISABLE,
        max_concurrency=MAX_CONCURRENCY,
        no_catchup=True,
    )


def apply(kubeflow: Kubeflow, schedule: Any) -> Applied:
    """Bring the recurring run of a name into the wanted form; one that has it is left alone.

    Kubeflow can change none, and after an upgrade of Kubeflow it is another one. The new one is made asleep, the old
    ones are put to sleep, the new one wakes, and the old ones go: two are never awake, and whatever is refused on the
    way leaves what was there as it was.

    Raises:
        ClusterError: the server refuses or does not answer; says what is there now.
    """
    # A recurring run holds the workflow that the server compiled when it was made (kubeflow/pipelines #13933).
    schedule.description = f"made on Kubeflow Pipelines {kubeflow.version()}"
    existing = [one for one in kubeflow.schedules() if one.display_name == schedule.display_name]
    same = [one for one in existing if _form(one) == _form(schedule)]
    if same:  # others of its name are left from a change that was stopped
        others = [one for one in existing if one is not same[0]]
        _delete_old(kubeflow, others)
        return Applied(str(same[0].recurring_run_id), "replaced" if others else "unchanged")
    awake, schedule.mode = schedule.mode, "DISABLE"
    new = str(kubeflow.create_schedule(schedule).recurring_run_id)
    try:
        for one in _awake(existing):
            kubeflow.disable_schedule(str(one.recurring_run_id))
        if awake == "ENABLE":
            kubeflow.enable_schedule(new)
    except BaseException as error:  # Ctrl-C too
        _restore(kubeflow, new, _awake(existing), cause=error)
        raise
    _delete_old(kubeflow, existing)
    return Applied(new, "replaced" if existing else "created")


def _awake(schedules: list[Any]) -> list[Any]:
    return [one for one in schedules if one.mode == "ENABLE"]


def _restore(kubeflow: Kubeflow, new: str, awake: list[Any], *, cause: BaseException) -> None:
    """Take the new one away, and wake those that were awake."""
    try:
        kubeflow.delete_schedule(new)
        for one in awake:
            kubeflow.enable_schedule(str(one.recurring_run_id))
    except ClusterError as error:
        raise ClusterError(
            f"{cause}; neither can what was there be restored ({error}): look at `realfeatures schedule list`, and run"
            " the same command again"
        ) from None


def _delete_old(kubeflow: Kubeflow, old: list[Any]) -> None:
    try:
        for one in old:
            kubeflow.delete_schedule(str(one.recurring_run_id))
    except ClusterError as error:
        raise ClusterError(
            f"{error}; the new schedule is at work, an older one is still there: run the same command again"
        ) from None


def delete(kubeflow: Kubeflow, name: str) -> int:
    """Delete the recurring runs of a name; return how many there were. Their runs stay.

    Raises:
        ClusterError: the server refuses or does not answer.
    """
    found = [one for one in kubeflow.schedules() if one.display_name == name]
    for one in found:
        kubeflow.delete_schedule(str(one.recurring_run_id))
    return len(found)


def timing_of(schedule: Any) -> Timing:
    """Return when a recurring run of the server starts runs."""
    trigger = schedule.trigger
    if trigger is not None and trigger.cron_schedule is not None and trigger.cron_schedule.cron:
        return Timing(cron=trigger.cron_schedule.cron)
    periodic = trigger.periodic_schedule if trigger is not None else None
    return Timing(interval_seconds=int(periodic.interval_second) if periodic else 0)


def _canonical(value: Any) -> str:
    """Return a parameter's value as one text, however a server writes its whole numbers."""

    def plain(text: str) -> float:
        number = float(text)
        return int(number) if number.is_integer() else number

    return json.dumps(json.loads(json.dumps(value), parse_float=plain), sort_keys=True)


def _form(schedule: Any) -> Mapping[str, Any]:
    """Return what of a recurring run `apply` compares."""
    version = schedule.pipeline_version_reference
    return {
        "version": (version.pipeline_id, version.pipeline_version_id) if version else None,
        "parameters": {
            name: _canonical(value)
            for name, value in ((schedule.runtime_config and schedule.runtime_config.parameters) or {}).items()
        },
        "timing": timing_of(schedule),
        "made on": schedule.description,
        "experiment": schedule.experiment_id,
        "mode": schedule.mode,
        "max_concurrency": str(schedule.max_concurrency),
        "no_catchup": bool(schedule.no_catchup),
    }
