"""What the accounts of the namespace may do and may not, by impersonation."""

import pytest

from cluster.namespace import Namespace

pytestmark = pytest.mark.cluster

PODS, OPERATOR = "realfeatures", "realfeatures-operator"


@pytest.mark.parametrize(
    ("account", "verb", "resource", "allowed"),
    [
        (PODS, "get", "pods", False),
        (PODS, "get", "secrets/realfeatures-store", False),
        (PODS, "get", "configmaps", False),
        (PODS, "create", "jobs.batch", False),
        (OPERATOR, "create", "jobs.batch", True),
        (OPERATOR, "watch", "jobs.batch", True),
        (OPERATOR, "delete", "jobs.batch", True),
        (OPERATOR, "list", "pods", True),
        (OPERATOR, "delete", "pods", True),
        (OPERATOR, "get", "pods/log", True),
        (OPERATOR, "get", "secrets/realfeatures-store", True),
        (OPERATOR, "list", "resourcequotas", True),
        (OPERATOR, "list", "nodes", True),
        (OPERATOR, "create", "pods", False),
        (OPERATOR, "create", "pods/exec", False),
        (OPERATOR, "create", "pods/ephemeralcontainers", False),
        (OPERATOR, "get", "secrets/another", False),
        (OPERATOR, "list", "secrets", False),
        (OPERATOR, "create", "secrets", False),
        (OPERATOR, "create", "serviceaccounts/token", False),
        (OPERATOR, "create", "rolebindings.rbac.authorization.k8s.io", False),
        (OPERATOR, "delete", "resourcequotas", False),
        (OPERATOR, "delete", "networkpolicies.networking.k8s.io", False),
        (OPERATOR, "delete", "nodes", False),
        (OPERATOR, "impersonate", "users", False),
    ],
)
def test_an_account_may_do_what_it_needs_and_no_more(
    account: str, verb: str, resource: str, allowed: bool, namespace: Namespace
) -> None:
    identity = f"--as=system:serviceaccount:{namespace.name}:{account}"
    resource, _, subresource = resource.partition("/")
    # of a secret it is the name, of all else a subresource
    target = [f"{resource}/{subresource}"] if resource == "secrets" and subresource else [resource]
    target += [f"--subresource={subresource}"] if subresource and resource != "secrets" else []
    asked = namespace.kubectl("auth", "can-i", verb, *target, identity, ok=False)
    assert asked.stdout.strip() == ("yes" if allowed else "no"), asked.stderr


def test_the_operator_has_no_rights_in_other_namespaces(namespace: Namespace) -> None:
    identity = f"--as=system:serviceaccount:{namespace.name}:{OPERATOR}"
    for verb, resource in (("list", "jobs.batch"), ("list", "pods"), ("get", "secrets")):
        asked = namespace.kubectl("auth", "can-i", verb, resource, identity, "--namespace=default", ok=False)
        assert asked.stdout.strip() == "no"
