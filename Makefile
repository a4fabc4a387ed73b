# Every target does its own set-up; `make` alone lists them.

VENV := .venv
BIN := $(VENV)/bin

# What is installed, recorded by files that grow old when pyproject.toml changes.
INSTALLED := $(VENV)/.installed
INSTALLED_TEST := $(VENV)/.installed-test
INSTALLED_LINT := $(VENV)/.installed-lint

# Arguments for distcache-server, pytest and the benchmarks: make run ARGS="--port 6380"
ARGS ?=

# How long `make fuzz` goes on: rounds of COMMANDS until SECONDS have passed.
COMMANDS ?= 200000
SECONDS ?= 0

# How many lives of a server `make torture` ends, in each of its ways.
ROUNDS ?= 20

IMAGE ?= distcache-server

# Tests and benchmarks find redis-server here when set-up had to give it its name.
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# Tests start a thousand servers, which should not compile all modules each time.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run test lint bench bench-hot fuzz torture failover docs image clean servers

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(INSTALLED) ## start distcache-server; ARGS="--port 6380" passes directives
	@exec $(BIN)/distcache-server $(ARGS)

test: $(INSTALLED_TEST) servers ## run the tests; ARGS="tests/unit -k expiry" picks some
	$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

lint: $(INSTALLED_TEST) $(INSTALLED_LINT) ## check style, types and import layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(INSTALLED_TEST) servers ## compare speed and memory with a real redis-server
	$(BIN)/python -m benchmarks $(ARGS)

bench-hot: $(INSTALLED_TEST) ## time commands through the connection object, without a socket
	$(BIN)/python -m benchmarks.hot_path $(ARGS)

fuzz: $(INSTALLED_TEST) servers ## the long fuzzing runs; COMMANDS=1000000 SECONDS=3600
	tests/fuzz.sh $(COMMANDS) $(SECONDS) $(ARGS)

torture: $(INSTALLED_TEST) servers ## kill servers and cut their power; ROUNDS=100 of each kind
	$(BIN)/python -m tests.torture --rounds $(ROUNDS) $(ARGS)

failover: $(INSTALLED_TEST) servers ## failovers by Sentinel, ours and Redis; ARGS="--rounds 20" for more
	$(BIN)/python -m tests.failover $(ARGS)

docs: $(INSTALLED) ## write the pages in docs/ that are made from the source
	$(BIN)/python -m distcache_server.config.docs > docs/configuration.md.new
	mv docs/configuration.md.new docs/configuration.md

image: ## build the container image; IMAGE=name:tag names it
	docker build --tag $(IMAGE) .

clean: ## remove everything that the other targets made
	rm -rf $(VENV) .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	packaging/venv.sh $(VENV)

$(INSTALLED): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(INSTALLED_TEST): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@

$(INSTALLED_LINT): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable '.[lint]'
	touch $@

servers: | $(BIN)/python ## get the servers and clients that tests and benchmarks use
	@tests/setup.sh $(BIN)
	@tests/clients.sh
