#!/usr/bin/env bash
# Run the digits preset as a Kubeflow pipeline on the cluster of up.sh, wait, and fetch the report to runs/RUN_NAME/.
# Arguments go on to `realfeatures submit`, such as --seed 1.
set -euo pipefail
# shellcheck source=k8s/kind/settings.sh
source "$(dirname "${BASH_SOURCE[0]}")/settings.sh"
: "${RUN_NAME:=kind-digits}"

for command in kind kubectl; do
    if ! command -v "$command" >/dev/null; then
        echo "error: $command is not installed; make kind-up says what is needed" >&2
        exit 1
    fi
done
if ! cluster_exists; then
    echo "error: there is no kind cluster $CLUSTER; run make kind-up first" >&2
    exit 1
fi

# Forwards a service's port to this machine until the script ends.
forward() {
    local namespace=$1 service=$2 from=$3 to=$4
    kube -n "$namespace" port-forward "service/$service" "$from:$to" >/dev/null &
    for _ in {1..60}; do
        if (exec 3<>"/dev/tcp/127.0.0.1/$from") 2>/dev/null; then
            return
        fi
        sleep 1
    done
    echo "error: port $from of this machine does not reach $namespace/$service; is it in use? set KFP_PORT or STORE_PORT" >&2
    return 1
}

trap 'jobs -p | xargs -r kill 2>/dev/null' EXIT
forward "$KFP_NAMESPACE" ml-pipeline-ui "$KFP_PORT" 80
forward "$NAMESPACE" seaweedfs "$STORE_PORT" 9000

# This machine's own view of the store, from which the report is fetched; the tasks have another address of it.
AWS_ACCESS_KEY_ID=$(secret_key accesskey)
AWS_SECRET_ACCESS_KEY=$(secret_key secretkey)
export AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY
export AWS_ENDPOINT_URL=http://127.0.0.1:$STORE_PORT REALFEATURES_STORE=s3://$BUCKET
export KF_PIPELINES_ENDPOINT=http://127.0.0.1:$KFP_PORT

"$ROOT/.venv/bin/realfeatures" submit --preset digits --profile cpu --run-name "$RUN_NAME" --wait \
    --image "${IMAGE:-$(make --no-print-directory -C "$ROOT" image-name)}" \
    --profile-set "store.location=s3://$BUCKET" \
    --profile-set "store.endpoint=http://seaweedfs.$NAMESPACE.svc.cluster.local:9000" \
    "$@"
