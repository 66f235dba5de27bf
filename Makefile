# mora: two commands, `make study` and `make test`; both set up .venv by themselves.
PYTHON ?= python3
GRID   ?= quick
SEEDS  ?= 1
WORKERS ?= 2
TRL    ?= 1.9.2 1.16.0
BIN    := .venv/bin
export HF_HUB_DISABLE_TELEMETRY = 1
export TOKENIZERS_PARALLELISM = false
.DEFAULT_GOAL := help
.PHONY: help study report test test-trl test-minimal notebooks readme lab clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  e.g.  make study GRID=paper SEEDS=1      runs in runs/paper, report in figures/paper_report.html"

# $(call environment,FOLDER,ARGUMENTS): a new virtual environment, filled by tools/install.py
define environment
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11, 5) <= sys.version_info < (3, 14))' || { \
		echo "PYTHON=$(PYTHON): got `$(PYTHON) -V 2>&1`, expected Python 3.11.5 to 3.13"; exit 2; }
	@echo "Setting up $(1) with the tested versions $(2) (once, one minute by uv, three by pip, 2.5 GB)"
	@$(PYTHON) -m venv $(1)
	@$(1)/bin/python tools/install.py $(2)
	@touch $@
endef

.venv/ready: constraints.txt pyproject.toml
	$(call environment,.venv)

.venv-trl-%/ready: constraints.txt pyproject.toml
	$(call environment,.venv-trl-$*,trl==$*)

.venv-minimal/ready: constraints.txt pyproject.toml
	$(call environment,.venv-minimal,nbdev fastcore matplotlib)

study: .venv/ready ## train a grid of runs (GRID=quick|paper|file.yaml, SEEDS=1), draw fronts and report
	@$(BIN)/mora study $(GRID) --seeds $(SEEDS) --workers $(WORKERS)
	@$(BIN)/mora report runs/$(notdir $(basename $(GRID)))

report: .venv/ready ## draw figures and report again from finished runs (GRID=quick)
	@$(BIN)/mora report runs/$(notdir $(basename $(GRID)))

test: .venv/ready ## every notebook, notebooks and mora/ in step, README, lint, pytest
	@$(BIN)/ruff check .
	@$(BIN)/python -m pytest

# all tests that use TRL but those of committed numbers, since TRL itself changes numbers between versions
TRL_TESTS := $(patsubst %,tests/test_%.py,trainer sketch_in_training drop_in combinations processes methods trackers)
test-trl: $(TRL:%=.venv-trl-%/ready) ## tests that use TRL, with the oldest and the newest TRL (TRL="1.9.2 1.16.0")
	@for v in $(TRL); do echo "TRL $$v"; .venv-trl-$$v/bin/python -m pytest $(TRL_TESTS) || exit 1; done

test-minimal: .venv-minimal/ready ## the notebooks of the library with numpy, torch, moocore and math-verify alone
	@.venv-minimal/bin/python tools/minimal.py

notebooks: .venv/ready ## run the reading notebooks again and keep their outputs
	@$(BIN)/python tools/notebooks.py

readme: .venv/ready ## README.md from nbs/index.ipynb
	@$(BIN)/python tools/readme.py

lab: .venv/ready ## JupyterLab on the notebooks
	@JUPYTER_CONFIG_PATH="$(CURDIR)/tools/jupyter" $(BIN)/jupyter lab nbs

clean: ## remove the virtual environment and all runs
	rm -rf .venv .venv-trl-* .venv-minimal runs build *.egg-info _docs _procs
