"""The options that the commands for Kubeflow share: which pipeline, on which server; and what they begin with."""

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from realfeatures.cli.options import ExperimentsOption, PresetOption, SetOption, chosen_preset, whole_number
from realfeatures.errors import ConfigError

if TYPE_CHECKING:
    from realfeatures.experiment.config import Preset
    from realfeatures.kubeflow.batches import Granularity
    from realfeatures.kubeflow.server.connection import Connection
    from realfeatures.kubeflow.server.kubeflow_api import Kubeflow
    from realfeatures.kubeflow.server.submit import Version
    from realfeatures.pipelines.fitting import Fitted


def _seed(text: str) -> int:
    return whole_number(text, option="--seed", least=0)


def _repetitions(text: str) -> int:
    return whole_number(text, option="--repetitions", least=1)


def _granularity(text: str) -> str:
    from realfeatures.kubeflow.batches import Granularity

    if text not in (AUTO, *Granularity):
        raise ConfigError(f"--granularity {text!r}: expected one of {AUTO}, {', '.join(Granularity)}")
    return text


def _limit(text: str) -> int:
    return whole_number(text, option="--workflow-limit", least=1)


AUTO = "auto"
MAX_WORKFLOW_BYTES = 2**20
"""Argo's default; see pipelines/workflow_size.py, which needs kfp's extra to be imported."""

ImageOption = Annotated[str, typer.Option("--image", help="Container image that every task runs in.")]
FirstSeedOption = Annotated[
    int, typer.Option("--seed", "-s", parser=_seed, metavar="N", help="First repetition's; the run form can change it.")
]
RepetitionsOption = Annotated[
    int,
    typer.Option(
        "--repetitions", parser=_repetitions, metavar="N", help="Repetitions in one run, with consecutive seeds."
    ),
]
ProfileOption = Annotated[
    str | None,
    typer.Option("--profile", help="On what the tasks run: cpu or gpu.", show_default="by the preset's device"),
]
ProfileSetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--profile-set", metavar="KEY=VALUE", help="Change the profile, such as memory=8Gi or store.location=s3://b."
    ),
]
GranularityOption = Annotated[
    str,
    typer.Option(
        "--granularity",
        parser=_granularity,
        metavar="auto|cell|stage|encoder|set",
        help="What one task computes; auto: the finest that the cluster can hold.",
    ),
]
LimitOption = Annotated[
    int,
    typer.Option(
        "--workflow-limit",
        parser=_limit,
        metavar="BYTES",
        help="That the cluster's Argo takes for a workflow: MAX_WORKFLOW_SIZE, or more where it offloads node status.",
    ),
]
HostOption = Annotated[
    str | None,
    typer.Option("--host", help="URL of Kubeflow Pipelines.", show_default="$KF_PIPELINES_ENDPOINT, or in-cluster"),
]
NamespaceOption = Annotated[
    str | None, typer.Option("--namespace", "-n", help="Of a person, where Kubeflow serves several.")
]
TokenOption = Annotated[Path | None, typer.Option("--token-file", help="File with a bearer token.")]
CaOption = Annotated[Path | None, typer.Option("--ca-cert", help="File with the server's certificate authority.")]
ExperimentOption = Annotated[str, typer.Option("--experiment", help="That Kubeflow lists runs under.")]
OverridesOption = Annotated[
    str, typer.Option("--overrides", metavar="JSON", help="Of the run form, such as '{\"probe.epochs\": 5}'.")
]


