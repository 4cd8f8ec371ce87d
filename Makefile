# The commands of the project. `make help` lists them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help run test lint format migrate faults system pooler peers bench clean
.DEFAULT_GOAL := help

help:  ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/installed  ## Serve the API on http://localhost:8000 (PORT, HOST, DATABASE_URL … as in README.md)
	@echo "Starting taskapi; stop it with ctrl-C"
	@exec $(BIN)/gunicorn wsgi:app

test: $(VENV)/installed  ## Run the tests, on a PostgreSQL of their own
	@echo "Running the tests on an embedded PostgreSQL"
	@$(BIN)/python -m pytest --numprocesses=2 --dist=loadfile -m 'not alone' $(ARGS)
	@echo "Running the tests that look at times, with nothing else meanwhile"
	@$(BIN)/python -m pytest -m alone $(ARGS)

faults: $(VENV)/installed  ## Make every fault happen as often as docs/operations.md says (half an hour)
	@echo "Making faults happen, at length"
	@$(BIN)/python -m pytest tests/faults --long $(ARGS)

system: $(VENV)/installed  ## Test with a real browser, a generated client and a real pooler (needs chromium, npm and pgbouncer)
	@echo "Running the tests with a browser, a generated client and a pooler"
	@$(BIN)/python -m pytest tests/system $(ARGS)

pooler: $(VENV)/installed  ## Run the tests through PgBouncer in transaction mode (needs pgbouncer)
	@echo "Running the tests through PgBouncer"
	@$(BIN)/python -m pytest --pgbouncer --numprocesses=2 --dist=loadfile -m 'not alone' $(ARGS)

peers: $(VENV)/installed $(VENV)/peers/installed  ## Test that the alternatives of `make bench` keep the same contract
	@echo "Testing the alternatives"
	@$(BIN)/python -m pytest benchmarks/peers $(ARGS)

bench: $(VENV)/installed $(VENV)/peers/installed  ## Measure taskapi against its alternatives (needs wrk; half an hour)
	@echo "Measuring; nothing else should run on this machine"
	@$(BIN)/python -m benchmarks $(ARGS)

lint: $(VENV)/installed  ## Check style (ruff) and types (mypy)
	@echo "Checking style and types"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(VENV)/installed  ## Lay out the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

migrate: $(VENV)/installed  ## Bring the schema of DATABASE_URL to the code's, whatever AUTO_MIGRATE says
	@echo "Migrating the database of DATABASE_URL"
	@AUTO_MIGRATE=true $(BIN)/python -m taskapi.migrations

clean:  ## Remove the virtual environment and caches; the data in .data/ stays
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/installed: requirements.txt requirements-mcp.txt requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "taskapi needs Python 3.11 or later: make PYTHON=python3.11 …")'
	@echo "Setting up the virtual environment in $(VENV)/"
	@$(PYTHON) -m venv $(VENV)
	@echo "Installing the dependencies"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

$(VENV)/peers/installed: benchmarks/peers/requirements.txt requirements.txt $(VENV)/installed
	@echo "Setting up the alternatives in $(VENV)/peers/"
	@$(PYTHON) -m venv $(VENV)/peers
	@$(VENV)/peers/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@
