# Every verb sets itself up: `make demo` and `make test` work on a machine with python3.11, make and pip.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9
DOCKER ?= docker
TARGET ?= cpu
CA_SECRET = --secret "id=ca,src=$(CA)"
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo test test-all bench results sizes lint types lock image image-name kind-up kind-run kind-down clean

help: ## Explain every verb
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

install: $(STAMP) ## Make .venv from the hashed lock (about 5 GB: the registry's torch carries CUDA)

# uv, since plain pip may pair the locked torchvision with another build of torch.
$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: $(PYTHON) is older than 3.11; run make PYTHON=python3.11" >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet "uv==$(UV_VERSION)"
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(STAMP) ## Run every experiment, small, on scikit-learn's digits: one seed, a few minutes
	$(BIN)/realfeatures run --preset digits --seed 0 --out runs/demo

# loadfile: what the tests of a file share is made once.
test: $(STAMP) ## Run the default tests on two cores, a few minutes
	$(BIN)/pytest --numprocesses 2 --dist loadfile -m "not slow and not gpu and not docker and not s3 and not cluster"

test-all: $(STAMP) ## Run every test that this machine can run
	$(BIN)/pytest

bench: $(STAMP) ## Measure images/s of every stage, and our choices as ratios; BENCH="--preset digits" changes what
	$(BIN)/python benchmarks/stages.py $(BENCH)
	$(BIN)/python benchmarks/commands.py

results: $(STAMP) ## Write docs/results.md from the committed runs under results/
	$(BIN)/python -m realfeatures.cli.committed results docs/results.md

sizes: $(STAMP) ## Write docs/workflow-sizes.md: what fits into a workflow of Kubeflow's
	$(BIN)/python -m realfeatures.pipelines.fits docs/workflow-sizes.md

lint: $(STAMP) ## Check style, layering and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(STAMP) ## Check types
	$(BIN)/mypy

LOCK := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-annotate --no-header --python-version 3.11

lock: $(STAMP) ## Resolve the dependencies anew: requirements.lock, and the image's part of it
	$(LOCK) --upgrade --extra kubeflow --extra s3 --extra dev pyproject.toml -o requirements.lock
	$(LOCK) --constraint requirements.lock --extra kubeflow --extra s3 pyproject.toml -o image/requirements.lock
	printf 'uv==$(UV_VERSION)\nsetuptools\n' | $(LOCK) --constraint requirements.lock - -o image/requirements-build.lock

image: ## Build the container image (TARGET=gpu: with CUDA; BASE=IMAGE@sha256:..., CA=FILE: see the Dockerfile)
	name=$$($(PYTHON) image/name.py $(TARGET)) && \
	code=$$(PYTHONPATH=src $(PYTHON) -c "from realfeatures.experiment.address import code_digest; print(code_digest())") && \
	DOCKER_BUILDKIT=1 $(DOCKER) build --target $(TARGET) --tag "$$name" $(if $(BASE),--build-arg "BASE=$(BASE)") \
		$(if $(CA),$(CA_SECRET)) --build-arg "CODE=$$code" --build-arg "CONTENT=$${name#*:}" . && \
	echo "built $$name"

image-name: ## Print the image's name; its tag is a digest of what goes into it
	@$(PYTHON) image/name.py $(TARGET)

kind-up: $(STAMP) ## Make a kind cluster with Kubeflow Pipelines, an object store and our image; see docs/kubernetes.md
	k8s/kind/up.sh

kind-run: $(STAMP) ## Run the digits preset as a pipeline on that cluster, wait, fetch the report
	k8s/kind/run.sh

kind-down: ## Delete that cluster and all that is in it
	k8s/kind/down.sh

clean: ## Remove the environment and caches; runs stay
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
