"""The plain Job on a real cluster: to its report, through the loss of its pod, and with a wrong option."""

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from jsonschema import validate
from manifest_checks import ROOT

from cluster.namespace import JSON, Namespace, change, patch
from cluster.object_store import Store, given_store
from realfeatures.cli.exit_codes import UNAVAILABLE, USAGE_ERROR

pytestmark = pytest.mark.cluster

PULL_POLICY = os.environ.get("REALFEATURES_CLUSTER_PULL_POLICY", "IfNotPresent")
RUN_SECONDS = 900
"""chosen: the run takes one to three minutes of two cores; a busy node may give it a quarter of one."""
REDUCED = (
    "--set=paradigms=supervised,masked",
    "--set=attack.images=50",
    "--set=attack.autoattack_images=10",
    "--set=masked.optimizer.epochs=20",
    "--set=robust.steps=40",
    "--set=non_robust.steps=40",
)
"""Still several stages of each kind."""


def apply_job(namespace: Namespace, place: Store, arguments: Sequence[str], *, image: str) -> None:
    """Apply k8s/job with other arguments and its results in a place of the store."""
    place.create_secret(namespace)
    container = "/spec/template/spec/containers/0"
    job = patch(
        "Job",
        "realfeatures-run",
        change(f"{container}/args", list(arguments)),
        change(f"{container}/imagePullPolicy", PULL_POLICY),
        # the node of a test may be small
        change(f"{container}/resources/requests", {"cpu": "250m", "memory": "1Gi"}),
    )
    namespace.apply(namespace.manifests("job", patches=[job, *place.settings()], image=image))


@pytest.fixture(scope="session")
def reached(store: Store, image: str, new_namespace: Callable[[], Namespace]) -> Store:
    """Return the store after a pod has listed it; where none can reach our own one, the runs are skipped."""
    namespace = new_namespace()
    apply_job(namespace, store, ["store", "ls"], image=image)
    ended = namespace.wait_for(lambda: end_of(namespace), seconds=300, what="a pod has listed the store")
    if ended["exitCode"] == UNAVAILABLE and given_store() is None:
        pytest.skip(f"pods do not reach {store.endpoint}; set REALFEATURES_CLUSTER_HOST or REALFEATURES_CLUSTER_STORE")
    assert ended["exitCode"] == 0, ended["message"]
    namespace.delete()
    return store


def end_of(namespace: Namespace) -> JSON | None:
    """Return how the container of the first pod ended, once it has; fail the test where its image is not there."""
    for pod in namespace.pods():
        for status in pod["status"].get("containerStatuses", ()):
            reason = status["state"].get("waiting", {}).get("reason", "")
            if reason in ("ErrImageNeverPull", "ErrImagePull", "ImagePullBackOff", "InvalidImageName"):
                pytest.fail(f"{reason} {status['image']}: bring it to the nodes, or set REALFEATURES_CLUSTER_IMAGE")
            if "terminated" in status["state"]:
                return dict(status["state"]["terminated"])
    return None


@pytest.fixture(scope="session")
def start_run(reached: Store, image: str) -> Callable[..., Store]:
    def start(namespace: Namespace, *, prefix: str, more: tuple[str, ...] = REDUCED) -> Store:
        """Start a run with its results below a prefix of the store, which is returned."""
        place = reached.below(prefix)
        arguments = ["run", "--preset=digits", "--seed=0", *more, "--jobs=2", "--out=/scratch/run", "--name=tested"]
        apply_job(namespace, place, arguments, image=image)
        return place

    return start


def finished(namespace: Namespace) -> bool:
    """Return whether the Job is complete; fail the test where it failed."""
    conditions = namespace.get("job", "realfeatures-run")["status"].get("conditions", ())
    assert not [one for one in conditions if one["type"] == "Failed"], namespace.state()
    return any(one["type"] == "Complete" for one in conditions)


@pytest.fixture(scope="session")
def undisturbed(start_run: Callable[..., Store], new_namespace: Callable[[], Namespace]) -> tuple[Namespace, Store]:
    """Return the namespace and the results of a run that nothing happened to."""
    namespace = new_namespace()
    place = start_run(namespace, prefix="undisturbed")
    namespace.wait_for(lambda: finished(namespace), seconds=RUN_SECONDS, what="the Job is complete")
    return namespace, place


def test_the_job_runs_the_preset_to_its_report(undisturbed: tuple[Namespace, Store]) -> None:
    namespace, place = undisturbed
    (pod,) = namespace.pods()
    assert pod["status"]["phase"] == "Succeeded"
    assert b"<html" in place.read("runs/tested/report.html")
    results = json.loads(place.read("runs/tested/results.json"))
    validate(results, json.loads((ROOT / "docs/results.schema.json").read_text()))
    assert results["rows"]
    stored = {f"cells/{cell['address']}.tar" for cell in results["cells"]}
    assert stored == set(place.objects("cells/"))
    assert not place.objects("checkpoints/")


def test_a_pod_that_is_deleted_in_a_stage_is_replaced_by_one_that_resumes(
    undisturbed: tuple[Namespace, Store], start_run: Callable[..., Store], new_namespace: Callable[[], Namespace]
) -> None:
    _, expected = undisturbed
    namespace = new_namespace()
    place = start_run(namespace, prefix="disturbed")
    namespace.wait_for(lambda: place.objects("cells/"), seconds=RUN_SECONDS, what="a first cell is in the store")
    (first,) = namespace.names("pods")
    namespace.kubectl("delete", "pod", first)
    kept, left = place.objects("cells/"), place.objects("checkpoints/")
    assert left, "the pod left no checkpoint: it was in no stage"
    assert len(kept) < len(expected.objects("cells/"))
    namespace.wait_for(lambda: finished(namespace), seconds=RUN_SECONDS, what="the Job is complete")
    assert first not in namespace.names("pods")
    assert place.objects("cells/").items() >= kept.items(), "a cell was written again"
    assert results_of(place) == results_of(expected)
    assert contents(place) == contents(expected)
    assert not place.objects("checkpoints/")


def results_of(place: Store) -> Any:
    """Return what a run measured, without how long it took."""

    def timeless(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: timeless(item) for key, item in value.items() if "seconds" not in key}
        return [timeless(item) for item in value] if isinstance(value, list) else value

    return timeless(json.loads(place.read("runs/tested/results.json")))


def contents(place: Store) -> dict[str, str]:
    """Return the sha256 of every cell's manifest, which holds the sha256 of every other file of its artifact."""
    found = {}
    for name in place.objects("cells/"):
        with tarfile.open(fileobj=io.BytesIO(place.read(name))) as archive:
            (manifest,) = (one for one in archive.getnames() if one.endswith("manifest.json"))
            member = archive.extractfile(manifest)
            assert member
            found[name] = hashlib.sha256(member.read()).hexdigest()
    return found


def test_a_wrong_option_ends_the_job_at_once_with_its_reason(
    start_run: Callable[..., Store], new_namespace: Callable[[], Namespace]
) -> None:
    namespace = new_namespace()
    start_run(namespace, prefix="wrong", more=("--set=probe.epoks=3",))

    def failure() -> dict[str, str] | None:
        conditions = namespace.get("job", "realfeatures-run")["status"].get("conditions", ())
        return next((one for one in conditions if one["type"] == "Failed"), None)

    namespace.wait_for(failure, seconds=180, what="the Job has failed")
    assert len(namespace.pods()) == 1, "it was tried again"
    ended = end_of(namespace)
    assert ended
    assert ended["exitCode"] == USAGE_ERROR
    assert "epoks" in ended["message"]
