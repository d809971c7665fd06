# Every target makes .venv and installs what it needs if that has not happened yet.
PYTHON ?= python3
BIN := .venv/bin
# Wheels of torch for the CPU alone are much smaller; where pip is set up for one, it takes that one.
PIP := $(BIN)/python -m pip --disable-pip-version-check install -q

.PHONY: run test test-slow test-gpu check wheel report speed asv clean help

help:            ## this list
	@grep -E '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/.run: pyproject.toml | .venv/bin/python
	$(PIP) -e .
	@touch $@

.venv/.test: pyproject.toml | .venv/bin/python
	$(PIP) -e '.[test]'
	@touch $@ .venv/.run

run: .venv/.run  ## train coRNN and expRNN on 5,000 bundled digits (under 3 minutes), then the report
	$(BIN)/python -m suite.run --models cornn,exprnn --tasks psmnist --preset quick --results-dir build/quick
	$(BIN)/python -m suite.report --results-dir build/quick --reports-dir build/quick/reports

# Processes that share the tests, one more than cores, since many wait for processes that they started; the tests of one
# file stay together, with the fixtures that they share, in the order of tests/conftest.py.
WORKERS ?= 3

test: .venv/.test  ## the test suite, under 10 minutes on two cores (WORKERS=8 on more)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadscope --no-loadscope-reorder

test-slow: .venv/.test  ## the heavy checks, by hand
	$(BIN)/python -m pytest -m slow

test-gpu: .venv/.test  ## the tests that need a GPU, on a machine that has one
	RNNBENCH_TEST_GPU=1 CUBLAS_WORKSPACE_CONFIG=:4096:8 $(BIN)/python -m pytest

check: .venv/.test  ## linter, formatter and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

wheel: .venv/.test  ## build the wheel into dist/
	$(BIN)/python -m build --wheel

report: .venv/.run  ## render results/ into reports/, and the summary into README.md
	$(BIN)/python -m suite.report --readme README.md

speed: .venv/.run  ## measure the engines, compare ratios with the stored baseline
	$(BIN)/python -m suite.speed --gate

# Fresh processes on a machine with a GPU: CUDA does not survive asv's forks.
ASV_LAUNCH := $(shell command -v nvidia-smi >/dev/null 2>&1 && echo spawn || echo auto)

asv: .venv/.test  ## speed tracking: results/asv, pages under reports/asv
	$(BIN)/asv run -E existing:same --set-commit-hash $$(git rev-parse HEAD) --quick --launch-method $(ASV_LAUNCH)
	$(BIN)/asv publish

clean:           ## remove build products, not data or results
	rm -rf build dist .pytest_cache .hypothesis .ruff_cache .mypy_cache
