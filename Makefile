# `make demo` and `make test` do all the set-up they need; `make help` lists the rest.

VENV ?= .venv
BIN := $(VENV)/bin
# The first Python of 3.11 or newer that is found; use `make PYTHON=...` to choose another.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null && echo $$p && break; done)
STAMP := $(VENV)/.installed
SOURCES := src tests benchmarks docs noxfile.py .ci
# The tests of core that need no files: together they take all of its branches.
CORE_TESTS := $(addprefix tests/test_,$(addsuffix .py,combine_core dq_def dqinit findings flags geometry import_lists inspect_clusters options recipe sources values))
JOBS ?= 2
# jwst's pinned packages need Python 3.12.
PEER_PYTHON ?= python3.12
BESIDE := $(CURDIR)/.bench/beside

.DEFAULT_GOAL := help
.PHONY: help env demo test contract coverage core-coverage lint format type contracts repository check hooks nox package \
	changelog docs notebook pictures bench bench-make bench-peers peers-jwst peers-liger peer-suites clean

help:  ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "tmt-dq needs Python 3.11 to 3.14 with the venv module; none was found. On Debian: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade -c constraints.txt pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@

env: $(STAMP)  ## create the environment in .venv

demo: $(STAMP)  ## simulate an IRIS detector, deliver its mask, flag a ramp, show and explore it
	$(BIN)/tmt-dq demo --output-dir demo-output

test: $(STAMP)  ## run the tests
	$(BIN)/python -m pytest -n $(JOBS) $(PYTEST_ARGS)

contract: $(STAMP)  ## run the tests of what users are promised
	$(BIN)/python -m pytest -n $(JOBS) -m contract $(PYTEST_ARGS)

coverage: $(STAMP)  ## run the tests and report what they reach: htmlcov/index.html
	$(BIN)/python -m pytest -n $(JOBS) --cov=tmt_dq --cov-report=term --cov-report=html $(PYTEST_ARGS)

core-coverage: $(STAMP)  ## fail unless the tests of core take all of its branches
	COVERAGE_FILE=.coverage.core $(BIN)/python -m pytest -q -n $(JOBS) --cov=tmt_dq.core --cov-report=term-missing --cov-fail-under=100 $(CORE_TESTS)

lint: $(STAMP)  ## ruff: style and formatting; deptry: what is imported is declared
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/deptry src

format: $(STAMP)  ## let ruff repair what it can
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

type: $(STAMP)  ## mypy, strict
	$(BIN)/mypy

contracts: $(STAMP)  ## import-linter: the layers of docs/contributing/architecture.md
	$(BIN)/lint-imports

repository: $(STAMP)  ## check project files, docstrings and sizes; run the benchmarks once, small
	$(BIN)/python .ci/check_repository.py
	$(BIN)/python .ci/check_benchmarks.py

check:  ## all that CI runs
	.ci/run

hooks: $(STAMP)  ## let git run the quick checks before each commit
	$(BIN)/pre-commit install

nox: $(STAMP)  ## run the tests with the oldest and with the newest dependencies
	$(BIN)/nox $(NOX_ARGS)

package: $(STAMP)  ## build sdist and wheel; run README with the wheel in a clean environment
	$(BIN)/python .ci/check_package.py

changelog: $(STAMP)  ## show what the next release will say
	@$(BIN)/towncrier build --draft --version next 2>/dev/null

docs: $(STAMP)  ## build the documentation site: docs/_build/html/index.html
	$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet --jobs $(JOBS) -b html -d docs/_build/doctrees docs docs/_build/html
	@echo "Open docs/_build/html/index.html in a browser; the search works there too."

notebook: $(STAMP)  ## run the example notebook and keep what it shows
	$(BIN)/python docs/examples/render.py

pictures: $(STAMP)  ## draw the pictures of README and the tutorial again
	$(BIN)/python docs/images/render_readme.py
	$(BIN)/python docs/tutorial/render.py

bench: $(STAMP)  ## measure tmt-dq against cp (see docs/topics/performance.md)
	$(BIN)/python -m benchmarks.run $(BENCH_ARGS)

bench-peers: $(STAMP)  ## measure tmt-dq against cp, jwst and romancal
	$(BIN)/python -m benchmarks.run --peers $(BENCH_ARGS)

bench-make: $(STAMP)  ## measure tmt-dq make at 1024², 2048² and 4096²: 14 GB of disk
	$(BIN)/python -m benchmarks.make_cost --size 1024 2048 4096 $(BENCH_ARGS)

$(BESIDE)/%/.installed: pyproject.toml benchmarks/peers/%.txt
	$(PEER_PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet -c benchmarks/peers/$*.txt $* pytest hypothesis -e .
	@touch $@

peers-jwst: $(STAMP) $(BESIDE)/jwst/.installed  ## run the tests that need jwst, with jwst and tmt-dq in one environment
	TMT_DQ_JWST_PYTHON=$(BESIDE)/jwst/bin/python $(BIN)/python -m pytest tests/test_beside_jwst.py
	$(BESIDE)/jwst/bin/python -m pytest tests/test_differential_jwst.py

# A peer whose environment cannot be built is skipped.
peer-suites: $(STAMP)  ## run the tests of jwst's and romancal's dq_init with tmt-dq behind them
	-for peer in jwst romancal; do $(MAKE) $(BESIDE)/$$peer/.installed; done
	env $$(for peer in jwst romancal; do if test -f $(BESIDE)/$$peer/.installed; then \
		echo TMT_DQ_$$(echo $$peer | tr a-z A-Z)_PYTHON=$(BESIDE)/$$peer/bin/python; fi; done) \
		$(BIN)/python -m pytest -n $(JOBS) -rs tests/test_peer_suites.py

peers-liger: $(STAMP)  ## run the tests with liger_iris_pipeline, in the environment of LIGER_PYTHON
	TMT_DQ_LIGER_PYTHON=$(LIGER_PYTHON) $(BIN)/python -m pytest -rs tests/test_beside_liger.py

clean:  ## remove what was made here
	rm -rf $(VENV) .bench build dist demo-output .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .nox .coverage .coverage.* htmlcov docs/_build docs/reference/generated
	find src tests benchmarks -name __pycache__ -type d -exec rm -rf {} +
