# The verbs of this repository. Each sets up what it needs.
PYTHON ?= python3
VENV := .venv
export PYTHONDONTWRITEBYTECODE =
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test check format bench bench-check clean help

help:  ## What there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

$(READY): pyproject.toml constraints.txt scripts/setup.sh
	@PYTHON="$(PYTHON)" VENV="$(VENV)" sh scripts/setup.sh
	@touch $(READY)

demo: $(READY)  ## Serve Gregale in one process, run a real workflow on it, show its progress and result
	@$(BIN)/python scripts/demo.py

test: $(READY)  ## Install the servers that tests use, and run every test, the fast ones first
	@sh scripts/servers.sh
	$(BIN)/python -m pytest tests/core tests/language tests/expressions -n 2
	$(BIN)/python -m pytest tests --ignore tests/core --ignore tests/language --ignore tests/expressions --ignore tests/lab -n 3 --dist loadgroup
	$(BIN)/python -m pytest tests/lab/test_simulation.py tests/lab/test_interleavings.py -n 2 --dist loadgroup
	$(BIN)/python -m pytest tests/lab/test_drills.py tests/lab/test_command_line.py -n 3 --dist loadgroup
	$(BIN)/gregale test examples/*_test.yaml

check: $(READY)  ## ruff, mypy, import-linter
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)  ## Write the code in its one form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(READY)  ## Measure expressions, core and reading over the API
	$(BIN)/python -m gregale.bench expressions
	$(BIN)/python -m gregale.bench core
	$(BIN)/python -m gregale.bench api

bench-check: $(READY)  ## Count the instructions of fixed runs, and fail where a part takes 15 % more than it did
	@sh scripts/servers.sh
	$(BIN)/python -m gregale.bench check

clean:  ## Remove what the other verbs made
	rm -rf $(VENV) .mypy_cache .ruff_cache .hypothesis
