# shellcheck shell=bash
# What the scripts of this folder share: names, pinned versions and what a cluster needs. Sourced, never run.
# Whatever is set in the environment wins.
# shellcheck disable=SC2034 # the names are used by the scripts that source this

: "${CLUSTER:=realfeatures}"
# The node image that kind v0.32.0 names in its release notes: Kubernetes 1.36.
: "${NODE_IMAGE:=kindest/node:v1.36.1@sha256:3489c7674813ba5d8b1a9977baea8a6e553784dab7b84759d1014dbd78f7ebd5}"
LEAST_KIND=0.32.0
# The release whose API the locked kfp speaks.
: "${KFP_VERSION:=2.17.0}"
KFP_MANIFESTS=https://github.com/kubeflow/pipelines/manifests/kustomize
: "${KFP_PORT:=8080}"   # of Kubeflow's API and UI on this machine, while one of the scripts forwards it
: "${STORE_PORT:=9000}" # of the object store, likewise

# Kubeflow Pipelines asks for about 3 GiB, a run for up to 4.
LEAST_MEMORY_GIB=8
# Node image 1 GB, Kubeflow's images 6 GB, ours 2 GB on the host and as much in the node, results.
LEAST_DISK_GIB=20
# What kubelet, containerd and Kubeflow's controllers watch; less shows as pods that die with "too many open files".
LEAST_INOTIFY_INSTANCES=1280
LEAST_INOTIFY_WATCHES=655360

: "${NAMESPACE:=realfeatures}"
BUCKET=realfeatures
KFP_NAMESPACE=kubeflow
SECRET=realfeatures-store
IDENTITIES=seaweedfs-identities
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
HERE=$ROOT/k8s/kind
GENERATED=$HERE/generated # ignored by git

# Only ever this cluster, whatever the current context is.
: "${CONTEXT:=kind-$CLUSTER}"
kube() {
    kubectl --context "$CONTEXT" "$@"
}

say() {
    echo "==> $*"
}

cluster_exists() {
    kind get clusters 2>/dev/null | grep -Fxq "$CLUSTER"
}

# One value of the object store's secret.
secret_key() {
    kube -n "$NAMESPACE" get secret "$SECRET" -o "jsonpath={.data.$1}" | base64 --decode
}
