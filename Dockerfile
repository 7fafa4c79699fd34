# One image for every stage: `cpu` (the default target) and `gpu` (NVIDIA's CUDA libraries beside it).
#
#   make image                  realfeatures:cpu-<digest of what goes in>
#   make image TARGET=gpu
#   make image BASE=IMAGE@sha256:...   another base with Python 3.11 or newer and Debian's apt
#
# Written for BuildKit as Docker has had it since 20.10, without a `# syntax` line: a build fetches the base and packages only.
# The optional secret `ca` is the bundle of a machine whose network has a certificate authority of its own.
ARG BASE=python:3.11-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b

# ---- uv, and an empty environment -----------------------------------------------------------------------------------
FROM ${BASE} AS builder
ENV UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 UV_PYTHON_DOWNLOADS=never VIRTUAL_ENV=/opt/realfeatures
COPY image/requirements-build.lock /build/
RUN --mount=type=secret,id=ca \
    if [ -s /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca; fi; \
    python3 -m venv /build/tools \
    && /build/tools/bin/pip install --quiet --no-cache-dir --only-binary :all: --require-hashes -r /build/requirements-build.lock \
    && /build/tools/bin/uv venv --quiet --python "$(command -v python3)" "$VIRTUAL_ENV"
ENV PATH=/opt/realfeatures/bin:/build/tools/bin:$PATH

# ---- the package's wheel: the only layer that a code change makes anew ----------------------------------------------
FROM builder AS package
WORKDIR /build/package
COPY LICENSE pyproject.toml ./
COPY src src
COPY components components
COPY pipelines pipelines
# The README is the wheel's description; an empty one keeps its edits out of the image.
RUN touch README.md \
    && /build/tools/bin/python -c "from setuptools.build_meta import build_wheel; build_wheel('/build')" \
    && uv pip install --quiet --no-deps --no-index --python "$VIRTUAL_ENV/bin/python" --prefix /build/prefix /build/*.whl \
    && rm /build/prefix/.lock

# ---- everything that a GPU needs ------------------------------------------------------------------------------------
FROM builder AS dependencies-gpu
COPY image/requirements.lock image/install.sh /build/
RUN --mount=type=secret,id=ca --mount=type=cache,target=/root/.cache/uv sh /build/install.sh

# ---- the same without CUDA ------------------------------------------------------------------------------------------
# The registry's torch is linked to NVIDIA's libraries and loads 2 GB of them at import, which no CPU run calls. Left out
# are the packages of cpu-excludes.txt; image/stand_ins.py says what stands in their place. The last command proves that
# what is left computes.
FROM builder AS dependencies-cpu
RUN apt-get update && apt-get install -y --no-install-recommends binutils
COPY image/requirements.lock image/install.sh image/cpu-excludes.txt /build/
RUN --mount=type=secret,id=ca --mount=type=cache,target=/root/.cache/uv \
    sh /build/install.sh --excludes /build/cpu-excludes.txt
COPY image/stand_ins.py /build/
RUN python3 /build/stand_ins.py "$(echo "$VIRTUAL_ENV"/lib/python3*/site-packages/torch/lib)" \
    && python3 -c "import torch, torchvision; layer = torch.nn.Conv2d(3, 8, 3); \
layer(torch.rand(2, 3, 8, 8)).square().sum().backward(); torch.optim.AdamW(layer.parameters()).step(); \
torch.linalg.svd(torch.rand(4, 4)); torch.fft.fft2(torch.rand(4, 4)); assert not torch.cuda.is_available()"

# ---- what both targets share ----------------------------------------------------------------------------------------
FROM ${BASE} AS runtime
# No program of the image gains rights by its file's mode. /scratch is where a volume is mounted.
RUN find / -xdev -type f -perm /6000 -exec chmod a-s {} + \
    && echo "realfeatures:x:10001:10001::/tmp:/usr/sbin/nologin" >> /etc/passwd \
    && echo "realfeatures:x:10001:" >> /etc/group \
    && mkdir --mode=1777 /scratch
# The root file system may be read-only and the user any: the one folder that then has to be writable is /tmp, so HOME is
# there, and with it the small caches of libraries. TMPDIR stays unset: Kubeflow's launcher calls `mktemp` before any
# code of ours could make a folder. Results and downloads are large: they go to /scratch, the working directory.
# USER: a name for an arbitrary user id, which has none in /etc/passwd.
ENV PATH=/opt/realfeatures/bin:$PATH \
    HOME=/tmp \
    USER=realfeatures \
    REALFEATURES_CACHE=/scratch/cache \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
LABEL org.opencontainers.image.title="realfeatures" \
      org.opencontainers.image.description="Usefulness and robustness of robust and non-robust features across learning paradigms" \
      org.opencontainers.image.licenses="Apache-2.0"
USER 10001:10001
WORKDIR /scratch
ENTRYPOINT ["realfeatures"]

FROM runtime AS gpu
# What NVIDIA's container runtime mounts: every GPU that the scheduler gave, with CUDA and nvidia-smi.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=dependencies-gpu /opt/realfeatures /opt/realfeatures
COPY --from=package /build/prefix /opt/realfeatures
ARG CODE=unknown
ARG CONTENT=unknown
LABEL realfeatures.code="${CODE}" org.opencontainers.image.version="${CONTENT}"

FROM runtime AS cpu
# On a machine with GPUs too, this image sees none.
ENV NVIDIA_VISIBLE_DEVICES=void
COPY --from=dependencies-cpu /opt/realfeatures /opt/realfeatures
COPY --from=package /build/prefix /opt/realfeatures
ARG CODE=unknown
ARG CONTENT=unknown
LABEL realfeatures.code="${CODE}" org.opencontainers.image.version="${CONTENT}"
