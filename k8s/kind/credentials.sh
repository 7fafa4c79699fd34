#!/usr/bin/env bash
# Make the credentials of the cluster's own object store, once: random, and nowhere but in two secrets of the cluster.
# CONTEXT and NAMESPACE may name another cluster and namespace than kind's.
set -euo pipefail
# shellcheck source=k8s/kind/settings.sh
source "$(dirname "${BASH_SOURCE[0]}")/settings.sh"

random() {
    LC_ALL=C tr -dc A-Za-z0-9 </dev/urandom | head -c "$1" || true # tr ends by SIGPIPE
}

# The one identity of the store: no administrator, and no bucket but ours.
identities() {
    local actions="\"Read:$BUCKET\", \"Write:$BUCKET\", \"List:$BUCKET\", \"Tagging:$BUCKET\""
    printf '{"identities": [{"name": "realfeatures", "credentials": [{"accessKey": "%s", "secretKey": "%s"}], "actions": [%s]}]}' \
        "$(secret_key accesskey)" "$(secret_key secretkey)" "$actions"
}

# <(...) keeps the values out of the processes' arguments and off the disk.
if ! kube -n "$NAMESPACE" get secret "$SECRET" >/dev/null 2>&1; then
    kube -n "$NAMESPACE" create secret generic "$SECRET" \
        --from-file=accesskey=<(random 20) --from-file=secretkey=<(random 40)
fi
kube -n "$NAMESPACE" create secret generic "$IDENTITIES" --dry-run=client -o yaml \
    --from-file=identities.json=<(identities) | kube apply --server-side -f -
