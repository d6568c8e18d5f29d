# `make demo`: the whole product on synthetic data. `make test`: what CI runs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO ?= demo
PEERS_VENV ?= .venv-peers
# Test files run in so many processes side by side: two for each of two cores, as many of them wait.
TEST_WORKERS ?= 4
PEERS ?= --synthetic 700 1000 200000

.DEFAULT_GOAL := help
.PHONY: help install install-ray install-sequence install-dev demo test tests tests-nightreel tests-feast-asof test-slow durations check docs format lock peers clean

help:  ## List these targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] < (3, 14) else "nightreel needs Python 3.11 to 3.13, this is " + sys.version.split()[0] + "; try: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: $(VENV)/.python requirements.lock pyproject.toml feast_asof/pyproject.toml
	$(BIN)/python -m pip install --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable ./feast_asof --editable .
	@touch $@

$(VENV)/.installed-ray: $(VENV)/.python requirements-ray.lock pyproject.toml feast_asof/pyproject.toml
	$(BIN)/python -m pip install --disable-pip-version-check --require-hashes -r requirements-ray.lock
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable ./feast_asof --editable .
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-sequence: $(VENV)/.python requirements-sequence.lock pyproject.toml feast_asof/pyproject.toml
	$(BIN)/python -m pip install --disable-pip-version-check --require-hashes -r requirements-sequence.lock
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable ./feast_asof --editable .
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-dev: $(VENV)/.python requirements-dev.lock pyproject.toml feast_asof/pyproject.toml
	$(BIN)/python -m pip install --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable ./feast_asof --editable .
	@touch $@ $(VENV)/.installed

install: $(VENV)/.installed  ## Make .venv with the pinned packages

install-ray: $(VENV)/.installed-ray  ## The same, with Ray and faiss, for what outgrows one machine

install-sequence: $(VENV)/.installed-sequence  ## The same, with JAX, for the candidate source `sequence`

install-dev: $(VENV)/.installed-dev  ## The same, with what the tests need

demo: $(VENV)/.installed  ## Synthetic data, features, training, lists: all of it in ./demo
	$(BIN)/nightreel demo --home $(DEMO)

test: $(VENV)/.installed-dev  ## Lint, types, import contract and all tests that are not slow
	$(MAKE) --jobs=3 check tests

# Where no bytecode may be written, each process that a test starts compiles our modules.
tests tests-nightreel tests-feast-asof test-slow durations: export PYTHONDONTWRITEBYTECODE =

# Side by side in `make test`: while some tests wait, others have the cores.
tests: tests-nightreel tests-feast-asof

tests-nightreel: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n $(TEST_WORKERS) --durations=25 tests

tests-feast-asof: $(VENV)/.installed-dev
	$(BIN)/python -m pytest --durations=10 -c feast_asof/pyproject.toml --rootdir feast_asof feast_asof/tests

test-slow: $(VENV)/.installed-dev  ## The tests that take minutes
	$(BIN)/python -m pytest -m slow

durations: $(VENV)/.installed-dev  ## Record how long each file of tests takes, by which the longest begin first
	RECORD_DURATIONS=1 $(BIN)/python -m pytest -n $(TEST_WORKERS) tests

check: $(VENV)/.installed-dev  ## ruff, mypy and the import contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.installed-dev  ## Write the settings and command references again, from the code
	$(BIN)/python docs/generate.py
	$(BIN)/python docs/licences.py

format: $(VENV)/.installed-dev  ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(VENV)/.python  ## Resolve the lock files again
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-package feast-asof --no-header pyproject.toml --extra build -o requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-package feast-asof --no-header pyproject.toml --extra build --extra ray --extra search -c requirements.lock -o requirements-ray.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-package feast-asof --no-header pyproject.toml --extra build --extra sequence -c requirements.lock -o requirements-sequence.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-package feast-asof --no-header pyproject.toml --extra build --extra ray --extra search --extra dev -c requirements.lock -c requirements-ray.lock -c requirements-sequence.lock -o requirements-dev.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header benchmarks/requirements-peers.in -o benchmarks/requirements-peers.lock

$(PEERS_VENV)/.installed: benchmarks/requirements-peers.lock
	$(PYTHON) -m venv $(PEERS_VENV)
	$(PEERS_VENV)/bin/python -m pip install --disable-pip-version-check --require-hashes -r $<
	@touch $@

peers: $(VENV)/.installed $(PEERS_VENV)/.installed  ## Lists beside those of RecTools and implicit; PEERS="--movielens WHEEL" names the logs
	$(PEERS_VENV)/bin/python benchmarks/peers.py --nightreel $(BIN) $(PEERS)

clean:  ## Remove the environment and the demo
	rm -rf $(VENV) $(PEERS_VENV) $(DEMO)
