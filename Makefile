# The two words that matter: `make run` and `make test`. Both work from a fresh clone with Python 3.11 or later, and set up what they need.
.DEFAULT_GOAL := help
SHELL := /bin/sh

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# One stamp for each set of requirements; `dev` holds what `run` needs as well.
RUN_STAMP := $(VENV)/.installed-local
DEV_STAMP := $(VENV)/.installed-dev
BENCH_STAMP := $(VENV)/.installed-bench

# make run INDEX=path-or-url/index.yaml ONCE=1 TIMEOUT_S=600
UP := $(if $(INDEX),--index '$(INDEX)') $(if $(filter-out 0,$(ONCE)),--once) $(if $(TIMEOUT_S),--timeout-s $(TIMEOUT_S))

.PHONY: help run test lint types imports unit bench bench-long soak clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 20

run: $(RUN_STAMP) ## start everything on this machine; INDEX=…/index.yaml imports a Helm repository, ONCE=1 ends when all is in sync
	@exec $(BIN)/syncmaster up $(UP)

test: lint types imports unit ## lint, types, import order and all tests

lint: $(DEV_STAMP) ## ruff: rules and format
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(DEV_STAMP) ## mypy, strict
	$(BIN)/mypy

imports: $(DEV_STAMP) ## the order of the packages
	$(BIN)/lint-imports

# Two cores' worth of what needs no broker at once; what shares one, one after the other.
unit: $(DEV_STAMP) ## the tests only, on real NATS and Kafka; ARGS='-k bridge' passes options to pytest
ifeq ($(strip $(ARGS)),)
	$(BIN)/python -m pytest -m 'not connected' -n 2 --dist loadfile
	$(BIN)/python -m pytest -m connected
else
	$(BIN)/python -m pytest $(ARGS)
endif

bench: $(BENCH_STAMP) ## SyncMaster beside its peers, under 15 minutes; QUICK=1: the hot path only, under 5; ARGS='--help' tells more
	$(BIN)/python -m benchmarks $(if $(filter-out 0,$(QUICK)),--quick) $(ARGS)

bench-long: $(BENCH_STAMP) ## sweeps by artifacts, age and partitions, and ten minutes of load: about an hour
	$(BIN)/python -m benchmarks --long $(ARGS)

# make soak SEED=7 EVENTS=200000 ARTIFACTS=2000
soak: $(DEV_STAMP) ## the long form of the fault suite, about half an hour; its result goes to docs/soak.md
	SYNCMASTER_FAULT_SEED=$(or $(SEED),1) SYNCMASTER_FAULT_EVENTS=$(or $(EVENTS),200000) SYNCMASTER_FAULT_ARTIFACTS=$(or $(ARTIFACTS),2000) \
	  SYNCMASTER_FAULT_RESULT=docs/soak.md $(BIN)/python -m pytest tests/fault -p no:randomly -s --show-capture=no

clean: ## remove the virtual environment, caches and what local runs have kept (.syncmaster)
	rm -rf $(VENV) .syncmaster .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "SyncMaster needs Python 3.11 or later, and '$(PYTHON)' is not; name one: make PYTHON=python3.11 …" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "'$(PYTHON)' lacks the venv module; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(RUN_STAMP): pyproject.toml | $(BIN)/python
	@echo 'installing into $(VENV), once; this takes a minute or two'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[local]'
	@touch $@

$(DEV_STAMP): pyproject.toml | $(BIN)/python
	@echo 'installing into $(VENV), once; this takes a minute or two'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(RUN_STAMP) $(BENCH_STAMP)

$(BENCH_STAMP): pyproject.toml | $(BIN)/python
	@echo 'installing into $(VENV), once; this takes a minute or two'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $@ $(RUN_STAMP)
