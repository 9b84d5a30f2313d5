# Everything a newcomer needs: `make serve` runs the server, `make test` proves it.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check
N      ?= 25
ROUNDS ?= 5
CONFIG ?= $(or $(MIRROR_CONFIG),config.example.toml)

.DEFAULT_GOAL := help
.PHONY: help setup serve migrate programs test check conformance crash bench screenshots clean

help:            ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 14

setup: $(VENV)/.dev

$(VENV)/.ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; name it with make PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
		echo "python3-venv is missing; installing it"; \
		{ [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null; } \
			|| { echo "please install python3-venv first (as root: apt-get install python3-venv)"; exit 1; }; }
	@$(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) ..."
	@$(PIP) --upgrade pip
	@$(PIP) --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.ready
	@echo "installing the tools of the tests ..."
	@$(PIP) --editable '.[dev]'
	@touch $@

serve: $(VENV)/.ready  ## run the server on its defaults: 127.0.0.1:5000, store in ./data, Docker Hub behind it (CONFIG=…)
	@exec $(BIN)/mirror serve --config $(CONFIG)

migrate: $(VENV)/.ready  ## bring the index of ./data up to date (serve does it too)
	@$(BIN)/mirror migrate --config $(CONFIG)

test: setup      ## all tests, on all cores; what cannot run here is named at the end
	@$(BIN)/python -m pytest --numprocesses auto --dist loadfile

programs: setup  ## the container clients that Debian has no package of, for their tests (needs Go)
	@$(BIN)/python -m tests.clients

check: setup     ## format, lint, types, import contracts
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

conformance: setup  ## the official OCI conformance suite, both versions (needs Go)
	@$(BIN)/python -m tests.conformance

crash: setup     ## kill -9 the server N times during pushes (make crash N=1000)
	@$(BIN)/python -m tests.crash --kills $(N)

bench: setup     ## measure beside docker-registry and nginx; writes docs/benchmark* (make bench ROUNDS=9)
	@$(BIN)/python -m bench --rounds $(ROUNDS)
	@$(BIN)/python -m bench.finding

screenshots: setup  ## pictures of the pages, for docs/screenshots (needs Chromium)
	@SCREENSHOTS=docs/screenshots $(BIN)/python -m pytest -q tests/pages -k "screenshots and (1280-light or 390-dark)"

clean:
	rm -rf $(VENV) .bench .clients .conformance dist build
