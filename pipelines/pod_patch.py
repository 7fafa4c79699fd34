"""What Kubeflow's driver hands to a container task's pod: the launcher's command with every input, the pod's settings.

Each of a task's nodes repeats this text, so its length decides how large the state of a run becomes. Follows
kubeflow/pipelines 2.17.0, backend/src/v2/driver/driver.go:246-518 (initPodSpecPatch) and k8s.go (extendPodSpecPatch).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

from realfeatures.pipelines.go_json import go_json, proto_json
from realfeatures.pipelines.workflow import RUN_ID

PIPELINE_ROOT = "minio://mlpipeline/v2/artifacts"
"""Below it lie a stock installation's artifacts, by pipeline, run, task and a UUID."""

_SESSION = go_json(
    {
        "Provider": "minio",
        "Params": {
            "accessKeyKey": "accesskey",
            "disableSSL": "true",
            "endpoint": "seaweedfs.kubeflow:9000",
            "fromEnv": "false",
            "maxRetries": "5",
            "region": "minio",
            "secretKeyKey": "secretkey",
            "secretName": "mlpipeline-minio-artifact",
        },
    },
    in_order=True,
)
"""How a stock installation's object store is reached; in the metadata of every artifact."""

_LOGS = {"executor-logs": {"artifactType": {"schemaTitle": "system.Artifact"}}}
"""The artifact that the driver adds to the outputs of every task."""

_LAUNCHER_OPTIONS = (
    *("--pod_name", "$(KFP_POD_NAME)", "--pod_uid", "$(KFP_POD_UID)"),
    *("--ml_pipeline_server_address", "ml-pipeline.kubeflow.svc.cluster.local", "--ml_pipeline_server_port", "8887"),
    *("--mlmd_server_address", "metadata-grpc-service.kubeflow.svc.cluster.local", "--mlmd_server_port", "8080"),
    *("--publish_logs", "true", "--publish_logs", "true", "--"),
)

_PARAMETER = re.compile(r"\{\{\$\.inputs\.parameters\['([^']+)'\]\}\}")


@dataclass(frozen=True)
class Artifact:
    """An artifact as a task is given it."""

    number: int
    """Its id in Kubeflow's metadata store."""
    uri: str
    metadata: Mapping[str, Any]
    """What its task wrote on it."""
    produced: bool = True
    """By a task of the same pipeline; otherwise it came through an input of that pipeline."""


class Ports(NamedTuple):
    """What goes into a task, or comes out of it, by port."""

    parameters: Mapping[str, Any]
    artifacts: Mapping[str, Artifact]


def launcher_command(
    component: Mapping[str, Any], given: Ports, *, pipeline: str, folder: str, execution: int
) -> list[str]:
    """Return the command line of a task's launcher, up to the words of its container.

    Args:
        component: the task's specification.
        given: its inputs.
        pipeline: the pipeline's name.
        folder: the URI below which its artifacts will lie.
        execution: its id in Kubeflow's metadata store.
    """
    outputs = component.get("outputDefinitions", {})
    logged = {**outputs, "artifacts": dict(sorted({**outputs.get("artifacts", {}), **_LOGS}.items()))}
    specification = {
        "inputDefinitions": component.get("inputDefinitions"),
        "outputDefinitions": logged,
        "executorLabel": component["executorLabel"],
    }
    run = ("--pipeline_name", pipeline, "--run_id", RUN_ID, "--execution_id", str(execution))
    inputs = ("--executor_input", proto_json(_executor_input(logged, given, folder)))
    described = ("--component_spec", proto_json(_filled(specification)))
    return ["/kfp-launcher/launch", *run, *inputs, *described, *_LAUNCHER_OPTIONS]


def container_words(container: Mapping[str, Any], parameters: Mapping[str, Any]) -> list[str]:
    """Return a container's command and arguments; where an output is named, the launcher fills in, not the driver."""

    def value(match: re.Match[str]) -> str:
        found = parameters.get(match[1], "")
        return found if isinstance(found, str) else go_json(found)

    words = [*container.get("command", []), *container.get("args", [])]
    return [word if "$.outputs" in word else _PARAMETER.sub(value, word) for word in words]


