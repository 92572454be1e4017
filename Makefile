# Two commands matter to a newcomer: `make run` and `make test`.
.PHONY: run test lint types tests format start
PYTHON ?= python3
BIN := .venv/bin

$(BIN)/.installed-run: setup.cfg pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(BIN)/.installed-test: setup.cfg pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[redis,preview,dev]'
	@touch $@

test: lint types tests

lint: $(BIN)/.installed-test
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(BIN)/.installed-test
	@$(BIN)/mypy

tests: $(BIN)/.installed-test
	@$(BIN)/python -m pytest

format: $(BIN)/.installed-test
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .
