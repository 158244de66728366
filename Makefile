# Every target sets up what it needs: a fresh machine needs Python 3.11+ and make.
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow sctk prometheus triton accept check serve mlflow clean requirements

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
# uv does not read pip's variable for a local wheel folder; pass it on where it is set.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
export PATH := $(CURDIR)/$(BIN):$(PATH)

help:  ## say what each target does
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 16

$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@echo "Installing the pinned requirements into $(VENV) ..."
	@$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .
	@touch $@

setup: $(READY)  ## create .venv with the pinned requirements

demo: setup  ## the whole chain on generated tickets and calls: import, train, judge, promote, serve, ask
	@hotline demo

test: setup  ## unit and chain tests, under 15 minutes on 2 cores
	@python -m pytest -m "not slow"

test-slow: setup  ## the long tests, under 60 minutes
	@python -m pytest -m "slow and not alone"
	@python -m pytest -m alone

# Debian's package, for the tests that compare our error counts and significance tests with NIST's; they are skipped without it.
sctk:  ## install NIST's sclite and sc_stats (Debian, Ubuntu; needs root)
	@test -x "$$(command -v sctk)" || { test "$$(id -u)" = 0 && sudo= || sudo=sudo; $$sudo apt-get update -qq && $$sudo apt-get install -y sctk; }
	@command -v sctk

# Debian's package, for the slow test that has it scrape live endpoints and draws every panel; skipped without it.
prometheus:  ## install Prometheus and promtool (Debian, Ubuntu; needs root)
	@test -x "$$(command -v promtool)" || { test "$$(id -u)" = 0 && sudo= || sudo=sudo; $$sudo apt-get update -qq && $$sudo apt-get install -y --no-install-recommends prometheus; }
	@command -v promtool

# tritonserver out of a wheel whose other needs (numpy < 2) are not ours: they lie in a folder of their own. Its Python
# backend links the system's Python, so that one's version chooses the stub and the packages.
TRITON        ?= .triton
TRITON_WHEEL  ?= nvidia-pytriton==0.7.0
SYSTEM_PYTHON ?= /usr/bin/python3
SYSTEM_VERSION = $(shell $(SYSTEM_PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')

triton: setup  ## build .triton: a tritonserver for `hotline serve --engine TASK=triton` and the slow tests
	@rm -rf $(TRITON).new && mkdir -p $(TRITON).new/wheel
	@python -m pip download --quiet --no-deps --dest $(TRITON).new $(TRITON_WHEEL)
	@python -m zipfile -e $(TRITON).new/*.whl $(TRITON).new/wheel
	@cd $(TRITON).new && mv wheel/pytriton/tritonserver/bin wheel/pytriton/tritonserver/backends . && mv wheel/nvidia_pytriton.libs lib
	@cp $(TRITON).new/wheel/pytriton/tritonserver/python_backend_stubs/$(SYSTEM_VERSION)/triton_python_backend_stub $(TRITON).new/backends/python/
	@chmod +x $(TRITON).new/bin/tritonserver $(TRITON).new/backends/python/triton_python_backend_stub
	@uv pip install --quiet --target $(TRITON).new/packages --python-version $(SYSTEM_VERSION) --only-binary=:all: \
		'numpy<2' "$$(grep '^onnxruntime==' requirements.txt)"
	@rm -rf $(TRITON).new/wheel $(TRITON).new/*.whl $(TRITON) && mv $(TRITON).new $(TRITON)
	@echo "$(TRITON)/bin/tritonserver"

# The published sets of docs/real-tickets.md and docs/speech.md, unpacked side by side: make accept REAL=FOLDER
REAL ?= real-data

accept: setup  ## long acceptance runs on real input (REAL=FOLDER), by hand
	@test -d $(REAL) || { echo "no folder $(REAL): make accept REAL=FOLDER, with tickets/teddycup, speech and itn in it"; exit 1; }
	@hotline text conformance $(REAL)/itn --misses --at-least 0.9
	@python bench/audio.py
	@python bench/tickets.py --folder $(REAL)/tickets/teddycup
	@python bench/speech.py --folder $(REAL)/speech

check: setup  ## ruff, mypy --strict, the layer contracts
	@ruff check .
	@ruff format --check .
	@mypy
	@lint-imports

serve: setup  ## bring the demo's endpoints back
	@hotline --workspace workspace serve

mlflow: setup  ## open the runs and the registry in the MLflow UI
	@hotline --workspace workspace mlflow

clean:  ## remove the demo workspace and every cache, keep .venv
	rm -rf workspace build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.venv/*' -exec rm -rf {} +

# torch pins its own CUDA wheels exactly; naming them here would force them on machines without a GPU.
requirements: setup  ## compile requirements.txt anew from pyproject.toml
	@uv pip compile --quiet --universal --python-version 3.11 --all-extras --no-header --no-annotate pyproject.toml -o requirements.txt
	@sed -i -E -e 's/^(torch==[0-9.]+)\+cpu/\1/' -e '/^(nvidia-|cuda-|triton==)/d' requirements.txt
