# Needed: python3 (3.11 or newer), make, git. Go is used when it is on PATH, else fetched from PyPI.
PYTHON ?= python3
WORLD ?= default
CLUSTER ?= sandbox
ARGS ?=

VENV := .venv
READY := $(VENV)/.ready
RUN := $(VENV)/bin/python

.DEFAULT_GOAL := help
.PHONY: help venv test check sandbox-build sandbox sandbox-down sandbox-status demo scenarios e2e e2e-argocd e2e-flux kind-down bench-decisions bench crds chart image clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "  ARGS='...' is passed on; WORLD=name chooses among several embedded worlds."

venv: $(READY) ## Make .venv with everything pinned by hash

$(READY): requirements/sandbox.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed, $(PYTHON) is $$($(PYTHON) --version 2>&1):" \
	    "install one and say which, as in: make PYTHON=python3.12 venv"; exit 1; }
	@if command -v uv >/dev/null; then \
	  uv venv --quiet --allow-existing --python "$(PYTHON)" $(VENV) && \
	  uv pip install --quiet --python $(RUN) --no-deps --require-hashes -r requirements/sandbox.txt && \
	  uv pip install --quiet --python $(RUN) --no-deps --editable .; \
	else \
	  $(PYTHON) -m venv $(VENV) && \
	  $(RUN) -m pip install --quiet --no-deps --require-hashes -r requirements/sandbox.txt && \
	  $(RUN) -m pip install --quiet --no-deps --editable .; \
	fi
	@touch $@

test: $(READY) ## Run all tests but the scenarios; coverage is shown
	$(RUN) -m pytest -m "not sandbox" --cov $(ARGS)

check: $(READY) ## Lint, format, types, layers
	$(RUN) -m ruff check
	$(RUN) -m ruff format --check
	$(RUN) -m mypy
	$(VENV)/bin/lint-imports

sandbox-build: $(READY) ## Build all parts of the embedded world into the cache
	@$(RUN) -m sandbox build

sandbox: $(READY) ## Start the embedded world: Kubernetes, KServe, Envoy, Prometheus, Git, Headgate
	@$(RUN) -m sandbox --world $(WORLD) up $(ARGS)

sandbox-down: $(READY) ## Stop it; ARGS=--delete forgets its data too
	@$(RUN) -m sandbox --world $(WORLD) down $(ARGS)

sandbox-status: $(READY) ## Show all parts of it
	@$(RUN) -m sandbox --world $(WORLD) status $(ARGS)

demo: $(READY) ## Release one model version by evidence and take another one back, narrated
	@$(RUN) -m sandbox demo $(ARGS)

scenarios: $(READY) ## Run the scenarios in embedded worlds of their own
	$(RUN) -m pytest e2e/scenarios -m sandbox $(ARGS)

e2e: $(READY) ## Run the scenarios; CLUSTER=sandbox, kind or existing (docs/kind.md)
	@if [ "$(CLUSTER)" = kind ]; then $(RUN) -m kind up; fi
	$(RUN) -m pytest e2e/scenarios -m sandbox --cluster $(CLUSTER) $(ARGS)

kind-down: $(READY) ## Take kind's cluster away
	@$(RUN) -m kind down

e2e-argocd: $(READY) ## Run the stories that Argo CD tells, in an embedded world with the real one
	$(RUN) -m pytest e2e/argocd -m argocd $(ARGS)

e2e-flux: $(READY) ## Run the stories of Flux in an embedded world that it syncs
	$(RUN) -m pytest tests/gitops e2e/scenarios -m flux $(ARGS)

bench-decisions: $(READY) ## Replay what is promised of decisions; ARGS=--quick is what CI runs
	$(RUN) -m bench.decisions $(ARGS)

bench: $(READY) ## Print what decisions, drift and the collector cost on this machine
	$(RUN) -m bench.cost $(ARGS)

crds: $(READY) ## Write crds/, and the chart's copy, from the models in operator/headgate/api
	$(RUN) -m headgate crds --directory crds
	$(RUN) -m headgate crds --directory charts/headgate/files/crds

chart: crds ## Write all of the chart that is made from the code: CRDs, schema, table of values
	$(RUN) charts/schema.py

image: ## Build both images with docker; BASE=python@sha256:... is the base, by digest
	@command -v docker >/dev/null || { echo "docker is needed; sh image/assemble.sh FOLDER does without"; exit 1; }
	@test -n "$(BASE)" || { echo "which base? make image BASE=python@sha256:..."; exit 2; }
	@for target in headgate headgate-writeback; do \
	  SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) docker build --target $$target --tag $$target:$$(git rev-parse --short HEAD) \
	    --build-arg PYTHON_IMAGE=$(BASE) --build-arg SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) \
	    --build-arg REVISION=$$(git rev-parse HEAD) --build-arg CREATED=$$(git log -1 --format=%cI) . || exit 1; \
	done

clean: ## Remove what was made in this folder; the cache in ~/.cache/headgate stays
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
