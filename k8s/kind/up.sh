#!/usr/bin/env bash
# Make a kind cluster with Kubeflow Pipelines, an object store and our image. Does only what is not done yet.
set -euo pipefail
# shellcheck source=k8s/kind/settings.sh
source "$(dirname "${BASH_SOURCE[0]}")/settings.sh"

create_cluster() {
    if cluster_exists; then
        say "cluster $CLUSTER is there"
        # After a reboot its node is stopped.
        kind get nodes --name "$CLUSTER" | xargs docker start >/dev/null
        kind export kubeconfig --name "$CLUSTER" >/dev/null
    else
        say "creating cluster $CLUSTER"
        kind create cluster --name "$CLUSTER" --image "$NODE_IMAGE"
    fi
    kube wait --for=condition=Ready node --all --timeout=300s
}

load_image() {
    if ! docker image inspect "$IMAGE" >/dev/null 2>&1; then
        say "building $IMAGE"
        make -C "$ROOT" image
    fi
    say "loading $IMAGE into the node"
    kind load docker-image "$IMAGE" --name "$CLUSTER"
}

install_kubeflow() {
    say "installing Kubeflow Pipelines $KFP_VERSION"
    kube apply -k "$KFP_MANIFESTS/cluster-scoped-resources?ref=$KFP_VERSION"
    kube wait --for=condition=Established --timeout=120s crd/applications.app.k8s.io
    kube apply -k "$KFP_MANIFESTS/env/platform-agnostic?ref=$KFP_VERSION"
}

# The kind overlay with the image that was loaded.
generate_overlay() {
    mkdir -p "$GENERATED"
    cat >"$GENERATED/kustomization.yaml" <<YAML
# Written by make kind-up.
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources:
  - ../../overlays/kind
images:
  - name: realfeatures
    newTag: ${IMAGE#*:}
YAML
}

apply_overlay() {
    say "applying k8s/overlays/kind, all but its Job"
    kube apply --server-side -k "$ROOT/k8s/base"
    "$HERE/credentials.sh"
    kubectl kustomize "$GENERATED" | kube apply --server-side -l app.kubernetes.io/component!=run -f -
}

# Kubeflow's tasks run in its own namespace and read the same secret there.
share_with_kubeflow() {
    kube -n "$KFP_NAMESPACE" create secret generic "$SECRET" --dry-run=client -o yaml \
        --from-file=accesskey=<(secret_key accesskey) --from-file=secretkey=<(secret_key secretkey) |
        kube apply --server-side -f -
}

wait_until_ready() {
    say "waiting until all is ready; the first time images are pulled, which takes 5 to 15 minutes"
    kube -n "$NAMESPACE" rollout status deployment/seaweedfs --timeout=600s
    kube -n "$KFP_NAMESPACE" wait --for=condition=Available deployment --all --timeout=1800s
}

hints() {
    cat <<TEXT

Ready. Next:
  the digits preset as a Kubeflow pipeline, and its report
    make kind-run
  the same as a plain Job, without Kubeflow
    kubectl --context $CONTEXT apply -k k8s/kind/generated
  Kubeflow's UI at http://localhost:$KFP_PORT
    kubectl --context $CONTEXT -n $KFP_NAMESPACE port-forward svc/ml-pipeline-ui $KFP_PORT:80
  the object store at http://localhost:$STORE_PORT
    kubectl --context $CONTEXT -n $NAMESPACE port-forward svc/seaweedfs $STORE_PORT:9000
  delete the cluster and all that is in it
    make kind-down
TEXT
}

"$HERE/check.sh"
IMAGE=${IMAGE:-$(make --no-print-directory -C "$ROOT" image-name)}
create_cluster
load_image
install_kubeflow
generate_overlay
apply_overlay
share_with_kubeflow
wait_until_ready
hints
