# `make` alone says what there is. Everything runs in .venv, made when needed;
# where there is no make, `python -m helpers` does the same jobs.

PYTHON ?= python3.13 python3.12 python3.11 python3
PRESET ?= tiny
FUZZ ?= 100000

venv := .venv/bin/python
pip := $(venv) -m pip --disable-pip-version-check install --no-compile \
    --constraint constraints.txt
# .venv/has-lab says that the extra `lab` of pyproject.toml is installed.
lab_set := .venv/has-lab
check_set := .venv/has-check
data_set := .venv/has-data
test_set := .venv/has-test
site_set := .venv/has-site
torch_cpu := https://download.pytorch.org/whl/cpu

.DEFAULT_GOAL := help
.PHONY: help setup lab panel lessons exercises progress torch course grade \
    data gpt2 llama train grammar report run test check fuzz classroom \
    environments bench experiments lint format lite book testsite clean

help:  ## say this
	@awk -F ':.*## ' '/^#: / {sub(/^#: /, ""); printf "\n%s\n", $$0} \
	    /^[a-z0-9]+:.*## / {printf "  make %-14s%s\n", $$1, $$2}' Makefile

#: To learn

setup: $(lab_set)  ## install what the lessons need into .venv (PYTHON=...)
	@echo "Installed in .venv. Next: make lab"

# The first of PYTHON that runs, is new enough and can make environments.
$(venv):
	@for python in $(PYTHON); do \
	    if $$python -c 'import ensurepip, sys, venv; \
	        sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	        echo "Installing into .venv with $$($$python --version)," \
	            "about a minute and 400 MB"; \
	        exec $$python -m venv .venv; \
	    fi; \
	done; \
	echo "Python 3.11 or newer with its venv module is needed and none of" \
	    "$(PYTHON) is that; install it, or name one: make PYTHON=..." >&2; \
	exit 1

.venv/has-%: pyproject.toml constraints.txt | $(venv)
	@$(pip) --editable ".[$*]"
	@touch $@

# PyPI has PyTorch for GPUs on Linux, gigabytes of it. Its own index has both,
# but need not have the pinned versions of what torch needs: it is asked for
# torch alone, if a first question is answered within seconds.
$(check_set): pyproject.toml constraints.txt | $(venv)
	@test "$$(uname)" != Linux || { \
	    $(venv) -m pip index versions --retries 0 --timeout 3 \
	        --index-url $(torch_cpu) torch >/dev/null 2>&1 && \
	    $(pip) --no-deps --index-url $(torch_cpu) torch; } || \
	    echo "PyTorch's own index does not answer: taking PyPI's build"
	@$(pip) --editable ".[check]"
	@touch $@

$(test_set): $(check_set)

lab: $(lab_set)  ## open the start page in JupyterLab (LAB_ARGS=...)
	@$(venv) -m helpers lab $(LAB_ARGS)

exercises: $(lab_set)  ## write the lessons to fill in (FRESH=03 once more)
	@$(venv) -m helpers exercises $(if $(FRESH),--fresh $(FRESH))

progress: $(lab_set)  ## run what is filled in, show how far (LESSONS="01 02")
	@$(venv) -m helpers progress $(LESSONS)

lessons: $(lab_set)  ## bring the copies to read up to date (FRESH=03: as new)
	@$(venv) -m helpers lessons $(if $(FRESH),--fresh $(FRESH))

panel: $(lab_set)  ## serve the panel of lesson 07 as a page of its own
	@$(venv) -m helpers panel $(PANEL_ARGS)

torch: $(check_set)  ## let PyTorch itself answer the checks
	@echo "PyTorch is installed; a kernel that runs sees it when it restarts"

#: To teach

# TERM of the environment is the terminal's: only make TERM=... counts.
term = $(if $(filter command,$(firstword $(origin TERM))),--term "$$TERM")

course: $(lab_set)  ## write what a class gets (TO=folder TERM=2027-spring)
	@$(venv) -m helpers course "$$TO" $(term)

