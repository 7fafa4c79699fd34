"""`realfeatures doctor` on a real cluster: every line where all is well, and where it is not."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from cluster.namespace import JSON, Namespace
from cluster.object_store import Store

pytestmark = pytest.mark.cluster

KUBERNETES = (
    "kubernetes",
    "namespace",
    "service account",
    "rights",
    "pods' rights",
    "secret",
    "nodes",
    "quota",
    "limits",
)


def doctor(namespace: Namespace, *options: str, kubeconfig: Path | None = None, **settings: str) -> dict[str, JSON]:
    """Return what the doctor found, by check; its exit code has to fit."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "REALFEATURES_"))}
    environment |= settings | ({"KUBECONFIG": str(kubeconfig)} if kubeconfig else {})
    command = [
        sys.executable,
        "-m",
        "realfeatures.cli.main",
        "doctor",
        "--json",
        f"--namespace={namespace.name}",
        *options,
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.stdout, done.stderr
    found = {one["check"]: one for one in json.loads(done.stdout)}
    assert done.returncode == any(one["outcome"] == "problem" for one in found.values())
    return found


@pytest.fixture(scope="module")
def prepared(new_namespace: Callable[[], Namespace], store: Store) -> Namespace:
    """Return a namespace with all that a run needs."""
    namespace = new_namespace()
    store.create_secret(namespace)
    return namespace


@pytest.fixture(scope="module")
def kubeconfig_of(prepared: Namespace, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that writes a configuration with which one is an account of the namespace."""

    def write(account: str) -> Path:
        config = json.loads(prepared.kubectl("config", "view", "--minify", "--raw", "--output=json").stdout)
        token = prepared.kubectl("create", "token", account, "--duration=10m").stdout.strip()
        config["users"] = [{"name": config["users"][0]["name"], "user": {"token": token}}]
        path = tmp_path_factory.mktemp("kubeconfig") / account
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(config))
        return path

    return write


def test_the_operator_s_rights_are_enough_for_every_line(
    prepared: Namespace, kubeconfig_of: Callable[[str], Path], image: str
) -> None:
    found = doctor(prepared, f"--image={image}", kubeconfig=kubeconfig_of("realfeatures-operator"))
    assert {name: found[name]["outcome"] for name in KUBERNETES} == dict.fromkeys(KUBERNETES, "ok"), found
    # An image that no node has yet may still be pulled.
    assert found["image"]["outcome"] in ("ok", "unknown")


def test_the_pods_account_is_told_what_it_may_not(prepared: Namespace, kubeconfig_of: Callable[[str], Path]) -> None:
    found = doctor(prepared, kubeconfig=kubeconfig_of("realfeatures"))
    assert found["kubernetes"]["outcome"] == "ok"
    for check in ("namespace", "secret", "nodes", "quota"):
        assert found[check]["outcome"] == "unknown", check
        assert "may not ask for it" in found[check]["text"]
    assert found["rights"]["outcome"] == "problem"
    assert "create jobs" in found["rights"]["text"]


@pytest.mark.parametrize(
    ("check", "options", "words"),
    [
        ("service account", ["--service-account=nobody"], "nobody"),
        ("secret", ["--profile-set=store.secret=elsewhere"], "elsewhere"),
        ("quota", ["--profile-set=cpu=1000000m"], "requests.cpu"),
        ("nodes", ["--profile=gpu", "--profile-set=accelerator=example.com/none"], "example.com/none"),
        ("image", ["--image=nowhere:1", "--profile-set=image_pull_policy=Never"], "nowhere:1"),
    ],
)
def test_a_lack_is_named_with_its_remedy(check: str, options: list[str], words: str, prepared: Namespace) -> None:
    found = doctor(prepared, f"--only={check}", *options)[check]
    assert found["outcome"] == "problem"
    assert words in found["text"]
    assert found["remedy"]


def test_a_namespace_that_is_not_there_is_named(prepared: Namespace) -> None:
    elsewhere = Namespace(f"{prepared.name}-none", prepared.folder)
    found = doctor(elsewhere)
    assert found["namespace"]["outcome"] == "problem"
    assert elsewhere.name in found["namespace"]["text"]
    assert found["secret"]["outcome"] == "problem"


def test_a_secret_without_a_key_is_named_by_the_key(prepared: Namespace) -> None:
    prepared.kubectl("create", "secret", "generic", "half", "--from-literal=accesskey=some")
    found = doctor(prepared, "--only=secret", "--profile-set=store.secret=half")["secret"]
    assert found["outcome"] == "problem"
    assert "secretkey" in found["text"]
    assert "accesskey" not in found["text"]


def test_a_limit_below_what_a_pod_needs_is_named(prepared: Namespace) -> None:
    limits = {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": {"name": "narrow"},
        "spec": {"limits": [{"type": "Container", "max": {"memory": "1Gi"}}]},
    }
    prepared.kubectl("apply", "--filename=-", stdin=json.dumps(limits))
    try:
        found = doctor(prepared, "--only=limits", "--profile-set=memory=2Gi")["limits"]
    finally:
        prepared.kubectl("delete", "limitrange", "narrow")
    assert found["outcome"] == "problem"
    assert "narrow" in found["text"]


def test_a_server_that_does_not_answer_is_named(prepared: Namespace, tmp_path: Path) -> None:
    config = json.loads(prepared.kubectl("config", "view", "--minify", "--raw", "--output=json").stdout)
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    (tmp_path / "config").touch(mode=0o600)
    (tmp_path / "config").write_text(yaml.safe_dump(config))
    found = doctor(prepared, "--only=kubernetes", kubeconfig=tmp_path / "config")["kubernetes"]
    assert found["outcome"] == "problem"
    assert found["remedy"]


def test_the_object_store_s_line_follows_the_store(prepared: Namespace, store: Store) -> None:
    settings = {
        "REALFEATURES_STORE": store.location,
        "AWS_ENDPOINT_URL": store.endpoint,
        "AWS_REGION": store.region,
        "AWS_ACCESS_KEY_ID": store.accesskey,
        "AWS_SECRET_ACCESS_KEY": store.secretkey,
    }
    only = "--only=object store"
    assert doctor(prepared, only, **settings)["object store"]["outcome"] == "ok"
    assert doctor(prepared, only)["object store"]["outcome"] == "unknown"
    wrong = doctor(prepared, only, **{**settings, "AWS_SECRET_ACCESS_KEY": "wrong"})["object store"]
    assert wrong["outcome"] == "problem"
    assert store.secretkey not in json.dumps(wrong)
