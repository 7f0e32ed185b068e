# Two commands on a fresh machine with Python 3.11+, make and a C compiler: `make demo` and `make test`.
# `make demo ARGS="--once --json"` passes arguments on.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
ARGS   ?=
# Tests run on both cores; each worker has its own loopback addresses.
WORKERS ?= 2
# A run that is interrupted leaves no broker, database or lab behind.
LEASH  := $(BIN)/python tests/real_parts/leash.py

.PHONY: demo demo-neutron demo-servers test coverage tools parts soak check format bench docs clean help

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/.base  ## the story, live: hosts get their ContrailVM, lose it, get it back
	@$(BIN)/contrail-vsphere demo $(ARGS)

demo-neutron: $(VENV)/.neutron  ## Neutron and two simulated vCenters: three tiers, a rule change, a worker that dies
	@$(BIN)/contrail-vsphere demo-neutron $(ARGS)

demo-servers: $(VENV)/.servers  ## Server Manager puts five roles on three servers; as root on Debian
	@test "$$(id -u)" != 0 || tests/real_parts/install.sh docker-registry podman runc openssh-server openssh-client iproute2 busybox-static
	@$(BIN)/contrail-vsphere demo-servers $(ARGS)

test: $(VENV)/.dev tools parts  ## everything in its short form
	@TMPDIR=$$(tests/real_parts/scratch.sh) $(LEASH) $(BIN)/pytest -n $(WORKERS) --dist loadgroup -o tmp_path_retention_policy=failed $(ARGS)

coverage: $(VENV)/.dev tools parts  ## the same with its coverage shown; tracing doubles the time
	@$(LEASH) $(BIN)/pytest -n $(WORKERS) --dist loadgroup --cov --cov-report=term $(ARGS)

tools: $(VENV)/.dev  ## govc, vcsim and Ansible's collections for the conformance tests; what cannot be had skips
	@tests/conformance/referees/build.sh .tools/bin
	@tests/conformance/ansible/fetch.sh .tools/collections $(BIN)/python
	@tests/fuel_plugin/builder.sh .tools/fpb $(BIN)/python
	@tests/neutron_dvs/nova_vif.sh .tools/nova $(BIN)/python
	@tests/neutron_dvs/neutron_suites.sh .tools/neutron-suites $(BIN)/python

parts:  ## RabbitMQ, ZooKeeper and others for the tests, as root on Debian; tests of what is missing skip
	@tests/real_parts/install.sh

soak: $(VENV)/.dev tools parts  ## the long form of walks and kills
	@CONTRAIL_VSPHERE_SOAK=1 $(LEASH) $(BIN)/pytest -n $(WORKERS) --dist loadgroup -m "soak" $(ARGS)

check: $(VENV)/.dev  ## ruff, mypy --strict, import-linter
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(VENV)/.dev  ## let ruff lay out the code
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

bench: $(VENV)/.dev  ## ratios from one run and counts of calls
	@$(BIN)/python -m benchmarks $(ARGS)

docs: $(VENV)/.dev  ## write the reference pages from the code
	@$(BIN)/python -m contrail_vsphere.cli.reference docs/reference

clean:  ## remove what these targets made
	@rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.* .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 ..." >&2; exit 2; }
	@echo "creating $(VENV)" >&2
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.base: $(VENV)/bin/python requirements/base.txt pyproject.toml
	@echo "installing what the demo needs (about 90 MB, half a minute, once)" >&2
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements/base.txt >&2
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable . >&2
	@$(BIN)/python -m compileall -q src deploy/contrailvm  # as pip does for what is not editable: every process starts a third sooner
	@touch $@

$(VENV)/.neutron: $(VENV)/.base requirements/dev.txt
	@echo "installing Neutron (about 400 MB, a few minutes, once)" >&2
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint requirements/dev.txt -r requirements/neutron.in >&2
	@touch $@

$(VENV)/.servers: $(VENV)/.base requirements/servermanager.in
	@echo "installing what Server Manager needs (about 80 MB, once)" >&2
	@$(BIN)/pip install --quiet --disable-pip-version-check --constraint requirements/dev.txt -r requirements/servermanager.in >&2
	@touch $@

$(VENV)/.dev: $(VENV)/.base requirements/dev.txt
	@echo "installing what checks and tests need (once)" >&2
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements/dev.txt >&2
	@touch $@
