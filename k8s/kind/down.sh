#!/usr/bin/env bash
# Delete the kind cluster and all that is in it, results included. Nothing to do where there is none.
set -euo pipefail
# shellcheck source=k8s/kind/settings.sh
source "$(dirname "${BASH_SOURCE[0]}")/settings.sh"

if ! command -v kind >/dev/null; then
    echo "error: kind is not installed, so it made no cluster here; nothing to delete" >&2
    exit 1
fi
if cluster_exists; then
    kind delete cluster --name "$CLUSTER"
else
    say "no cluster $CLUSTER"
fi
rm -rf "$GENERATED"
