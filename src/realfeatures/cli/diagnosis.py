"""The command that says what of cluster, store and rights is not as a run needs it."""

import json
from collections import Counter
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from realfeatures.cli.kubeflow import (
    CaOption,
    HostOption,
    ProfileOption,
    ProfileSetOption,
    TokenOption,
)
from realfeatures.cli.options import (
    ExperimentsOption,
    PresetOption,
    SetOption,
    all_assignments,
    table_console,
)
from realfeatures.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from realfeatures.experiment.config import Preset
    from realfeatures.kubeflow.doctor.findings import Finding
    from realfeatures.kubeflow.doctor.need import Need

PROBLEM_FOUND = 1
"""Exit code where something is not as a run needs it."""

STORE = "object store"


def doctor(
    preset: PresetOption = "digits",
    experiments: ExperimentsOption = None,
    assignments: SetOption = None,
    profile: ProfileOption = None,
    profile_assignments: ProfileSetOption = None,
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Where the pods run.")] = "realfeatures",
    service_account: Annotated[str, typer.Option("--service-account", help="Of the pods.")] = "realfeatures",
    image: Annotated[str | None, typer.Option("--image", help="That the pods run.")] = None,
    host: HostOption = None,
    token_file: TokenOption = None,
    ca_cert: CaOption = None,
    context: Annotated[
        str | None, typer.Option("--context", help="Of KUBECONFIG.", show_default="the current one")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="CHECK", help="Make this check; repeatable.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Look whether cluster, object store and rights are as a run needs them; each line ok, problem or unknown.

    Unknown is what these credentials may not look at, or what only a run can show. Exit code 1: there is a problem.

    Looks only, but for one small object that is written to the store and deleted.

    Where Kubeflow is named, by --host or its variable, it looks for what a pipeline needs; else for the plain Job.

    [bold]Examples[/bold]

      realfeatures doctor [dim](the plain Job: k8s/job)[/dim]

      realfeatures doctor -n kubeflow --service-account pipeline-runner --host URL [dim](the pipeline)[/dim]

      realfeatures doctor --preset cifar10-gpu --image registry.example/realfeatures@sha256:...

      realfeatures doctor --only secret --only "object store" --json
    """
    from realfeatures.kubeflow.doctor.doctor import check_kubeflow, check_store, kubernetes_checks
    from realfeatures.kubeflow.doctor.findings import Outcome, examine
    from realfeatures.kubeflow.server.connection import Connection, is_named
    from realfeatures.kubeflow.server.kubernetes_api import connect

    connection = Connection(host, None, token_file, ca_cert)
    need = _need(
        *_chosen(preset, all_assignments(assignments, experiments), profile, profile_assignments or ()),
        namespace=namespace,
        service_account=service_account,
        image=image,
        kubeflow=is_named(connection),
    )
    checks = {
        **kubernetes_checks(lambda: connect(context), need),
        "kubeflow": lambda: check_kubeflow(connection),
        STORE: check_store,
    }
    unknown = [name for name in only or () if name not in checks]
    if unknown:
        raise ConfigError(f"--only {unknown[0]!r}: expected one of {', '.join(checks)}")
    found = list(examine({name: check for name, check in checks.items() if not only or name in only}))
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in found], indent=1))
    else:
        _show(found)
    if any(one.outcome is Outcome.PROBLEM for one in found):
        raise typer.Exit(PROBLEM_FOUND)


def _chosen(
    preset: str, assignments: "Sequence[str]", profile: str | None, profile_assignments: "Sequence[str]"
) -> tuple["Preset", Any]:
    from realfeatures.experiment.presets import load_preset
    from realfeatures.pipelines.profiles import load_profile

    loaded = load_preset(preset, assignments)
    default = "gpu" if loaded.runtime.device == "cuda" else "cpu"
    return loaded, load_profile(profile or default, profile_assignments)


def _need(
    preset: "Preset", profile: Any, *, namespace: str, service_account: str, image: str | None, kubeflow: bool
) -> "Need":
    """Return what a run asks of the cluster, through Kubeflow or as the plain Job."""
    from realfeatures.experiment.grid import cells
    from realfeatures.kubeflow.doctor.need import FOLLOWING, PODS_OF_KUBEFLOW, Need

    job = Need(
        namespace=namespace,
        service_account=service_account,
        secret=profile.store.secret,
        image=image,
        pull_policy=profile.image_pull_policy,
        accelerator=profile.accelerator,
        cpu=profile.cpu,
        memory=profile.memory,
        node_selector=profile.node_selector,
        tolerations=profile.tolerations,
    )
    if not kubeflow:
        return job
    widest = max(Counter(cell.stage for cell in cells(preset, (0,))).values())
    # The plain Job's manifest wants the secret; a pipeline is given it with a store.
    secret = job.secret if profile.store.location else None
    return replace(job, secret=secret, side_by_side=widest, rights=FOLLOWING, pods_rights=PODS_OF_KUBEFLOW)


def _show(found: "Sequence[Finding]") -> None:
    from rich.table import Table
    from rich.text import Text

    colours = {"ok": "green", "problem": "red", "unknown": "yellow"}
    table = Table(box=None, show_header=False, pad_edge=False)
    for one in found:
        text = Text(one.text)
        if one.remedy:
            text.append(f"\nremedy: {one.remedy}", style="dim")
        table.add_row(Text(one.outcome, style=colours[one.outcome]), one.check, text)
    table_console().print(table)
