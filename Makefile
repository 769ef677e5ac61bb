# A fresh clone needs git, make, Python and a package index. `make demo` shows dolt_watch at work, `make test` runs the tests.
# PYTHON=/path/to/python3.12 make test   uses that interpreter.
# PYTEST="-k conflicts -x" make test     passes arguments to pytest.

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

# DoltLite's loader sets this variable. A child process that inherits it silently uses the stock SQLite.
unexport _DOLTLITE_BOOTSTRAPPED
# If this variable is set, each process of a test run compiles the program and its tests again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test test-quick test-cluster test-browser test-full matrix coverage mutants docs picture faults image check fmt bench release clean

help: ## List the commands
	@sed -n 's/^\([a-z-]*\):.*## /make \1	/p' Makefile

demo: $(RUN) ## See dolt_watch at work, in about ten seconds
	$(VENV)/bin/dolt_watch demo

test: $(DEV) ## Run the tests, in about four minutes. Without dolt, some are skipped (with CI=true they fail). Without bd, a stand-in is used
	@mkdir -p $(WORK) && rm -f $(JUNIT)
	$(PY) -m pytest -n auto --dist worksteal --junitxml=$(JUNIT) $(PYTEST)
	@# A run that lost its output still exits 0. Only the report proves that tests ran.
	@$(PY) .ci/ran.py $(JUNIT)

test-quick: $(DEV) ## Run unit tests and conformance on DoltLite in about a minute, without a Dolt server and without the long tests
	@mkdir -p $(WORK) && rm -f $(JUNIT)
	$(PY) -m pytest -n auto --dist worksteal --quick --junitxml=$(JUNIT) tests/unit tests/conformance $(PYTEST)
	@$(PY) .ci/ran.py $(JUNIT)

test-cluster: $(DEV) ## Run the tests that need a Kubernetes control plane (etcd, kube-apiserver, … on PATH)
	@mkdir -p $(WORK) && rm -f $(JUNIT)
	$(PY) -m pytest -n auto --dist worksteal -m 'cluster and not slow and not matrix' --junitxml=$(JUNIT) $(PYTEST)
	@$(PY) .ci/ran.py $(JUNIT)

test-browser: $(DEV) ## Run the tests that need a browser (chromium or Chrome on PATH)
	@mkdir -p $(WORK) && rm -f $(JUNIT)
	$(PY) -m pytest -n auto --dist worksteal -m 'browser and not slow and not matrix' --junitxml=$(JUNIT) $(PYTEST)
	@$(PY) .ci/ran.py $(JUNIT)

test-full: test test-cluster test-browser matrix ## Run the tests, those of the cluster and the browser, and all cases of each matrix

matrix: $(DEV) ## Run the cases that the other commands leave out of each matrix
	@mkdir -p $(WORK) && rm -f $(JUNIT)
	$(PY) -m pytest -n auto --dist worksteal -m 'matrix and not slow' --junitxml=$(JUNIT) $(PYTEST)
	@$(PY) .ci/ran.py $(JUNIT)

coverage: $(DEV) ## Check the branch coverage of dolt_watch/core by its own tests (half a minute)
	@mkdir -p $(WORK)
	$(PY) -m coverage run -m pytest -q -p no:xdist tests/unit/core
	$(PY) -m coverage report

mutants: $(MUT) ## List changes of core/ and ledger/ that no test detects (an hour; MUTANTS='dolt_watch.core.projection.projection*' limits it)
	@# DoltLite must be loaded before sqlite3, which mutmut loads.
	$(PY) -c "import doltlite, mutmut.__main__ as mutmut; mutmut.cli()" run --max-children 1 $(MUTANTS)
	$(PY) -m mutmut results

faults: $(DEV) ## Run the long tests that `make test` leaves out
	@mkdir -p $(WORK) && rm -f $(JUNIT)
	$(PY) -m pytest -m slow --junitxml=$(JUNIT) $(PYTEST)
	@$(PY) .ci/ran.py $(JUNIT)

image: $(DEV) ## Test the Dockerfile, and build the image (needs root, buildah and debootstrap; otherwise skipped)
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

fmt: $(DEV) ## Format the code, and apply the fixes of ruff
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

docs: $(DEV) ## Generate the reference pages, and build the site in site/
	$(PY) -m tools.docs
	$(PY) -m tools.docs.site

picture: $(DEV) ## Take the pictures of the documentation, in docs/images/ (minutes; needs chromium or Chrome)
	$(PY) -m tools.docs.picture
	$(PY) -m tools.docs.screens

bench: $(DEV) ## Measure performance on real Dolt (needs dolt, bd, jq and curl on PATH)
	$(PY) -m bench

release: $(DEV) ## Set VERSION=1.2.3 in all files and in the changelog. Publishes nothing
	$(PY) -m tools.release $(VERSION)

clean: ## Delete the environment and all build results
	rm -rf $(VENV) $(WORK) mutants build dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# python3 comes first, even if a newer interpreter is installed: it is the one that users expect.
$(PY):
	@for candidate in $(if $(PYTHON),"$(PYTHON)",python3 python3.13 python3.12 python3.11); do \
	  if "$$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "using $$("$$candidate" -c 'import sys; print(sys.executable, sys.version.split()[0])')"; \
	    "$$candidate" -m venv --clear $(VENV) && exit 0; exit 1; \
	  fi; \
	done; \
	echo "dolt_watch requires Python 3.11 or newer with venv and ensurepip (Debian: apt install python3-venv)." >&2; \
	echo "Tried: $(if $(PYTHON),$(PYTHON),python3 python3.13 python3.12 python3.11). Specify one: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; \
	exit 1

# Stamps: an install runs only if pyproject.toml is newer. Dependency groups require pip 25.1.
# The install is editable, so that changes of the code need no new install.
$(RUN): pyproject.toml | $(PY)
	$(PY) -m pip install --quiet --disable-pip-version-check -U 'pip>=25.1'
	$(PY) -m pip install --quiet -e '.[doltlite]'
	@touch $@

# EXTRA_GROUPS adds dependency groups, for example EXTRA_GROUPS=containers.
$(DEV): $(RUN)
	$(PY) -m pip install --quiet --group dev $(addprefix --group ,$(EXTRA_GROUPS))
	@touch $@

$(MUT): $(DEV)
	$(PY) -m pip install --quiet --group mutation
	@touch $@
