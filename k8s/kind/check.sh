#!/usr/bin/env bash
# Look whether this machine has what a kind cluster with Kubeflow Pipelines needs; changes nothing.
# Prints one line for each thing that is missing and how to get it, all of them at once; exit code 1 if any is.
set -euo pipefail
# shellcheck source=k8s/kind/settings.sh
source "$(dirname "${BASH_SOURCE[0]}")/settings.sh"

problems=0

ok() {
    printf 'ok       %s\n' "$1"
}

problem() {
    printf 'missing  %s\n         remedy: %s\n' "$1" "$2"
    problems=$((problems + 1))
}

note() {
    printf 'note     %s\n' "$1"
}

# True where version $1 is at least $2.
at_least() {
    [[ $(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1) == "$2" ]]
}

has() {
    command -v "$1" >/dev/null 2>&1
}

check_architecture() {
    case $(uname -m) in
        x86_64 | amd64) ok "architecture: $(uname -m)" ;;
        aarch64 | arm64) note "architecture: $(uname -m); Kubeflow's ML Metadata images exist for amd64 only and need emulation" ;;
        *) problem "architecture: $(uname -m); the node image is built for amd64 and arm64" "use such a machine" ;;
    esac
}

check_commands() {
    if ! has kubectl; then
        problem "kubectl" "install it from https://kubernetes.io/docs/tasks/tools/"
    else
        ok "kubectl"
    fi
    if ! has git; then
        problem "git: kubectl fetches Kubeflow's manifests with it" "install it with your system's package manager"
    else
        ok "git"
    fi
    if ! has kind; then
        problem "kind" "install $LEAST_KIND or newer from https://kind.sigs.k8s.io/docs/user/quick-start/#installation"
        return
    fi
    local version
    version=$(kind version -q)
    if at_least "$version" "$LEAST_KIND"; then
        ok "kind $version"
    else
        problem "kind $version, older than $LEAST_KIND and its node image" "install a newer one, or set NODE_IMAGE to one from its release notes"
    fi
}

check_docker() {
    if ! has docker; then
        problem "docker" "install Docker Engine, https://docs.docker.com/engine/install/"
        return
    fi
    local memory folder
    if ! memory=$(docker info --format '{{.MemTotal}}' 2>/dev/null) || [[ -z $memory || $memory == 0 ]]; then
        problem "docker: its daemon does not answer" "start it (sudo systemctl start docker), and see that \`docker info\` works for this user"
        return
    fi
    ok "docker: its daemon answers"
    # A machine sold as 8 GiB shows a little less.
    if ((memory / 1000000000 >= LEAST_MEMORY_GIB)); then
        ok "memory: $((memory / 1024 / 1024)) MiB for docker"
    else
        problem "memory: $((memory / 1024 / 1024)) MiB for docker, expected $LEAST_MEMORY_GIB GB" "give Docker more, or use a larger machine"
    fi
    folder=$(docker info --format '{{.DockerRootDir}}')
    # Docker Desktop's folder is inside its virtual machine.
    if [[ -d $folder ]]; then
        check_disk "$folder"
    else
        note "disk: docker keeps its images where this script cannot look; they need $LEAST_DISK_GIB GiB"
    fi
}

check_disk() {
    local free
    free=$(($(df -Pk "$1" | awk 'NR == 2 {print $4}') / 1024 / 1024))
    if ((free >= LEAST_DISK_GIB)); then
        ok "disk: $free GiB free in $1"
    else
        problem "disk: $free GiB free in $1, expected $LEAST_DISK_GIB" "free some (docker system prune), or move Docker's data-root"
    fi
}

check_inotify() {
    local name=$1 least=$2 file=/proc/sys/fs/inotify/$1 value
    if [[ ! -r $file ]]; then
        note "inotify: no $file here; inside of Docker's virtual machine it has to be $least"
        return
    fi
    value=$(<"$file")
    if ((value >= least)); then
        ok "inotify: fs.inotify.$name $value"
    else
        problem "inotify: fs.inotify.$name is $value, expected $least" "sudo sysctl -w fs.inotify.$name=$least"
    fi
}

check_architecture
check_commands
check_docker
check_inotify max_user_instances "$LEAST_INOTIFY_INSTANCES"
check_inotify max_user_watches "$LEAST_INOTIFY_WATCHES"

if ((problems > 0)); then
    echo "error: $problems missing; nothing was changed" >&2
    exit 1
fi
