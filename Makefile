# `make` alone says what there is. Everything runs from .venv, which is made and kept up to date by itself.
export PATH := $(or $(PATH),/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin)
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-fast check docs bench attack lock clean

PYTHON ?= $(or $(shell command -v python3.11 2>/dev/null),python3)
ARGS ?=
SEARCH_ARGS ?=
SCORER_ARGS ?=

BIN := .venv/bin
# -qq: errors only. -m pip: never another Python's pip.
INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check --no-warn-script-location --no-deps
# Two workers; tests/conftest.py deals out the files. ARGS="-n 0 --pdb" runs all in one process.
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadgroup --no-loadscope-reorder
LOCK := requirements/cpu.txt
# The variable: no word about the successor of Material for MkDocs, which reads mkdocs.yml as well.
SITE := NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
TORCH_CPU_INDEX := https://download.pytorch.org/whl/cpu

help:
	@echo 'make demo     label 128 words with a real language model on this machine, and see how good the labels are'
	@echo 'make test     all tests; some start vLLM on small models                   ARGS="-k plan" picks'
	@echo 'make test-fast  the tests that are quick and start no vLLM: a minute or two    ARGS="-k plan" picks'
	@echo 'make check    formatting, types, images, that imports go one way, and that the pages of docs/ hang together'
	@echo 'make docs     the pages of docs/ as a site, into site/'
	@echo 'make bench    what plans, searches and the scorer cost, what searches find: half an hour, into bench.json, bench.html'
	@echo '              SEARCH_ARGS="--full --resume" compares all searches, 10 seeds each: hours'
	@echo '              SCORER_ARGS="http stock" measures some of the scorer alone; --help names all'
	@echo 'make attack   attack a scorer of its own in all known ways: what others notice, and its memory; eight minutes'
	@echo '              ARGS=--short takes one minute, ARGS=--all the worst ones together; ARGS=--help names all'
	@echo 'make lock     write requirements/cpu.txt anew from pyproject.toml          ARGS=--upgrade takes the newest'
	@echo 'make clean    remove .venv and what tools leave behind (runs/ stays)'
	@echo
	@echo 'The first of demo, test, check, docs, bench and attack makes .venv: some minutes and 3.5 GB, once.'
	@echo 'ARGS="..." is handed on to demo, test, bench and attack:  make demo ARGS="--seeds 3 --out runs/three"'
	@echo 'PYTHON=... picks the Python that .venv is made of (3.11 or newer; here $(PYTHON)).'

demo: .venv/.installed
	@$(BIN)/icm demo $(ARGS)

test: .venv/.installed
	@$(PYTEST) tests $(ARGS)

test-fast: .venv/.installed
	@$(PYTEST) tests --ignore=tests/engine -m "not slow" $(ARGS)

check: .venv/.installed
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/hadolint --config docker/.hadolint.yaml docker/Dockerfile*
	@$(BIN)/python -m pytest tests/unit/test_imports.py
	@$(SITE)

docs: .venv/.installed
	@$(SITE)
	@echo 'site/index.html'

bench: .venv/.installed
	@$(BIN)/icm bench $(ARGS)
	@$(BIN)/icm search-bench $(SEARCH_ARGS)
	@$(BIN)/python -m tests.bench $(SCORER_ARGS)

attack: .venv/.installed
	@$(BIN)/python -m tests.attack $(ARGS)

lock:
	@requirements/lock.sh $(PYTHON) $(ARGS)

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist site
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Two stamps, so that an edit of pyproject.toml does not go through 3 GB of packages again.
.venv/.dependencies: $(LOCK)
	@if ! $(PYTHON) -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	  echo 'error: $(PYTHON) is missing, older than 3.11, or lacks the venv module (Debian and Ubuntu: apt install python3.11-venv).' >&2; \
	  echo 'Name another one:  make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)' >&2; \
	  exit 1; \
	fi
	@if ! $(PYTHON) -c 'import ctypes; ctypes.CDLL("libnuma.so.1")' 2>/dev/null; then \
	  echo 'error: vLLM on a CPU needs the system library libnuma (Debian and Ubuntu: apt install libnuma1; Fedora: dnf install numactl-libs).' >&2; \
	  exit 1; \
	fi
	@[ -x $(BIN)/python ] || { echo 'Making .venv ...'; $(PYTHON) -m venv .venv; }
	@echo 'Installing $(LOCK) into .venv: some minutes and 3.5 GB the first time.'
	@torch=$$(grep '^torch==' $(LOCK)); \
	$(INSTALL) $$torch 2>.venv/torch.log || { \
	  echo "Getting $$torch from PyTorch's CPU index ..."; \
	  $(INSTALL) --index-url $(TORCH_CPU_INDEX) $$torch; \
	}
	@$(INSTALL) -r $(LOCK)
	@touch $@

.venv/.installed: pyproject.toml .venv/.dependencies
	@echo 'Installing this project into .venv ...'
	@$(INSTALL) -e .
	@touch $@
