"""The command that says what of cluster, store and rights is not as a run needs it."""

import json
from collections import Counter
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from realfeatures.cli.exit_codes import FAILED
from realfeatures.cli.options import grouped, table_console
from realfeatures.cli.pipeline_options import PipelineOptions, ServerOptions
from realfeatures.errors import ConfigError

if TYPE_CHECKING:
    from realfeatures.experiment.config import Preset
    from realfeatures.kubeflow.batches import Granularity
    from realfeatures.kubeflow.doctor.findings import Check
    from realfeatures.kubeflow.doctor.need import Need
    from realfeatures.kubeflow.server.connection import Connection


@grouped("seed", "repetitions", "namespace", "workflow_limit")
def doctor(
    *,
    pipeline: PipelineOptions,
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Where the pods run.")] = "realfeatures",
    service_account: Annotated[str, typer.Option("--service-account", help="Of the pods.")] = "realfeatures",
    image: Annotated[str | None, typer.Option("--image", help="That the pods run.")] = None,
    server: ServerOptions,
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
    from realfeatures.cli.tables import finding_table
    from realfeatures.kubeflow.doctor.findings import Outcome, examine
    from realfeatures.kubeflow.server.connection import is_named

    preset = pipeline.load_preset()
    profile = pipeline.load_profile(preset)
    need = _need_of_job(profile, namespace=namespace, service_account=service_account, image=image)
    connection = server.connection()
    if is_named(connection):
        need = _need_of_pipeline(need, preset, profile, pipeline.chosen_granularity)
    findings = list(examine(_chosen(_checks(need, connection, context), only)))
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        table_console().print(finding_table(findings))
    if any(finding.outcome is Outcome.PROBLEM for finding in findings):
        raise typer.Exit(FAILED)


def _need_of_job(profile: Any, *, namespace: str, service_account: str, image: str | None) -> "Need":
    from realfeatures.kubeflow.doctor.need import Need

    return Need(
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


def _need_of_pipeline(job: "Need", preset: "Preset", profile: Any, granularity: "Granularity | None") -> "Need":
    from realfeatures.experiment.grid import cells
    from realfeatures.kubeflow.batches import Granularity, batches
    from realfeatures.kubeflow.doctor.need import FOLLOWING, PODS_OF_KUBEFLOW

    # What `auto` takes for one repetition of a whole preset: docs/workflow-sizes.md.
    tasks = batches(cells(preset, (0,)), granularity or Granularity.STAGE).values()
    widest = max(Counter(batch.component for batch in tasks).values())
    # The plain Job's manifest wants the secret; a pipeline is given it with a store.
    secret = job.secret if profile.store.location else None
    return replace(job, secret=secret, side_by_side=widest, rights=FOLLOWING, pods_rights=PODS_OF_KUBEFLOW)


def _checks(need: "Need", connection: "Connection", context: str | None) -> "dict[str, Check]":
    from realfeatures.kubeflow.doctor.doctor import check_kubeflow, check_store, controller_checks, kubernetes_checks
    from realfeatures.kubeflow.server.connection import is_named
    from realfeatures.kubeflow.server.kubernetes_api import connect

    def client() -> Any:
        return connect(context)

    return {
        **kubernetes_checks(client, need),
        "kubeflow": lambda: check_kubeflow(connection),
        **(controller_checks(client, need) if is_named(connection) else {}),
        "object store": check_store,
    }


def _chosen(checks: "dict[str, Check]", only: list[str] | None) -> "dict[str, Check]":
    unknown = [name for name in only or () if name not in checks]
    if unknown:
        raise ConfigError(f"--only {unknown[0]!r}: expected one of {', '.join(checks)}")
    return {name: check for name, check in checks.items() if not only or name in only}
