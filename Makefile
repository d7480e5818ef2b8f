.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/installed
FORMATS := .venv-formats
UV_VERSION := 0.13.8
# a folder of wheels to prefer, and which PyTorch build to take on Linux (cpu, cu130, auto); empty: the default one
LINKS := $(if $(PIP_FIND_LINKS),--find-links $(PIP_FIND_LINKS))
BACKEND := $(if $(TORCH_BACKEND),--torch-backend $(TORCH_BACKEND))
# a test process for each core, four at most; a file's tests stay in one, so that what they share is made once
SIDE_BY_SIDE := -n logical --maxprocesses 4 --dist loadfile
# without bytecode every start imports for 12 s instead of 4
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help
help: ## This list
	@grep -hE '^[a-z_-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  \033[1mmake %-10s\033[0m %s\n", $$1, $$2}'
	@echo '  Options of a run go into ARGS: make train ARGS="model=lap schedule.epochs=2"'

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 10) <= v < (3, 14) else f"featherpose needs Python 3.10 to 3.13; this is {v.major}.{v.minor}. Name another with PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION) \
	  && $(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode $(LINKS) $(BACKEND) -c constraints.txt -e '.[dev]' \
	  || $(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@

.PHONY: install
install: $(STAMP) ## Make .venv with every pinned package

.PHONY: train
train: $(STAMP) ## Train LAPX on built-in synthetic people, some four minutes on 2 cores; with ARGS what these say
	$(BIN)/python src/train.py $(or $(ARGS),experiment=first_look)

.PHONY: test
test: $(STAMP) ## The test suite
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) --no-loadscope-reorder $(ARGS)

.PHONY: test-fast
test-fast: $(STAMP) ## The tests that neither train nor export nor start programs
	$(BIN)/python -m pytest -m "not slow" $(SIDE_BY_SIDE) $(ARGS)

.PHONY: formats
formats: $(FORMATS)/installed ## The converters of export format=litert,ncnn, in an environment of their own: .venv-formats

$(FORMATS)/installed: $(STAMP)
	test -x $(FORMATS)/bin/python || $(PYTHON) -m venv $(FORMATS)
	$(BIN)/uv pip install --quiet --python $(FORMATS)/bin/python $(LINKS) $(BACKEND) -c constraints.txt -e '.[dev,formats]'
	@touch $@

.PHONY: test-formats
test-formats: formats ## The tests that run a converter
	$(FORMATS)/bin/python -m pytest -n 0 tests/export/test_litert.py tests/export/test_litert_smaller.py tests/export/test_ncnn.py $(ARGS)

.PHONY: try-torch
try-torch: $(STAMP) ## The fast tests with another PyTorch, in an environment of its own: make try-torch TORCH=2.14.1
	@test -n "$(TORCH)" || { echo 'Say which PyTorch: make try-torch TORCH=2.14.1'; exit 2; }
	test -x .venv-torch/$(TORCH)/bin/python || $(PYTHON) -m venv .venv-torch/$(TORCH)
	sed -E '/^(torch|triton|setuptools|nvidia-[a-z0-9-]+|cuda-[a-z-]+)==/d' constraints.txt > .venv-torch/constraints.txt
	$(BIN)/uv pip install --quiet --python .venv-torch/$(TORCH)/bin/python $(LINKS) $(BACKEND) -c .venv-torch/constraints.txt 'torch==$(TORCH)' -e '.[dev]'
	.venv-torch/$(TORCH)/bin/python -m pytest -m "not slow" $(SIDE_BY_SIDE) $(ARGS)

.PHONY: coverage
coverage: $(STAMP) ## Which lines the fast tests run: a figure, and htmlcov/index.html
	$(BIN)/python -m pytest -m "not slow" $(SIDE_BY_SIDE) --cov=featherpose --cov-report=html --cov-report=term:skip-covered $(ARGS)

.PHONY: docs
docs: $(STAMP) ## The documentation as a site, built strictly: site/index.html (Python 3.11 and later)
	$(BIN)/python -c 'import zensical' 2>/dev/null || $(BIN)/uv pip install --quiet --python $(BIN)/python $(LINKS) -c constraints.txt -e '.[docs]'
	$(BIN)/zensical build --clean --strict

.PHONY: test-typed
test-typed: $(STAMP) ## Every documented command as it is written, every training for two steps
	$(BIN)/python -m pytest tests/typed --timeout=1800 $(SIDE_BY_SIDE) $(ARGS)

.PHONY: check
check: $(STAMP) ## Lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/ty check
	$(BIN)/nbstripout --keep-id --verify notebooks/*.ipynb

.PHONY: format
format: $(STAMP) ## Mend what can be mended automatically
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/nbstripout --keep-id notebooks/*.ipynb

.PHONY: lock
lock: $(STAMP) ## Resolve constraints.txt anew
	$(BIN)/uv pip compile --universal --python-version 3.10 pyproject.toml $(LINKS) --no-header --no-annotate --quiet \
	  --extra train --extra onnx --extra openvino --extra loggers --extra slurm --extra search --extra docs --extra dev --extra formats \
	  --upgrade -o constraints.txt

.PHONY: clean
clean: ## Remove caches (runs and .venv stay)
	rm -rf .pytest_cache .ruff_cache
	find src tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +
