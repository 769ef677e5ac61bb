# From a fresh clone with git, make, Python and a package index: `make demo` runs the main job, `make test` passes the tests.
# PYTHON=/path/to/python3.12 make test   takes that interpreter.
# PYTEST="-k conflicts -x" make test     hands arguments on to pytest.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV   := .venv
PY     := $(VENV)/bin/python
WORK   := .work
RUN    := $(VENV)/.installed-run
DEV    := $(VENV)/.installed-dev
MUT    := $(VENV)/.installed-mutation
JUNIT  := $(WORK)/junit.xml
PYTEST ?=
EXTRA_GROUPS ?=
MUTANTS ?=
VERSION ?=

# DoltLite's loader leaves this mark for its children, who would then silently get the stock SQLite.
unexport _DOLTLITE_BOOTSTRAPPED
# Where it is set, each process of a test run would compile the program and its tests again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test test-quick coverage mutants docs picture faults image check fmt bench release clean

help: ## What there is
	@sed -n 's/^\([a-z-]*\):.*## /make \1	/p' Makefile

demo: $(RUN) ## The main job in about ten seconds, on the embedded engine
	$(VENV)/bin/dolt_watch demo

test: $(DEV) ## All tests; those that need dolt say so when they are skipped (with CI=true they fail); without bd, a stand-in
	@mkdir -p $(WORK) && rm -f $(JUNIT)
	$(PY) -m pytest -n auto --dist worksteal --junitxml=$(JUNIT) $(PYTEST)
	@# A run that lost its output still exits 0: only the report proves that tests ran.
	@$(PY) .ci/ran.py $(JUNIT)

test-quick: $(DEV) ## What runs without a Dolt server and ends within about a minute: unit tests, conformance on DoltLite
	@mkdir -p $(WORK) && rm -f $(JUNIT)
	$(PY) -m pytest -n auto --dist worksteal --quick --junitxml=$(JUNIT) tests/unit tests/conformance $(PYTEST)
	@$(PY) .ci/ran.py $(JUNIT)

coverage: $(DEV) ## Every branch of dolt_watch/core, by its own tests alone (half a minute)
	@mkdir -p $(WORK)
	$(PY) -m coverage run -m pytest -q -p no:xdist tests/unit/core
	$(PY) -m coverage report

mutants: $(MUT) ## What the tests of dolt_watch/core and ledger.py would not notice (an hour; MUTANTS='dolt_watch.core.projection.projection*': a part)
	@# DoltLite has to come before anything that loads sqlite3, as mutmut does.
	$(PY) -c "import doltlite, mutmut.__main__ as mutmut; mutmut.cli()" run --max-children 1 $(MUTANTS)
	$(PY) -m mutmut results

faults: $(DEV) ## The long profiles that `make test` leaves out
	@mkdir -p $(WORK) && rm -f $(JUNIT)
	$(PY) -m pytest -m slow --junitxml=$(JUNIT) $(PYTEST)
	@$(PY) .ci/ran.py $(JUNIT)

image: $(DEV) ## The Dockerfile's steps, and a real build of it (root, buildah and debootstrap; else that part is skipped, and says so)
	@mkdir -p $(WORK) && rm -f $(JUNIT)
	$(PY) -m pytest -m slow --junitxml=$(JUNIT) tests/deploy/test_dockerfile.py tests/deploy/test_image.py $(PYTEST)
	@$(PY) .ci/ran.py $(JUNIT)

check: $(DEV) ## Lint, format, types, import contracts, dependencies, prose, workflows
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/deptry .
	$(PY) -m tools.prose
	$(VENV)/bin/zizmor --offline --quiet .

fmt: $(DEV) ## Format, and mend what ruff can
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

docs: $(DEV) ## The references from the code, and the site, into site/
	$(PY) -m tools.docs
	$(PY) -m tools.docs.site

picture: $(DEV) ## docs/images/demo.svg, the recording in README.md
	$(PY) -m tools.docs.picture

bench: $(DEV) ## The figures, on real Dolt (dolt, bd, jq and curl on PATH)
	$(PY) -m bench

release: $(DEV) ## VERSION=1.2.3 in every place that names it, and in the changelog; publishes nothing
	$(PY) -m tools.release $(VERSION)

clean: ## Forget the environment and everything that was built
	rm -rf $(VENV) $(WORK) mutants build dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The newest interpreter is not the best guess: a plain python3 is what the person expects, if it is new enough.
$(PY):
	@for candidate in $(if $(PYTHON),"$(PYTHON)",python3 python3.13 python3.12 python3.11); do \
	  if "$$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "using $$("$$candidate" -c 'import sys; print(sys.executable, sys.version.split()[0])')"; \
	    "$$candidate" -m venv --clear $(VENV) && exit 0; exit 1; \
	  fi; \
	done; \
	echo "dolt_watch needs Python 3.11 or newer with venv and ensurepip (Debian: apt install python3-venv);" >&2; \
	echo "tried: $(if $(PYTHON),$(PYTHON),python3 python3.13 python3.12 python3.11). Name one: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; \
	exit 1

# Stamps, so that an install happens only when pyproject.toml is newer. Dependency groups need pip 25.1.
# Editable: the code in the tree is what runs, without an install after each change.
$(RUN): pyproject.toml | $(PY)
	$(PY) -m pip install --quiet --disable-pip-version-check -U 'pip>=25.1'
	$(PY) -m pip install --quiet -e '.[doltlite]'
	@touch $@

# EXTRA_GROUPS: more dependency groups, such as EXTRA_GROUPS=containers.
$(DEV): $(RUN)
	$(PY) -m pip install --quiet --group dev $(addprefix --group ,$(EXTRA_GROUPS))
	@touch $@

$(MUT): $(DEV)
	$(PY) -m pip install --quiet --group mutation
	@touch $@
