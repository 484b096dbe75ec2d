# Every target sets itself up from nothing: all of them depend on the stamp inside .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.isthmus-setup
# Extra arguments for the torch install alone, e.g. TORCH_ARGS="--index-url URL" for another build.
TORCH_ARGS ?=
OUTPUT ?= runs/quickstart
SHARD ?= 1/1
CLAIMS ?=
# One thread per worker process: two workers on two cores beat one worker with two threads.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

.DEFAULT_GOAL := help
.PHONY: help setup quickstart test test-slow check bench bench-papers format clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(STAMP) ## create .venv with everything the other targets need

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "isthmus needs Python >= 3.11; try: make setup PYTHON=python3.11"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH_ARGS) -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(STAMP)

quickstart: $(STAMP) ## train, measure and report a vision-language model in minutes
	$(BIN)/isthmus quickstart --output $(OUTPUT)

test: $(STAMP) ## the fast tests
	$(PYTEST) tests

test-slow: $(STAMP) ## the tests marked slow
	OMP_NUM_THREADS=2 $(BIN)/python -m pytest -m "slow and not gpu and not compiled" tests
	OMP_NUM_THREADS=2 $(BIN)/python -m pytest --no-shape-checks -m compiled tests/conformance

check: $(STAMP) ## format, lint, types, import directions, file sizes, numbers of README and docs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tools.file_sizes
	$(BIN)/python -m tools.readme_numbers --check

bench: $(STAMP) ## the benchmarks of the README, which is rewritten; python -m benchmarks.NAME is any
	$(BIN)/python -m benchmarks.feature_store --output benchmarks/results/feature_store.json
	$(BIN)/python -m benchmarks.quickstart --output benchmarks/results/quickstart.json
	$(BIN)/python -m tools.readme_numbers

bench-papers: $(STAMP) ## twins of five papers side by side, hours; CLAIMS=1 all, SHARD=i/n a part
	$(BIN)/python -m benchmarks.papers --shard $(SHARD) $(if $(CLAIMS),--claims) \
		--output benchmarks/results/papers.json
	$(BIN)/python -m tools.readme_numbers

format: $(STAMP) ## rewrite the code in the house format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## remove caches and runs, keep .venv
	rm -rf runs build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests tools benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
