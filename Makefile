# `make` alone lists the targets. All of them run from .venv, which is created and updated as needed.
export PATH := $(or $(PATH),/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin)
# Tests and benchmarks start many Python processes. Without saved byte code each of them compiles every module again.
unexport PYTHONDONTWRITEBYTECODE
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-fast check check-wheel docs commands bench attack lock clean

PYTHON ?= $(or $(shell command -v python3.11 2>/dev/null),python3)
ARGS ?=
SEARCH_ARGS ?=
SCORER_ARGS ?=

BIN := .venv/bin
# -qq: errors only. -m pip: never another Python's pip.
INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check --no-warn-script-location --no-deps
# tests/workers.py deals out the files, in the order of tests/conftest.py. ARGS="-n 0 --pdb" runs all in one process.
# Four workers also where there are two cores: many tests wait for a program, a time limit or a browser.
PYTEST := $(BIN)/python -m pytest -n 4 --no-loadscope-reorder
# Of test_hostile.py all is slow, and to collect it, with its plugin, takes each worker three seconds.
QUICK := --ignore=tests/engine --ignore=tests/contract/test_hostile.py -p no:schemathesis -m "not slow"
LOCK := requirements/cpu.txt
# --clean: the pages made from docstrings are built again when only the code has changed.
SITE := $(BIN)/zensical build --strict --clean
TORCH_CPU_INDEX := https://download.pytorch.org/whl/cpu

help:
	@echo 'make demo         label 128 words with a language model on this machine and show how good the labels are'
	@echo 'make test         run all tests, including those that start vLLM on small models'
	@echo '                  ARGS="-k plan" runs only some of them'
	@echo 'make test-fast    run the quick tests, without vLLM (about 90 seconds); ARGS="-k plan" as above'
	@echo 'make check        check formatting, types, Dockerfiles, import directions and docs, then run check-wheel'
	@echo 'make check-wheel  build the wheel and use it in an empty environment'
	@echo '                  ARGS=--newest installs the newest dependencies instead of the locked ones'
	@echo 'make docs         build the pages of docs/ as a website in site/'
	@echo 'make commands     write docs/commands.md and docs/options.md from the commands'
	@echo 'make bench        measure what plans, searches and the scorer cost (30 minutes); writes bench.json and bench.html'
	@echo '                  SEARCH_ARGS="--long --resume" compares all searches over 10 seeds (hours)'
	@echo '                  SCORER_ARGS="http stock" runs only some scorer benchmarks; --help lists them'
	@echo 'make attack       attack a scorer in all known ways; report what other users notice, and memory (8 minutes)'
	@echo '                  ARGS=--short takes one minute; ARGS=--all runs the worst attacks together; --help lists them'
	@echo 'make lock         update requirements/cpu.txt from pyproject.toml; ARGS=--upgrade takes the newest versions'
	@echo 'make clean        remove .venv and caches (runs/ is kept)'
	@echo
	@echo 'The first target that needs .venv creates it (a few minutes, 3.5 GB).'
	@echo 'demo, test, check-wheel, bench and attack pass ARGS on:  make demo ARGS="--seeds 3 --out runs/three"'
	@echo 'PYTHON=... selects the Python for .venv (3.11 or newer; default $(PYTHON)).'

demo: .venv/.installed
	@$(BIN)/icm demo $(ARGS)

test: .venv/.installed
	@$(PYTEST) tests $(ARGS)

test-fast: .venv/.installed
	@$(PYTEST) tests $(QUICK) $(ARGS)

check: .venv/.installed
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/hadolint --config docker/.hadolint.yaml docker/Dockerfile*
	@$(BIN)/python -m pytest tests/unit/test_imports.py
	@$(SITE)
	@$(MAKE) --no-print-directory check-wheel

check-wheel: .venv/.installed
	@$(BIN)/python -m tests.check_wheel $(ARGS)

commands: .venv/.installed
	@$(BIN)/python -m tests.commands_page
	@$(BIN)/python -m tests.options_page
	@echo 'docs/commands.md, docs/options.md'

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
	rm -rf .venv .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist site
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
