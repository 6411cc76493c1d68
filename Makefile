# Two commands after a clone: `make serve` and `make test`. They need Python >= 3.11 and make, nothing else.

VENV ?= .venv
JOBS ?= 2
PY := $(VENV)/bin/python
MAIN_STAMP := $(VENV)/.installed-main
DEV_STAMP := $(VENV)/.installed-dev

.DEFAULT_GOAL := help
.PHONY: help install install-dev serve test check tooling bench sdl graphiql requirements clean
.DELETE_ON_ERROR:

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The newest interpreter that is supported, unless PYTHON names one.
$(PY):
	@set -e; \
	supported='import sys; sys.exit(not sys.version_info >= (3, 11))'; \
	for candidate in $(PYTHON) python3.14 python3.13 python3.12 python3.11 python3 python; do \
	  command -v "$$candidate" >/dev/null 2>&1 && "$$candidate" -c "$$supported" >/dev/null 2>&1 && found="$$candidate" && break; \
	done; \
	if [ -z "$${found:-}" ]; then echo "Python 3.11 or later is needed (set PYTHON to its path)." >&2; exit 1; fi; \
	if command -v uv >/dev/null 2>&1; then uv venv --quiet --python "$$(command -v $$found)" $(VENV); \
	elif ! "$$found" -m venv $(VENV); then \
	  rm -rf $(VENV); echo "On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; \
	fi

# install(files): exactly the locked versions, each checked against its hash.
define install
@if command -v uv >/dev/null 2>&1; then \
  uv pip install --quiet --python $(PY) --require-hashes $(foreach file,$(1),-r $(file)); \
else \
  $(PY) -m pip install --quiet --disable-pip-version-check --require-hashes $(foreach file,$(1),-r $(file)); \
fi
@touch $@
endef

$(MAIN_STAMP): requirements/main.txt | $(PY)
	$(call install,requirements/main.txt)

$(DEV_STAMP): requirements/dev.txt $(MAIN_STAMP)
	$(call install,requirements/main.txt requirements/dev.txt)

install: $(MAIN_STAMP) ## install what the server needs into .venv
install-dev: $(DEV_STAMP) ## install what the tests and checks need as well

serve: $(MAIN_STAMP) ## start database, server and worker; load demo data once
	@exec $(PY) manage.py serve

test: $(DEV_STAMP) ## run the whole test suite with branch coverage
	$(PY) -m pytest -n $(JOBS) --cov --cov-branch --cov-report=term

check: $(DEV_STAMP) ## lint, types, import contracts, new migrations read and rehearsed (SINCE=REF), exported schema, its changes
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(PY) manage.py makemigrations --check --dry-run
	$(PY) manage.py lint_migrations --since $(SINCE)
	$(PY) manage.py rehearse_migrations --since $(SINCE)
	$(PY) manage.py export_sdl --check
	$(PY) manage.py schema_diff

tooling: $(DEV_STAMP) ## schema and operations through front ends' tools, their clients against a server (needs Node, curl)
	cd tests/tooling && npm ci --no-progress --loglevel=error && npm run --silent check
	cd tests/clients && npm ci --no-progress --loglevel=error
	$(PY) -m pytest -q tests/clients/real_clients.py

bench: $(DEV_STAMP) ## measure beside other servers; ARGS=--quick for a trial, see docs/benchmarks.md
	$(PY) -m benchmarks peers $(ARGS)

sdl: $(MAIN_STAMP) ## write schema/schema.graphql from the running schema
	$(PY) manage.py export_sdl

graphiql: ## rebuild the GraphiQL bundle (needs Node)
	cd graphiql && npm ci && npm run build

requirements: ## lock the dependencies anew (needs uv)
	UV_CUSTOM_COMPILE_COMMAND="make requirements" uv pip compile --quiet --universal --python-version 3.11 \
	  --generate-hashes --no-strip-extras --no-emit-index-url requirements/main.in -o requirements/main.txt
	UV_CUSTOM_COMPILE_COMMAND="make requirements" uv pip compile --quiet --universal --python-version 3.11 \
	  --generate-hashes --no-strip-extras --no-emit-index-url requirements/dev.in -o requirements/dev.txt

clean: ## remove what can be made again; the database under .data stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage .coverage.* htmlcov \
	  tests/tooling/node_modules tests/clients/node_modules tests/clients/relay/__generated__ graphiql/node_modules
	find backend benchmarks schema tests -name __pycache__ -type d -prune -exec rm -rf {} +
