"""The Kubernetes manifests: valid, restricted, without dangling references, without secrets."""

import copy
import re
import shutil
import signal
import subprocess
from decimal import Decimal
from pathlib import Path

import pytest
import typer
import yaml
from manifest_checks import (
    K8S,
    ROOT,
    containers,
    dangling,
    insecurities,
    named,
    of_kind,
    pods,
    rendered,
    rendered_text,
    tool,
)

DIRECTORIES = ["base", "job", "overlays/kind", "overlays/gpu"]
RUNS = ["job", "overlays/kind", "overlays/gpu"]
"""What holds a Job besides the base."""


@pytest.mark.parametrize("version", ["1.34", "1.36"])
def test_every_field_is_one_that_kubernetes_knows(version: str, tmp_path: Path) -> None:
    files = []
    for directory in DIRECTORIES:
        files.append(tmp_path / f"{directory.replace('/', '-')}.yaml")
        files[-1].write_text(rendered_text(K8S / directory))
    done = subprocess.run(
        [tool("kubernetes-validate"), "--strict", "--no-warn", "-k", version, *files], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("directory", DIRECTORIES)
def test_an_independent_scanner_finds_nothing_of_weight(directory: str, tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text(rendered_text(K8S / directory))
    scan = [tool("policy-guard"), "scan", "--level", "restricted", "--fail-on", "high", tmp_path / "all.yaml"]
    done = subprocess.run(scan, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("directory", DIRECTORIES)
def test_every_pod_is_restricted_and_its_namespace_enforces_it(directory: str) -> None:
    documents = rendered(K8S / directory)
    (namespace,) = of_kind(documents, "Namespace")
    for mode in ("enforce", "audit", "warn"):
        assert namespace["metadata"]["labels"][f"pod-security.kubernetes.io/{mode}"] == "restricted"
    assert insecurities(documents) == []


def test_the_check_of_restricted_pods_sees_each_lapse() -> None:
    (good,) = of_kind(rendered(K8S / "job"), "Job")
    lapses = {
        "hostNetwork": ("spec", {"hostNetwork": True}),
        "token": ("spec", {"automountServiceAccountToken": True}),
        "root": ("securityContext", {"runAsUser": 0}),
        "seccomp": ("securityContext", {"seccompProfile": {"type": "Unconfined"}}),
        "capabilities": ("container", {"capabilities": {"drop": ["ALL"], "add": ["SYS_ADMIN"]}}),
        "writable": ("container", {"readOnlyRootFilesystem": False}),
        "escalation": ("container", {"allowPrivilegeEscalation": True}),
    }
    for lapse, (place, change) in lapses.items():
        job = copy.deepcopy(good)
        spec = job["spec"]["template"]["spec"]
        places = {"spec": spec, "securityContext": spec["securityContext"]}
        places["container"] = spec["containers"][0]["securityContext"]
        places[place].update(change)
        assert len(insecurities([job])) == 1, lapse


@pytest.mark.parametrize("directory", RUNS)
def test_every_selector_and_reference_meets_something(directory: str) -> None:
    assert dangling(rendered(K8S / directory)) == []


@pytest.mark.parametrize(
    ("kind", "name", "path", "value"),
    [
        ("Service", "seaweedfs", ("spec", "selector"), {"app.kubernetes.io/component": "store"}),
        ("NetworkPolicy", "allow-object-store", ("spec", "podSelector", "matchLabels"), {"app": "run"}),
        ("Deployment", "seaweedfs", ("spec", "template", "spec", "serviceAccountName"), "seaweedfs"),
        ("Job", "realfeatures-run", ("spec", "template", "spec", "volumes"), []),
        ("RoleBinding", "realfeatures-operator", ("roleRef", "name"), "operator"),
        ("ConfigMap", "realfeatures-store", ("metadata", "name"), "store"),
    ],
)
def test_the_check_of_references_sees_a_broken_one(kind: str, name: str, path: tuple[str, ...], value: object) -> None:
    documents = copy.deepcopy(rendered(K8S / "overlays/kind"))
    place = named(documents, kind, name)
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    assert dangling(documents)


def test_no_secret_is_rendered_or_in_the_tree() -> None:
    for directory in DIRECTORIES:
        documents = rendered(K8S / directory)
        assert not of_kind(documents, "Secret")
        for name, pod in pods(documents):
            literals = [item["name"] for one in containers(pod) for item in one.get("env", ()) if "value" in item]
            assert not [item for item in literals if re.search("KEY|TOKEN|PASSWORD", item)], name
    # What makes a credential: an access key's form, a private key's head, or a value beside a telling name.
    forms = (r"\b(AKIA|ASIA)[0-9A-Z]{16}\b", "BEGIN [A-Z ]*PRIVATE KEY", r"(secretkey|password|token): *[^\s,}]{8,}")
    telling = re.compile("|".join(forms), re.IGNORECASE)
    listing = ["git", "ls-files", "-co", "--exclude-standard", "k8s"]
    files = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert "k8s/base/kustomization.yaml" in files
    for file in files:
        assert not telling.search((ROOT / file).read_text()), file


def test_every_image_is_named_and_a_stranger_s_is_pinned_by_digest() -> None:
    ours_or_pinned = re.compile(r"realfeatures:(cpu|gpu)|[^@]+:[^@]+@sha256:[0-9a-f]{64}")
    found = [one for directory in RUNS for _, pod in pods(rendered(K8S / directory)) for one in containers(pod)]
    assert [one["image"] for one in found if not ours_or_pinned.fullmatch(one["image"])] == []
    assert {one["imagePullPolicy"] for one in found} == {"IfNotPresent"}


@pytest.mark.parametrize("directory", RUNS)
def test_a_run_fits_into_the_quota(directory: str) -> None:
    documents = rendered(K8S / directory)
    (quota,) = of_kind(documents, "ResourceQuota")
    hard = quota["spec"]["hard"]
    used: dict[str, Decimal] = {}
    for _, pod in pods(documents):
        for container in containers(pod):
            for which, amounts in container["resources"].items():
                for resource, amount in amounts.items():
                    key = f"{which}.{resource}"
                    used[key] = used.get(key, Decimal(0)) + quantity(amount)
    for claim in of_kind(documents, "PersistentVolumeClaim"):
        storage = quantity(claim["spec"]["resources"]["requests"]["storage"])
        used["requests.storage"] = used.get("requests.storage", Decimal(0)) + storage
    assert {key for key, amount in hard.items() if used.get(key, Decimal(0)) > quantity(amount)} == set()
    assert {"requests.cpu", "requests.memory", "limits.memory", "requests.storage"} <= set(used) & set(hard)


def quantity(text: str) -> Decimal:
    from kubernetes.utils import parse_quantity

    return parse_quantity(text)


@pytest.mark.parametrize("directory", RUNS)
def test_the_command_line_understands_what_the_job_runs(directory: str) -> None:
    from realfeatures.cli import main as cli
    from realfeatures.experiment.presets import load_preset

    command, *arguments = run_container(directory)["args"]
    parsed = typer.main.get_command(cli.app).get_command(None, command).make_context(command, arguments).params
    load_preset(parsed["preset"])
    assert parsed["name"]
    assert parsed["out"].is_relative_to("/scratch")
    # default_jobs sees the node's cores, not the container's
    assert parsed["jobs"] <= int(run_container(directory)["resources"]["limits"]["cpu"])


def run_container(directory: str) -> dict:
    job = named(rendered(K8S / directory), "Job", "realfeatures-run")
    (container,) = job["spec"]["template"]["spec"]["containers"]
    return container


@pytest.mark.parametrize("directory", RUNS)
def test_a_run_finds_its_credentials_where_they_are_mounted(directory: str) -> None:
    settings = named(rendered(K8S / directory), "ConfigMap", "realfeatures-store")["data"]
    mounts = {mount["name"]: mount["mountPath"] for mount in run_container(directory)["volumeMounts"]}
    assert settings["REALFEATURES_STORE_SECRET"] == mounts["store"]
    assert {mounts["scratch"], mounts["tmp"]} == {"/scratch", "/tmp"}  # noqa: S108 - a pod's own


@pytest.mark.parametrize("directory", RUNS)
def test_a_lost_pod_is_replaced_and_a_wrong_option_is_not_tried_again(directory: str) -> None:
    from realfeatures.cli import main as cli

    spec = named(rendered(K8S / directory), "Job", "realfeatures-run")["spec"]
    actions = {
        code: rule["action"]
        for rule in spec["podFailurePolicy"]["rules"]
        for code in rule.get("onExitCodes", {}).get("values", ["lost"])
    }
    assert actions == {
        "lost": "Ignore",
        cli.INTERRUPTED: "Ignore",
        128 + signal.SIGTERM: "Ignore",
        cli.USAGE_ERROR: "FailJob",
    }
    assert spec["podReplacementPolicy"] == "Failed"
    assert spec["template"]["spec"]["terminationGracePeriodSeconds"] >= 60


def test_only_the_run_reaches_out_and_only_to_names_and_the_store() -> None:
    documents = rendered(K8S / "overlays/kind")
    assert named(documents, "NetworkPolicy", "default-deny")["spec"] == {
        "podSelector": {},
        "policyTypes": ["Ingress", "Egress"],
    }
    ways = {
        policy["metadata"]["name"]: [
            (rule["to"][0]["podSelector"]["matchLabels"], sorted(port["port"] for port in rule["ports"]))
            for rule in policy["spec"].get("egress", ())
        ]
        for policy in of_kind(documents, "NetworkPolicy")
    }
    assert {name: way for name, way in ways.items() if way} == {
        "allow-dns": [({"k8s-app": "kube-dns"}, [53, 53])],
        "allow-object-store": [({"app.kubernetes.io/component": "object-store"}, [9000])],
    }


def test_pods_have_no_rights_and_the_operator_cannot_read_other_secrets_or_enter_a_pod() -> None:
    documents = rendered(K8S / "base")
    bound = {
        subject["name"]
        for kind in ("RoleBinding", "ClusterRoleBinding")
        for binding in of_kind(documents, kind)
        for subject in binding["subjects"]
    }
    assert bound == {"realfeatures-operator"}
    rules = [rule for kind in ("Role", "ClusterRole") for role in of_kind(documents, kind) for rule in role["rules"]]
    for rule in rules:
        assert "*" not in (*rule["verbs"], *rule["resources"], *rule["apiGroups"])
        assert not {"pods/exec", "serviceaccounts/token", "roles", "rolebindings"} & set(rule["resources"])
        if "secrets" in rule["resources"]:
            assert (rule["verbs"], rule["resourceNames"]) == (["get"], ["realfeatures-store"])


def documented_kustomizations() -> list[str]:
    text = (ROOT / "docs/kubernetes.md").read_text()
    return [block for block in re.findall(r"```yaml\n(.*?)```", text, re.S) if "kind: Kustomization" in block]


@pytest.mark.parametrize("block", documented_kustomizations())
def test_the_overlays_in_the_documentation_change_what_they_say(block: str, tmp_path: Path) -> None:
    shutil.copytree(K8S, tmp_path / "k8s")
    own = tmp_path / "my-run"
    own.mkdir()
    (own / "kustomization.yaml").write_text(block)
    documents = rendered(own)
    asked = yaml.safe_load(block)
    (run,) = (pod["spec"] for name, pod in pods(documents) if name.startswith("Job/"))
    (container,) = run["containers"]
    (image,) = asked["images"]
    assert container["image"] == image["newName"] + (
        f"@{image['digest']}" if "digest" in image else f":{image['newTag']}"
    )
    namespace = asked.get("namespace", "realfeatures")
    places = {document["metadata"].get("namespace", namespace) for document in documents}
    assert places == {namespace}
    subjects = [subject for one in of_kind(documents, "RoleBinding") for subject in one["subjects"]]
    assert {subject["namespace"] for subject in subjects} == {namespace}
    for patch in asked["patches"]:
        target = (patch["target"]["kind"], patch["target"]["name"])
        before, after = named(rendered(K8S / "job"), *target), named(documents, *target)
        assert (before.get("spec"), before.get("data")) != (after.get("spec"), after.get("data"))
    assert dangling(documents) == []
    assert insecurities(documents) == []
