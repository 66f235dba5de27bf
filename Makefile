# mora: two commands, `make study` and `make test`; both set up .venv by themselves.
PYTHON ?= python3
GRID   ?= quick
SEEDS  ?= 1
WORKERS ?= 2
BIN    := .venv/bin
export HF_HUB_DISABLE_TELEMETRY = 1
export TOKENIZERS_PARALLELISM = false
.DEFAULT_GOAL := help
.PHONY: help study report test notebooks readme lab clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  e.g.  make study GRID=paper SEEDS=1      runs in runs/paper, report in figures/paper_report.html"

.venv/ready: constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "PYTHON=$(PYTHON): got `$(PYTHON) -V 2>&1`, expected Python 3.11 or newer"; exit 2; }
	@echo "Setting up .venv with the tested versions (once, about three minutes, 2.5 GB)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python tools/install.py
	@touch $@

study: .venv/ready ## train a grid of runs (GRID=quick|paper|file.yaml, SEEDS=1), draw fronts and report
	@$(BIN)/mora study $(GRID) --seeds $(SEEDS) --workers $(WORKERS)
	@$(BIN)/mora report runs/$(notdir $(basename $(GRID)))

report: .venv/ready ## draw figures and report again from finished runs (GRID=quick)
	@$(BIN)/mora report runs/$(notdir $(basename $(GRID)))

test: .venv/ready ## every notebook, notebooks and mora/ in step, README, lint, pytest
	@$(BIN)/ruff check .
	@$(BIN)/python -m pytest

.PHONY: test-minimal
.venv-minimal/ready: constraints.txt pyproject.toml
	@$(PYTHON) -m venv .venv-minimal
	@.venv-minimal/bin/python -m pip install -q -c constraints.txt -e . nbdev fastcore matplotlib
	@touch $@

test-minimal: .venv-minimal/ready ## the notebooks of the library with numpy, torch, moocore and math-verify alone
	@.venv-minimal/bin/python tools/minimal.py

notebooks: .venv/ready ## run the reading notebooks again and keep their outputs
	@$(BIN)/python tools/notebooks.py

readme: .venv/ready ## README.md from nbs/index.ipynb
	@$(BIN)/python tools/readme.py

lab: .venv/ready ## JupyterLab on the notebooks
	@JUPYTER_CONFIG_PATH="$(CURDIR)/tools/jupyter" $(BIN)/jupyter lab nbs

clean: ## remove the virtual environment and all runs
	rm -rf .venv runs build *.egg-info _docs _procs
