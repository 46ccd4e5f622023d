# `make demo` and `make test` do all the set-up they need; `make help` lists the rest.

VENV ?= .venv
BIN := $(VENV)/bin
# The first Python of 3.11 or newer that is found; say `make PYTHON=...` to choose another.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null && echo $$p && break; done)
STAMP := $(VENV)/.installed
SOURCES := src tests benchmarks
JOBS ?= 2

.DEFAULT_GOAL := help
.PHONY: help env demo test lint format type contracts check docs notebook bench bench-peers clean

help:  ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "tmt-dq needs Python 3.11 to 3.14 with the venv module; none was found. On Debian: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade -c constraints.txt pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@

env: $(STAMP)  ## create the environment in .venv

demo: $(STAMP)  ## simulate a full-frame IRIS ramp, flag it, show the result
	$(BIN)/tmt-dq demo --output-dir demo-output

test: $(STAMP)  ## run the tests
	$(BIN)/python -m pytest -n $(JOBS) $(PYTEST_ARGS)

lint: $(STAMP)  ## ruff: style and formatting
	$(BIN)/ruff check $(SOURCES) docs
	$(BIN)/ruff format --check $(SOURCES) docs

format: $(STAMP)  ## let ruff mend what it can
	$(BIN)/ruff check --fix $(SOURCES) docs
	$(BIN)/ruff format $(SOURCES) docs

type: $(STAMP)  ## mypy, strict
	$(BIN)/mypy

contracts: $(STAMP)  ## import-linter: the layers of docs/contributing/architecture.md
	$(BIN)/lint-imports

check: lint type contracts test  ## all that CI runs

docs: $(STAMP)  ## build the documentation site: docs/_build/html/index.html
	$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet --jobs $(JOBS) -b html -d docs/_build/doctrees docs docs/_build/html

notebook: $(STAMP)  ## run the example notebook and keep what it shows
	$(BIN)/python docs/examples/render.py

bench: $(STAMP)  ## measure tmt-dq against cp (see docs/topics/performance.md)
	$(BIN)/python -m benchmarks.run $(BENCH_ARGS)

bench-peers: $(STAMP)  ## measure tmt-dq against cp, jwst and romancal
	$(BIN)/python -m benchmarks.run --peers $(BENCH_ARGS)

clean:  ## remove what was made here
	rm -rf $(VENV) .bench build dist demo-output .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage* htmlcov docs/_build docs/reference/generated
	find src tests benchmarks -name __pycache__ -type d -exec rm -rf {} +
