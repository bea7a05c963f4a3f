# Every target sets up what it needs: tools/in_env.sh makes the virtual environment.
# PYTHON=python3.12 make test    selects the interpreter, and with it ESPnet 202611.
# JOBS=4 make unit               number of test processes (default: number of cores)

SHELL := /bin/bash
JOBS ?= auto
IN_ENV := ./tools/in_env.sh
RECIPE := egs2/commonvoice_dq/ssl1
KOREAN := egs2/ksponspeech_kwav2vec/asr1
SHELL_FILES := $(shell git ls-files '*.sh' '*.pl' .ci/run 2>/dev/null)
TEST_OPTIONS := -m 'not gpu and not network' --dist loadgroup -n $(JOBS)

# Which rows of the paper's tables, how large and with which seeds (docs/tables.md).
SCALE ?= smoke
ROWS ?=
SEEDS ?= 0

.PHONY: help env demo demo-korean tables test lint types unit smoke bench format constraints clean

# Several test processes share the cores: one thread each.
test unit smoke bench: export OMP_NUM_THREADS ?= 1

help:
	@echo "make demo    set up, then the whole recipe on the mini corpus"
	@echo "make demo-korean    the same for the Korean recipe"
	@echo "make tables SCALE=smoke|mini|base ROWS=\"data2vec dq_sd\" SEEDS=\"0 1\"    rows of the paper's tables"
	@echo "make test    set up, then lint, types and all tests"
	@echo "make lint | types | unit | smoke | bench | format | env | clean"

env:
	$(IN_ENV) python -m espnet2_dq.bin.env

demo:
	$(IN_ENV) $(RECIPE)/run.sh --corpus mini --stage 1 --stop_stage 13 $(DEMO_OPTIONS)

demo-korean:
	$(IN_ENV) $(KOREAN)/run.sh --corpus mini --stage 1 --stop_stage 13 $(DEMO_OPTIONS)

tables:
	$(IN_ENV) $(RECIPE)/tables.sh --scale $(SCALE) --rows "$(ROWS)" --seeds "$(SEEDS)" $(TABLES_OPTIONS)

test: lint types
	$(IN_ENV) python -m pytest $(TEST_OPTIONS)

lint:
	$(IN_ENV) ruff check .
	$(IN_ENV) ruff format --check .
	$(IN_ENV) shellcheck -x $(SHELL_FILES)

types:
	$(IN_ENV) mypy

unit:
	$(IN_ENV) python -m pytest $(TEST_OPTIONS) --ignore test/recipe

smoke:
	$(IN_ENV) python -m pytest $(TEST_OPTIONS) test/recipe

bench:
	@set -e; for file in benchmarks/*.py; do \
	    echo "== $$file"; $(IN_ENV) python "$$file"; \
	done

format:
	$(IN_ENV) ruff check --fix .
	$(IN_ENV) ruff format .

constraints:
	$(IN_ENV) tools/lock.sh

clean:
	rm -rf .venv .venv-* build dist *.egg-info