def pod_spec_patch(
    container: Mapping[str, Any], pod: Mapping[str, Any], *, command: Sequence[str], words: Sequence[str]
) -> str:
    """Return the patch of a task's pod as JSON, its fields in the order of Kubernetes' PodSpec.

    Args:
        container: its image, environment and resources, as the pipeline has them.
        pod: what the pod has beside its container, as kfp-kubernetes writes it.
        command: the launcher's.
        words: what the launcher runs.
    """
    mounts = pod.get("emptyDirMounts", [])
    main = {
        "name": "main",
        "image": container["image"],
        "command": command,
        "args": words,
        "env": [*container.get("env", []), *_secret_variables(pod)],
        "resources": _resources(container.get("resources", {})),
        "volumeMounts": [{"name": one["volumeName"], "mountPath": one["mountPath"]} for one in mounts],
        "imagePullPolicy": pod.get("imagePullPolicy"),
        "securityContext": _security_context(pod.get("securityContext")),
    }
    patch = {
        "volumes": [{"name": one["volumeName"], "emptyDir": _picked(one, "medium", "sizeLimit")} for one in mounts],
        # Go leaves out what is empty, but for a struct: resources.
        "containers": [{name: value for name, value in main.items() if value or name == "resources"}],
        "activeDeadlineSeconds": int(pod.get("activeDeadlineSeconds", 0)),
        "nodeSelector": pod.get("nodeSelector", {}).get("labels"),
        "imagePullSecrets": [{"name": one["secretName"]} for one in pod.get("imagePullSecret", [])],
        "tolerations": pod.get("tolerations"),
    }
    return go_json(_filled(patch), in_order=True)


def _executor_input(outputs: Mapping[str, Any], given: Ports, folder: str) -> dict[str, Any]:
    """Return a task's inputs and where its outputs go (api/v2alpha1/pipeline_spec.proto, ExecutorInput)."""
    artifacts = {port: {"artifacts": [_runtime_artifact(one)]} for port, one in sorted(given.artifacts.items())}
    inputs = {"artifacts": artifacts, "parameterValues": dict(sorted(given.parameters.items()))}
    files = {port: {"outputFile": f"/tmp/kfp/outputs/{port}"} for port in sorted(outputs.get("parameters", {}))}  # noqa: S108
    made = {
        port: {"artifacts": [{"name": port, "type": one["artifactType"], "uri": f"{folder}/{port}"}]}
        for port, one in outputs["artifacts"].items()
    }
    record = f"{folder.replace('minio://', '/minio/')}/output_metadata.json"
    return {
        "inputs": _filled(inputs),
        "outputs": _filled({"parameters": files, "artifacts": made, "outputFile": record}),
    }


def _runtime_artifact(artifact: Artifact) -> dict[str, Any]:
    """Return an artifact as the launcher is told of it (backend/src/v2/metadata, ToRuntimeArtifact)."""
    kind = {"type": {"instanceSchema": ""}} if artifact.produced else {}
    own = {"display_name": artifact.uri.rsplit("/", 1)[-1], "store_session_info": _SESSION}
    metadata = dict(sorted({**own, **artifact.metadata}.items()))
    return {"name": str(artifact.number), **kind, "uri": artifact.uri, "metadata": metadata}


def _secret_variables(pod: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "name": key["envVar"],
            "valueFrom": {
                "secretKeyRef": {"name": secret["secretName"], "key": key["secretKey"], **_picked(secret, "optional")}
            },
        }
        for secret in pod.get("secretAsEnv", [])
        for key in secret["keyToEnv"]
    ]


def _resources(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return limits and requests as Kubernetes writes them."""
    limits = {"cpu": asked.get("resourceCpuLimit"), "memory": asked.get("resourceMemoryLimit")}
    requests = {"cpu": asked.get("resourceCpuRequest"), "memory": asked.get("resourceMemoryRequest")}
    accelerator = asked.get("accelerator")
    if accelerator:
        kind = accelerator.get("resourceType") or accelerator["type"]
        limits[kind] = str(accelerator.get("resourceCount") or accelerator["count"])
    both = {"limits": limits, "requests": requests}
    return _filled(
        {name: {kind: _quantity(text) for kind, text in values.items() if text} for name, values in both.items()}
    )


def _quantity(text: str) -> str:
    """Return an amount in Kubernetes' own form: 0.3 is 300m."""
    return f"{(Decimal(text) * 1000).normalize():f}m" if re.fullmatch(r"\d*\.\d+", text) else text


def _security_context(asked: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if asked is None:
        return None
    users = {name: int(user) for name, user in _picked(asked, "runAsUser", "runAsGroup").items()}
    return {"capabilities": {"drop": ["ALL"]}, **users, **_picked(asked, "runAsNonRoot")}


def _picked(fields: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: fields[name] for name in names if name in fields}


def _filled(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields without those that are empty, which Go leaves out."""
    return {name: value for name, value in fields.items() if value not in (None, "", 0, [], {})}