@dataclass(frozen=True, kw_only=True)
class PipelineOptions:
    """Which cells a pipeline has, and on what its tasks run."""

    preset: PresetOption = "digits"
    seed: FirstSeedOption = 0
    repetitions: RepetitionsOption = 1
    experiments: ExperimentsOption = None
    assignments: SetOption = None
    profile: ProfileOption = None
    profile_assignments: ProfileSetOption = None
    granularity: GranularityOption = AUTO
    workflow_limit: LimitOption = MAX_WORKFLOW_BYTES

    def load_preset(self) -> "Preset":
        """Return the preset with what --set and --experiments change.

        Raises:
            ConfigError: one of them is not usable.
        """
        return chosen_preset(self.preset, self.assignments, self.experiments)

    @property
    def chosen_granularity(self) -> "Granularity | None":
        """What one task computes; None: the finest that the cluster can hold."""
        from realfeatures.kubeflow.batches import Granularity

        return None if self.granularity == AUTO else Granularity(self.granularity)

    def label(self, preset: "Preset") -> str:
        """Return what a person calls the pipeline: `digits E1,E2 x3`, `digits changed x1` where a value was set."""
        from realfeatures.experiment.codec import changes_of

        changes = changes_of(preset).keys()
        part = ",".join(preset.experiments) if "experiments" in changes else "whole"
        return f"{preset.name} {'changed' if changes - {'experiments'} else part} x{self.repetitions}"

    def load_profile(self, preset: "Preset") -> Any:
        """Return the profile with what --profile-set changes; by default the one of the preset's device.

        Raises:
            ConfigError: one of them is not usable.
        """
        from realfeatures.pipelines.profiles import load_profile

        default = "gpu" if preset.runtime.device == "cuda" else "cpu"
        return load_profile(self.profile or default, self.profile_assignments or ())

    def compile_to(self, path: Path, *, image: str, cache: bool, scheduled: bool = False) -> "Fitted":
        """Write the pipeline; return it with its sizes. Arguments as `compile_pipeline`.

        Raises:
            ConfigError, DataError: an option or the data set is not usable, or the pipeline is too large.
            StorageError: the file cannot be written.
        """
        from realfeatures.pipelines.paper import compile_pipeline
        from realfeatures.running.plan import make_plan

        plan = make_plan(self.load_preset(), seeds=range(self.seed, self.seed + self.repetitions))
        fitted: Fitted = compile_pipeline(
            plan,
            image=image,
            profile=self.load_profile(plan.preset),
            path=path,
            granularity=self.chosen_granularity,
            limit=self.workflow_limit,
            cache=cache,
            scheduled=scheduled,
        )
        return fitted


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """Where Kubeflow Pipelines is, and with which credentials it is asked."""

    host: HostOption = None
    namespace: NamespaceOption = None
    token_file: TokenOption = None
    ca_cert: CaOption = None

    def connection(self) -> "Connection":
        """Return how the server is reached; nothing is asked yet."""
        from realfeatures.kubeflow.server.connection import Connection

        return Connection(self.host, self.namespace, self.token_file, self.ca_cert)

    def open(self) -> "Kubeflow":
        """Return Kubeflow Pipelines' API server, which answered.

        Raises:
            ConfigError: none is named.
            ClusterError: it does not answer, is something else, or too old.
        """
        from realfeatures.kubeflow.server.kubeflow_api import Kubeflow

        kubeflow = Kubeflow(self.connection())
        kubeflow.require_release()
        return kubeflow


def require_image(image: str) -> None:
    """Refuse an empty name of an image.

    Raises:
        ConfigError: it is empty.
    """
    if not image.strip():
        raise ConfigError("--image: expected an image, such as registry.example/realfeatures@sha256:...")


def upload_pipeline(
    pipeline: PipelineOptions,
    server: ServerOptions,
    *,
    image: str,
    overrides: str,
    cache: bool,
    scheduled: bool = False,
) -> "tuple[Kubeflow, Version]":
    """Compile a pipeline and upload it, unless the server has it; return the server and the version.

    The server is asked when every option is checked. An image that is not pinned by its digest is warned of.

    Raises:
        ConfigError, DataError: an option or the data set is not usable.
        ClusterError: the server refuses or does not answer.
    """
    from realfeatures.experiment.overrides import parse_overrides
    from realfeatures.kubeflow.server.submit import upload
    from realfeatures.kubeflow.tasks.texts import require_overrides

    require_image(image)
    if "@sha256:" not in image:
        # No error: an image that was loaded into the nodes, as into kind's, has no digest.
        typer.echo(
            f"warning: {image} is not pinned by its digest (NAME@sha256:...): if its tag moves, Kubeflow's cache"
            " takes the old image's results for the new one's",
            err=True,
        )
    preset = pipeline.load_preset()
    require_overrides(preset, parse_overrides(overrides))  # what the run's first task would refuse
    with TemporaryDirectory() as folder:
        path = Path(folder) / "paper.yaml"
        # The seed is given with the run: another one is no other version of the pipeline.
        fitted = replace(pipeline, seed=0).compile_to(path, image=image, cache=cache, scheduled=scheduled)
        kubeflow = server.open()
        version = upload(kubeflow, path, label=pipeline.label(preset))
    typer.echo(f"pipeline {version.pipeline}, version {version.version}: {fitted}", err=True)
    return kubeflow, version
