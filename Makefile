# `make` alone says what there is. Everything runs in .venv, made when needed.

PYTHON ?= python3.13 python3.12 python3.11 python3
PRESET ?= tiny
FUZZ ?= 100000

venv := .venv/bin/python
ready := .venv/ready
lab_config := .venv/etc/jupyter/labconfig/page_config.json
no_news := {"disabledExtensions": \
    {"@jupyterlab/apputils-extension:announcements": true}}

.DEFAULT_GOAL := help
.PHONY: help setup lab panel run exercises progress test check data train \
    grammar report experiments fuzz environments bench lint format clean

help:  ## say this
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-13s%s\n", $$1, $$2}' \
	    Makefile

setup: $(ready)  ## install into .venv (PYTHON=python3.12 to choose one)

# The first of PYTHON that runs, is new enough and can make environments.
$(ready): pyproject.toml constraints.txt
	@for python in $(PYTHON); do \
	    if $$python -c 'import ensurepip, sys, venv; \
	        sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	        echo "Installing into .venv with $$($$python --version)," \
	            "which takes a few minutes"; \
	        exec $$python -m venv .venv; \
	    fi; \
	done; \
	echo "Python 3.11 or newer with its venv module is needed and none of" \
	    "$(PYTHON) is that; install it, or name one: make PYTHON=..." >&2; \
	exit 1
	@$(venv) -m pip install --quiet --disable-pip-version-check \
	    --constraint constraints.txt --editable ".[test]"
	@mkdir -p $(dir $(lab_config)) && echo '$(no_news)' > $(lab_config)
	@touch $(ready)

lab: .venv/looked  ## open the notebooks in JupyterLab (LAB_ARGS=...)
	@$(venv) -m jupyterlab --log-level=WARN --ServerApp.root_dir=. \
	    --LabApp.default_url=/lab/tree/notebooks \
	    $(if $(filter 0,$(shell id -u)),--allow-root) $(LAB_ARGS)

# Look for TinyStories once; without them the notebooks use the grammar.
.venv/looked: | $(ready)
	@test -e data/tinystories/train.txt || $(venv) -m helpers data || true
	@touch $@

panel: $(ready)  ## serve the panel of lesson 07 as a page of its own
	@$(venv) -m helpers.panel $(PANEL_ARGS)

run: $(ready)  ## run the lessons in place (LESSONS="01 02"), tell a story
	@WORKBOOK_DATA=grammar $(venv) tests/run_notebooks.py $(LESSONS)
	@$(venv) -m helpers generate --seed 1

exercises: $(ready)  ## write the lessons to fill in (FRESH=03 once more)
	@$(venv) -m helpers.checks.exercises write $(if $(FRESH),--fresh $(FRESH))

progress: $(ready)  ## run what is filled in, show how far (LESSONS="01 02")
	@$(venv) -m helpers.checks.exercises progress $(LESSONS)

test: lint  ## check style, every cell's output, and what cells cannot show
	@$(venv) -m pytest --durations=5 -n 2

check: lint  ## check style, hygiene, and one proof a function, in seconds
	@$(venv) -m pytest -m quick tests

# A name may have spaces and quotes in it, or be several names: the shell sees
# the variable itself, and a file that is called so comes first.
files = set --; if test -e "$$$(1)"; then set -- "$$$(1)"; \
    elif test -n "$$$(1)"; then set -- $$$(1); fi

data: $(ready)  ## fetch TinyStories, or take them FROM=file
	@$(call files,FROM); \
	    $(venv) -m helpers data $${1:+--from "$$@"} $(DATA_ARGS)

train: $(ready)  ## train a model (PRESET=small NAME=... TRAIN_ARGS=...)
	@$(venv) -m helpers train --preset "$(PRESET)" \
	    $(if $(NAME),--name "$$NAME") $(TRAIN_ARGS)

grammar: $(ready)  ## train tiny on the story grammar, close to its entropy
	@$(venv) -m helpers train --preset grammar $(TRAIN_ARGS)

report: $(ready)  ## write a run's report (RUN=..., ON="FILE" measures it)
	@$(call files,ON); \
	    $(venv) -m helpers report $(if $(RUN),--run "$$RUN") \
	    $${1:+--on "$$@"}

experiments: $(ready)  ## make what the tables of the appendices lack
	@$(venv) -m helpers.experiments
	@$(venv) -m helpers.runs.digit_tables
	@$(venv) -m helpers.runs.scale_tables
	@$(venv) -m helpers.runs.assistant_tables

fuzz: $(ready)  ## send odd input to every border, for long (FUZZ=100000)
	@FUZZ=$(FUZZ) $(venv) -m pytest --durations=5 -n 2 --dist load \
	    tests/test_fuzz.py

environments: $(ready)  ## try it where it was not made (PLACES="odd-folder")
	@$(venv) tests/environments.py $(PLACES)

bench: $(ready)  ## time a step against PyTorch's (BENCH_ARGS="--json FILE")
	@$(venv) tests/bench.py $(BENCH_ARGS)

lint: $(ready)  ## check the style
	@$(venv) -m ruff check
	@$(venv) -m ruff format --check

format: $(ready)  ## let ruff mend the style
	@$(venv) -m ruff check --fix
	@$(venv) -m ruff format

clean:  ## remove .venv and caches; data and runs stay
	rm -rf .venv *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
	find . -name .ipynb_checkpoints -prune -exec rm -rf {} +
