# `make train` and `make test` need nothing but Python 3.10+ and this checkout.
.DEFAULT_GOAL := help
PYTHON := .venv/bin/python
# Policies of a test's size are several times slower with a thread pool than without one.
export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM ?= false

# Two processes, a file of tests to each: every process imports torch once, and files share what they build.
PARALLEL := -n 2 --dist loadfile

# Of the engines' tests: all of them; SLOW="not slow" leaves some out.
SLOW :=

QUICKSTART := recipes/quickstart/plain.yaml recipes/quickstart/pid-kl.yaml

.PHONY: help setup train test test-all test-verl test-vllm fuzz smoke-gpu lint docs bench clean

help:  ## show this
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

setup: .venv/.installed  ## create .venv and install

.venv/.installed: pyproject.toml .ci/setup
	@sh .ci/setup
	@touch $@

train: setup  ## the main job: plain GRPO beside PID-gated KL, in minutes on two cores
	$(PYTHON) -m entropostat train $(QUICKSTART)

test: setup  ## the test suite
	$(PYTHON) -m pytest $(PARALLEL)

test-all: setup  ## the test suite with its long parts
	$(PYTHON) -m pytest $(PARALLEL) -m ""

test-verl: .venv-verl/.installed  ## the objective inside verl, on CPUs
	.venv-verl/bin/python -m pytest --timeout 1200 -m "$(SLOW)" tests/in_verl

.venv-verl/.installed: pyproject.toml .ci/verl
	@sh .ci/verl
	@touch $@

test-vllm: .venv-vllm/.installed  ## training by vLLM's real engine, on a CPU
	.venv-vllm/bin/python -m pytest -m "$(SLOW)" tests/vllm_engine

.venv-vllm/.installed: pyproject.toml .ci/setup-vllm
	@sh .ci/setup-vllm
	@touch $@

fuzz: setup  ## an hour of drawn recipes, other ones each time
	ENTROPOSTAT_FUZZ_SECONDS=3600 $(PYTHON) -m pytest --timeout 0 tests/fuzz

smoke-gpu: setup  ## a checklist for all GPUs here, in fifteen minutes: a table to paste, and smoke.json
	$(PYTHON) -m benchmarks.smoke

lint: setup  ## ruff and mypy --strict
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

docs: setup  ## regenerate schema, catalogue, method pages, the tables of metrics and the drawing
	$(PYTHON) -m entropostat schema --write
	$(PYTHON) -m entropostat methods --write docs/methods
	$(PYTHON) -m entropostat dashboard metrics --write docs/dashboard.md
	$(PYTHON) docs/images/architecture.py

bench: setup  ## measure the overhead over a stock trainer
	$(PYTHON) -m benchmarks.cost.overhead

clean:  ## remove the virtual environments and the runs
	rm -rf .venv .venv-verl .venv-vllm runs
