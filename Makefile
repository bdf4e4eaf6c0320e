# Two commands do everything: `make demo` makes a video, `make test` runs every check.
# Needed beforehand: Python 3.11 or newer with pip, make, and a C compiler.

PYTHON ?= python3
VENV ?= .venv
PROMPT ?= a red ball rolls to the right
PYTEST_ARGS ?= --numprocesses logical --dist loadfile

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
TORCH := $(shell grep '^torch==' constraints.txt)
DOCS := $(wildcard README.md docs/*.md)

.DEFAULT_GOAL := help
.PHONY: help demo test lint types golden docs docs-check bench clean

help:
	@echo "make demo    make a video from a prompt (PROMPT='...'), installing what that needs"
	@echo "make test    lint, types, layers, documentation and tests"
	@echo "make lint    ruff and the layers     make types   mypy"
	@echo "make docs    fill in the generated parts of the documentation"
	@echo "make golden  rewrite the golden files of the tests; read the diff before you commit it"
	@echo "make bench   run the benchmarks"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Kinema needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; name another one: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.torch: $(BIN)/python
	@echo "installing $(TORCH), which takes the longest"
	$(PIP) install --quiet $(TORCH)
	@touch $@

$(VENV)/.demo: $(VENV)/.torch pyproject.toml constraints.txt
	$(PIP) install --quiet -c constraints.txt -e '.[provenance]'
	@touch $@

$(VENV)/.dev: $(VENV)/.torch pyproject.toml constraints.txt
	$(PIP) install --quiet -c constraints.txt -e '.[train,world,data,transnet,serve,provenance,dev]'
	@touch $@ $(VENV)/.demo

demo: $(VENV)/.demo
	@$(BIN)/kinema generate "$(PROMPT)" --out demo.mp4 --force
	@echo
	@echo "Your video: $(CURDIR)/demo.mp4"
	@echo "Try next:"
	@echo "  make demo PROMPT='two blue boxes fall onto the grass'"
	@echo "  $(BIN)/kinema generate 'a green cone slides to the left' --seed 7 --out cone.gif"
	@echo "  $(BIN)/kinema generate --help"

# Every check runs, whatever the ones before it said; pytest comes last, so that its summary ends the output. It runs one
# process per core, each of one thread, so that they do not compete.
test: $(VENV)/.dev
	@status=0; \
	$(MAKE) --no-print-directory lint || status=1; \
	$(MAKE) --no-print-directory types || status=1; \
	$(MAKE) --no-print-directory docs-check || status=1; \
	if [ $$status -ne 0 ]; then echo "a check above failed; the tests still run"; fi; \
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PYTEST_ARGS) || status=1; \
	exit $$status

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.dev
	$(BIN)/mypy

docs: $(VENV)/.dev
	$(BIN)/cog -I docs -P -r $(DOCS)

docs-check: $(VENV)/.dev
	$(BIN)/cog -I docs -P --check --diff $(DOCS)

golden: $(VENV)/.dev
	KINEMA_GOLDEN=rewrite $(BIN)/python -m pytest -q -m "not slow" tests
	@git diff --stat -- tests/golden

bench: $(VENV)/.dev
	@for script in benchmarks/*.py; do echo "$$script"; $(BIN)/python $$script || exit 1; done

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache build dist
