# Two commands do everything on a machine with Python ≥ 3.11, git and make: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Strict editable mode links file by file, so that type checkers find the mapped folders; a new file shows after the
# install is run again, which is why every target runs it. It warns each time that the links must stay; we know.
INSTALL := PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation \
	--config-settings editable_mode=strict --editable

# Compiled modules are kept, whatever the machine says: the suite starts hundreds of processes, and compiling all modules
# anew takes each of them as long as everything else that it does.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test check docs soak bench clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    install, then run the demo: a worker is killed half-way, restarted, finished and verified"
	@echo "make test    install with test extras, then run the whole test suite"
	@echo "make check   ruff, mypy (the package, the examples, what bodies and handles give), import-linter"
	@echo "make docs    build the documentation into build/site; a dead link or a warning is an error"
	@echo "make soak    the long tests"
	@echo "make bench   the benchmarks (installs a peer to measure beside)"
	@echo "make clean   remove the environment and what was built"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Perdure needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Name another with: make PYTHON=python3.12 " )'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip "setuptools>=77"

demo: $(BIN)/python
	$(INSTALL) .
	$(BIN)/python examples/demo.py

test: $(BIN)/python
	$(INSTALL) ".[test]"
	$(BIN)/python -m pytest -n auto

check: $(BIN)/python
	$(INSTALL) ".[test,check]"
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -p perdure
	$(BIN)/python tests/types/check.py
	$(BIN)/lint-imports

docs: $(BIN)/python
	$(INSTALL) ".[docs]"
	$(BIN)/python docs/site/build.py

soak: $(BIN)/python
	$(INSTALL) ".[test]"
	$(BIN)/python -m pytest -m soak --timeout 3600

bench: $(BIN)/python
	$(INSTALL) ".[test,bench]"
	$(BIN)/python benchmarks/run.py
	cd benchmarks && ../$(BIN)/python replay.py
	cd benchmarks && ../$(BIN)/python queues.py
	cd benchmarks && ../$(BIN)/python services.py
	cd benchmarks && ../$(BIN)/python database.py
	cd benchmarks && ../$(BIN)/python cells.py

clean:
	rm -rf $(VENV) build dist perdure.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
