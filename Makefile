# Every verb sets itself up: `make demo` and `make test` work on a machine with python3.11, make and pip.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo test test-all bench lint types lock clean

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

demo: $(STAMP) ## Run the whole experiment, small, on scikit-learn's digits: two seeds, a few minutes
	$(BIN)/realfeatures run --preset digits --seed 0 --seed 1 --out runs/demo

test: $(STAMP) ## Run the default tests: under 3 minutes on 2 cores
	$(BIN)/pytest --numprocesses 2 -m "not slow and not gpu and not docker and not s3"

test-all: $(STAMP) ## Run every test that this machine can run
	$(BIN)/pytest

bench: $(STAMP) ## Measure images/s of every stage, and our choices as ratios; BENCH="--preset digits" changes what
	$(BIN)/python benchmarks/stages.py $(BENCH)
	$(BIN)/python benchmarks/commands.py

lint: $(STAMP) ## Check style, layering and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(STAMP) ## Check types
	$(BIN)/mypy

lock: $(STAMP) ## Resolve the dependencies anew into requirements.lock
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-annotate --no-header --python-version 3.11 \
		--extra kubeflow --extra s3 --extra dev --upgrade pyproject.toml -o requirements.lock

clean: ## Remove the environment and caches; runs stay
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