grade: $(lab_set)  ## grade a class (SUBMISSIONS=folder TERM=... TO=grades)
	@$(venv) -m helpers grade "$$SUBMISSIONS" $(term) $(if $(TO),--to "$$TO")

#: To train

# A name may have spaces and quotes in it, or be several names: the shell sees
# the variable itself, and a file that is called so comes first.
files = set --; if test -e "$$$(1)"; then set -- "$$$(1)"; \
    elif test -n "$$$(1)"; then set -- $$$(1); fi

gpt2: $(data_set)  ## fetch GPT-2, 124 million parameters (FROM=folder)
	@$(call files,FROM); \
	    $(venv) -m helpers gpt2 $${1:+--from "$$@"} $(FETCH_ARGS)

llama: $(data_set)  ## fetch stories260K, a small Llama (FROM=folder)
	@$(call files,FROM); \
	    $(venv) -m helpers llama $${1:+--from "$$@"} $(FETCH_ARGS)

data: $(lab_set) $(if $(FROM),,$(data_set))  ## fetch TinyStories, or take them FROM=file
	@$(call files,FROM); \
	    $(venv) -m helpers data $${1:+--from "$$@"} $(DATA_ARGS)

train: $(lab_set)  ## train a model (PRESET=small NAME=... TRAIN_ARGS=...)
	@$(venv) -m helpers train --preset "$(PRESET)" \
	    $(if $(NAME),--name "$$NAME") $(TRAIN_ARGS)

grammar: $(lab_set)  ## train tiny on the story grammar, close to its entropy
	@$(venv) -m helpers train --preset grammar $(TRAIN_ARGS)

report: $(lab_set)  ## write a run's report (RUN=..., ON="FILE" measures it)
	@$(call files,ON); \
	    $(venv) -m helpers report $(if $(RUN),--run "$$RUN") \
	    $${1:+--on "$$@"}

#: To contribute

run: $(lab_set)  ## run the lessons in place (LESSONS="01 02"), tell a story
	@$(venv) -m helpers run $(LESSONS)

test: $(test_set)  ## check style, every cell, and what cells cannot show
	@$(venv) -m helpers test

check: $(test_set)  ## check style, hygiene, and one proof a function
	@$(venv) -m helpers check

lint: $(test_set)  ## check the style
	@$(venv) -m helpers lint

format: $(test_set)  ## let ruff mend the style
	@$(venv) -m ruff check --fix
	@$(venv) -m ruff format

experiments: $(lab_set)  ## make what the tables of the appendices lack
	@$(venv) -m helpers experiments

fuzz: $(test_set)  ## send odd input to every border, for long (FUZZ=100000)
	@FUZZ=$(FUZZ) $(venv) -m pytest --durations=5 -n 2 --dist load \
	    tests/test_fuzz.py

classroom: $(test_set)  ## grade a made-up class of a hundred, row by row
	@$(venv) -m pytest -m classroom --durations=1 tests/test_classes.py

environments: $(test_set)  ## try it where it was not made (PLACES="odd-folder")
	@$(venv) tests/environments.py $(PLACES)

bench: $(test_set)  ## time a step against PyTorch's (BENCH_ARGS="--json FILE")
	@$(venv) tests/bench.py $(BENCH_ARGS)

web/node_modules: web/package-lock.json
	@npm ci --silent --prefix web
	@touch $@

lite: $(site_set) web/node_modules  ## build the browser edition, site/lite
	@$(venv) web/lite.py

book: lite  ## build the site of the lessons around it, site
	@$(venv) -m sphinx -q -E -c web -d web/build/doctrees . site
	@echo "Built. To look at it: $(venv) -m http.server -d site"

testsite: book $(test_set)  ## open every page of it, run the cells in it
	@$(venv) -m pytest -m site tests/test_site.py

clean:  ## remove .venv and caches; data, runs and copies stay
	rm -rf site web/build web/node_modules
	rm -rf .venv *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
	find . -name .ipynb_checkpoints -prune -exec rm -rf {} +
